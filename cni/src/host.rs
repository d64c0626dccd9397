//! What the binary does when no runtime calls it: commands of the host's.
//!
//! Parsed by hand: a few commands, and a runtime starts this binary for every pod.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{hook, install, show, version::Version, why, world::World};

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
  ringway version                          its version, and those of CNI that it speaks
  ringway help                             this text

To try a verb by hand:

  echo '{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"type\":\"ringway\"}' | CNI_COMMAND=STATUS ringway

A network that uses it (Multus adds deviceID by the resource of the pod's containers):

  {\"cniVersion\": \"1.1.0\", \"name\": \"rings\", \"type\": \"ringway\",
   \"ipam\": {\"type\": \"host-local\", \"subnet\": \"10.88.0.0/24\"}}

What it did to a device is in /var/lib/ringway/attachments, its log where the network's `logFile`
says, below /var/log/ringway.
";

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Install { dir: PathBuf, name: String },
    Memlock,
    List { json: bool },
    Why { device: String },
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
        ["why", device] => Ok(Command::Why { device: (*device).to_owned() }),
        ["why", ..] => bail!("why: it wants one device id, as `ringway list` shows it"),
        ["version" | "--version" | "-V"] => Ok(Command::Version),
        ["help" | "--help" | "-h"] => Ok(Command::Help),
        [] => bail!("no command, and no CNI_COMMAND in the environment: try `ringway help`"),
        other => bail!("unknown command {:?}: try `ringway help`", other.join(" ")),
    }
}

fn parse_install(options: &[&str]) -> Result<Command> {
    let (mut dir, mut name) = (None, "ringway");
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let (option, value) = match option.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (*option, options.next().copied()),
        };
        let value = value.with_context(|| format!("install: option {option} needs a value"))?;
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
        check("version", Ok(Command::Version));
        check("--help", Ok(Command::Help));
        check("", Err("no command"));
    }
}
