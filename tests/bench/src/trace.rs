//! What a process does and takes, call by call: it is traced, so that its time says nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::cni::give_environment;

/// What one run of a program came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace {
    /// System calls of all its threads, from the first behind exec.
    pub(crate) calls: u32,
    /// The most memory that was in use at a time, in KiB (`VmHWM`).
    pub(crate) peak: u32,
}

/// Runs a program to its end, which must be a success. No other process of ours may run meanwhile.
pub(crate) fn of(command: &Command, input: &str) -> Result<Trace> {
    let leader = start(command, input)?;
    // who is in a call: that stops it at its begin and at its end
    let (mut inside, mut calls, mut peak) = (None::<BTreeSet<Pid>>, 0, None);
    loop {
        let (pid, signal) = match waitpid(None, Some(WaitPidFlag::__WALL)).context("wait")? {
            WaitStatus::Exited(pid, status) if pid == leader => {
                ensure!(status == 0, "{command:?}: exit status {status}");
                return Ok(Trace { calls, peak: peak.context("its end was not seen")? });
            }
            WaitStatus::Signaled(pid, signal, _) if pid == leader => bail!("{command:?}: {signal}"),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
            WaitStatus::PtraceEvent(pid, _, event) => {
                if event == Event::PTRACE_EVENT_EXEC as i32 {
                    // the shell is over, and exec still to end
                    (inside, calls) = (Some([pid].into()), 0);
                }
                if event == Event::PTRACE_EVENT_EXIT as i32 && pid == leader {
                    peak = Some(most_memory(pid)?);
                }
                (pid, None)
            }
            WaitStatus::PtraceSyscall(pid) => {
                if let Some(inside) = &mut inside
                    && !inside.remove(&pid)
                {
                    inside.insert(pid);
                    calls += 1;
                }
                (pid, None)
            }
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            other => bail!("{command:?}: {other:?}"),
        };
        match ptrace::syscall(pid, signal) {
            // killed with its leader meanwhile
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).context("go on"),
        }
    }
}

/// Starts it by a shell that stops itself first, so that none of its calls is missed.
fn start(command: &Command, input: &str) -> Result<Pid> {
    let mut stdin = tempfile::tempfile()?;
    stdin.write_all(input.as_bytes())?;
    stdin.rewind()?;
    let mut shell = Command::new("sh");
    shell.args(["-c", "kill -STOP $$; exec \"$@\"", "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    give_environment(&mut shell, command);
    let output = || File::options().write(true).open("/dev/null");
    let child = shell.stdin(Stdio::from(stdin)).stdout(output()?).stderr(output()?).spawn()?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED))?;
    ensure!(matches!(stopped, WaitStatus::Stopped(..)), "{stopped:?}");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACEEXIT
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).context("trace")?;
    kill(pid, Signal::SIGCONT)?;
    Ok(pid)
}

fn most_memory(pid: Pid) -> Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read its status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.and_then(|number| number.parse().ok()).context("it has no VmHWM")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_and_memory_is_the_programs_own() {
        let shell = |line: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", line]);
            of(&command, "").unwrap()
        };
        let (nothing, something) = (shell("exit 0"), shell("umask; umask; umask; exit 0"));
        assert_eq!(shell("exit 0").calls, nothing.calls);
        assert!(something.calls >= nothing.calls + 3, "{nothing:?} {something:?}");
        assert!((100..100_000).contains(&nothing.peak), "{nothing:?}");
        let mut failing = Command::new("sh");
        failing.args(["-c", "read status; exit $status"]);
        let error = of(&failing, "3\n").unwrap_err().to_string();
        assert!(error.contains("exit status 3"), "{error}");
    }
}
