//! `ringway hook memlock`: an OCI `createRuntime` hook (OCI runtime specification, config.md,
//! section "POSIX-platform Hooks") for containers that hold vhost-vdpa or vfio devices.
//!
//! Such a device pins the guest's memory, which counts against RLIMIT_MEMLOCK, and a runtime's
//! default for that is 8 MiB. The hook runs when the container's process exists but not its
//! program. A limit in the OCI configuration itself is set later, and wins.

use std::io::Read;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde::Deserialize;

/// The most that is read of a state, in bytes.
const LONGEST: u64 = 1 << 20;

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    pid: i32,
    #[serde(default)]
    id: String,
}

/// Lifts the limit of the process in an OCI state.
pub fn memlock(input: impl Read) -> Result<()> {
    let (pid, id) = container(input)?;
    let unlimited = Rlimit { current: None, maximum: None };
    prlimit(Some(pid), Resource::Memlock, unlimited)
        .with_context(|| format!("lift RLIMIT_MEMLOCK of process {pid} of container {id:?}"))?;
    Ok(())
}

fn container(input: impl Read) -> Result<(Pid, String)> {
    let mut bytes = Vec::new();
    input.take(LONGEST + 1).read_to_end(&mut bytes).context("read OCI state")?;
    if bytes.len() as u64 > LONGEST {
        bail!("read OCI state: more than {LONGEST} bytes");
    }
    let State { pid, id } = serde_json::from_slice(&bytes).context("parse OCI state")?;
    // Zero would be ourselves.
    let process = if pid > 0 { Pid::from_raw(pid) } else { None };
    let process = process
        .with_context(|| format!("OCI state of container {id:?}: pid {pid} is no process"))?;
    Ok((process, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_of_a_state_is_found() {
        let state = br#"{"ociVersion":"1.2.0","id":"c1","status":"creating","pid":4242,
                         "bundle":"/b","annotations":{"pid":"1"}}"#;
        let (pid, id) = container(&state[..]).unwrap();
        assert_eq!((pid.as_raw_nonzero().get(), id.as_str()), (4242, "c1"));
    }

    #[test]
    fn what_names_no_process_is_refused() {
        for bad in ["", "[]", "{}", r#"{"pid":0}"#, r#"{"pid":-1}"#, r#"{"pid":"1"}"#] {
            assert!(container(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(container(std::io::repeat(b' ')).is_err());
    }

    /// Lifting takes CAP_SYS_RESOURCE, so that only the refusal of an absent process is shown here.
    #[test]
    fn a_process_that_is_gone_is_named() {
        let state = format!(r#"{{"pid":{},"id":"c1"}}"#, i32::MAX);
        let error = format!("{:#}", memlock(state.as_bytes()).unwrap_err());
        assert!(error.contains("process 2147483647 of container \"c1\""), "{error}");
    }
}
