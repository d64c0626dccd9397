//! What the node's owner set for this binary, where tenants cannot.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use ringway_node::atomic;
use serde::Deserialize;

use crate::error::{Code, Error, Result};

/// A whole file is much smaller.
const LONGEST: u64 = 64 << 10;

/// The configuration; without its file, the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Whether a device must be held by the pod that asks for it, as kubelet's device checkpoint
    /// says. True where it is not set.
    pub require_allocation: bool,
    /// Kubelet's directory, without its leading slash or with it.
    pub kubelet_dir: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { require_allocation: true, kubelet_dir: "/var/lib/kubelet".to_owned() }
    }
}

impl Config {
    /// The configuration at `path`, which only its owner, the user of this process, may write.
    pub fn read(path: &Path) -> Result<Self> {
        let about = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            about => {
                about.map_err(Error::because(Code::Io, format!("look at {}", path.display())))?
            }
        };
        let ours = about.uid() == rustix::process::geteuid().as_raw();
        if !ours || about.mode() & 0o022 != 0 {
            let text =
                format!("{} must belong to root and be writable to no one else", path.display());
            return Err(Error::new(Code::Io, text));
        }
        let bytes = atomic::read(path, LONGEST)
            .map_err(Error::because(Code::Io, "configuration of the node"))?;
        serde_json::from_slice(&bytes)
            .map_err(Error::because(Code::Decode, format!("parse {}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read(content: &str, mode: u32) -> Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Config::read(&path)
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        assert_eq!(Config::read(Path::new("/nowhere/config.json")).unwrap(), Config::default());
        let found = read(r#"{"requireAllocation": false}"#, 0o644).unwrap();
        assert!(!found.require_allocation);
        assert_eq!(found.kubelet_dir, "/var/lib/kubelet");
    }

    #[test]
    fn a_misspelt_field_and_an_open_file_are_refused() {
        let error = read(r#"{"requireAlocation": false}"#, 0o644).unwrap_err();
        assert!(error.chain().contains("requireAlocation"), "{}", error.chain());
        let error = read("{}", 0o666).unwrap_err();
        assert!(error.to_string().contains("writable to no one else"), "{error}");
    }
}
