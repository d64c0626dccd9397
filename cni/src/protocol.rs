//! One call of the CNI protocol: environment and standard input in, one JSON object out.

use std::{
    io::{Read, Write},
    process::ExitCode,
};

use serde_json::{Value, json};

use crate::{
    add::{self, Call},
    check, del,
    error::{Code, Error, Result},
    gc,
    invocation::{Invocation, Verb},
    log,
    netconf::{self, NetConf},
    status,
    version::Version,
    world::World,
};

/// The process's call.
pub fn main() -> ExitCode {
    let world = World::from_env();
    let (answer, code) = match run(&world, Invocation::from_env(), std::io::stdin()) {
        Ok(answer) => (answer, ExitCode::SUCCESS),
        Err(Failed { error, version }) => (Some(error.to_json(version)), ExitCode::FAILURE),
    };
    let Some(answer) = answer else { return code };
    match writeln!(std::io::stdout(), "{answer}") {
        Ok(()) => code,
        // Nobody hears of a success: the runtime takes it for a failure, and sends DEL.
        Err(_) => ExitCode::FAILURE,
    }
}

/// An error and the version to tell it in.
#[derive(Debug)]
pub struct Failed {
    /// What went wrong.
    pub error: Error,
    /// The asked version, or our latest where it could not be read.
    pub version: Version,
}

/// Carries out a call, and gives what to print.
pub fn run(
    world: &World,
    invocation: Result<Invocation>,
    input: impl Read,
) -> Result<Option<Value>, Failed> {
    let failed = |error| Failed { error, version: Version::V1_1_0 };
    let invocation = invocation.map_err(failed)?;
    let input = read(input).map_err(failed)?;
    if invocation.verb == Verb::Version {
        return Ok(Some(versions(&input)));
    }
    let conf = match invocation.verb {
        Verb::Del => NetConf::for_del(&input),
        _ => NetConf::parse(&input),
    };
    let conf = conf.map_err(|error| Failed { error, version: version(&input) })?;
    let answer = dispatch(world, &invocation, &conf);
    if let Err(error) = &answer {
        tracing::error!(error = error.chain(), code = error.code().number(), "failed");
    }
    answer.map_err(|error| Failed { error, version: conf.version })
}

fn dispatch(world: &World, invocation: &Invocation, conf: &NetConf) -> Result<Option<Value>> {
    let Invocation { verb, target, args, path } = invocation;
    let log = log::start(world, conf.log_file.as_deref(), conf.log_level, target.as_ref());
    match (log, verb) {
        // for ADD to refuse, and no reason to keep a device
        (Err(_), Verb::Del) => {
            log::start(world, None, conf.log_level, target.as_ref())?;
        }
        (log, _) => log?,
    }
    let call = |target| Call { target, args, path, conf };
    match (verb, target) {
        (Verb::Add, Some(target)) => add::add(world, call(target)).map(Some),
        (Verb::Del, Some(target)) => del::del(world, call(target)).map(|()| None),
        (Verb::Check, Some(target)) => {
            since(Version::V0_4_0, "CHECK", conf)?;
            check::check(world, call(target)).map(|()| None)
        }
        (Verb::Gc, _) => {
            since(Version::V1_1_0, "GC", conf)?;
            gc::gc(world, conf, path).map(|()| None)
        }
        (Verb::Status, _) => {
            since(Version::V1_1_0, "STATUS", conf)?;
            status::status(world, conf, path).map(|()| None)
        }
        (Verb::Version, _) => Ok(None),
        // What `Invocation::parse` does not give.
        (Verb::Add | Verb::Del | Verb::Check, None) => {
            Err(Error::new(Code::Environment, "CNI_CONTAINERID and CNI_IFNAME are required"))
        }
    }
}

fn since(first: Version, verb: &str, conf: &NetConf) -> Result<()> {
    if conf.version >= first {
        return Ok(());
    }
    let text = format!("cniVersion {} has no {verb}: it came with {first}", conf.version);
    Err(Error::new(Code::Version, text))
}

fn read(input: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = input.take(netconf::LONGEST + 1).read_to_end(&mut bytes);
    read.map_err(Error::because(Code::Io, "read network configuration from standard input"))?;
    if bytes.len() as u64 > netconf::LONGEST {
        let text = format!("network configuration: more than {} bytes", netconf::LONGEST);
        return Err(Error::new(Code::Decode, text));
    }
    Ok(bytes)
}

/// The version of a configuration that is wrong elsewhere.
fn version(input: &[u8]) -> Version {
    let conf: Value = serde_json::from_slice(input).unwrap_or_default();
    let version = conf["cniVersion"].as_str().and_then(|text| text.parse().ok());
    version.unwrap_or(Version::V1_1_0)
}

/// Section "VERSION": the asked version comes back, whatever it is.
fn versions(input: &[u8]) -> Value {
    let conf: Value = serde_json::from_slice(input).unwrap_or_default();
    let asked = conf["cniVersion"].as_str().unwrap_or(Version::V1_1_0.as_str());
    json!({"cniVersion": asked, "supportedVersions": Version::names()})
}
