//! Network namespaces: opening one by path, telling two apart, and running code in one.

use std::{
    fs::{File, OpenOptions},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    panic,
    path::{Path, PathBuf},
    process, thread,
};

use rustix::{
    fs::{OFlags, fstatfs},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// `NSFS_MAGIC` (include/uapi/linux/magic.h): the file system of namespaces.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// What tells one namespace from another for as long as either lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The device number of the namespace file system.
    pub device: u64,
    /// The namespace's inode. It may be given out again once the namespace is gone.
    pub inode: u64,
}

/// An open network namespace. It lives for as long as this does.
#[derive(Debug)]
pub struct Netns {
    file: File,
    path: PathBuf,
}

impl Netns {
    /// Opens the namespace that is mounted, or linked by procfs, at `path`.
    ///
    /// An error if something else is there: an ordinary file is what remains where a namespace was
    /// unmounted, and a link in its place could lead anywhere. That it is a *network* namespace
    /// shows only in [`Netns::run`] (`EINVAL`).
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        // A named pipe in its place must not make us wait.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(&path)
            .map_err(|source| Error::io("open network namespace", &path, source))?;
        let stat = fstatfs(&file)
            .map_err(|errno| Error::io("look at file system of", &path, errno.into()))?;
        if stat.f_type.cast_unsigned() != NSFS_MAGIC {
            return Err(Error::Unexpected {
                object: path.display().to_string(),
                found: "no namespace".to_owned(),
                expected: "a network namespace".to_owned(),
            });
        }
        Ok(Self { file, path })
    }

    /// Opens the calling thread's own namespace.
    pub fn current() -> Result<Self> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What tells it from others.
    pub fn identity(&self) -> Result<Identity> {
        let meta =
            self.file.metadata().map_err(|source| Error::io("look at", &self.path, source))?;
        Ok(Identity { device: meta.dev(), inode: meta.ino() })
    }

    /// The open file, for [`crate::link::Links::move_to`].
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Runs `work` in the namespace on the calling thread, which is back when it ends: for a socket,
    /// which stays where it was opened. Needs `CAP_SYS_ADMIN`, and a thread that is nobody else's
    /// meanwhile.
    pub(crate) fn visit<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let home = Self::current()?;
        self.enter()?;
        let home = Home(home);
        let done = work();
        drop(home);
        done
    }

    /// Runs `work` in the namespace, on a thread of its own that ends with it: entering a
    /// namespace is a matter of the thread, so that nothing else of the process changes. Sockets
    /// opened there stay there. Needs `CAP_SYS_ADMIN`.
    ///
    /// Only the network namespace changes: `/sys` still shows the links of the namespace it was
    /// mounted in.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let work = || {
            self.enter()?;
            work()
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("netns".to_owned())
                .spawn_scoped(scope, work)
                .map_err(|source| Error::io("start thread for", &self.path, source))?;
            thread.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked))
        })
    }

    /// Takes the calling thread there.
    fn enter(&self) -> Result<()> {
        move_into_link_name_space(self.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|errno| Error::io("enter network namespace", &self.path, errno.into()))
    }
}

/// Where a thread that enters another namespace comes from, and is again when this is dropped.
struct Home(Netns);

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = self.0.enter() {
            // Whatever came next would be done to somebody else's interfaces.
            tracing::error!(%error, "a thread cannot come back from a network namespace");
            process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn opens_only_namespaces() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("netns");
        fs::write(&file, "").unwrap();
        let error = Netns::open(&file).unwrap_err().to_string();
        assert!(error.ends_with("found no namespace, expected a network namespace"), "{error}");
        assert!(Netns::open(dir.path().join("none")).unwrap_err().is_missing());
    }

    #[test]
    fn tells_namespaces_apart() {
        let own = Netns::current().unwrap().identity().unwrap();
        assert_eq!(own, Netns::open("/proc/self/ns/net").unwrap().identity().unwrap());
        let mount = Netns::open("/proc/self/ns/mnt").unwrap().identity().unwrap();
        assert_ne!(own, mount);
    }

    /// With privilege a namespace of another kind is refused (EINVAL), without it is EPERM: in
    /// either case the work is not done.
    #[test]
    fn another_kind_of_namespace_is_not_entered() {
        let mount = Netns::open("/proc/self/ns/mnt").unwrap();
        let result: Result<()> = mount.run(|| panic!("ran"));
        let error = result.unwrap_err().to_string();
        assert_eq!(error, "enter network namespace /proc/self/ns/mnt");
        let result: Result<()> = mount.visit(|| panic!("ran"));
        assert_eq!(result.unwrap_err().to_string(), error);
    }
}
