//! Where the shared files are.

use std::path::{Path, PathBuf};

/// Every path that more than one of Ringway's processes uses.
///
/// Fields are public so that a flag can replace a single one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Last accepted node spec, written by the agent: applied at boot before the API server answers.
    pub node: PathBuf,
    /// What each parent and function was before the first change, written by the agent.
    pub before: PathBuf,
    /// What to advertise, written by the agent: [`crate::pools`].
    pub pools: PathBuf,
    /// One record per attachment, written by the CNI binary.
    pub attachments: PathBuf,
    /// One lock file per device: [`crate::lock`].
    pub locks: PathBuf,
    /// One marker per device whose kernel call may not have returned.
    pub stuck: PathBuf,
    /// Container Device Interface specs, written by the device plugin.
    pub cdi: PathBuf,
    /// Device-info files, below it `dp/` and `cni/`: [`crate::devinfo`].
    pub devinfo: PathBuf,
    /// The udev rule that keeps network managers off our functions, written by the agent.
    pub udev_rules: PathBuf,
}

impl Paths {
    /// The paths of a node whose root directory is `root`: `/` on a real one, a temporary
    /// directory in tests, a mount point in a container that sees the host's files elsewhere.
    pub fn under(root: &Path) -> Self {
        let state = root.join("var/lib/ringway");
        let run = root.join("run/ringway");
        Self {
            node: state.join("node.json"),
            before: state.join("before.json"),
            pools: state.join("pools.json"),
            attachments: state.join("attachments"),
            locks: run.join("lock"),
            stuck: run.join("stuck"),
            cdi: root.join("var/run/cdi"),
            devinfo: root.join("var/run/k8s.cni.cncf.io/devinfo"),
            udev_rules: root.join("run/udev/rules.d/10-ringway.rules"),
        }
    }
}

impl Default for Paths {
    fn default() -> Self {
        Self::under(Path::new("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_prefix_moves_every_path() {
        let Paths { node, before, pools, attachments, locks, stuck, cdi, devinfo, udev_rules } =
            Paths::under(Path::new("/t"));
        for path in [node, before, pools, attachments, locks, stuck, cdi, devinfo, udev_rules] {
            assert!(path.starts_with("/t"), "{}", path.display());
        }
    }

    #[test]
    fn a_node_has_the_documented_paths() {
        let paths = Paths::default();
        assert_eq!(paths.pools, Path::new("/var/lib/ringway/pools.json"));
        assert_eq!(paths.locks, Path::new("/run/ringway/lock"));
        assert_eq!(paths.devinfo, Path::new("/var/run/k8s.cni.cncf.io/devinfo"));
    }
}
