//! What was made of a file, for as long as the file is the same.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How long a file must have been as it is before what was made of it is kept. Times of files are as
/// coarse as the kernel's tick (`current_time`, fs/inode.c), 10 ms at most: of two changes within one
/// the second does not show.
const SETTLED: Duration = Duration::from_secs(1);

/// What was made of a file, for as long as the file is the same.
///
/// As good as reading it again: nobody can change a file's content, or put another file in its place,
/// without another inode or a later change time.
#[derive(Debug)]
pub struct Kept<T>(Mutex<Option<(Stamp, Arc<T>)>>);

/// What shows that a file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Kept<T> {
    /// What is known of a file; `about` is how it is now.
    pub fn get(&self, about: Option<&Metadata>) -> Option<Arc<T>> {
        let stamp = Stamp::of(about?);
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(of, _)| *of == stamp).map(|(_, made)| made.clone())
    }

    /// Keeps what was made of a file; `about` is how it was right before it was read.
    pub fn keep(&self, about: Option<&Metadata>, made: Arc<T>) {
        let stamp = about.map(Stamp::of).filter(|stamp| stamp.is_settled(SystemTime::now()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stamp.map(|stamp| (stamp, made));
    }

    /// What is known of a file, or else what `make` makes of it.
    ///
    /// # Errors
    /// Those of `make`; nothing is kept of them.
    pub fn get_or<E>(
        &self,
        about: Option<&Metadata>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        if let Some(known) = self.get(about) {
            return Ok(known);
        }
        let made = Arc::new(make()?);
        self.keep(about, made.clone());
        Ok(made)
    }
}

impl Stamp {
    fn of(about: &Metadata) -> Self {
        let changed = (about.ctime(), about.ctime_nsec());
        Self { device: about.dev(), inode: about.ino(), size: about.size(), changed }
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let (seconds, nanos) = self.changed;
        let since = Duration::from_secs(seconds.try_into().unwrap_or_default())
            + Duration::from_nanos(nanos.try_into().unwrap_or_default());
        let age = now.duration_since(SystemTime::UNIX_EPOCH + since);
        age.is_ok_and(|age| age >= SETTLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn about(path: &Path) -> Metadata {
        path.symlink_metadata().unwrap()
    }

    #[test]
    fn what_is_as_it_was_is_known_and_what_changes_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let kept = Kept::default();
        let stamp = Stamp::of(&about(&path));
        *kept.0.lock().unwrap() = Some((stamp, Arc::new(1)));
        assert_eq!(kept.get(Some(&about(&path))).as_deref(), Some(&1));
        assert_eq!(kept.get(None), None, "a file that is gone");
        ringway_node::atomic::write(&path, b"two", 0o644).unwrap();
        assert_eq!(kept.get(Some(&about(&path))), None);
    }

    #[test]
    fn what_has_just_changed_is_not_kept() {
        let now = SystemTime::now();
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let stamp = |seconds: u64| Stamp {
            device: 1,
            inode: 2,
            size: 3,
            changed: (seconds.try_into().unwrap(), 0),
        };
        assert!(stamp(seconds - 2).is_settled(now));
        assert!(!stamp(seconds).is_settled(now));
        assert!(!stamp(seconds + 9).is_settled(now), "its clock was ahead");
    }

    #[test]
    fn of_what_fails_nothing_is_kept() {
        let kept = Kept::default();
        assert_eq!(kept.get_or(None, || Err::<u8, _>("wrong")), Err("wrong"));
        assert_eq!(kept.get_or(None, || Ok::<_, ()>(1)).as_deref(), Ok(&1));
        assert_eq!(kept.get_or(None, || Ok::<_, ()>(2)).as_deref(), Ok(&2), "no file");
    }
}
