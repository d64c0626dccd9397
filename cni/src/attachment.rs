//! How a device reaches its pod, by what the device is now.

use ringway_kernel::vdpa_bus::Driver;
use ringway_node::pools::Attach;
use serde::{Deserialize, Serialize};

/// The ways that this binary knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attachment {
    /// The vDPA device's virtio-net netdev moves into the pod.
    VirtioVdpa,
    /// The vDPA device's character device is in the container already: CDI put it there.
    VhostVdpa,
}

impl Attachment {
    /// The way of a vDPA device by the driver it is bound to.
    pub fn of_driver(driver: &str) -> Option<Self> {
        Driver::from_name(driver).map(|driver| match driver {
            Driver::VirtioVdpa => Self::VirtioVdpa,
            Driver::VhostVdpa => Self::VhostVdpa,
        })
    }

    /// The way that a pool promises; `None` where it is not ours to do.
    pub fn of_pool(attach: Attach) -> Option<Self> {
        match attach {
            Attach::VirtioVdpa => Some(Self::VirtioVdpa),
            Attach::VhostVdpa => Some(Self::VhostVdpa),
            Attach::Netdev | Attach::Vfio => None,
        }
    }
}

impl std::fmt::Display for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::VirtioVdpa => "virtio-vdpa",
            Self::VhostVdpa => "vhost-vdpa",
        })
    }
}
