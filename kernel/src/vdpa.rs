//! The generic netlink family "vdpa": management devices, and the vDPA devices made on them
//! (include/uapi/linux/vdpa.h, drivers/vdpa/vdpa.c).
//!
//! The family exists only in the first network namespace and while the `vdpa` module is loaded.
//! It holds generic netlink's one lock while it works: a creation or removal that sleeps stops
//! *every* process's generic netlink on the node, `devlink` and `ethtool` too. So unbind a device's
//! bus driver through sysfs before [`Vdpa::delete`], and send [`Vdpa::create`] and
//! [`Vdpa::delete`] only through [`crate::stuck`].
//!
//! Devices whose driver makes them without a management device (snet, eni) are not seen here:
//! [`crate::vdpa_bus::list`] sees all.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{error::Error, features::Features, mac::Mac};

mod calls;
mod explain;
pub mod wire;

pub use calls::Vdpa;

/// The name of a management device: `pci/0000:01:00.1`, or `vdpasim_net` for one without a bus.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Handle {
    /// `pci`, `auxiliary`, or none for the simulator and VDUSE.
    pub bus: Option<String>,
    /// The name on that bus.
    pub name: String,
}

/// What can make vDPA devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagementDevice {
    /// Its name.
    pub handle: Handle,
    /// What classes of virtio device it can make.
    pub classes: Classes,
    /// The features that its devices can have; `None` where the kernel does not say (before 5.17).
    pub features: Option<Features>,
    /// The most virtqueues of one device, control queue included; `None` where the kernel does not
    /// say. 0 for VDUSE, where the daemon decides.
    pub max_virtqueues: Option<u32>,
}

impl ManagementDevice {
    /// The most pairs of data virtqueues that a device can be asked for: half of the virtqueues,
    /// the odd one being the control queue (mlx5_vdpa_dev_add, drivers/vdpa/mlx5/net/mlx5_vnet.c).
    pub fn max_queue_pairs(&self) -> Option<u16> {
        let pairs = self.max_virtqueues? / 2;
        Some(u16::try_from(pairs).unwrap_or(u16::MAX))
    }
}

/// A set of virtio device classes: bit N is virtio device id N.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Classes(pub u64);

impl Classes {
    /// Whether network devices (virtio id 1) are among them.
    pub fn net(self) -> bool {
        self.0 & 1 << NET != 0
    }
}

/// The virtio device id of a network device (include/uapi/linux/virtio_ids.h).
pub const NET: u32 = 1;

/// A vDPA device, whatever its class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name, unique on the node.
    pub name: String,
    /// What made it.
    pub management_device: Handle,
    /// The virtio device id: 1 is a network device.
    pub device_id: u32,
    /// The virtio vendor id.
    pub vendor_id: u32,
    /// Its virtqueues, control queue included.
    pub max_virtqueues: u32,
    /// The longest virtqueue, in descriptors.
    pub max_virtqueue_size: u16,
}

/// The configuration space of a network vDPA device. What the device does not offer is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Config {
    /// With `VIRTIO_NET_F_MAC`.
    pub mac: Option<Mac>,
    /// With `VIRTIO_NET_F_MTU`, in bytes.
    pub mtu: Option<u16>,
    /// With `VIRTIO_NET_F_MQ` or `RSS`; a device without has one pair.
    pub max_queue_pairs: Option<u16>,
    /// With `VIRTIO_NET_F_STATUS`: whether the link is up.
    pub link_up: Option<bool>,
    /// The features that the device offers.
    pub features: Option<Features>,
    /// The features that the running driver took.
    pub negotiated: Option<Features>,
}

/// A device to be made. What is `None` is left to the driver of the management device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDevice {
    /// Its name, which must be free on the node.
    pub name: String,
    /// What shall make it.
    pub management_device: Handle,
    /// Needs `VIRTIO_NET_F_MAC` where features are given.
    pub mac: Option<Mac>,
    /// At least 68 bytes; needs `VIRTIO_NET_F_MTU` where features are given.
    pub mtu: Option<u16>,
    /// Pairs of data virtqueues, at least 1; needs `VIRTIO_NET_F_MQ` where features are given.
    pub queue_pairs: Option<u16>,
    /// Exactly the features that it shall offer.
    pub features: Option<Features>,
}

impl NewDevice {
    /// A device with everything left to the driver.
    pub fn new(name: impl Into<String>, management_device: Handle) -> Self {
        Self {
            name: name.into(),
            management_device,
            mac: None,
            mtu: None,
            queue_pairs: None,
            features: None,
        }
    }
}

impl Handle {
    /// The management device of a PCI function.
    pub fn pci(address: crate::pci::Address) -> Self {
        Self { bus: Some("pci".to_owned()), name: address.to_string() }
    }

    /// A management device without a bus: `vdpasim_net`, `vduse`.
    pub fn without_bus(name: impl Into<String>) -> Self {
        Self { bus: None, name: name.into() }
    }

    /// The PCI function that this is, if it is one.
    pub fn pci_address(&self) -> Option<crate::pci::Address> {
        match self.bus.as_deref() {
            Some("pci") => self.name.parse().ok(),
            _ => None,
        }
    }

    /// Whether it may hold more than one device. The kernel's simulators and VDUSE may; vp_vdpa
    /// accepts a second one and then destroys the kernel's list on removal, and other hardware
    /// drivers refuse it or have no guard.
    pub fn allows_several(&self) -> bool {
        self.bus.is_none() && (self.name.starts_with("vdpasim_") || self.name == "vduse")
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.bus {
            Some(bus) => write!(f, "{bus}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl FromStr for Handle {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (bus, name) = match text.split_once('/') {
            Some((bus, name)) => (Some(bus), name),
            None => (None, text),
        };
        if bus == Some("") || name.is_empty() || name.contains('/') {
            return Err(Error::parse("vdpa management device", text, "NAME or BUS/NAME"));
        }
        Ok(Self { bus: bus.map(str::to_owned), name: name.to_owned() })
    }
}

impl TryFrom<String> for Handle {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Handle> for String {
    fn from(handle: Handle) -> Self {
        handle.to_string()
    }
}

#[cfg(test)]
mod tests;
