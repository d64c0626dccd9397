//! What the binary does when no runtime calls it: commands of the host's.
//!
//! Parsed by hand: a few commands, and a runtime starts this binary for every pod.

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};

use crate::{collect, genl, hook, install, log, show, version::Version, why, world::World};

const HELP: &str = "\
ringway: wires SR-IOV and vDPA devices into pods, as a CNI plugin

A container runtime starts it with CNI_COMMAND set and a network configuration on standard
input. By hand it knows:

  ringway install --to DIR [--name NAME]   copy itself to the runtime's CNI directory, whole or
                                           not at all; NAME is `ringway` if not given
  ringway hook memlock                     OCI hook: reads a container's state on standard input
                                           and lifts its limit of locked memory
  ringway list [-o json]                   who has which device since when, by the records of
                                           attachments, and whether their namespaces live
  ringway why DEVICE                       all that this node knows of one device: its pool, what it
                                           is now, who has it, what was set for that
  ringway collect [--grace SECONDS]        undo attachments whose namespaces are gone, IPAM included:
          [--cni-path DIRS]                a runtime that never sent DEL, and Multus, which sends GC
                                           for no secondary network. A DEL has SECONDS to come, 60 if
                                           not given; IPAM plugins are in DIRS, /opt/cni/bin
  ringway genl REQUEST                     one request of generic netlink, in JSON, as verbs make them:
                                           vDPA devices' configuration, ports of an eswitch
  ringway version                          its version, and those of CNI that it speaks
  ringway help                             this text

To try a verb by hand:

  echo '{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"type\":\"ringway\"}' | CNI_COMMAND=STATUS ringway

A network that uses it (Multus adds deviceID by the resource of the pod's containers):

  {\"cniVersion\": \"1.1.0\", \"name\": \"rings\", \"type\": \"ringway\",
   \"ipam\": {\"type\": \"host-local\", \"subnet\": \"10.88.0.0/24\"}}

What it did to a device is in /var/lib/ringway/attachments, its log where the network's `logFile`
says, below /var/log/ringway; without one, and for `collect`, in the journal, if the node has one:

  journalctl -t ringway RINGWAY_DEVICE=0000:02:10.0
";

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Install { dir: PathBuf, name: String },
    Memlock,
    List { json: bool },
    Why { device: String },
    Collect { grace: Duration, path: Vec<PathBuf> },
    Genl { request: String },
    Version,
    Help,
}

/// Carries out a command line, given without the program's name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    match parse(args).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Install { dir, name } => {
            let done =
                if install::install(&dir, &name)? { "installed" } else { "is there already" };
            println!("{} {done}", dir.join(name).display());
        }
        Command::List { json } => print!("{}", show::list(&World::from_env(), json)?),
        Command::Why { device } => print!("{}", why::why(&World::from_env(), &device)?),
        Command::Collect { grace, path } => {
            let world = World::from_env();
            log::start_host(&world);
            let done = collect::collect(&world, &path, grace)?;
            done.undone.iter().for_each(|who| println!("undone: {who}"));
            if !done.kept.is_empty() {
                bail!("not undone, the next run tries again:\n  {}", done.kept.join("\n  "));
            }
        }
        Command::Genl { request } => println!("{}", genl::answer(&request)),
        Command::Memlock => hook::memlock(std::io::stdin())?,
        Command::Version => {
            println!("ringway {}, CNI {}", env!("CARGO_PKG_VERSION"), Version::names().join(", "));
        }
        Command::Help => print!("{HELP}"),
    }
    Ok(())
}

fn parse(args: impl Iterator<Item = OsString>) -> Result<Command> {
    let args: Vec<String> = args
        .map(|arg| {
            arg.into_string().map_err(|arg| anyhow::anyhow!("argument {arg:?} is not UTF-8"))
        })
        .collect::<Result<_>>()?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["install", options @ ..] => parse_install(options),
        ["hook", "memlock"] => Ok(Command::Memlock),
        ["list"] => Ok(Command::List { json: false }),
        ["list", "-o", "json"] | ["list", "-ojson"] => Ok(Command::List { json: true }),
        ["list", ..] => bail!("list: it knows -o json and nothing else"),
        ["collect", options @ ..] => parse_collect(options),
        ["why", device] => Ok(Command::Why { device: (*device).to_owned() }),
        ["why", ..] => bail!("why: it wants one device id, as `ringway list` shows it"),
        [genl::COMMAND, request] => Ok(Command::Genl { request: (*request).to_owned() }),
        ["version" | "--version" | "-V"] => Ok(Command::Version),
        ["help" | "--help" | "-h"] => Ok(Command::Help),
        [] => bail!("no command, and no CNI_COMMAND in the environment: try `ringway help`"),
        other => bail!("unknown command {:?}: try `ringway help`", other.join(" ")),
    }
}

/// Options with a value each, `--name value` or `--name=value`.
fn pairs<'a>(verb: &str, options: &[&'a str]) -> Result<Vec<(&'a str, &'a str)>> {
    let (mut options, mut pairs) = (options.iter(), Vec::new());
    while let Some(option) = options.next() {
        let (option, value) = match option.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (*option, options.next().copied()),
        };
        let value = value.with_context(|| format!("{verb}: option {option} needs a value"))?;
        pairs.push((option, value));
    }
    Ok(pairs)
}

fn parse_collect(options: &[&str]) -> Result<Command> {
    let (mut grace, mut path) = (60, "/opt/cni/bin");
    for (option, value) in pairs("collect", options)? {
        match option {
            "--grace" => {
                let seconds = value.parse::<u16>().ok();
                grace = seconds.with_context(|| {
                    format!("collect: --grace {value:?} must be seconds, 0 to 65535")
                })?;
            }
            "--cni-path" => path = value,
            other => bail!("collect: unknown option {other:?}; it knows --grace and --cni-path"),
        }
    }
    let path: Vec<_> = std::env::split_paths(path).collect();
    if let Some(relative) = path.iter().find(|dir| !dir.is_absolute()) {
        bail!("collect: --cni-path {:?} must be of absolute directories", relative.display());
    }
    Ok(Command::Collect { grace: Duration::from_secs(grace.into()), path })
}

fn parse_install(options: &[&str]) -> Result<Command> {
    let (mut dir, mut name) = (None, "ringway");
    for (option, value) in pairs("install", options)? {
        match option {
            "--to" => dir = Some(PathBuf::from(value)),
            "--name" => name = value,
            other => bail!("install: unknown option {other:?}; it knows --to and --name"),
        }
    }
    let dir =
        dir.context("install: --to is missing: the runtime's CNI directory, often /opt/cni/bin")?;
    Ok(Command::Install { dir, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let check = |line: &str, expected: Result<Command, &str>| {
            let found = parse(line.split_whitespace().map(OsString::from));
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{line}"),
                (Err(found), Err(told)) => assert!(found.to_string().contains(told), "{found}"),
                (found, _) => panic!("{line}: {found:?}"),
            }
        };
        let install =
            |name: &str| Command::Install { dir: "/opt/cni/bin".into(), name: name.into() };
        check("install --to /opt/cni/bin", Ok(install("ringway")));
        check("install --name=x --to=/opt/cni/bin", Ok(install("x")));
        check("install", Err("--to is missing"));
        check("install --to", Err("--to needs a value"));
        check("install --dir /x", Err("unknown option \"--dir\""));
        check("hook memlock", Ok(Command::Memlock));
        check("hook", Err("unknown command"));
        check("list", Ok(Command::List { json: false }));
        check("list -o json", Ok(Command::List { json: true }));
        check("list -o yaml", Err("it knows -o json"));
        check("why 0000:01:00.1", Ok(Command::Why { device: "0000:01:00.1".into() }));
        check("why", Err("wants one device id"));
        let collect = |seconds, path: &[&str]| Command::Collect {
            grace: Duration::from_secs(seconds),
            path: path.iter().map(PathBuf::from).collect(),
        };
        check("collect", Ok(collect(60, &["/opt/cni/bin"])));
        check("collect --grace=0 --cni-path /a:/b", Ok(collect(0, &["/a", "/b"])));
        check("collect --grace soon", Err("--grace \"soon\" must be seconds"));
        check("collect --cni-path a", Err("must be of absolute directories"));
        check("collect now", Err("option now needs a value"));
        check("version", Ok(Command::Version));
        check("--help", Ok(Command::Help));
        check("", Err("no command"));
    }
}
