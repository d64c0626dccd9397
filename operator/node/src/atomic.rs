//! Whole files or none: how root's code writes and reads the files it shares.
//!
//! A reader sees the old content or the new, also after a power cut, and neither side follows a
//! symbolic link in the last component of a path. Directories above it are root's own.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// Why a shared file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error("{op} {}", path.display())]
    Io {
        /// What was tried: `open`, `write`, `rename`.
        op: &'static str,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The path has no file name or no directory.
    #[error("write {}: not a path to a file in a directory", path.display())]
    NotAFilePath {
        /// The path as given.
        path: PathBuf,
    },
    /// The last component of the path is a symbolic link.
    #[error("open {}: is a symbolic link, which this file must not be: remove it", path.display())]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// A directory, device, socket or pipe where a file was expected.
    #[error("read {}: not a regular file", path.display())]
    NotRegular {
        /// The thing found.
        path: PathBuf,
    },
    /// More than the caller is ready to hold.
    #[error("read {}: larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound, in bytes.
        limit: u64,
    },
}

impl Error {
    pub(crate) fn io(op: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { op, path: path.to_owned(), source: source.into() }
    }

    /// Whether the file, or a directory on the way to it, is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Writes `bytes` to `path` so that readers see all of it or nothing, with exactly the permission
/// bits `mode` whatever the umask is.
///
/// The content is on disk before the name points to it, and the name is on disk before this
/// returns.
///
/// # Errors
/// The step that failed, with its path. The old file is then still in place, unless it was the
/// last sync of the directory that failed.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::NotAFilePath { path: path.to_owned() });
    };
    // held, and with it its lock, until it has its name
    let (temp, file) = create_temp(dir, name)?;
    let done = fill(&temp, &file, bytes, mode)
        .and_then(|()| std::fs::rename(&temp, path).map_err(|e| Error::io("rename to", path, e)));
    if done.is_err() {
        // Best effort: the first error is the one worth telling.
        let _ = std::fs::remove_file(&temp);
    }
    done?;
    sync_dir(dir)
}

fn fill(temp: &Path, mut file: &File, bytes: &[u8], mode: u32) -> Result<(), Error> {
    file.write_all(bytes).map_err(|e| Error::io("write", temp, e))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode))
        .map_err(|e| Error::io("set mode of", temp, e))?;
    file.sync_all().map_err(|e| Error::io("sync", temp, e))
}

/// A new file beside its target, locked for as long as it is written. The name starts with a dot and
/// has no known extension, so that neither a CDI cache nor a person takes it for content. Several
/// containers may write to one directory, each as process 1, so the clock and not the process id
/// tells names apart.
fn create_temp(dir: &Path, name: &std::ffi::OsStr) -> Result<(PathBuf, File), Error> {
    let nanos = now();
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut attempt = 0;
    loop {
        let mut temp = OsString::from(".");
        temp.push(name);
        temp.push(format!(".{:x}-{attempt}", nanos));
        let temp = dir.join(temp);
        let error = match rustix::fs::open(&temp, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) if lock_named(&fd).map_err(|e| Error::io("lock", &temp, e))? => {
                return Ok((temp, File::from(fd)));
            }
            // who clears up was quicker than the lock, and removes it
            Ok(_) => Errno::EXIST,
            Err(error) => error,
        };
        match error {
            Errno::EXIST if attempt < 16 => attempt += 1,
            error => return Err(Error::io("create", &temp, error)),
        }
    }
}

/// Locks a file; says whether that was possible, and the file has still a name then.
fn lock_named(fd: &OwnedFd) -> Result<bool, Errno> {
    match rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(false),
        locked => locked.and_then(|()| Ok(rustix::fs::fstat(fd)?.st_nlink > 0)),
    }
}

/// Removes temporary files in `dir` that a [`write`] has left whose process was killed: those for
/// targets that are `ours`, and that nobody has locked.
///
/// # Errors
/// The directory cannot be listed, or a file not be opened or removed. No directory is no error.
pub fn remove_leftovers(dir: &Path, ours: impl Fn(&str) -> bool) -> Result<(), Error> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|e| Error::io("list", dir, e))?,
    };
    for entry in entries {
        let name = entry.map_err(|e| Error::io("list", dir, e))?.file_name();
        if !temp_target(&name.to_string_lossy()).is_some_and(&ours) {
            continue;
        }
        let path = dir.join(&name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match rustix::fs::open(&path, flags, Mode::empty()) {
            Err(Errno::NOENT) => continue,
            opened => opened.map_err(|e| Error::io("look at", &path, e))?,
        };
        // Its lock may be free because it has just got its name: then this one is gone. It is held
        // until the file is: whoever has just made it and comes to lock it makes another.
        if lock_named(&opened).map_err(|e| Error::io("look at", &path, e))? {
            remove(&path)?;
        }
    }
    Ok(())
}

/// The target in the name of a temporary file.
fn temp_target(name: &str) -> Option<&str> {
    let (target, tail) = name.strip_prefix('.')?.rsplit_once('.')?;
    let (nanos, attempt) = tail.split_once('-')?;
    attempt.parse::<u32>().ok()?;
    u128::from_str_radix(nanos, 16).ok()?;
    Some(target)
}

/// Nanoseconds since 1970.
fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

/// Makes names in `dir` durable: a rename or unlink is on disk only once its directory is.
///
/// # Errors
/// The directory cannot be opened or synced.
pub fn sync_dir(dir: &Path) -> Result<(), Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(dir, flags, Mode::empty()).map_err(|e| Error::io("open", dir, e))?;
    rustix::fs::fsync(&fd).map_err(|e| Error::io("sync", dir, e))
}

/// Reads the regular file `path` of at most `limit` bytes, not following a symbolic link.
///
/// # Errors
/// [`Error::Symlink`], [`Error::NotRegular`], [`Error::TooLarge`], or what the kernel said:
/// [`Error::is_not_found`] tells an absent file.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    // NONBLOCK: opening a pipe somebody left here would otherwise wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| match e {
        Errno::LOOP => Error::Symlink { path: path.to_owned() },
        e => Error::io("open", path, e),
    })?;
    let file = File::from(fd);
    let about = file.metadata().map_err(|e| Error::io("stat", path, e))?;
    if !about.is_file() {
        return Err(Error::NotRegular { path: path.to_owned() });
    }
    // one byte more than there is: the end is then seen without growing
    let expected = about.len().min(limit).saturating_add(1);
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io("read", path, e))?;
    match bytes.len() as u64 > limit {
        true => Err(Error::TooLarge { path: path.to_owned(), limit }),
        false => Ok(bytes),
    }
}

/// Removes `path`; that it is already gone is fine.
///
/// # Errors
/// What the kernel said, other than that there is no such file.
pub fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
