//! Runs a program and kills it right before or right after one of its writes: the system calls by
//! which it changes files, sysfs or, over netlink, the kernel.
//!
//! Killed at the entry of a call, the call is not carried out (`ptrace_report_syscall` in
//! include/linux/ptrace.h); killed at its exit, it has been, and nobody was told. Register names
//! and call numbers are x86-64's, as the lab is.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc::{self, c_long};
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Where a program is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    /// Which of its writes, the first being 1.
    pub(crate) write: usize,
    /// Once that is done, not before it is.
    pub(crate) after: bool,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum End {
    /// It was killed at this call.
    Killed(String),
    /// It ended by itself, with this status, before it came there.
    Status(i32),
}

/// Runs a program, its own threads and no other process of it, up to a point.
pub(crate) fn run(program: &[String], point: Point) -> End {
    let leader = start(program);
    let (mut writes, mut traced, mut inside) = (0, false, BTreeSet::new());
    let mut end = End::Status(-1);
    loop {
        let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Err(Errno::ECHILD) => return end,
            status => status.unwrap(),
        };
        let (pid, signal) = match status {
            WaitStatus::Exited(pid, code) if pid == leader && matches!(end, End::Status(_)) => {
                end = End::Status(code);
                continue;
            }
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
            WaitStatus::PtraceEvent(pid, _, event) => {
                // before it is the program, it is the shell that starts it
                traced |= event == Event::PTRACE_EVENT_EXEC as i32;
                (pid, None)
            }
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            WaitStatus::PtraceSyscall(pid) => {
                let enters = inside.insert(pid);
                if !enters {
                    inside.remove(&pid);
                }
                if let Some(call) = write_of(pid).filter(|_| traced) {
                    writes += usize::from(enters);
                    if writes == point.write && enters != point.after {
                        end = End::Killed(call);
                        kill(leader, Signal::SIGKILL).unwrap();
                        continue;
                    }
                }
                (pid, None)
            }
            other => panic!("{other:?}"),
        };
        match ptrace::syscall(pid, signal) {
            // killed with its leader meanwhile
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("go on: {error}"),
        }
    }
}

/// Starts it stopped, so that none of its calls is missed.
#[expect(clippy::zombie_processes, reason = "whoever traces it waits for it")]
fn start(program: &[String]) -> Pid {
    let child = Command::new("sh")
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .args(program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert!(matches!(stopped, WaitStatus::Stopped(..)), "{stopped:?}");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    pid
}

/// The call that a thread is at, in words, if it is one that writes.
fn write_of(pid: Pid) -> Option<String> {
    let Ok(regs) = ptrace::getregs(pid) else { return None };
    let call = c_long::try_from(regs.orig_rax).ok()?;
    let path = |address: u64| text_at(pid, address);
    let file = |fd: u64| {
        let link = fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap_or_default();
        link.display().to_string()
    };
    match call {
        // what it says is nobody's state
        libc::SYS_write | libc::SYS_pwrite64 if regs.rdi > 2 => {
            let file = file(regs.rdi);
            let world = !file.starts_with("anon_inode:") && !file.starts_with("pipe:");
            world.then(|| format!("write {file}"))
        }
        libc::SYS_sendto => request_at(pid, regs.rdi, regs.rsi),
        libc::SYS_openat => {
            let creates = libc::O_CREAT | libc::O_TRUNC;
            let changes = regs.rdx & u64::try_from(creates).ok()? != 0;
            changes.then(|| format!("create {}", path(regs.rsi)))
        }
        libc::SYS_rename | libc::SYS_link => Some(format!("rename to {}", path(regs.rsi))),
        libc::SYS_renameat | libc::SYS_renameat2 | libc::SYS_linkat => {
            Some(format!("rename to {}", path(regs.r10)))
        }
        libc::SYS_unlink | libc::SYS_rmdir => Some(format!("remove {}", path(regs.rdi))),
        libc::SYS_unlinkat => Some(format!("remove {}", path(regs.rsi))),
        libc::SYS_mkdir => Some(format!("make directory {}", path(regs.rdi))),
        libc::SYS_mkdirat => Some(format!("make directory {}", path(regs.rsi))),
        libc::SYS_fchmod | libc::SYS_ftruncate => Some(format!("change {}", file(regs.rdi))),
        libc::SYS_finit_module => Some(format!("load module {}", file(regs.rdi))),
        _ => None,
    }
}

/// A netlink request that changes something; one that asks does not.
fn request_at(pid: Pid, fd: u64, address: u64) -> Option<String> {
    // include/uapi/linux/netlink.h: the header's type is at 4; what follows it is at 16
    let mut message = [0; 17];
    File::open(format!("/proc/{pid}/mem")).ok()?.read_exact_at(&mut message, address).ok()?;
    let kind = u16::from_ne_bytes([message[4], message[5]]);
    match protocol(pid, fd)? {
        // RTM_NEW, RTM_DEL, RTM_GET and RTM_SET of a thing follow each other (rtnetlink.h)
        "0" => (kind % 4 != 2).then(|| format!("route netlink request of type {kind}")),
        // a command of the family: VDPA_CMD_DEV_NEW, DEV_DEL and DEV_ATTR_SET (vdpa.h), and
        // DEVLINK_CMD_ESWITCH_SET (devlink.h); GENL_ID_CTRL only tells of families
        "16" => {
            let command = message[16];
            let changes = kind != 16 && [3, 4, 8, 30].contains(&command);
            changes.then(|| format!("generic netlink request of command {command}"))
        }
        _ => None,
    }
}

/// The protocol of a netlink socket, as /proc/net/netlink has it in its second column, beside the
/// inode in its last.
fn protocol(pid: Pid, fd: u64) -> Option<&'static str> {
    let link = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
    let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
    let sockets = fs::read_to_string(format!("/proc/{pid}/net/netlink")).ok()?;
    let lines = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of = |protocol: &'static str| {
        let mut lines = lines.clone();
        let ours = |words: Vec<&str>| {
            words.get(1) == Some(&protocol) && words.last().copied() == Some(inode.as_str())
        };
        lines.any(ours).then_some(protocol)
    };
    of("0").or_else(|| of("16"))
}

fn text_at(pid: Pid, address: u64) -> String {
    let mut bytes = [0; 256];
    let memory = File::open(format!("/proc/{pid}/mem"));
    let read = memory.and_then(|memory| memory.read_at(&mut bytes, address)).unwrap_or_default();
    let text = bytes[..read].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
