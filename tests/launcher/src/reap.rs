//! What the first process of a container owes to orphans: libvirt's looks at QEMU leave some
//! behind, and each one that nobody waits for costs libvirt a minute.

use std::process::Command;

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use tokio::signal::unix::{SignalKind, signal};

/// Runs `work`, waits for every child and orphan until it ends, and gives its exit code as a shell
/// does: 128 and the signal's number if a signal ended it. SIGTERM is passed on.
///
/// # Errors
/// `work` cannot be started.
pub async fn run(mut work: Command) -> Result<u8> {
    // before the start, so that no child is missed
    let mut ended = signal(SignalKind::child()).context("watch for SIGCHLD")?;
    let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let child = work.spawn().with_context(|| format!("start {:?}", work.get_program()))?;
    let child = Pid::from_child(&child);
    loop {
        tokio::select! {
            _ = ended.recv() => {}
            _ = terminate.recv() => kill_process(child, Signal::TERM).context("pass SIGTERM on")?,
        }
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == child => return Ok(code(status)),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                Err(error) => return Err(error).context("wait for children"),
            }
        }
    }
}

fn code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|n| 128 + n));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
