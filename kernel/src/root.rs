//! Where the kernel's file systems are: on the host itself, mounted elsewhere in a container, or
//! a temporary tree in a test.

use std::path::{Path, PathBuf};

/// The four trees of the kernel that this crate touches.
///
/// A container may see the host's `/sys` at `/host/sys` while `/proc` and `/dev` are its own, so
/// each can be set apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    sys: PathBuf,
    dev: PathBuf,
    proc: PathBuf,
    modules: PathBuf,
}

impl Root {
    /// All trees below one prefix: `/` is the running system.
    pub fn new(prefix: impl AsRef<Path>) -> Self {
        let prefix = prefix.as_ref();
        Self {
            sys: prefix.join("sys"),
            dev: prefix.join("dev"),
            proc: prefix.join("proc"),
            modules: prefix.join("lib/modules"),
        }
    }

    /// The same, with sysfs mounted at `path`.
    #[must_use]
    pub fn with_sys(self, path: impl Into<PathBuf>) -> Self {
        Self { sys: path.into(), ..self }
    }

    /// The same, with the device nodes at `path`.
    #[must_use]
    pub fn with_dev(self, path: impl Into<PathBuf>) -> Self {
        Self { dev: path.into(), ..self }
    }

    /// The same, with procfs mounted at `path`.
    #[must_use]
    pub fn with_proc(self, path: impl Into<PathBuf>) -> Self {
        Self { proc: path.into(), ..self }
    }

    /// The same, with the kernel modules of all releases below `path`.
    #[must_use]
    pub fn with_modules(self, path: impl Into<PathBuf>) -> Self {
        Self { modules: path.into(), ..self }
    }

    /// The mount point of sysfs.
    pub fn sys(&self) -> &Path {
        &self.sys
    }

    /// The directory of device nodes.
    pub fn dev(&self) -> &Path {
        &self.dev
    }

    /// The mount point of procfs.
    pub fn proc(&self) -> &Path {
        &self.proc
    }

    /// The directory that holds one directory of modules for each kernel release.
    pub fn modules(&self) -> &Path {
        &self.modules
    }
}

impl Default for Root {
    /// The running system.
    fn default() -> Self {
        Self::new("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tree_is_set_apart() {
        let root = Root::default().with_sys("/host/sys");
        assert_eq!(root.sys(), Path::new("/host/sys"));
        assert_eq!(root.dev(), Path::new("/dev"));
        assert_eq!(root.proc(), Path::new("/proc"));
        assert_eq!(root.modules(), Path::new("/lib/modules"));
    }
}
