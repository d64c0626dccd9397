//! Runs a program and kills it right before or right after one of its writes: the system calls by
//! which it changes files, sysfs or, over netlink, the kernel.
//!
//! A seccomp filter stops it at calls that may be writes, and at no other: so it runs nearly as fast
//! as alone. Killed where the filter stops it, the call is not carried out (`__seccomp_filter` in
//! kernel/seccomp.c looks for fatal signals); killed at the call's exit, it has been, and nobody was
//! told. Register names and call numbers are x86-64's, as the lab is.

#![allow(unsafe_code, reason = "a filter is installed between fork and exec")]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
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

/// How many writes a program makes when nobody kills it; it must succeed.
pub(crate) fn writes(program: &[String]) -> usize {
    let nowhere = Point { write: usize::MAX, after: false };
    match follow(program, nowhere) {
        (End::Status(0), writes) => writes,
        (end, _) => panic!("{program:?}: {end:?}"),
    }
}

/// Runs a program up to a point. The writes of its threads count, not those of its children, which
/// end by themselves.
pub(crate) fn run(program: &[String], point: Point) -> End {
    follow(program, point).0
}

fn follow(program: &[String], point: Point) -> (End, usize) {
    let leader = start(program);
    let (mut writes, mut traced, mut last) = (0, false, None);
    let mut end = End::Status(-1);
    loop {
        let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Err(Errno::ECHILD) => return (end, writes),
            status => status.unwrap(),
        };
        let (pid, signal, mut to_exit) = match status {
            WaitStatus::Exited(pid, code) if pid == leader && matches!(end, End::Status(_)) => {
                end = End::Status(code);
                continue;
            }
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
            WaitStatus::PtraceEvent(pid, _, event) => {
                // before it is the program, it is the shell that starts it
                traced |= event == Event::PTRACE_EVENT_EXEC as i32;
                (pid, None, event == Event::PTRACE_EVENT_SECCOMP as i32)
            }
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal), false),
            WaitStatus::PtraceSyscall(pid) => {
                if let Some(call) = last.take() {
                    end = End::Killed(call);
                    kill(leader, Signal::SIGKILL).unwrap();
                }
                (pid, None, false)
            }
            other => panic!("{other:?}"),
        };
        if to_exit {
            let call = write_of(pid).filter(|_| traced && is_of(pid, leader));
            writes += usize::from(call.is_some());
            to_exit = call.is_some() && writes == point.write;
            if to_exit && !point.after {
                end = End::Killed(call.unwrap_or_default());
                kill(leader, Signal::SIGKILL).unwrap();
                continue;
            }
            last = call.filter(|_| to_exit).or(last);
        }
        let go_on = if to_exit { ptrace::syscall(pid, signal) } else { ptrace::cont(pid, signal) };
        match go_on {
            // killed with its leader meanwhile
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("go on: {error}"),
        }
    }
}

/// Starts it stopped, so that none of its calls is missed.
#[expect(clippy::zombie_processes, reason = "whoever traces it waits for it")]
fn start(program: &[String]) -> Pid {
    let mut command = Command::new("sh");
    command
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .args(program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let filter = filter();
    // SAFETY: between fork and exec it makes one system call, and takes no memory.
    let child = unsafe { command.pre_exec(move || install(&filter)) }.spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert!(matches!(stopped, WaitStatus::Stopped(..)), "{stopped:?}");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACESECCOMP
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    pid
}

/// Stops at calls that [`write_of`] may take for a write. The shell that starts the program makes
/// none before somebody traces it: such a call would fail.
fn filter() -> Vec<libc::sock_filter> {
    let op = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt,
        jf,
        k,
    };
    // `struct seccomp_data`: the call's number is at 0, its arguments of 8 bytes are from 16 on
    let load = |at: u32| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at);
    let answer = |what: u32| op(libc::BPF_RET | libc::BPF_K, 0, 0, what);
    let is = |call: c_long, jt: u8| {
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, jt, 0, u32::try_from(call).unwrap())
    };
    let always = [
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_rename,
        libc::SYS_renameat,
        libc::SYS_renameat2,
        libc::SYS_link,
        libc::SYS_linkat,
        libc::SYS_unlink,
        libc::SYS_unlinkat,
        libc::SYS_rmdir,
        libc::SYS_mkdir,
        libc::SYS_mkdirat,
        libc::SYS_fchmod,
        libc::SYS_ftruncate,
        libc::SYS_finit_module,
    ];
    let flags = u32::try_from(libc::O_CREAT | libc::O_TRUNC).unwrap();
    let tail = [
        answer(libc::SECCOMP_RET_ALLOW),
        // write, pwrite64: to another file than the standard ones
        load(16),
        op(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 3, 0, 2),
        answer(libc::SECCOMP_RET_ALLOW),
        // openat: makes or empties the file
        load(16 + 2 * 8),
        op(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 1, flags),
        answer(libc::SECCOMP_RET_TRACE),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let calls = always.map(|call| (call, 6));
    let calls = [(libc::SYS_write, 1), (libc::SYS_pwrite64, 1), (libc::SYS_openat, 4)]
        .into_iter()
        .chain(calls);
    let calls: Vec<_> = calls.collect();
    let count = calls.len();
    // a jump is over as many as are left, and into the tail
    let jump = |(i, (call, into)): (usize, (c_long, usize))| {
        is(call, u8::try_from(count - 1 - i + into).unwrap())
    };
    let jumps = calls.into_iter().enumerate().map(jump);
    [load(0)].into_iter().chain(jumps).chain(tail).collect()
}

fn install(filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap_or_default(),
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the program is valid for as long as the call takes, which copies it.
    let done =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether a thread is one of the program's own.
fn is_of(pid: Pid, leader: Pid) -> bool {
    pid == leader || fs::exists(format!("/proc/{leader}/task/{pid}")).unwrap_or_default()
}

/// The call that a thread is at, in words, if it is one that writes.
fn write_of(pid: Pid) -> Option<String> {
    let Ok(regs) = ptrace::getregs(pid) else { return None };
    let call = c_long::try_from(regs.orig_rax).ok()?;
    let path = |address: u64| text_at(pid, address);
    let file = |fd: u64| {
        let link = fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap_or_default();
        // what the kernel says behind a file without a name: it was removed, or has none yet
        link.display().to_string().trim_end_matches(" (deleted)").to_owned()
    };
    match call {
        // what it says is nobody's state
        libc::SYS_write | libc::SYS_pwrite64 if regs.rdi > 2 => {
            let file = file(regs.rdi);
            let world = !file.starts_with("anon_inode:") && !file.starts_with("pipe:");
            world.then(|| format!("write {file}"))
        }
        libc::SYS_sendto => request_at(pid, regs.rdi, regs.rsi),
        libc::SYS_sendmsg => request_at(pid, regs.rdi, first_of(pid, regs.rsi)?),
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

/// Where the first part of a message is: `msg_iov` of `struct msghdr`, and its `iov_base`.
fn first_of(pid: Pid, message: u64) -> Option<u64> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let pointer_at = |address: u64| {
        let mut bytes = [0; 8];
        memory.read_exact_at(&mut bytes, address).ok()?;
        Some(u64::from_ne_bytes(bytes))
    };
    pointer_at(pointer_at(message + 16)?)
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
