//! `ringway install`: puts this binary where the runtime looks for CNI plugins.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use ringway_node::atomic;

/// Larger than the binary ever is, in bytes.
const LONGEST: u64 = 64 << 20;

/// Copies the running binary to `dir/name`: whole or not at all, because runtimes start it at any
/// moment. What is there and the same is left alone. Gives whether anything was written.
pub fn install(dir: &Path, name: &str) -> Result<bool> {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(inside) {
        bail!("--name {name:?} must be a bare file name of letters, digits and `._-`");
    }
    // Opened by the kernel's link, which leads to the file even if it was replaced meanwhile.
    let own = fs::read("/proc/self/exe").context("read the running binary")?;
    let path = dir.join(name);
    let same = atomic::read(&path, LONGEST).is_ok_and(|there| there == own);
    if same && is_executable(&path) {
        return Ok(false);
    }
    atomic::write(&path, &own, 0o755).with_context(|| format!("install to {}", dir.display()))?;
    Ok(true)
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|about| about.permissions().mode() & 0o777 == 0o755)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_copied_once_and_names_are_bare() {
        let dir = tempfile::tempdir().unwrap();
        assert!(install(dir.path(), "ringway").unwrap());
        assert!(!install(dir.path(), "ringway").unwrap());
        let path = dir.path().join("ringway");
        assert!(is_executable(&path));
        assert_eq!(fs::read(&path).unwrap(), fs::read("/proc/self/exe").unwrap());
        fs::write(&path, "old").unwrap();
        assert!(install(dir.path(), "ringway").unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        for bad in ["", "../x", "a/b", ".x"] {
            assert!(install(dir.path(), bad).is_err(), "{bad:?}");
        }
        assert!(install(Path::new("/no/dir"), "x").is_err());
    }
}
