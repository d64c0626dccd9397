//! A plugin that runs in a mount namespace of its own, so that its kubelet is ours.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::time::TimeValLike;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Binds kubelet's directory and those that plugins write to, and sysfs where there is another one,
/// and becomes the program.
const BECOME: &str = "mount --bind \"$1/kubelet\" /var/lib/kubelet; mount --bind \"$1/cdi\" /run/cdi; \
                      mount --bind \"$1/devinfo\" /run/k8s.cni.cncf.io/devinfo/dp; \
                      if [ -n \"$2\" ]; then mount --rbind \"$2\" /sys; fi; shift 2; exec \"$@\"";

/// Killed when it is dropped.
pub(super) struct Process {
    child: Child,
    begun: Instant,
    log: PathBuf,
}

impl Process {
    pub(super) fn start(
        program: &Path,
        args: &[String],
        home: &Path,
        sys: Option<&Path>,
    ) -> Result<Self> {
        for place in ["/var/lib/kubelet", "/run/cdi", "/run/k8s.cni.cncf.io/devinfo/dp"] {
            fs::create_dir_all(place)?;
        }
        for name in ["cdi", "devinfo"] {
            fs::create_dir_all(home.join(name))?;
        }
        let log = home.join("log");
        let begun = Instant::now();
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-ec", BECOME, "sh"])
            .arg(home)
            .arg(sys.unwrap_or(Path::new("")))
            .arg(program)
            .args(args)
            .env("PCIDB_PATH", home.join("pci.ids"))
            .stdout(File::create(home.join("out"))?)
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self { child, begun, log })
    }

    /// How long it has been running.
    pub(super) fn since(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The CPU time of all its threads.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        let clock = clock_getcpuclockid(pid).context("find its clock")?;
        let time = clock_gettime(clock).context("read its clock")?;
        Ok(Duration::from_nanos(u64::try_from(time.num_nanoseconds())?))
    }

    /// Its resident memory, in bytes.
    pub(super) fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(number.parse::<u64>()? * 1024)
    }

    /// How often its threads have begun to run after a sleep.
    pub(super) fn wakeups(&self) -> Result<u32> {
        let mut all = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let status = fs::read_to_string(task?.path().join("status"))?;
            let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
            all += line.context("no switches")?.trim().parse::<u32>()?;
        }
        Ok(all)
    }

    /// The end of what it has said.
    pub(super) fn said(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(8).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
