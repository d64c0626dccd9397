//! Calls that can sleep in the kernel for ever: a thread of their own, a deadline, and a marker
//! that other processes see.
//!
//! Some calls cannot be interrupted, not even by SIGKILL, until somebody else closes a file
//! (unbinding vhost_vdpa, `sriov_numvfs`, deleting a vDPA device). So:
//! 1. the calling thread waits for the answer no longer than a deadline;
//! 2. the call runs in a thread that may be left behind;
//! 3. before the call a marker `<dir>/<device id>` is on the disk, and after it is gone again.
//!
//! The marker is what stops others. A generic netlink call that sleeps holds a lock that every
//! other generic netlink call of the node needs, so while *any* marker is live, none is made
//! ([`Reach::GenericNetlink`]); a sysfs call only stays away from its own device.
//!
//! A marker is live for as long as its thread holds a lock (flock) on it. The kernel drops the lock
//! when the last thread of the process is gone, and a thread that sleeps in the kernel is not gone
//! even when its process was killed. So it holds over a restart, needs no common view of process
//! numbers between containers, and no marker outlives a reboot. What is written in the marker is
//! for people.

use std::{
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use tracing::warn;

pub use self::marker::{Live, Marker, live};
use crate::{
    error::{Error, Result},
    root::Root,
    worker,
};

mod marker;

/// How often a marker that is in the way is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a call can hold up, and so what may hold it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// One device's lock: stays away while a call on the same device is out.
    Device,
    /// The node's generic netlink: stays away while a call on any device is out.
    GenericNetlink,
}

/// A call that may not come back.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The directory of markers, common to all processes; made where it is missing.
    pub dir: &'a Path,
    /// The device id: the marker's file name.
    pub device: &'a str,
    /// What is done, for errors and people: `unbind vhost_vdpa of`.
    pub op: &'a str,
    /// What it can hold up.
    pub reach: Reach,
    /// How long the caller waits: for markers in the way, and then again for the call.
    pub deadline: Duration,
}

/// Makes a call that may not come back.
///
/// Waits for markers in the way, then for the call. [`Error::Stuck`] if the way was not free in
/// time and nothing was done; [`Error::Deadline`] if the call is out: its thread goes on, and its
/// marker stays until it comes back.
pub fn run<T: Send + 'static>(
    root: &Root,
    call: Call<'_>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    wait_for_way(call)?;
    let (sender, answer) = mpsc::channel();
    let (root, dir) = (root.clone(), call.dir.to_owned());
    let (device, op) = (call.device.to_owned(), call.op.to_owned());
    let place = {
        let (device, op) = (device.clone(), op.clone());
        move || Marker::place(&root, &dir, &device, &op)
    };
    // The marker is the thread's own: its lock must live as long as the call.
    let made = move || {
        let marker = place()?;
        let result = work();
        marker.remove().and(result)
    };
    let told = move |result| {
        if sender.send(result).is_err() {
            warn!(device, op, "a call that was given up has come back");
        }
    };
    worker::run(made, told)
        .map_err(|source| Error::io(format!("start thread to {}", call.op), call.device, source))?;
    match answer.recv_timeout(call.deadline) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => {
            warn!(device = call.device, op = call.op, "no answer from the kernel");
            Err(Error::Deadline {
                op: call.op.to_owned(),
                object: call.device.to_owned(),
                after: call.deadline,
            })
        }
        Err(RecvTimeoutError::Disconnected) => Err(Error::Unexpected {
            object: format!("thread to {} {}", call.op, call.device),
            found: "a panic".to_owned(),
            expected: "an answer".to_owned(),
        }),
    }
}

/// Succeeds if nothing is in a call's way now.
///
/// For generic netlink calls that cannot sleep themselves, but would wait behind one that does.
pub fn check(dir: &Path, device: &str, op: &str, reach: Reach) -> Result<()> {
    let in_the_way = |live: &Live| match reach {
        Reach::Device => live.device == device,
        Reach::GenericNetlink => true,
    };
    match live(dir)?.into_iter().find(in_the_way) {
        Some(live) => Err(Error::Stuck {
            op: op.to_owned(),
            object: device.to_owned(),
            earlier: format!("call ({})", live.text),
        }),
        None => Ok(()),
    }
}

fn wait_for_way(call: Call<'_>) -> Result<()> {
    let start = Instant::now();
    loop {
        match check(call.dir, call.device, call.op, call.reach) {
            Err(Error::Stuck { .. }) if start.elapsed() < call.deadline => {
                thread::sleep(LOOK_AGAIN.min(call.deadline));
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests;
