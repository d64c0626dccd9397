//! One lock per device, held while the device is changed or handed out.
//!
//! An advisory `flock` on a file named after the device. The kernel drops it with its process, so
//! nothing can be left locked by a crash. Lock files are never removed: removing one while
//! somebody waits on it would let two holders in.

use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::{DeviceId, atomic};

/// `flock` cannot wait with a deadline without signals, so waiting is asking again this often.
pub const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Why a device could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused to make, open or lock something.
    #[error("lock device {id}")]
    Io {
        /// The device.
        id: DeviceId,
        /// The operation and path that failed.
        source: atomic::Error,
    },
    /// Somebody else could make or replace lock files.
    #[error("lock device {id}: {} must be a directory that only its owner, the user of this process, can write to", dir.display())]
    Unsafe {
        /// The device.
        id: DeviceId,
        /// The lock directory.
        dir: PathBuf,
    },
    /// Another process held the lock for all of the time that the caller would wait.
    #[error("lock device {id}: still held by another process after {} ms", waited.as_millis())]
    Busy {
        /// The device.
        id: DeviceId,
        /// How long the caller waited.
        waited: Duration,
    },
}

/// The directory of lock files: `/run/ringway/lock` on a node.
#[derive(Debug, Clone)]
pub struct Locks {
    dir: PathBuf,
}

/// A held lock: dropping it lets the next one in.
#[derive(Debug)]
pub struct Lock {
    file: OwnedFd,
}

impl Lock {
    /// The same lock again, for a process that is started with it: the next one gets in once both are
    /// dropped, however the processes end.
    ///
    /// # Errors
    /// Those of the kernel's that can give no more descriptors.
    pub fn share(&self) -> std::io::Result<OwnedFd> {
        self.file.try_clone()
    }
}

impl Locks {
    /// Locks in `dir`, which is made with mode 0700 when the first lock is taken.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Takes the lock of `id`, or gives `None` at once if another holds it.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Unsafe`].
    pub fn try_lock(&self, id: &DeviceId) -> Result<Option<Lock>, Error> {
        let file = self.open(id)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(self.io(id, "flock", &self.dir.join(id.as_str()), e)),
        }
    }

    /// Takes the lock of `id`, asking again until `wait` has passed. Blocks the thread.
    ///
    /// # Errors
    /// [`Error::Busy`] besides those of [`Locks::try_lock`].
    pub fn lock_within(&self, id: &DeviceId, wait: Duration) -> Result<Lock, Error> {
        let start = Instant::now();
        loop {
            if let Some(lock) = self.try_lock(id)? {
                return Ok(lock);
            }
            let waited = start.elapsed();
            if waited >= wait {
                return Err(Error::Busy { id: id.clone(), waited });
            }
            std::thread::sleep(RETRY_INTERVAL.min(wait - waited));
        }
    }

    fn open(&self, id: &DeviceId) -> Result<OwnedFd, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open_dir = || rustix::fs::open(&self.dir, flags, Mode::empty());
        let dir = match open_dir() {
            Err(Errno::NOENT) => {
                DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(|e| {
                    Error::Io { id: id.clone(), source: atomic::Error::io("make", &self.dir, e) }
                })?;
                open_dir()
            }
            opened => opened,
        };
        let dir = match dir {
            Ok(dir) => dir,
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(self.not_safe(id)),
            Err(e) => return Err(self.io(id, "open", &self.dir, e)),
        };
        let about = rustix::fs::fstat(&dir).map_err(|e| self.io(id, "stat", &self.dir, e))?;
        let ours = about.st_uid == rustix::process::geteuid().as_raw();
        if !ours || about.st_mode & 0o022 != 0 {
            return Err(self.not_safe(id));
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&dir, id.as_str(), flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| self.io(id, "open", &self.dir.join(id.as_str()), e))
    }

    fn io(&self, id: &DeviceId, op: &'static str, path: &Path, errno: Errno) -> Error {
        Error::Io { id: id.clone(), source: atomic::Error::io(op, path, errno) }
    }

    fn not_safe(&self, id: &DeviceId) -> Error {
        Error::Unsafe { id: id.clone(), dir: self.dir.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn id(text: &str) -> DeviceId {
        text.parse().unwrap()
    }

    #[test]
    fn one_holder_per_device() {
        let root = tempfile::tempdir().unwrap();
        let locks = Locks::at(&root.path().join("run/lock"));
        let held = locks.try_lock(&id("0000:01:00.1")).unwrap().unwrap();
        assert!(locks.try_lock(&id("0000:01:00.1")).unwrap().is_none());
        assert!(locks.try_lock(&id("0000:01:00.2")).unwrap().is_some());
        let shared = held.share().unwrap();
        drop(held);
        assert!(locks.try_lock(&id("0000:01:00.1")).unwrap().is_none());
        drop(shared);
        assert!(locks.try_lock(&id("0000:01:00.1")).unwrap().is_some());
    }

    #[test]
    fn waiting_ends_with_the_holder_or_with_the_deadline() {
        let root = tempfile::tempdir().unwrap();
        let locks = Locks::at(root.path());
        let held = locks.try_lock(&id("a")).unwrap().unwrap();
        let error = locks.lock_within(&id("a"), Duration::from_millis(1)).unwrap_err();
        assert!(matches!(error, Error::Busy { .. }), "{error}");
        let waiter = {
            let locks = locks.clone();
            std::thread::spawn(move || locks.lock_within(&id("a"), Duration::from_secs(60)))
        };
        drop(held);
        waiter.join().unwrap().unwrap();
    }

    #[test]
    fn the_directory_is_made_private_and_must_be_ours() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("lock");
        Locks::at(&dir).try_lock(&id("a")).unwrap();
        assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);

        let link = root.path().join("link");
        symlink(&dir, &link).unwrap();
        assert!(matches!(Locks::at(&link).try_lock(&id("a")), Err(Error::Unsafe { .. })));

        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Locks::at(&dir).try_lock(&id("a")), Err(Error::Unsafe { .. })));
    }

    #[test]
    fn a_symlink_in_place_of_a_lock_file_is_refused() {
        let root = tempfile::tempdir().unwrap();
        symlink("/dev/null", root.path().join("a")).unwrap();
        assert!(matches!(Locks::at(root.path()).try_lock(&id("a")), Err(Error::Io { .. })));
    }
}
