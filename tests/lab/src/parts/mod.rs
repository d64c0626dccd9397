//! What the lab is made of, bottom-up. Each part is cached by the content of its inputs.

mod disk;
mod golang;
mod initrd;
mod roots;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::parts::golang::Programs;
use crate::place::Place;
use crate::progress::Progress;
use crate::store::{Part, Store};

/// The names of all parts of a lab, in the order of their builds.
pub(crate) const NAMES: [&str; 12] = [
    "qemu",
    "node",
    "kernel",
    "golang",
    "kubernetes",
    "containerd",
    "cni",
    "multus",
    "whereabouts",
    "helm",
    "promlint",
    "disk",
];

/// The built parts of a lab.
#[derive(Debug)]
pub(crate) struct Parts {
    /// A Debian root that lends its QEMU and etcd.
    pub(crate) qemu: Part,
    /// The node's root as a directory: its kernel, its uapi headers.
    pub(crate) node: Part,
    /// What is built from the kernel's source: modules for the node, and its guests' kernel.
    pub(crate) kernel: Part,
    /// The cluster's programs.
    pub(crate) programs: Programs,
    /// The node's disk image.
    pub(crate) disk: Part,
}

impl Parts {
    /// Builds, or finds in the cache, everything that a lab runs from.
    pub(crate) fn build(place: &Place, progress: &Progress) -> Result<Self> {
        let store = Store::open(&place.cache, progress)?;
        let epoch = epoch(&place.cache)?;
        let qemu = roots::qemu(&store, &epoch)?;
        let node = roots::node(&store, &epoch)?;
        let kernel = roots::kernel(&store, place, &epoch)?;
        let programs = golang::programs(&store, place, &epoch)?;
        let disk = disk::disk(&store, place, &node, &kernel, &programs)?;
        Ok(Self { qemu, node, kernel, programs, disk })
    }

    /// kubectl, for the host.
    pub(crate) fn kubectl(&self) -> PathBuf {
        self.programs.kubernetes.path("bin/kubectl")
    }

    /// Helm, for the host.
    pub(crate) fn helm(&self) -> PathBuf {
        self.programs.helm.path("bin/helm")
    }

    /// The node's kernel and initial RAM disk, for QEMU to boot directly.
    pub(crate) fn boots(&self) -> Result<(PathBuf, PathBuf)> {
        let kernel = sole(&self.node.path("root/boot"), "vmlinuz-")?;
        Ok((kernel, self.disk.path("initrd.cpio")))
    }

    /// The kernel of the node's guests.
    pub(crate) fn guest_kernel(&self) -> PathBuf {
        self.kernel.path("vmlinux")
    }
}

/// Forgets which package versions the cached roots hold: the next build takes today's.
pub(crate) fn refresh(cache: &Path) -> Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let path = cache.join("epoch");
    fs::write(&path, now.to_string()).with_context(|| format!("write {}", path.display()))
}

/// The input that stands for package versions: it moves only by [`refresh`].
fn epoch(cache: &Path) -> Result<String> {
    match fs::read_to_string(cache.join("epoch")) {
        Ok(text) => Ok(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok("first".into()),
        Err(e) => Err(e).context("read the cache's epoch"),
    }
}

/// The one file of a directory whose name starts so.
fn sole(dir: &Path, prefix: &str) -> Result<PathBuf> {
    let found: Vec<_> = fs::read_dir(dir)
        .with_context(|| format!("list {}", dir.display()))?
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with(prefix))
        .map(|e| e.path())
        .collect();
    match &found[..] {
        [one] => Ok(one.clone()),
        _ => anyhow::bail!("{} files named {prefix}* in {}, not one", found.len(), dir.display()),
    }
}
