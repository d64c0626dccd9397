//! The cache of built parts. A part is a directory named after the content of its inputs: it is
//! built once, in a temporary place, and renamed when whole. What an interruption leaves in the
//! temporary place is removed by the next run.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use rustix::fs::FlockOperation;
use sha2::{Digest, Sha256};

use crate::place::hex;
use crate::progress::Progress;

/// A part that nobody used for so long is removed.
const KEEP: Duration = Duration::from_secs(14 * 24 * 3600);

/// In a part's directory: how many seconds its build took.
const TIME: &str = "build-seconds";

/// The inputs of a part, hashed.
#[derive(Debug, Clone)]
pub(crate) struct Key(Sha256);

impl Key {
    /// Starts a key; raise `recipe` when the way of building changes in a way no input shows.
    pub(crate) fn new(recipe: u32) -> Self {
        Self(Sha256::new()).with(recipe.to_le_bytes())
    }

    /// Adds an input. Lengths are hashed too, so that neighbours cannot trade bytes.
    pub(crate) fn with(mut self, input: impl AsRef<[u8]>) -> Self {
        let input = input.as_ref();
        self.0.update((input.len() as u64).to_le_bytes());
        self.0.update(input);
        self
    }

    /// Adds a file's content.
    pub(crate) fn file(self, path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        Ok(self.with(bytes))
    }

    fn text(&self) -> String {
        hex(&self.0.clone().finalize()[..8])
    }
}

/// A built part: where it is, and its key for the parts made from it.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// The directory.
    pub(crate) dir: PathBuf,
    /// What it was built from.
    pub(crate) key: String,
}

impl Part {
    /// A file or directory in the part.
    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dir.join(below)
    }
}

/// Where a part is being built.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    /// Becomes the part.
    pub(crate) out: &'a Path,
    /// Room for what is thrown away afterwards.
    pub(crate) scratch: &'a Path,
    /// Where the builders' output goes.
    pub(crate) log: &'a Path,
}

/// The cache.
#[derive(Debug)]
pub(crate) struct Store<'a> {
    dir: PathBuf,
    progress: &'a Progress,
}

impl<'a> Store<'a> {
    /// Opens the cache; makes it if needed and removes what killed builds left.
    pub(crate) fn open(dir: &Path, progress: &'a Progress) -> Result<Self> {
        for sub in ["parts", "tmp", "log", "lock"] {
            let sub = dir.join(sub);
            fs::create_dir_all(&sub).with_context(|| format!("make {}", sub.display()))?;
        }
        let store = Self { dir: dir.to_owned(), progress };
        store.sweep();
        Ok(store)
    }

    /// Gives a part: from the cache, or built now.
    pub(crate) fn part(
        &self,
        name: &str,
        key: Key,
        build: impl FnOnce(&Site<'_>) -> Result<()>,
    ) -> Result<Part> {
        let key = key.text();
        let dir = self.dir.join("parts").join(format!("{name}-{key}"));
        let _alone = self.lock(name)?;
        if !dir.is_dir() {
            self.progress.step(&format!("build {name}"), || self.build(name, &dir, build))?;
        }
        // the directory's own time tells when it was last used
        File::open(&dir)?.set_modified(SystemTime::now())?;
        Ok(Part { dir, key })
    }

    /// Whether a part of this name exists in any version.
    pub(crate) fn has(dir: &Path, name: &str) -> bool {
        let prefix = format!("{name}-");
        fs::read_dir(dir.join("parts")).is_ok_and(|entries| {
            entries.flatten().any(|e| e.file_name().to_string_lossy().starts_with(&prefix))
        })
    }

    fn build(
        &self,
        name: &str,
        dir: &Path,
        build: impl FnOnce(&Site<'_>) -> Result<()>,
    ) -> Result<()> {
        let temporary = self.dir.join("tmp").join(format!("{name}.{}", std::process::id()));
        let (out, scratch) = (temporary.join("out"), temporary.join("scratch"));
        fs::create_dir_all(&out)?;
        fs::create_dir_all(&scratch)?;
        let log = self.dir.join("log").join(format!("{name}.log"));
        File::create(&log)?;
        let began = Instant::now();
        build(&Site { out: &out, scratch: &scratch, log: &log })
            .with_context(|| format!("build {name} (log: {})", log.display()))?;
        fs::write(out.join(TIME), format!("{:.3}\n", began.elapsed().as_secs_f64()))?;
        fs::rename(&out, dir).with_context(|| format!("put {} in place", dir.display()))?;
        fs::remove_dir_all(&temporary).ok();
        Ok(())
    }

    /// Two checkouts may want the same part: the second waits for the first.
    fn lock(&self, name: &str) -> Result<File> {
        let path = self.dir.join("lock").join(name);
        let file = File::create(&path)?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            self.progress.step(&format!("wait for another build of {name}"), || {
                rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
                Ok(())
            })?;
        }
        Ok(file)
    }

    /// Removes what builds that are no more have left, and parts unused for long.
    fn sweep(&self) {
        for entry in list(&self.dir.join("tmp")) {
            let alive = entry.extension().is_some_and(|pid| Path::new("/proc").join(pid).exists());
            if !alive {
                fs::remove_dir_all(&entry).ok();
            }
        }
        let old = SystemTime::now() - KEEP;
        for entry in list(&self.dir.join("parts")) {
            let used = fs::metadata(&entry).and_then(|m| m.modified());
            if used.is_ok_and(|used| used < old) {
                fs::remove_dir_all(&entry).ok();
            }
        }
    }
}

/// The directories of the parts that a cache holds.
pub(crate) fn parts(cache: &Path) -> BTreeSet<PathBuf> {
    list(&cache.join("parts")).into_iter().collect()
}

/// The seconds that the build of a part took, of its version that was used last; `None` if no
/// version is there, or it was built before builds were timed.
pub(crate) fn build_time(cache: &Path, name: &str) -> Option<f64> {
    let used = |dir: &PathBuf| fs::metadata(dir).and_then(|m| m.modified()).ok();
    let versions = parts(cache).into_iter().filter(|dir| name_of(dir) == Some(name));
    let dir = versions.max_by_key(used)?;
    fs::read_to_string(dir.join(TIME)).ok()?.trim().parse().ok()
}

/// The name of a part, of its directory's `NAME-KEY`.
pub(crate) fn name_of(dir: &Path) -> Option<&str> {
    Some(dir.file_name()?.to_str()?.rsplit_once('-')?.0)
}

/// Bytes that a tree really occupies on disk (sparse files count for what they hold).
pub(crate) fn occupied(dir: &Path) -> u64 {
    list(dir)
        .iter()
        .filter_map(|path| fs::symlink_metadata(path).ok().map(|m| (path, m)))
        .map(|(path, m)| if m.is_dir() { occupied(path) } else { m.blocks() * 512 })
        .sum()
}

fn list(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).map(|d| d.flatten().map(|e| e.path()).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str) -> Self {
            let dir =
                std::env::temp_dir().join(format!("ringway-store-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn write(site: &Site<'_>, text: &str) -> Result<()> {
        Ok(fs::write(site.out.join("file"), text)?)
    }

    #[test]
    fn a_part_is_built_once_per_content() {
        let (temporary, progress) = (Temporary::new("once"), Progress::new());
        let store = Store::open(&temporary.0, &progress).unwrap();
        let key = || Key::new(1).with("a");
        let first = store.part("p", key(), |site| write(site, "one")).unwrap();
        let again = store.part("p", key(), |_| panic!("built twice")).unwrap();
        assert_eq!(first.dir, again.dir);
        assert_eq!(fs::read_to_string(again.path("file")).unwrap(), "one");
        let other = store.part("p", Key::new(1).with("b"), |site| write(site, "two")).unwrap();
        assert_ne!(first.dir, other.dir);
        assert!(Store::has(&temporary.0, "p"));
        assert_eq!(parts(&temporary.0), [first.dir, other.dir].into());
    }

    #[test]
    fn a_part_knows_how_long_its_build_took() {
        let (temporary, progress) = (Temporary::new("time"), Progress::new());
        let store = Store::open(&temporary.0, &progress).unwrap();
        assert_eq!(build_time(&temporary.0, "p"), None);
        let dir = store.part("p", Key::new(1), |site| write(site, "one")).unwrap().dir;
        assert_eq!(name_of(&dir), Some("p"));
        assert!(build_time(&temporary.0, "p").unwrap() >= 0.0);
        let other = store.part("p", Key::new(2), |site| write(site, "two")).unwrap().dir;
        for (version, time) in [(&dir, "1.5"), (&other, "2.5")] {
            fs::write(version.join(TIME), time).unwrap();
        }
        let old = SystemTime::now() - Duration::from_secs(60);
        File::open(&other).unwrap().set_modified(old).unwrap();
        assert_eq!(build_time(&temporary.0, "p"), Some(1.5));
    }

    #[test]
    fn a_failed_build_leaves_no_part() {
        let (temporary, progress) = (Temporary::new("failed"), Progress::new());
        let store = Store::open(&temporary.0, &progress).unwrap();
        let error = store
            .part("p", Key::new(1), |site| {
                write(site, "half")?;
                anyhow::bail!("no luck")
            })
            .unwrap_err();
        assert!(format!("{error:#}").contains("no luck"));
        assert!(!Store::has(&temporary.0, "p"));
        store.part("p", Key::new(1), |site| write(site, "whole")).unwrap();
    }

    #[test]
    fn inputs_cannot_trade_bytes() {
        assert_ne!(
            Key::new(1).with("ab").with("c").text(),
            Key::new(1).with("a").with("bc").text()
        );
        assert_ne!(Key::new(1).text(), Key::new(2).text());
    }
}
