//! Where everything on the node is.

use std::path::{Path, PathBuf};

use ringway_kernel::Root;
use ringway_node::Paths;

/// Every path that a verb reads or writes.
#[derive(Debug, Clone)]
pub struct World {
    /// The kernel's file systems.
    pub root: Root,
    /// The files shared with the agent and the device plugin.
    pub paths: Paths,
    /// What the node's owner set: [`crate::config`].
    pub config: PathBuf,
    /// The directory that holds what tenants may name by `logFile`.
    pub logs: PathBuf,
    /// The journal's socket.
    pub journal: PathBuf,
    /// What `kubeletDir` of the configuration is relative to: `/` on a node.
    pub prefix: PathBuf,
}

impl World {
    /// The environment variable that names another root directory than `/`: for tests, and for a
    /// container that sees the node's files elsewhere. The runtime's environment is root's own.
    pub const PREFIX_VARIABLE: &str = "RINGWAY_ROOT";

    /// The node whose root directory is `prefix`.
    pub fn under(prefix: &Path) -> Self {
        Self {
            root: Root::new(prefix),
            paths: Paths::under(prefix),
            config: prefix.join("etc/cni/net.d/ringway.d/config.json"),
            journal: prefix.join("run/systemd/journal/socket"),
            logs: prefix.join("var/log/ringway"),
            prefix: prefix.to_owned(),
        }
    }

    /// The node of this process.
    pub fn from_env() -> Self {
        let prefix = std::env::var_os(Self::PREFIX_VARIABLE).map(PathBuf::from);
        match prefix {
            Some(prefix) if prefix.is_absolute() => Self::under(&prefix),
            _ => Self::under(Path::new("/")),
        }
    }
}
