//! The host: what the lab needs of it, said all at once, and what apt can bring.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::place::Place;
use crate::progress::Progress;
use crate::run;
use crate::store::{self, Store};

const GIB: u64 = 1 << 30;
/// QEMU's 6 GiB, the control plane, and a compiler beside them.
const MEMORY: u64 = 10 * GIB;
/// A lab from nothing: roots, Go's caches, images.
const DISK: u64 = 25 * GIB;
/// A lab whose parts are there: an overlay and logs.
const DISK_WARM: u64 = 6 * GIB;

/// A program that must be on the host, and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 6] = [
    ("mmdebstrap", "mmdebstrap"),
    ("mke2fs", "e2fsprogs"),
    ("ssh", "openssh-client"),
    ("openssl", "openssl"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
];
/// Signs Debian's archive; on Ubuntu it is a package of its own.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What a lab asks of its host, as found there. Memory and disk in bytes.
#[derive(Debug, Clone, Copy)]
struct Host<'a> {
    arch: &'a str,
    root: bool,
    apt: bool,
    tun: bool,
    namespaces: bool,
    memory: u64,
    disk: u64,
    /// What this lab will write: less if some of it is in the cache.
    disk_wanted: u64,
    cache: &'a Path,
}

/// Checks everything a lab needs and names all that is missing, each with what mends it.
pub(crate) fn preflight(place: &Place) -> Result<()> {
    let tun = fs::metadata("/dev/net/tun").is_ok_and(|m| m.file_type().is_char_device());
    let missing = missing(&Host {
        arch: std::env::consts::ARCH,
        root: rustix::process::geteuid().is_root(),
        apt: found("apt-get"),
        tun,
        namespaces: namespaces(),
        memory: memory_available(),
        disk: disk_free(&place.cache),
        disk_wanted: disk_wanted(place),
        cache: &place.cache,
    });
    if missing.is_empty() {
        return Ok(());
    }
    bail!("this host cannot run the lab yet:\n  - {}", missing.join("\n  - "))
}

fn missing(host: &Host<'_>) -> Vec<String> {
    let needs = [
        (host.arch == "x86_64", format!("an x86-64 machine: this one is {}", host.arch)),
        (
            host.root,
            "root: run it as root, or with `sudo -E env PATH=\"$PATH\" cargo lab ...`".into(),
        ),
        (host.apt, "apt-get: the lab builds on Debian or Ubuntu hosts only".into()),
        (
            host.tun,
            "/dev/net/tun: `modprobe tun`; in a container, pass `--device /dev/net/tun`".into(),
        ),
        (
            host.namespaces,
            "network and PID namespaces: `unshare --net --pid --mount --fork true` must work; a \
             container needs `--privileged`"
                .into(),
        ),
        (
            host.memory >= MEMORY,
            format!("10 GiB of free memory: {:.1} GiB are free", gib(host.memory)),
        ),
        (
            host.disk >= host.disk_wanted,
            format!(
                "{:.0} GiB of free disk for {}: {:.1} GiB are free; or point XDG_CACHE_HOME elsewhere",
                gib(host.disk_wanted),
                host.cache.display(),
                gib(host.disk)
            ),
        ),
    ];
    needs.into_iter().filter(|(met, _)| !met).map(|(_, text)| text).collect()
}

/// Installs, by name, the packages whose programs are not there. Changes nothing else on the host.
pub(crate) fn packages(place: &Place, progress: &Progress) -> Result<()> {
    let mut wanted: Vec<_> =
        PROGRAMS.iter().filter(|(program, _)| !found(program)).map(|(_, p)| *p).collect();
    if !Path::new(KEYRING).exists() {
        wanted.push("debian-archive-keyring");
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let log = place.cache.join("log/host-packages.log");
    progress.step(&format!("apt-get install {}", wanted.join(" ")), || {
        run::logged(apt(&["update"]), &log)?;
        let install = ["install", "--yes", "--no-install-recommends"];
        run::logged(apt(&[&install[..], &wanted[..]].concat()), &log)
    })
}

/// The Debian mirror this host already uses; `None` on hosts that are not Debian.
pub(crate) fn mirror() -> Option<String> {
    let release = fs::read_to_string("/etc/os-release").ok()?;
    if !release.lines().any(|l| l == "ID=debian") {
        return None;
    }
    ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|text| mirror_in(&text))
}

/// The first archive in a sources file of either format.
fn mirror_in(sources: &str) -> Option<String> {
    sources.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let found = match words.next()? {
            "URIs:" => words.next()?,
            "deb" => words.find(|w| w.contains("://"))?,
            _ => return None,
        };
        Some(found.trim_end_matches('/').to_owned())
    })
}

fn apt(args: &[&str]) -> Command {
    let mut command = run::contained("apt-get");
    command
        .args(["--quiet", "--option", "Acquire::Retries=5"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn found(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(program).is_file())
}

fn namespaces() -> bool {
    let quiet = |args: &[&OsStr]| {
        Command::new("unshare")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    };
    quiet(&["--net", "--pid", "--mount", "--fork", "true"].map(OsStr::new))
}

fn memory_available() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|l| l.strip_prefix("MemAvailable:")?.split_whitespace().next());
    kib.and_then(|k| k.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Free bytes of the file system that holds, or will hold, this directory.
fn disk_free(dir: &Path) -> u64 {
    dir.ancestors()
        .find_map(|existing| rustix::fs::statvfs(existing).ok())
        .map_or(0, |s| s.f_bavail * s.f_frsize)
}

fn disk_wanted(place: &Place) -> u64 {
    if Store::has(&place.cache, "disk") {
        return DISK_WARM;
    }
    DISK.saturating_sub(store::occupied(&place.cache)).max(DISK_WARM)
}

#[allow(clippy::cast_precision_loss)] // for display
fn gib(bytes: u64) -> f64 {
    bytes as f64 / GIB as f64
}

/// Makes the cache directory, private to this user.
pub(crate) fn make_cache(place: &Place) -> Result<()> {
    let log = place.cache.join("log");
    fs::create_dir_all(&log).with_context(|| format!("make {}", log.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_named_at_once_with_what_mends_it() {
        let good = Host {
            arch: "x86_64",
            root: true,
            apt: true,
            tun: true,
            namespaces: true,
            memory: MEMORY,
            disk: DISK,
            disk_wanted: DISK,
            cache: Path::new("/cache"),
        };
        assert_eq!(missing(&good), Vec::<String>::new());
        let bad = Host {
            arch: "aarch64",
            root: false,
            apt: false,
            tun: false,
            namespaces: false,
            memory: MEMORY - GIB,
            disk: GIB,
            ..good
        };
        let expected = [
            "aarch64",
            "sudo -E",
            "Debian or Ubuntu",
            "modprobe tun",
            "--privileged",
            "9.0 GiB are free",
            "25 GiB of free disk for /cache: 1.0 GiB are free; or point XDG_CACHE_HOME",
        ];
        let named = missing(&bad);
        assert_eq!(named.len(), expected.len(), "{named:?}");
        for (text, part) in named.iter().zip(expected) {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }

    #[test]
    fn the_mirror_is_read_from_both_formats() {
        let deb822 = "Types: deb\n# a note\nURIs: http://archive.example/debian/\nSuites: trixie\n";
        let list = "# deb cdrom\ndeb [arch=amd64 signed-by=/k] http://archive.example/debian trixie main\n";
        assert_eq!(mirror_in(deb822).as_deref(), Some("http://archive.example/debian"));
        assert_eq!(mirror_in(list).as_deref(), Some("http://archive.example/debian"));
        assert_eq!(mirror_in("# nothing\n"), None);
    }
}
