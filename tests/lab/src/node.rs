//! Commands in the node, by ssh through the lab's network.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::holder::Holder;
use crate::parts::Parts;
use crate::place::Place;
use crate::run;
use crate::wait::Pace;

/// The node's address on the management network.
const ADDRESS: &str = "root@10.77.0.11";

/// The node as seen from the host.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    holder: Holder,
    key: PathBuf,
    control: PathBuf,
}

impl Node {
    /// Addresses the node of a lab; contacts nobody.
    pub(crate) fn new(place: &Place, parts_key: &Path, holder: &Holder) -> Self {
        Self {
            holder: holder.clone(),
            key: parts_key.to_owned(),
            control: place.sockets.join("ssh"),
        }
    }

    /// The key that opens a node booted from these parts.
    pub(crate) fn key(parts: &Parts) -> PathBuf {
        parts.disk.path("key")
    }

    /// A command in the node, to be run as the caller likes.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.ssh(self.holder.command("ssh"));
        command.arg(ADDRESS).arg("--").args(words);
        command
    }

    /// Runs a shell line in the node and gives its output.
    pub(crate) fn run(&self, line: &str) -> Result<String> {
        run::output(self.command([line])).with_context(|| format!("in the node: {line}"))
    }

    /// Waits until the node answers, then opens one connection that all commands share: under
    /// emulation each handshake costs a second.
    pub(crate) fn connect(&self, pace: Pace, mut alive: impl FnMut() -> Result<()>) -> Result<()> {
        if let Some(dir) = self.control.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::remove_file(&self.control).ok();
        pace.until("the node answers ssh", Duration::from_secs(30), || {
            alive()?;
            let mut master = self.ssh(self.holder.resident("ssh"));
            master.args(["-o", "ControlMaster=yes", "-o", "ControlPersist=yes"]);
            master.args(["-f", "-N", ADDRESS]).stdout(Stdio::null()).stderr(Stdio::null());
            Ok(master.status().context("start ssh")?.success().then_some(()))
        })
    }

    fn ssh(&self, mut command: Command) -> Command {
        command.args(["-F", "none", "-i"]).arg(&self.key);
        command.arg("-o").arg(format!("ControlPath={}", self.control.display()));
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=5",
        ] {
            command.args(["-o", option]);
        }
        command
    }
}
