//! How a device reaches its pod, by what the device is now.

use ringway_kernel::vdpa_bus::Driver;
use ringway_node::pools::Attach;
use serde::{Deserialize, Serialize};

/// The ways that this binary knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attachment {
    /// The function's own netdev moves into the pod.
    Netdev,
    /// The function is on vfio-pci, and its group's node in the container already: CDI put it there.
    Vfio,
    /// The function is on a UIO driver, and its node in the container already.
    Uio,
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

    /// Whether it is a vDPA device that is attached, and not the function itself.
    pub fn is_vdpa(self) -> bool {
        matches!(self, Self::VirtioVdpa | Self::VhostVdpa)
    }

    /// Whether an interface moves into the pod.
    pub fn moves_interface(self) -> bool {
        matches!(self, Self::Netdev | Self::VirtioVdpa)
    }
}

/// The way that a pool promises.
impl From<Attach> for Attachment {
    fn from(attach: Attach) -> Self {
        match attach {
            Attach::Netdev => Self::Netdev,
            Attach::Vfio => Self::Vfio,
            Attach::Uio => Self::Uio,
            Attach::VirtioVdpa => Self::VirtioVdpa,
            Attach::VhostVdpa => Self::VhostVdpa,
        }
    }
}

impl std::fmt::Display for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Netdev => "netdev",
            Self::Vfio => "vfio",
            Self::Uio => "uio",
            Self::VirtioVdpa => "virtio-vdpa",
            Self::VhostVdpa => "vhost-vdpa",
        })
    }
}
