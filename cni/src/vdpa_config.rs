//! What the kernel tells of a vDPA device, for CHECK. It is told by generic netlink, whose one lock
//! somebody's call may hold for ever: so a child asks, which can be left behind as a thread cannot. A
//! process ends only with its last thread.

use std::{
    io::Read,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use ringway_kernel::{
    stuck,
    vdpa::{Config, Vdpa},
};
use ringway_node::DeviceId;

use crate::{
    error::{Code, Error, Result},
    world::World,
};

/// The command of the host's that asks.
pub const COMMAND: &str = "vdpa-config";

const DEADLINE: Duration = Duration::from_secs(5);
/// An answer is much shorter.
const LONGEST: u64 = 64 << 10;

/// The configuration of a device; `None` if the kernel tells of no such device: one whose driver made
/// it by itself. Code 11 while generic netlink is held up.
pub fn ask(world: &World, device: &DeviceId, vdpa: &str) -> Result<Option<Config>> {
    stuck::check(&world.paths.stuck, device.as_str(), "check", stuck::Reach::GenericNetlink)?;
    let about = || format!("ask for the configuration of vDPA device {vdpa}");
    let failed = |error| Error::because(Code::Io, about())(error);
    // By the kernel's link, which leads to the file even if it was replaced meanwhile.
    let mut child = Command::new("/proc/self/exe")
        .args([COMMAND, vdpa])
        .env_clear()
        .stdin(Stdio::null())
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
            parse(&bytes.map_err(failed)?, &about())
        }
        Err(_) => {
            // Not waited for: it may end only when the kernel lets it.
            let _ = child.kill();
            let text = format!("{}: no answer within {} s", about(), DEADLINE.as_secs());
            Err(Error::new(Code::TryAgain, text)
                .advise("something holds the node's generic netlink"))
        }
    }
}

/// The child's part: an answer in JSON.
pub fn tell(vdpa: &str) -> String {
    let config = match Vdpa::open() {
        Ok(Some(family)) => family.config(vdpa).map(Some),
        other => other.map(|_| None),
    };
    let answer: std::result::Result<_, String> = match config {
        Err(error) if error.is_missing() => Ok(None),
        config => config.map_err(|error| Error::from(error).chain()),
    };
    serde_json::to_string(&answer).unwrap_or_default()
}

fn parse(bytes: &[u8], about: &str) -> Result<Option<Config>> {
    let answer: std::result::Result<_, String> =
        serde_json::from_slice(bytes).map_err(Error::because(Code::Io, about.to_owned()))?;
    answer.map_err(|error| Error::new(Code::Io, format!("{about}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_configuration_none_or_words() {
        let config = Config { mtu: Some(1400), ..Config::default() };
        let told: std::result::Result<_, String> = Ok(Some(config.clone()));
        let text = serde_json::to_string(&told).unwrap();
        assert_eq!(parse(text.as_bytes(), "x").unwrap(), Some(config));
        assert_eq!(parse(br#"{"Ok":null}"#, "x").unwrap(), None);
        let error = parse(br#"{"Err":"refused"}"#, "ask").unwrap_err();
        assert_eq!(error.to_string(), "ask: refused");
        assert!(parse(b"", "ask").is_err(), "it died");
    }
}
