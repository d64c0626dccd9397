//! Running a plugin: bounded in time and in output.

use std::{
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::{Code, Error, Result};

/// How long a plugin may take. The runtime gives us two minutes and kills us then (kubelet's
/// `runtimeRequestTimeout`).
pub const DEADLINE: Duration = Duration::from_secs(60);
/// What it may print, in bytes.
const LONGEST: u64 = 1 << 20;
/// How often a process that closed its output is asked whether it ended.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

pub(super) struct Output {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
}

/// The plugin's file in the first directory of `CNI_PATH` that has it.
pub fn find(path: &[PathBuf], kind: &str) -> Result<PathBuf> {
    let runs = |file: &PathBuf| {
        file.metadata()
            .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    };
    path.iter().map(|dir| dir.join(kind)).find(runs).ok_or_else(|| {
        let dirs: Vec<_> = path.iter().map(|dir| dir.display().to_string()).collect();
        let text = format!("IPAM plugin {kind} is not in CNI_PATH={:?}", dirs.join(":"));
        Error::new(Code::Config, text)
            .advise("install it, or correct ipam.type in the network configuration")
    })
}

pub(super) fn run(
    program: &Path,
    environment: &[(&str, String)],
    input: Vec<u8>,
) -> Result<Output> {
    run_within(program, environment, input, DEADLINE)
}

pub(super) fn run_within(
    program: &Path,
    environment: &[(&str, String)],
    input: Vec<u8>,
    deadline: Duration,
) -> Result<Output> {
    let start = Instant::now();
    let failed = |op: &str| format!("{op} IPAM plugin {}", program.display());
    let mut child = Command::new(program)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Of its own, so that what it started ends with it.
        .process_group(0)
        .spawn()
        .map_err(Error::because(Code::Ipam, failed("start")))?;
    let output = talk(&mut child, input);
    let stdout = match output.recv_timeout(deadline) {
        Ok(Ok(stdout)) if stdout.len() as u64 <= LONGEST => stdout,
        Ok(Ok(_)) => {
            end(&mut child);
            let text = format!("{}: more than {LONGEST} bytes", failed("read output of"));
            return Err(Error::new(Code::Ipam, text));
        }
        Ok(Err(error)) => {
            end(&mut child);
            return Err(Error::because(Code::Ipam, failed("read output of"))(error));
        }
        Err(_) => {
            end(&mut child);
            return Err(too_late(program, deadline));
        }
    };
    loop {
        let status = child.try_wait().map_err(Error::because(Code::Ipam, failed("wait for")))?;
        match status {
            Some(status) => return Ok(Output { status, stdout }),
            None if start.elapsed() >= deadline => {
                end(&mut child);
                return Err(too_late(program, deadline));
            }
            None => thread::sleep(LOOK_AGAIN),
        }
    }
}

/// Writes and reads at once: a plugin may fill its output before it has read its input.
fn talk(child: &mut Child, input: Vec<u8>) -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
    if let Some(mut stdin) = child.stdin.take() {
        thread::spawn(move || {
            // A plugin may well end without reading all of it.
            let _ = stdin.write_all(&input);
        });
    }
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = stdout.take(LONGEST + 1).read_to_end(&mut bytes);
            let _ = sender.send(read.map(|_| bytes));
        });
    }
    receiver
}

fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

fn too_late(program: &Path, deadline: Duration) -> Error {
    let text = format!(
        "IPAM plugin {}: no answer within {} s, killed",
        program.display(),
        deadline.as_secs()
    );
    Error::new(Code::TryAgain, text)
}
