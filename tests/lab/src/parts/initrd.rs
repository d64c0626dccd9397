//! The node's initial RAM disk: what finds the root file system and goes on there, and nothing
//! else. A distribution's own starts udev first, which takes an emulated node ten seconds.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cpio::Archive;
use crate::parts::sole;

/// The modules that lead to the root file system (virtio_pci is built in). ext4 asks for
/// crc32c by an alias only (`MODULE_SOFTDEP` in fs/ext4/super.c).
const MODULES: [&str; 3] = ["virtio_blk", "crc32c_generic", "ext4"];

/// The archive, from the node's root and the script `init`.
pub(super) fn archive(root: &Path, init: &Path) -> Result<Vec<u8>> {
    let modules = sole(&root.join("usr/lib/modules"), "")?;
    let list = modules.join("modules.dep");
    let list = fs::read_to_string(&list).with_context(|| format!("read {}", list.display()))?;
    let mut archive = Archive::with_busybox(root, init)?;
    for dir in ["modules", "root"] {
        archive.dir(dir);
    }
    for (i, file) in order(&list, &MODULES)?.iter().enumerate() {
        let path = modules.join(file);
        let name = Path::new(file).file_name().context("a module's file has a name")?;
        let data = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        // init loads them in the order of their names
        archive.file(&format!("modules/{i:02}-{}", name.display()), 0o644, &data);
    }
    Ok(archive.end())
}

/// The files to load, each after those that it needs, from the text of a `modules.dep`.
fn order(list: &str, names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for name in names {
        let is_it = |file: &&str| {
            let file = file.rsplit('/').next().unwrap_or_default();
            file.split('.').next().unwrap_or_default().replace('-', "_") == *name
        };
        let (file, needs) = list
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(file, _)| is_it(file))
            .with_context(|| format!("the node's kernel has no module {name}"))?;
        // what is needed first stands last
        for file in needs.split_whitespace().rev().chain([file]) {
            let file = PathBuf::from(file);
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
kernel/virtio.ko.xz:
kernel/virtio_ring.ko.xz: kernel/virtio.ko.xz
kernel/virtio_blk.ko.xz: kernel/virtio_ring.ko.xz kernel/virtio.ko.xz
kernel/crc32c-generic.ko:
";

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let files = order(LIST, &["virtio_ring", "crc32c_generic", "virtio_blk"]).unwrap();
        let files: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
        let expected =
            ["virtio.ko.xz", "virtio_ring.ko.xz", "crc32c-generic.ko", "virtio_blk.ko.xz"];
        assert_eq!(files, expected.map(|file| format!("kernel/{file}")));
    }

    #[test]
    fn a_module_that_is_not_there_is_named() {
        let error = order(LIST, &["ext4"]).unwrap_err().to_string();
        assert_eq!(error, "the node's kernel has no module ext4");
    }
}
