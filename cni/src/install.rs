//! `ringway install`: puts this binary where the runtime looks for CNI plugins.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use ringway_node::program;

/// Copies the running binary to `dir/name`: whole or not at all, because runtimes start it at any
/// moment. What is there and the same is left alone. Gives whether anything was written.
pub fn install(dir: &Path, name: &str) -> Result<bool> {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(inside) {
        bail!("--name {name:?} must be a bare file name of letters, digits and `._-`");
    }
    // By the kernel's link, which leads to the file even if it was replaced meanwhile.
    program::install(Path::new("/proc/self/exe"), &dir.join(name))
        .with_context(|| format!("install to {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_binary_is_copied_once_and_names_are_bare() {
        let dir = tempfile::tempdir().unwrap();
        assert!(install(dir.path(), "ringway").unwrap());
        assert!(!install(dir.path(), "ringway").unwrap());
        let path = dir.path().join("ringway");
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
