//! The guest of the lab's VM: an initial RAM file system with the node's busybox and an init. Its
//! kernel (assets/guest-kernel.config) has all it needs built in. It is the same for every VM: what
//! differs comes on the kernel's command line.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cpio::Archive;

/// Writes the archive `to`, from the node's root and the script `init`.
pub(crate) fn write(node_root: &Path, init: &Path, to: &Path) -> Result<()> {
    let archive = Archive::with_busybox(node_root, init)?;
    fs::write(to, archive.end()).with_context(|| format!("write {}", to.display()))
}
