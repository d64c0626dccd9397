//! What the kernel says of a device now: the fresh look behind health and every allocation.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use ringway_kernel::chardev::CharDevice;
use ringway_kernel::{Error, Root, pci, vdpa_bus, vfio};
use ringway_node::pools::Device;

/// The kernel's state of one device of `pools.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The PCI function; `None` where the device has no PCI address.
    pub function: Option<Presence>,
    /// The vDPA device; `None` where the device has none in `pools.json`.
    pub vdpa: Option<Presence>,
    /// The nodes that its user opens: the one that vhost_vdpa made, or those of vfio-pci.
    pub nodes: Vec<Node>,
}

/// Whether a bus has a device, and what drives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// Not on the bus.
    Missing,
    /// There, with no driver.
    Unbound,
    /// There and bound to the driver of this name.
    Bound(String),
}

/// A node that sysfs names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// The node of this name (`vhost-vdpa-0`, `vfio/12`) is in `/dev` and is the right one.
    There(String),
    /// `/dev` has none, or another device, under this name.
    Absent(String),
}

/// Looks at `device`.
///
/// # Errors
/// An attribute that exists cannot be read or understood.
pub fn look(root: &Root, device: &Device) -> Result<Sighting, Error> {
    let function = match device.pci_address {
        None => None,
        Some(address) => Some(match pci::exists(root, address) {
            false => Presence::Missing,
            true => presence(pci::driver(root, address)?),
        }),
    };
    let given = device.pci_address.map(|address| vfio::of(root, address)).transpose()?.flatten();
    let mut nodes: Vec<_> = given.iter().flat_map(|g| g.nodes()).map(|n| node(root, n)).collect();
    let vdpa = match &device.vdpa {
        None => None,
        Some(vdpa) if !vdpa_bus::exists(root, &vdpa.name) => Some(Presence::Missing),
        Some(vdpa) => {
            nodes.extend(vdpa_bus::char_device(root, &vdpa.name)?.map(|found| node(root, &found)));
            Some(presence(vdpa_bus::driver(root, &vdpa.name)?))
        }
    };
    Ok(Sighting { function, vdpa, nodes })
}

fn presence(driver: Option<String>) -> Presence {
    driver.map_or(Presence::Unbound, Presence::Bound)
}

fn node(root: &Root, found: &CharDevice) -> Node {
    let below = found.path.strip_prefix(root.dev()).unwrap_or(&found.path);
    let name = below.display().to_string();
    match is_char_device(&found.path, found.major, found.minor) {
        true => Node::There(name),
        false => Node::Absent(name),
    }
}

/// udev may lag behind sysfs, and the number of a device that is gone may belong to another.
fn is_char_device(path: &Path, major: u32, minor: u32) -> bool {
    path.metadata().is_ok_and(|about| {
        about.file_type().is_char_device() && about.rdev() == rustix::fs::makedev(major, minor)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_kernel::testing::Tree;
    use serde_json::json;

    const ADDRESS: &str = "0000:01:00.1";

    fn device() -> Device {
        serde_json::from_value(json!({
            "id": ADDRESS, "parent": "0000:01:00.0", "index": 0, "state": "ready",
            "pciAddress": ADDRESS,
            "vdpa": {"name": "vdpa:0000:01:00.1", "mgmtdev": "pci/0000:01:00.1",
                     "driver": "vhost_vdpa", "node": "/dev/vhost-vdpa-7"},
        }))
        .unwrap()
    }

    /// A tree whose node is the host's `/dev/null`: making one of its own needs root.
    fn tree() -> Tree {
        let tree = Tree::new("0000:01:00.1 vp-vdpa vdpa=vdpa:0000:01:00.1 vhost=3");
        set_number(&tree, "1:3");
        std::fs::remove_file(tree.path("dev/vhost-vdpa-3")).unwrap();
        std::os::unix::fs::symlink("/dev/null", tree.path("dev/vhost-vdpa-3")).unwrap();
        tree
    }

    fn set_number(tree: &Tree, number: &str) {
        tree.write("sys/bus/vdpa/devices/vdpa:0000:01:00.1/vhost-vdpa-3/dev", number);
    }

    fn bound(driver: &str) -> Option<Presence> {
        Some(Presence::Bound(driver.to_owned()))
    }

    #[test]
    fn the_node_is_what_sysfs_says_and_not_what_the_file_remembers() {
        let sighting = look(&tree().root(), &device()).unwrap();
        let nodes = vec![Node::There("vhost-vdpa-3".to_owned())];
        let (function, vdpa) = (bound("vp-vdpa"), bound("vhost_vdpa"));
        assert_eq!(sighting, Sighting { function, vdpa, nodes });
    }

    #[test]
    fn a_function_for_vfio_has_its_groups_node_and_what_belongs_to_it() {
        let tree = Tree::new("0000:01:00.1 vfio-pci iommu=12 vfio=0 cdev=3");
        let (group, shared) = (tree.path("dev/vfio/12"), tree.path("dev/vfio/vfio"));
        for (node, sys) in [(&group, "sys/class/vfio/12/dev"), (&shared, "sys/class/misc/vfio/dev")]
        {
            std::fs::remove_file(node).unwrap();
            std::os::unix::fs::symlink("/dev/null", node).unwrap();
            tree.write(sys, "1:3");
        }
        let mut device = device();
        device.vdpa = None;
        let sighting = look(&tree.root(), &device).unwrap();
        let (there, absent) = (|n: &str| Node::There(n.into()), |n: &str| Node::Absent(n.into()));
        let nodes = vec![
            there("vfio/vfio"),
            absent("iommu"),
            there("vfio/12"),
            absent("vfio/devices/vfio3"),
        ];
        assert_eq!(sighting, Sighting { function: bound("vfio-pci"), vdpa: None, nodes });
    }

    #[test]
    fn a_node_that_is_missing_or_another_device_is_absent() {
        let tree = tree();
        let absent = [Node::Absent("vhost-vdpa-3".to_owned())];
        set_number(&tree, "1:5");
        assert_eq!(look(&tree.root(), &device()).unwrap().nodes, absent);
        std::fs::remove_file(tree.path("dev/vhost-vdpa-3")).unwrap();
        assert_eq!(look(&tree.root(), &device()).unwrap().nodes, absent);
        tree.write("dev/vhost-vdpa-3", "a file");
        assert_eq!(look(&tree.root(), &device()).unwrap().nodes, absent);
    }

    #[test]
    fn devices_can_be_missing_or_unbound() {
        let empty = Tree::new("");
        let sighting = look(&empty.root(), &device()).unwrap();
        assert_eq!(sighting.function, Some(Presence::Missing));
        assert_eq!(sighting.vdpa, Some(Presence::Missing));

        let unbound = Tree::new("0000:01:00.1 vdpa=vdpa:0000:01:00.1");
        let sighting = look(&unbound.root(), &device()).unwrap();
        assert_eq!(sighting.function, Some(Presence::Unbound));
        assert_eq!(sighting.vdpa, Some(Presence::Unbound));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let tree = tree();
        set_number(&tree, "nonsense");
        assert!(look(&tree.root(), &device()).is_err());
    }
}
