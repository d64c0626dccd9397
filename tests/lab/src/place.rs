//! Where things are: the checkout, the cache that all checkouts share, and this lab's own state.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The directories that a lab of this checkout uses.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The source tree.
    pub(crate) checkout: PathBuf,
    /// Built parts, logs and Go's caches; shared by every checkout of this user.
    pub(crate) cache: PathBuf,
    /// What the running lab of this checkout writes.
    pub(crate) state: PathBuf,
    /// Sockets of the running lab. Short, because a socket's path ends at 107 bytes.
    pub(crate) sockets: PathBuf,
    /// The lab's name: the checkout's directory name and a hash of its whole path.
    pub(crate) name: String,
}

impl Place {
    /// Finds the places from the environment; creates nothing.
    pub(crate) fn find() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let checkout = manifest
            .join("../..")
            .canonicalize()
            .with_context(|| format!("find the checkout above {}", manifest.display()))?;
        let cache = match (env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
            (Some(dir), _) if Path::new(&dir).is_absolute() => PathBuf::from(dir),
            (_, Some(home)) => PathBuf::from(home).join(".cache"),
            _ => anyhow::bail!("neither XDG_CACHE_HOME nor HOME is set: no place for the cache"),
        }
        .join("ringway-lab");
        Ok(Self::of(&checkout, cache))
    }

    fn of(checkout: &Path, cache: PathBuf) -> Self {
        let hash = hex(&Sha256::digest(checkout.as_os_str().as_encoded_bytes())[..4]);
        let base = checkout.file_name().map_or_else(|| "root".into(), |n| n.to_string_lossy());
        let name = format!("{base}-{hash}");
        Self {
            state: cache.join("labs").join(&name),
            sockets: PathBuf::from(format!("/run/ringway-lab-{hash}")),
            checkout: checkout.to_owned(),
            cache,
            name,
        }
    }

    /// A file that comes with the lab's sources.
    pub(crate) fn asset(&self, name: &str) -> PathBuf {
        self.checkout.join("tests/lab/assets").join(name)
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkouts_do_not_collide() {
        let a = Place::of(Path::new("/src/a/ringway"), "/c".into());
        let b = Place::of(Path::new("/src/b/ringway"), "/c".into());
        assert!(a.name.starts_with("ringway-"));
        assert_ne!(a.state, b.state);
        assert_ne!(a.sockets, b.sockets);
        assert_eq!(a.state, Place::of(Path::new("/src/a/ringway"), "/c".into()).state);
    }
}
