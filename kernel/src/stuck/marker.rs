//! The file that says: a call on this device is out.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::fd::AsRawFd,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::{
    fs::{AtFlags, CWD, FlockOperation, OFlags, flock, linkat},
    io::Errno,
};

use crate::{
    error::{Error, Result},
    root::Root,
    sysfs,
};

/// Nobody writes more into a marker.
const LONGEST_TEXT: u64 = 4 << 10;

/// A call that is out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The device id.
    pub device: String,
    /// What the marker says: operation, boot id, thread and its start.
    pub text: String,
}

/// A placed marker. Dropped, it is no longer live, but its file remains until someone looks.
#[derive(Debug)]
pub struct Marker {
    file: File,
    path: PathBuf,
}

impl Marker {
    /// Places a device's marker: written and on the disk when this returns. [`Error::Stuck`] if a
    /// call on the device is out.
    pub fn place(root: &Root, dir: &Path, device: &str, op: &str) -> Result<Self> {
        let path = marker_path(dir, device)?;
        let text = text(root, op);
        let written = match Self::write(dir, &text) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make_dir(dir)?;
                Self::write(dir, &text)
            }
            written => written,
        };
        let file = written.map_err(|source| Error::io("write marker", &path, source))?;
        publish(&file, &path, device, op)?;
        sync_dir(dir)?;
        Ok(Self { file, path })
    }

    /// Takes the marker away: the call is back.
    pub fn remove(self) -> Result<()> {
        remove_if_same(&self.file, &self.path)
    }

    /// Locked before it has its name, so that nobody sees it without the lock; and without any
    /// name until then, so that nothing is left of it if we are killed.
    fn write(dir: &Path, text: &str) -> std::io::Result<File> {
        let flags = OFlags::TMPFILE.bits().cast_signed();
        let mut file =
            OpenOptions::new().read(true).write(true).custom_flags(flags).mode(0o600).open(dir)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Ok(file)
    }
}

/// The calls that are out, by the markers in a directory; none without the directory. Markers whose
/// thread is gone are removed.
pub fn live(dir: &Path) -> Result<Vec<Live>> {
    let mut found = Vec::new();
    for device in sysfs::names(dir)? {
        let path = dir.join(&device);
        let Some(mut file) = open(&path)? else { continue };
        // Shared: two who look at once must not take each other for the call.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => remove_stale(&file, &path)?,
            Err(Errno::WOULDBLOCK) => found.push(Live { device, text: read(&mut file, &path)? }),
            Err(error) => return Err(Error::io("lock marker", path, error.into())),
        }
    }
    Ok(found)
}

/// Gives a written marker its name, in place of one that is no longer live.
fn publish(file: &File, path: &Path, device: &str, op: &str) -> Result<()> {
    const ATTEMPTS: usize = 100;
    // The way to it that open(2) gives for O_TMPFILE: AT_EMPTY_PATH would take a capability.
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    for _ in 0..ATTEMPTS {
        match linkat(CWD, &unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(Error::io("name marker", path, error.into())),
        }
        let dir = path.parent().unwrap_or(path);
        if let Some(live) = live(dir)?.into_iter().find(|live| live.device == device) {
            return Err(Error::Stuck {
                op: op.to_owned(),
                object: device.to_owned(),
                earlier: format!("call ({})", live.text),
            });
        }
        // Somebody else looks at the stale marker at this very moment.
        thread::sleep(Duration::from_millis(1));
    }
    Err(Error::io("name marker", path, Errno::EXIST.into()))
}

/// Removes a marker whose call is gone. Alone, so that none removes the marker that takes the name
/// between another's look and removal; who is not alone leaves it to the other.
fn remove_stale(file: &File, path: &Path) -> Result<()> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => remove_if_same(file, path),
        Err(_) => Ok(()),
    }
}

/// Removes a marker that we hold the lock of, unless its name went to another meanwhile.
fn remove_if_same(file: &File, path: &Path) -> Result<()> {
    let remove = || -> std::io::Result<()> {
        let named = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            named => named?,
        };
        let ours = file.metadata()?;
        if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) {
            fs::remove_file(path)?;
        }
        Ok(())
    };
    remove().map_err(|source| Error::io("remove marker", path, source))
}

fn open(path: &Path) -> Result<Option<File>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    sysfs::optional(
        OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)
            .map_err(|source| Error::io("open marker", path, source)),
    )
}

fn read(file: &mut File, path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    file.take(LONGEST_TEXT)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::io("read marker", path, source))?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().replace('\n', ", "))
}

fn marker_path(dir: &Path, device: &str) -> Result<PathBuf> {
    // A leading dot would hide it from people.
    let bad = device.is_empty() || device.starts_with('.') || device.contains(['/', '\0']);
    if bad {
        return Err(Error::parse("device id", device, "a name that a file can have"));
    }
    Ok(dir.join(device))
}

fn make_dir(dir: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| Error::io("make directory", dir, source))
}

fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| Error::io("sync directory", dir, source))
}

/// For people: what is out, since which boot, and where to look (`/proc/<thread>/stack`).
fn text(root: &Root, op: &str) -> String {
    let proc = root.proc();
    let boot = sysfs::read(&proc.join("sys/kernel/random/boot_id")).unwrap_or_default();
    let stat = sysfs::read(&proc.join("thread-self/stat")).unwrap_or_default();
    let start = start_time(&stat).unwrap_or("unknown");
    format!("operation {op}\nboot {boot}\nthread {}\nstart {start}\n", thread_id(&stat))
}

/// The thread's number as that procfs counts, which is the host's if it is the host's: the first field
/// of `/proc/<pid>/stat`.
fn thread_id(stat: &str) -> String {
    let own = || rustix::thread::gettid().as_raw_nonzero().to_string();
    stat.split_once(' ').map_or_else(own, |(number, _)| number.to_owned())
}

/// Field 22 of `/proc/<pid>/stat`, in clock ticks since boot. The second field is the name in
/// parentheses, which may hold spaces and parentheses itself.
fn start_time(stat: &str) -> Option<&str> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(22 - 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 64 5 0 0 0 1 2 0 0 20 0 1 0 4242 9 9";
        assert_eq!(start_time(stat), Some("4242"));
        assert_eq!(start_time("7 (a) S 1"), None);
        assert_eq!(start_time(""), None);
    }

    #[test]
    fn text_tells_where_to_look() {
        let text = text(&Root::default(), "unbind");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "operation unbind");
        assert_eq!(lines[1].len(), "boot ".len() + 36, "a boot id: {text}");
        let thread: u32 = lines[2].strip_prefix("thread ").unwrap().parse().unwrap();
        assert_ne!(thread, std::process::id(), "the test's thread is not the main one");
        assert!(lines[3].strip_prefix("start ").unwrap().parse::<u64>().unwrap() > 0);
    }
}
