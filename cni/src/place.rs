//! Where the kernel has what is attached: on the vdpa bus, or as a function.

use std::{fmt, path::PathBuf};

use ringway_kernel::{Root, auxiliary, bus, pci, userspace, vdpa_bus, vfio};
use serde::{Deserialize, Serialize};

use crate::{attachment::Attachment, error::Result};

/// What is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A vDPA device, by its name.
    Vdpa(String),
    /// A function itself.
    Pci(pci::Address),
    /// A subfunction itself.
    Auxiliary(auxiliary::Name),
}

/// The device in sysfs that an interface hangs at, as a link tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its directory.
    pub dir: PathBuf,
    /// Its bus: `pci`, `auxiliary`, `virtio`.
    pub bus: &'static str,
}

/// What a device is at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    /// The way it can be attached; `None` if it can in none that we know.
    pub attachment: Option<Attachment>,
    /// The same for people: `bound to vfio-pci`.
    pub words: String,
}

impl Place {
    /// Whether it is there.
    pub fn exists(&self, root: &Root) -> bool {
        match self {
            Self::Vdpa(name) => vdpa_bus::exists(root, name),
            Self::Pci(address) => pci::exists(root, *address),
            Self::Auxiliary(name) => auxiliary::dir(root, name).exists(),
        }
    }

    /// The vDPA device's name.
    pub fn vdpa(&self) -> Option<&str> {
        match self {
            Self::Vdpa(name) => Some(name),
            Self::Pci(_) | Self::Auxiliary(_) => None,
        }
    }

    /// What it is now, by its driver.
    pub fn now(&self, root: &Root) -> Result<Now> {
        let driver = match self {
            Self::Vdpa(name) => vdpa_bus::driver(root, name)?,
            Self::Pci(address) => pci::driver(root, *address)?,
            Self::Auxiliary(name) => auxiliary::driver(root, name)?,
        };
        let Some(driver) = driver else {
            return Ok(Now { attachment: None, words: "bound to no driver".to_owned() });
        };
        let (attachment, more) = match self {
            Self::Vdpa(_) => (Attachment::of_driver(&driver), ""),
            Self::Pci(address) => function(root, *address, &driver)?,
            // what drives a subfunction makes an interface of it
            Self::Auxiliary(_) => (Some(Attachment::Netdev), ""),
        };
        Ok(Now { attachment, words: format!("bound to {driver}{more}") })
    }

    /// What its interface hangs at, here or in another namespace; `None` if it can have none.
    pub fn owner(&self, root: &Root) -> Result<Option<Owner>> {
        let virtio = |dir| Owner { dir, bus: "virtio" };
        match self {
            Self::Vdpa(name) => Ok(vdpa_bus::virtio_dir(root, name)?.map(virtio)),
            Self::Pci(_) | Self::Auxiliary(_)
                if self.now(root)?.attachment != Some(Attachment::Netdev) =>
            {
                Ok(None)
            }
            Self::Auxiliary(name) => {
                Ok(Some(Owner { dir: auxiliary::dir(root, name), bus: "auxiliary" }))
            }
            Self::Pci(address) => {
                let function = || Owner { dir: pci::dir(root, *address), bus: "pci" };
                Ok(Some(pci::virtio_dir(root, *address)?.map_or_else(function, virtio)))
            }
        }
    }
}

impl From<bus::Address> for Place {
    fn from(address: bus::Address) -> Self {
        match address {
            bus::Address::Pci(address) => Self::Pci(address),
            bus::Address::Auxiliary(name) => Self::Auxiliary(name),
        }
    }
}

/// The way of a function by its driver. A network driver is one that is none of those that make
/// something else of a function.
fn function(
    root: &Root,
    address: pci::Address,
    driver: &str,
) -> Result<(Option<Attachment>, &'static str)> {
    Ok(match driver {
        vfio::DRIVER if vfio::of(root, address)?.is_some() => (Some(Attachment::Vfio), ""),
        vfio::DRIVER => (None, ", without a node of its IOMMU group"),
        "virtio-pci" if pci::virtio_driver(root, address)?.as_deref() != Some("virtio_net") => {
            (None, ", and its virtio device not to virtio_net")
        }
        "uio_pci_generic" | "igb_uio" => {
            match userspace::uio(root, &bus::Address::Pci(address))?.is_empty() {
                false => (Some(Attachment::Uio), ""),
                true => (None, ", without a node"),
            }
        }
        "vp-vdpa" | "pci-stub" => (None, ""),
        _ => (Some(Attachment::Netdev), ""),
    })
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vdpa(name) => write!(f, "vDPA device {name}"),
            Self::Pci(address) => write!(f, "function {address}"),
            Self::Auxiliary(name) => write!(f, "subfunction {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use ringway_kernel::testing::Tree;

    use super::*;

    const CARD: &str = "
        0000:01:00.0 igb pf totalvfs=7 net=eth1
        0000:01:00.1 vf-of=0000:01:00.0 igbvf net=eth2
        0000:01:00.2 vf-of=0000:01:00.0 vfio-pci iommu=8 vfio=0
        0000:01:00.3 vf-of=0000:01:00.0 vfio-pci iommu=9
        0000:01:00.4 vf-of=0000:01:00.0 vp-vdpa vdpa=v0 virtio=3 vnet=eth3
        0000:01:00.5 vf-of=0000:01:00.0
        0000:01:00.6 vf-of=0000:01:00.0 virtio-pci net=eth4
        0000:01:00.7 vf-of=0000:01:00.0 uio_pci_generic
        mlx5_core.sf.4 sf-of=0000:01:00.0 mlx5_core.sf sfnum=88 net=eth5
        mlx5_core.sf.5 sf-of=0000:01:00.0 sfnum=89
    ";

    #[test]
    fn a_device_is_what_its_driver_makes_of_it() {
        let tree = Tree::new(CARD);
        let check = |place: Place, attachment: Option<Attachment>, words: &str, owner: &str| {
            let now = place.now(&tree.root()).unwrap();
            assert_eq!((now.attachment, now.words.as_str()), (attachment, words), "{place}");
            let found = place.owner(&tree.root()).unwrap();
            let found = found.map_or(String::new(), |owner| {
                format!("{} {}", owner.bus, owner.dir.file_name().unwrap().display())
            });
            assert_eq!(found, owner, "{place}");
        };
        let pci = |number: u32| Place::Pci(format!("0000:01:00.{number}").parse().unwrap());
        check(pci(1), Some(Attachment::Netdev), "bound to igbvf", "pci 0000:01:00.1");
        check(pci(2), Some(Attachment::Vfio), "bound to vfio-pci", "");
        let words = "bound to vfio-pci, without a node of its IOMMU group";
        check(pci(3), None, words, "");
        check(pci(4), None, "bound to vp-vdpa", "");
        check(pci(5), None, "bound to no driver", "");
        check(pci(6), Some(Attachment::Netdev), "bound to virtio-pci", "virtio virtio0");
        check(pci(7), None, "bound to uio_pci_generic, without a node", "");
        let uio = "sys/devices/pci0000:00/0000:01:00.7/uio/uio4/dev";
        tree.write(uio, "240:4\n");
        check(pci(7), Some(Attachment::Uio), "bound to uio_pci_generic", "");
        let sf = |name: &str| Place::Auxiliary(name.parse().unwrap());
        let owner = "auxiliary mlx5_core.sf.4";
        let netdev = Some(Attachment::Netdev);
        check(sf("mlx5_core.sf.4"), netdev, "bound to mlx5_core.sf", owner);
        check(sf("mlx5_core.sf.5"), None, "bound to no driver", "");
        let vdpa = Place::Vdpa("v0".into());
        check(vdpa, Some(Attachment::VirtioVdpa), "bound to virtio_vdpa", "virtio virtio3");
        std::fs::remove_file(tree.path("sys/devices/pci0000:00/0000:01:00.6/virtio0/driver"))
            .unwrap();
        let words = "bound to virtio-pci, and its virtio device not to virtio_net";
        check(pci(6), None, words, "");
    }
}
