//! The process that holds a lab. Everything in the lab lives in its PID and network namespaces, so
//! when it ends, every process, bridge and tap of the lab ends with it.
//!
//! It reads its standard input: whoever started it keeps the other end. If that process dies
//! before it says `keep`, the holder sees the end of the input and ends too. So an interrupted
//! `up` leaves nothing behind, whatever interrupted it, and no signal handler is needed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::place::Place;
use crate::wait::Pace;

/// First process of the lab. It ignores SIGCHLD in the end so that orphans leave no zombies.
const FIRST: &str =
    "ip link set lo up && echo ready && read keep && exec env --ignore-signal=CHLD sleep infinity";

/// A living holder, known by process id and start time: ids are reused, the pair is not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pid: u32,
    started: u64,
}

/// Keeps a lab alive as long as this value, or its process, lives.
#[derive(Debug)]
pub(crate) struct Lease {
    child: Child,
    input: Option<ChildStdin>,
}

impl Holder {
    /// Starts the holder of a new lab.
    pub(crate) fn start(place: &Place) -> Result<(Self, Lease)> {
        fs::create_dir_all(&place.state)?;
        // not our own standard error: whoever reads it would wait for the lab's end
        let log = fs::File::create(place.state.join("holder.log"))?;
        let mut child = Command::new("setsid")
            .args(["unshare", "--net", "--pid", "--mount", "--fork", "--kill-child=KILL"])
            .args(["--mount-proc", "--", "sh", "-c", FIRST])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("start the lab's namespaces")?;
        let mut answer = String::new();
        let stdout = child.stdout.take().context("the holder has an output")?;
        BufReader::new(stdout).read_line(&mut answer)?;
        ensure!(
            answer == "ready\n",
            "the lab's first process did not get ready: {}",
            fs::read_to_string(place.state.join("holder.log")).unwrap_or_default()
        );
        let input = child.stdin.take();
        let holder = Self::first_child_of(child.id())?;
        fs::write(holder_file(place), serde_json::to_vec(&holder)?)?;
        Ok((holder, Lease { child, input }))
    }

    /// The holder that this checkout's lab has now, if it lives.
    pub(crate) fn find(place: &Place) -> Option<Self> {
        let bytes = fs::read(holder_file(place)).ok()?;
        let holder: Self = serde_json::from_slice(&bytes).ok()?;
        (start_time(holder.pid) == Some(holder.started)).then_some(holder)
    }

    /// A command in the lab's network, which a terminal's interrupt reaches as any other.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.pid)).args(["--net", "--", program]);
        command
    }

    /// A command that belongs to the lab: it ends with it, and not before its starter does.
    pub(crate) fn resident(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("setsid");
        command
            .arg("nsenter")
            .arg(format!("--target={}", self.pid))
            .args(["--net", "--pid", "--"])
            .arg(program)
            .stdin(Stdio::null());
        command
    }

    /// Ends the lab and everything in it.
    pub(crate) fn end(&self) -> Result<()> {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid)?).context("a pid")?;
        match rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(e) => return Err(e).context("end the lab's first process"),
        }
        // gone, or a zombie that its parent has yet to collect: nothing of it runs any more
        Pace::UNKNOWN.until(
            "end of the lab's processes",
            std::time::Duration::from_secs(10),
            || Ok((start_time(self.pid) != Some(self.started)).then_some(())),
        )
    }

    fn first_child_of(parent: u32) -> Result<Self> {
        let path = format!("/proc/{parent}/task/{parent}/children");
        let children = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let Some(pid) = children.split_whitespace().next() else {
            bail!("the lab's first process is gone already")
        };
        let pid = pid.parse()?;
        let started = start_time(pid).context("the lab's first process is gone already")?;
        Ok(Self { pid, started })
    }
}

impl Lease {
    /// Lets the lab outlive this process.
    pub(crate) fn keep(mut self) -> Result<()> {
        let mut input = self.input.take().context("the lease is still held")?;
        input.write_all(b"keep\n").context("hand the lab over")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // the end of its input ends the holder; collect it, so that no zombie stays
        if self.input.take().is_some() {
            let _ = self.child.wait();
        }
    }
}

fn holder_file(place: &Place) -> PathBuf {
    place.state.join("holder.json")
}

/// A process's start time in clock ticks since boot (proc(5), stat field 22); `None` for zombies.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    start_time_in(&stat)
}

fn start_time_in(stat: &str) -> Option<u64> {
    // the second field is a name that may hold spaces and parentheses
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        assert_eq!(start_time_in(stat), Some(4711));
        assert_eq!(start_time_in(&stat.replace(") S", ") Z")), None);
        assert_eq!(start_time_in("nonsense"), None);
    }

    #[test]
    fn our_own_process_is_alive() {
        assert!(start_time(std::process::id()).is_some());
    }
}
