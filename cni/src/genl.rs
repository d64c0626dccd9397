//! What only generic netlink tells or sets. Somebody's call may hold a lock of it for ever: so a child
//! sends it, which can be left behind as a thread cannot. A process ends only with its last thread.

use std::{
    fmt,
    io::Read,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use ringway_kernel::{Mac, devlink::RateChange, link::VfTxRate, pci, stuck, vdpa::Config};
use ringway_node::{DeviceId, lock::Lock};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::{Code, Error, Result},
    world::World,
};

mod answer;

pub use answer::answer;

/// The command of the host's that is the child.
pub const COMMAND: &str = "genl";

const DEADLINE: Duration = Duration::from_secs(5);
/// An answer is much shorter.
const LONGEST: u64 = 64 << 10;

/// What a child is started for: its argument, in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// The configuration of a vDPA device.
    VdpaConfig(String),
    /// The port that a representor is of, by the ifindex of that.
    Port(pci::Address, u32),
    /// Another address for the function of a PF's port.
    SetMac(pci::Address, u32, Mac),
    /// Other rates for it.
    SetRates(pci::Address, u32, RateChange),
}

/// What a port of the eswitch tells of its function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its number among the PF's ports.
    pub index: u32,
    /// The function's address; zero if none was given, `None` where the driver has none of it.
    pub mac: Option<Mac>,
    /// Its rates; `None` where the driver has none of them.
    pub rate: Option<VfTxRate>,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VdpaConfig(vdpa) => write!(f, "ask for the configuration of vDPA device {vdpa}"),
            Self::Port(pf, netdev) => {
                write!(f, "ask for the port of interface {netdev} of PF {pf}")
            }
            Self::SetMac(pf, port, mac) => write!(f, "set MAC {mac} at port {port} of PF {pf}"),
            Self::SetRates(pf, port, _) => write!(f, "set rates at port {port} of PF {pf}"),
        }
    }
}

/// The configuration of a vDPA device; `None` if the kernel tells of no such device: one whose driver
/// made it by itself. Code 11 while generic netlink is held up.
pub fn vdpa_config(world: &World, device: &DeviceId, vdpa: &str) -> Result<Option<Config>> {
    ask(world, device.as_str(), &Request::VdpaConfig(vdpa.to_owned()), None)
}

/// Has a child send a request for a device, and gives its answer. Code 11 while generic netlink is held
/// up. The child has the lock, too, and keeps it where it is left behind.
pub fn ask<T: DeserializeOwned>(
    world: &World,
    device: &str,
    request: &Request,
    lock: Option<&Lock>,
) -> Result<T> {
    stuck::check(&world.paths.stuck, device, "ask about", stuck::Reach::GenericNetlink)?;
    let failed = |error| Error::because(Code::Io, request.to_string())(error);
    let lock = lock.map(Lock::share).transpose().map_err(failed)?;
    let argument = serde_json::to_string(request).map_err(|error| failed(error.into()))?;
    // By the kernel's link, which leads to the file even if it was replaced meanwhile.
    let mut child = Command::new("/proc/self/exe")
        .args([COMMAND, &argument])
        .env_clear()
        .stdin(lock.map_or_else(Stdio::null, Stdio::from))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let (sender, answer) = mpsc::channel();
    let stdout = child.stdout.take();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.map(|stdout| stdout.take(LONGEST).read_to_end(&mut bytes));
        let _ = sender.send(read.unwrap_or(Ok(0)).map(|_| bytes));
    });
    match answer.recv_timeout(DEADLINE) {
        Ok(bytes) => {
            child.wait().map_err(failed)?;
            parse(&bytes.map_err(failed)?, request)
        }
        Err(_) => {
            // Not waited for: it may end only when the kernel lets it.
            let _ = child.kill();
            let text = format!("{request}: no answer within {} s", DEADLINE.as_secs());
            Err(Error::new(Code::TryAgain, text)
                .advise("something holds the node's generic netlink, or the card's devlink"))
        }
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8], request: &Request) -> Result<T> {
    let answer: std::result::Result<T, String> =
        serde_json::from_slice(bytes).map_err(Error::because(Code::Io, request.to_string()))?;
    answer.map_err(|error| Error::new(Code::Io, format!("{request}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_was_asked_for_none_or_words() {
        let request = Request::VdpaConfig("v0".into());
        let parse = |bytes: &[u8]| parse::<Option<Config>>(bytes, &request);
        let config = Config { mtu: Some(1400), ..Config::default() };
        let told: std::result::Result<_, String> = Ok(Some(config.clone()));
        let text = serde_json::to_string(&told).unwrap();
        assert_eq!(parse(text.as_bytes()).unwrap(), Some(config));
        assert_eq!(parse(br#"{"Ok":null}"#).unwrap(), None);
        let error = parse(br#"{"Err":"refused"}"#).unwrap_err();
        assert_eq!(error.to_string(), "ask for the configuration of vDPA device v0: refused");
        assert!(parse(b"").is_err(), "it died");
    }

    #[test]
    fn a_request_goes_through_the_command_line() {
        let (pf, mac) = ("0000:01:00.0".parse().unwrap(), Mac([2, 0, 0, 0, 0, 1]));
        for request in [
            Request::VdpaConfig("v 0".into()),
            Request::Port(pf, 7),
            Request::SetMac(pf, 65538, mac),
            Request::SetRates(pf, 2, RateChange { min: None, max: Some(50) }),
        ] {
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request, "{text}");
        }
    }
}
