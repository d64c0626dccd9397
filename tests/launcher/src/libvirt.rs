//! libvirt in session mode, by its daemon and `virsh`.
//!
//! Without privileges it wants HOME and the XDG directories on a writable volume and an entry for
//! its user in /etc/passwd and /etc/group; there is no virtlogd to hold consoles, and no security
//! driver that could confine QEMU further than the container does. It refuses `<memtune>`; the
//! limit on locked memory was lifted from outside.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
const CONFIG: &str = "stdio_handler = \"file\"\nsecurity_driver = \"none\"\n";
/// The name in domain.xml.
const DOMAIN: &str = "vm";
/// What one call may take: the first one waits for libvirt's look at QEMU.
const CALL: &str = "120";

/// A running daemon; killed when dropped.
#[derive(Debug)]
pub struct Libvirt {
    dir: PathBuf,
    daemon: Child,
}

impl Libvirt {
    /// Starts the daemon with `dir` for everything that it writes.
    ///
    /// # Errors
    /// The directory cannot be written, or there is no libvirtd.
    pub fn start(dir: &Path) -> Result<Self> {
        for sub in ["run", "config/libvirt", "cache"] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir.join(sub))
                .with_context(|| format!("make {} in {}", sub, dir.display()))?;
        }
        fs::write(dir.join("config/libvirt/qemu.conf"), CONFIG).context("write qemu.conf")?;
        let log = File::create(dir.join("libvirtd.log")).context("open libvirtd's log")?;
        let mut command = Command::new("libvirtd");
        environment(&mut command, dir);
        let daemon = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start libvirtd (package libvirt-daemon-system)")?;
        Ok(Self { dir: dir.to_owned(), daemon })
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// It ends, or it does not answer in time.
    pub fn ready(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        // without a socket `virsh` would start a daemon of its own, and one of the two would lose
        let socket = self.dir.join("run/libvirt/libvirt-sock");
        loop {
            let answer = if socket.exists() {
                self.virsh(&["list"]).map(drop)
            } else {
                Err(anyhow!("no socket {}", socket.display()))
            };
            let Err(error) = answer else { return Ok(()) };
            if let Some(status) = self.daemon.try_wait()? {
                bail!("libvirtd ended with {status}");
            }
            if Instant::now() >= deadline {
                return Err(error.context("libvirtd does not answer"));
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Defines the domain.
    ///
    /// # Errors
    /// libvirt refuses it.
    pub fn define(&self, xml: &str) -> Result<()> {
        let file = self.dir.join("domain.xml");
        fs::write(&file, xml).with_context(|| format!("write {}", file.display()))?;
        self.virsh(&["define", &file.display().to_string()]).map(drop)
    }

    /// The domain as it is defined, with what libvirt has added.
    ///
    /// # Errors
    /// There is none.
    pub fn defined(&self) -> Result<String> {
        self.virsh(&["dumpxml", "--inactive", DOMAIN])
    }

    /// Boots the domain.
    ///
    /// # Errors
    /// libvirt or QEMU refuse.
    pub fn boot(&self) -> Result<()> {
        self.virsh(&["start", DOMAIN]).map(drop)
    }

    /// Whether the domain runs.
    ///
    /// # Errors
    /// libvirt cannot tell.
    pub fn running(&self) -> Result<bool> {
        Ok(self.virsh(&["domstate", DOMAIN])?.trim() == "running")
    }

    /// Ends the domain at once.
    ///
    /// # Errors
    /// It does not run, or libvirt cannot.
    pub fn destroy(&self) -> Result<()> {
        self.virsh(&["destroy", DOMAIN]).map(drop)
    }

    /// The ends of QEMU's and the daemon's logs.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for file in [format!("cache/libvirt/qemu/log/{DOMAIN}.log"), "libvirtd.log".to_owned()] {
            let log = fs::read(self.dir.join(&file)).unwrap_or_default();
            text.push_str(&format!("the end of {file}:\n{}", end(&String::from_utf8_lossy(&log))));
        }
        text
    }

    fn virsh(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new("timeout");
        environment(&mut command, &self.dir);
        command.args(["--kill-after=5", CALL, "virsh", "-q", "-c", "qemu:///session"]).args(args);
        let answer = command.stdin(Stdio::null()).output().context("start virsh")?;
        if answer.status.success() {
            return String::from_utf8(answer.stdout).context("virsh's answer");
        }
        let said = String::from_utf8_lossy(&answer.stderr);
        bail!("virsh {} ended with {}: {}", args.join(" "), answer.status, said.trim())
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        // it is gone in a moment anyway: this container ends
        self.daemon.kill().ok();
        self.daemon.wait().ok();
    }
}

fn environment(command: &mut Command, dir: &Path) {
    command.env_clear().env("PATH", PATH).env("HOME", dir).env("TMPDIR", dir);
    for (name, sub) in
        [("XDG_RUNTIME_DIR", "run"), ("XDG_CONFIG_HOME", "config"), ("XDG_CACHE_HOME", "cache")]
    {
        command.env(name, dir.join(sub));
    }
}

fn end(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(20)..];
    last.iter().map(|line| format!("    {line}\n")).collect()
}
