//! The lab itself: interrupted at any point it leaves nothing on the machine. A second checkout,
//! with a lab of its own beside the one that runs these tests, is what gets interrupted.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cluster::{Cluster, SOON};

/// Up to where it may come.
const POINTS: [(&str, &str); 3] = [
    ("its processes have a home", "holder.json"),
    ("its node boots", "console.log"),
    ("its control plane runs", "cluster/kube-apiserver.log"),
];

#[test]
fn terminated_it_leaves_no_process_mount_or_link() {
    for (what, file) in POINTS {
        interrupted(what, file, "TERM");
    }
}

#[test]
fn killed_it_leaves_no_process_mount_or_link() {
    for (what, file) in POINTS {
        interrupted(what, file, "KILL");
    }
}

fn interrupted(what: &str, file: &str, signal: &str) {
    let (checkout, links) = (Checkout::new(), links());
    let mut up = checkout.start("up");
    Cluster.until(&format!("{what} ({file})"), Duration::from_secs(60), || {
        let ended = up.try_wait().unwrap();
        assert!(ended.is_none(), "it ended by itself: {ended:?}\n{}", checkout.said());
        let there = fs::metadata(checkout.state().join(file)).is_ok_and(|m| m.len() > 0);
        there.then_some(())
    });
    let pid = up.id().to_string();
    assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    Cluster.until(&format!("SIG{signal} when {what}: nothing is left"), SOON, || {
        let ended = up.try_wait().unwrap().is_some();
        (ended && checkout.processes().is_empty()).then_some(())
    });
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&checkout.name), "mounts are left:\n{mounts}");
    assert_eq!(self::links(), links, "links are left on the host");
    let status = checkout.start("status").wait().unwrap();
    assert_eq!(status.code(), Some(1), "it is not down: {}", checkout.said());
}

/// A copy of what the lab reads of a checkout, and the lab that belongs to it.
struct Checkout {
    dir: PathBuf,
    name: String,
}

impl Checkout {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("ringway-interrupted-{}", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab");
        fs::create_dir_all(dir.join("tests")).unwrap();
        let copied = Command::new("cp").arg("-r").arg(source).arg(dir.join("tests/lab")).status();
        assert!(copied.unwrap().success());
        let mut checkout = Self { dir, name: String::new() };
        checkout.start("status").wait().unwrap();
        // `the lab NAME is down; ...`
        checkout.name = checkout.said().split(' ').nth(2).unwrap().to_owned();
        checkout
    }

    fn start(&self, verb: &str) -> Child {
        let lab = std::env::var_os("RINGWAY_LAB").expect("RINGWAY_LAB is set by `cargo lab test`");
        let out = fs::File::create(self.output()).unwrap();
        Command::new(lab)
            .arg(verb)
            .env("CARGO_MANIFEST_DIR", self.dir.join("tests/lab"))
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            // a terminal's Ctrl-C would reach the whole group; here only the lab is told
            .process_group(0)
            .spawn()
            .unwrap()
    }

    fn output(&self) -> PathBuf {
        self.dir.join("output")
    }

    fn said(&self) -> String {
        fs::read_to_string(self.output()).unwrap_or_default()
    }

    fn state(&self) -> PathBuf {
        let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
            || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"),
            PathBuf::from,
        );
        cache.join("ringway-lab/labs").join(&self.name)
    }

    /// Processes of this lab, by the paths on their command lines.
    fn processes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(&self.name) {
                found.push(line);
            }
        }
        found
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let down = self.start("down").wait().unwrap();
        assert!(down.success() || std::thread::panicking(), "down: {}", self.said());
        assert!(!self.state().exists() || std::thread::panicking(), "its state is left");
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

/// Network interfaces of this machine.
fn links() -> Vec<PathBuf> {
    let mut links: Vec<_> =
        fs::read_dir("/sys/class/net").unwrap().flatten().map(|e| e.path()).collect();
    links.sort();
    links
}
