//! Debian roots, made without mounts on the host: one lends its QEMU (virtio SR-IOV needs 10.1),
//! one becomes the node. Everything a root ever needs goes in with this one call: apt never runs
//! in a cached root, because the archive moves on.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::host;
use crate::place::Place;
use crate::run;
use crate::store::{Key, Part, Site, Store};

/// Debian's release in both roots.
const SUITE: &str = "trixie";

/// QEMU and what it is built from come from the backports. That archive's *suite* is called
/// `stable-backports`, so it is pinned by its codename.
const PREFERENCES: &str =
    "Package: src:qemu src:seabios src:ipxe src:edk2 src:libslirp src:capstone
Pin: release n=trixie-backports
Pin-Priority: 990
";

const QEMU: &[&str] = &["qemu-system-x86", "qemu-utils", "etcd-server"];

/// The node: an ordinary Debian host of a cluster.
#[rustfmt::skip] // in groups: a package per line would hide them
const NODE: &[&str] = &[
    // the host
    "systemd", "systemd-sysv", "udev", "dbus", "linux-image-amd64", "zstd", "iproute2", "kmod",
    "pciutils", "procps", "ca-certificates", "openssh-server", "apparmor", "network-manager",
    // the cluster; Debian's runc is older than user namespaces of pods, its crun is not
    "runc", "crun", "iptables", "nftables", "conntrack", "ethtool", "socat", "etcd-client",
    // virtual machines
    "libvirt-daemon-system", "libvirt-clients", "qemu-system-x86", "busybox-static",
    // looking at things: the kernel's uapi headers are among what tests compare with
    "iputils-ping", "tcpdump", "strace", "linux-libc-dev",
];

/// What builds the modules that the node's kernel lacks, and the guests' kernel.
#[rustfmt::skip]
const KERNEL: &[&str] = &[
    "build-essential", "bc", "bison", "flex", "libelf-dev", "kmod", "linux-headers-amd64",
    "linux-source-6.12", "xz-utils",
];

/// Go's compiler, unpacked and not installed: it runs in place and finds its own files.
const GO: &[&str] = &["golang-1.26-go", "golang-1.26-src"];

/// The root that lends Go.
pub(super) fn golang(store: &Store<'_>, epoch: &str) -> Result<Part> {
    store.part("golang", key(GO, epoch).with("extract"), |site| {
        debootstrap(site, &site.out.join("root"), "extract", GO)
    })
}

/// The root that lends QEMU and etcd.
pub(super) fn qemu(store: &Store<'_>, epoch: &str) -> Result<Part> {
    store.part("qemu", key(QEMU, epoch), |site| {
        debootstrap(site, &site.out.join("root"), "minbase", QEMU)?;
        record_versions(site)
    })
}

/// The node's root.
pub(super) fn node(store: &Store<'_>, epoch: &str) -> Result<Part> {
    store.part("node", key(NODE, epoch), |site| {
        debootstrap(site, &site.out.join("root"), "minbase", NODE)?;
        record_versions(site)
    })
}

/// What is built from the kernel's source: `modules/` that Debian's kernel leaves out, as they
/// belong below its `/lib/modules`, and `vmlinux`, which guests of the lab boot. The root that
/// builds them does not stay.
pub(super) fn kernel(store: &Store<'_>, place: &Place, epoch: &str) -> Result<Part> {
    let scripts = ["modules.sh", "guest-kernel.sh"].map(|name| place.asset(name));
    let brought = ["guest-kernel.config", "labsf.c", "labswitch.c"];
    let mut key = key(KERNEL, epoch);
    for file in scripts.iter().cloned().chain(brought.map(|name| place.asset(name))) {
        key = key.file(&file)?;
    }
    store.part("kernel", key, |site| {
        let root = site.scratch.join("root");
        debootstrap(site, &root, "minbase", KERNEL)?;
        for name in brought {
            fs::copy(place.asset(name), root.join(name))
                .with_context(|| format!("bring {name}"))?;
        }
        for script in &scripts {
            inside(site, &root, script)?;
        }
        for made in ["modules", "vmlinux"] {
            fs::rename(root.join(made), site.out.join(made))
                .with_context(|| format!("keep {made}"))?;
        }
        Ok(())
    })
}

fn key(packages: &[&str], epoch: &str) -> Key {
    Key::new(1).with(SUITE).with(PREFERENCES).with(packages.join(" ")).with(epoch)
}

fn debootstrap(site: &Site<'_>, root: &Path, variant: &str, packages: &[&str]) -> Result<()> {
    let preferences = site.scratch.join("preferences");
    fs::write(&preferences, PREFERENCES)?;
    let mut command = run::contained("mmdebstrap");
    command
        .arg(format!("--variant={variant}"))
        .args(["--mode=root", "--aptopt=Acquire::Retries \"5\""])
        // the lab's initial RAM disk is its own (initrd.rs)
        .env("INITRD", "No")
        .arg(format!("--include={}", packages.join(",")))
        .arg("--setup-hook=mkdir -p \"$1/etc/apt/preferences.d\"")
        .arg(format!(
            "--setup-hook=cp '{}' \"$1/etc/apt/preferences.d/lab\"",
            preferences.display()
        ))
        .arg(SUITE)
        .arg(root);
    match host::mirror() {
        Some(mirror) => {
            for suite in [SUITE, "trixie-backports"] {
                command.arg(format!("deb {mirror} {suite} main"));
            }
        }
        // mmdebstrap knows Debian's own mirror: the backports are beside it
        None => {
            command.arg(format!(
                "--setup-hook=sed -n '/ {SUITE} main/s/ {SUITE} / {SUITE}-backports /p' \
                 \"$1/etc/apt/sources.list\" >> \"$1/etc/apt/sources.list.d/backports.list\""
            ));
        }
    }
    run::logged(command, site.log)
}

/// Keeps the list of what went into a root beside it.
fn record_versions(site: &Site<'_>) -> Result<()> {
    let mut query = Command::new("dpkg-query");
    query
        .arg(format!("--admindir={}", site.out.join("root/var/lib/dpkg").display()))
        .args(["--show", "--showformat=${Package} ${Version}\n"]);
    fs::write(site.out.join("packages.txt"), run::output(query)?).context("record the packages")
}

/// Runs a script of ours in a root.
fn inside(site: &Site<'_>, root: &Path, script: &Path) -> Result<()> {
    let mut chroot = run::contained("chroot");
    chroot.arg(root).args(["sh", "-c", &fs::read_to_string(script)?]);
    run::logged(chroot, site.log)
}
