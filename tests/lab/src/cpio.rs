//! Initial RAM file systems. Not compressed: the kernel takes them as they are, and under emulation
//! unpacking would cost more than reading.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Types in a file's mode (`include/uapi/linux/stat.h`).
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFCHR: u32 = 0o020_000;

/// An archive in cpio's `newc` format
/// (`Documentation/driver-api/early-userspace/buffer-format.rst` of the kernel).
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    /// Starts one in which the node's busybox runs the script `init`.
    pub(crate) fn with_busybox(node_root: &Path, init: &Path) -> Result<Self> {
        let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
        let mut archive = Self::default();
        for dir in ["bin", "dev", "proc", "sys"] {
            archive.dir(dir);
        }
        // without it the first process has no output
        archive.add("dev/console", S_IFCHR | 0o600, (5, 1), &[]);
        archive.file("bin/busybox", 0o755, &read(&node_root.join("usr/bin/busybox"))?);
        archive.file("init", 0o755, &read(init)?);
        Ok(archive)
    }

    /// Adds a directory.
    pub(crate) fn dir(&mut self, name: &str) {
        self.add(name, S_IFDIR | 0o755, (0, 0), &[]);
    }

    /// Adds a regular file.
    pub(crate) fn file(&mut self, name: &str, mode: u32, data: &[u8]) {
        self.add(name, S_IFREG | mode, (0, 0), data);
    }

    /// Adds a file; `device` is the major and minor number of a device node. The owner is root and
    /// the time is 0, so that the same content gives the same bytes.
    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), data: &[u8]) {
        self.inode += 1;
        let fields = [
            self.inode,
            mode,
            0, // uid
            0, // gid
            1, // links
            0, // time
            u32::try_from(data.len()).unwrap_or(u32::MAX),
            0, // device that the file is on: major, minor
            0,
            device.0,
            device.1,
            u32::try_from(name.len() + 1).unwrap_or(u32::MAX),
            0, // checksum, not in this format
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(data);
        self.align();
    }

    /// The whole archive.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.inode = 0;
        self.add("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    /// Names and contents end at a multiple of four.
    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_as_cpio_writes_it() {
        let mut archive = Archive::default();
        archive.dir("dev");
        archive.add("dev/console", S_IFCHR | 0o600, (5, 1), &[]);
        archive.file("a", 0o644, b"hello");
        // a dot for a zero
        let expected = "
            070701 00000001 000041ED 00000000 00000000 00000001 00000000
            00000000 00000000 00000000 00000000 00000000 00000004 00000000 dev...
            070701 00000002 00002180 00000000 00000000 00000001 00000000
            00000000 00000000 00000000 00000005 00000001 0000000C 00000000 dev/console...
            070701 00000003 000081A4 00000000 00000000 00000001 00000000
            00000005 00000000 00000000 00000000 00000000 00000002 00000000 a. hello...
            070701 00000001 00000000 00000000 00000000 00000001 00000000
            00000000 00000000 00000000 00000000 00000000 0000000B 00000000 TRAILER!!!....
        ";
        let expected = expected.split_whitespace().collect::<String>().replace('.', "\0");
        assert_eq!(String::from_utf8(archive.end()).unwrap(), expected);
    }
}
