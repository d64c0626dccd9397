//! What the kernel says of a device now: the fresh look behind health and every allocation.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use ringway_kernel::chardev::CharDevice;
use ringway_kernel::vdpa_bus::{self, Driver};
use ringway_kernel::{Error, Root, bus, pci, userspace, vfio};
use ringway_node::pools::Carrier;

use crate::supply::{Entry, Way};

mod parent;

use parent::Parents;
pub use parent::Uplink;

/// The kernel's state of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sighting {
    /// The function; `None` where the device is on none.
    pub function: Option<Presence>,
    /// The vDPA device; `None` where the device has none in `pools.json`.
    pub vdpa: Option<Presence>,
    /// Whether virtio_vdpa made a virtio device of it that no driver has.
    pub virtio_unbound: bool,
    /// The nodes that its user opens: the one that vhost_vdpa made, or those of vfio-pci or of a UIO
    /// driver.
    pub nodes: Vec<Node>,
    /// The nodes that are handed out with it as far as they are there.
    pub also: Vec<Node>,
    /// Its RDMA devices, where they are handed out with it.
    pub rdma_devices: Vec<String>,
    /// Another function of its IOMMU group that a driver of the kernel has, and that driver.
    pub group_shared: Option<(pci::Address, String)>,
    /// Its parent's interface, as far as it matters.
    pub uplink: Option<Uplink>,
    /// The interface that stands for it while its parent's eswitch is in switchdev mode.
    pub representor: Option<String>,
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

/// One look at all devices: what they have in common is read once.
#[derive(Debug)]
pub struct Look<'a> {
    root: &'a Root,
    parents: Parents,
    representors: bool,
}

impl<'a> Look<'a> {
    /// A look that has seen nothing yet.
    pub fn new(root: &'a Root) -> Self {
        Self { root, parents: Parents::default(), representors: true }
    }

    /// The same for an allocation, whose answer names no representors: they are not looked for.
    pub fn for_allocation(root: &'a Root) -> Self {
        Self { representors: false, ..Self::new(root) }
    }

    /// Looks at the device of `entry`.
    ///
    /// # Errors
    /// An attribute that exists cannot be read or understood.
    pub fn at(&self, entry: &Entry) -> Result<Sighting, Error> {
        look(self, entry)
    }
}

fn look(look: &Look<'_>, entry: &Entry) -> Result<Sighting, Error> {
    let (root, device) = (look.root, &entry.device);
    let address = device.function();
    let function = match &address {
        None => None,
        Some(address) => Some(presence(address.driver(root)?, || address.exists(root))),
    };
    let given = match device.pci_address {
        Some(address) if is_bound(&function, vfio::DRIVER) => vfio::made(root, address)?,
        _ => None,
    };
    let mut nodes: Vec<_> = given.iter().flat_map(|g| g.nodes()).map(|n| node(root, n)).collect();
    if let (Way::Uio, Some(address)) = (entry.way, &address) {
        nodes.extend(userspace::uio(root, address)?.iter().map(|n| node(root, n)));
    }
    let vdpa = match &device.vdpa {
        None => None,
        Some(vdpa) => {
            let driver = vdpa_bus::driver(root, &vdpa.name)?;
            Some(presence(driver, || vdpa_bus::exists(root, &vdpa.name)))
        }
    };
    // nodes stay for a moment when a driver goes; but virtio_vdpa makes none
    let may_have_node = !matches!(vdpa, None | Some(Presence::Missing))
        && !is_bound(&vdpa, Driver::VirtioVdpa.name());
    if let Some(named) = device.vdpa.as_ref().filter(|_| may_have_node) {
        nodes.extend(vdpa_bus::char_device(root, &named.name)?.map(|found| node(root, &found)));
    }
    let virtio_unbound = match (entry.way, &device.vdpa, &vdpa) {
        (Way::VirtioVdpa, Some(named), Some(Presence::Bound(_))) => {
            vdpa_bus::virtio_unbound(root, &named.name)?
        }
        _ => false,
    };
    let (also, rdma_devices) = also(root, entry, address.as_ref())?;
    let group_shared = match (entry.way, device.pci_address) {
        (Way::Vfio, Some(address)) => group_shared(root, address)?,
        _ => None,
    };
    let (uplink, representor) = match look.representors || entry.carrier != Carrier::Ignore {
        true => parent::look(root, &look.parents, entry)?,
        false => (None, None),
    };
    let seen = Sighting { function, vdpa, virtio_unbound, nodes, ..Sighting::default() };
    Ok(Sighting { also, rdma_devices, group_shared, uplink, representor, ..seen })
}

fn also(
    root: &Root,
    entry: &Entry,
    address: Option<&bus::Address>,
) -> Result<(Vec<Node>, Vec<String>), Error> {
    let (mut found, mut rdma_devices) = (Vec::new(), Vec::new());
    if let (true, Some(address)) = (entry.with.rdma, address) {
        found.extend(userspace::rdma(root, address)?);
        rdma_devices = userspace::rdma_devices(root, address)?;
    }
    if entry.with.vhost_net {
        found.extend(userspace::vhost_net(root));
    }
    Ok((found.iter().map(|n| node(root, n)).collect(), rdma_devices))
}

/// Who has one function of a group by vfio has all, and vfio gives nobody a group of which a driver of
/// the kernel has one (`vfio_group_viable`; `iommu_group_claim_dma_owner`, drivers/iommu/iommu.c).
fn group_shared(
    root: &Root,
    address: pci::Address,
) -> Result<Option<(pci::Address, String)>, Error> {
    for other in pci::iommu_sharers(root, address)? {
        let driver = pci::driver(root, other)?;
        // the two that leave DMA to user space
        let harmless = |driver: &String| driver.contains("vfio") || driver == "pci-stub";
        if let Some(driver) = driver.filter(|driver| !harmless(driver)) {
            return Ok(Some((other, driver)));
        }
    }
    Ok(None)
}

/// What has a driver is there; of what has none it is looked up.
fn presence(driver: Option<String>, exists: impl FnOnce() -> bool) -> Presence {
    match driver {
        Some(driver) => Presence::Bound(driver),
        None if exists() => Presence::Unbound,
        None => Presence::Missing,
    }
}

fn is_bound(presence: &Option<Presence>, driver: &str) -> bool {
    matches!(presence, Some(Presence::Bound(found)) if found == driver)
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
    use super::{Entry, Error, Look, Node, Presence, Root, Sighting, Way};
    use crate::supply::{NodePaths, With};
    use ringway_kernel::testing::Tree;
    use ringway_node::pools::{Carrier, Device};
    use serde_json::json;

    const ADDRESS: &str = "0000:01:00.1";

    fn look(root: &Root, entry: &Entry) -> Result<Sighting, Error> {
        Look::new(root).at(entry)
    }

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

    fn entry(device: Device) -> Entry {
        let (way, paths) = (Way::VhostVdpa, NodePaths::Stable);
        Entry { device, way, carrier: Carrier::Ignore, paths, with: With::default() }
    }

    fn seen(function: Option<Presence>, vdpa: Option<Presence>, nodes: Vec<Node>) -> Sighting {
        Sighting { function, vdpa, nodes, ..Sighting::default() }
    }

    fn bound(driver: &str) -> Option<Presence> {
        Some(Presence::Bound(driver.to_owned()))
    }

    #[test]
    fn the_node_is_what_sysfs_says_and_not_what_the_file_remembers() {
        let sighting = look(&tree().root(), &entry(device())).unwrap();
        let nodes = vec![Node::There("vhost-vdpa-3".to_owned())];
        let (function, vdpa) = (bound("vp-vdpa"), bound("vhost_vdpa"));
        assert_eq!(sighting, seen(function, vdpa, nodes));
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
        let sighting = look(&tree.root(), &entry(device)).unwrap();
        let (there, absent) = (|n: &str| Node::There(n.into()), |n: &str| Node::Absent(n.into()));
        let nodes = vec![
            there("vfio/vfio"),
            absent("iommu"),
            there("vfio/12"),
            absent("vfio/devices/vfio3"),
        ];
        assert_eq!(sighting, seen(bound("vfio-pci"), None, nodes));
    }

    #[test]
    fn a_group_that_a_driver_of_the_kernel_shares_is_told() {
        let tree = |other: &str| {
            Tree::new(&format!(
                "0000:01:00.1 vfio-pci iommu=12 vfio=0\n0000:01:00.2 {other} iommu=12"
            ))
        };
        let mut entry = entry(device());
        (entry.way, entry.device.vdpa) = (Way::Vfio, None);
        let shared = |entry: &Entry, other| look(&tree(other).root(), entry).unwrap().group_shared;
        let igbvf = Some(("0000:01:00.2".parse().unwrap(), "igbvf".to_owned()));
        assert_eq!(shared(&entry, "igbvf"), igbvf);
        assert_eq!(shared(&entry, "igbvf class=0x060400"), None, "a bridge");
        assert_eq!(shared(&entry, "vfio-pci"), None);
        assert_eq!(shared(&entry, ""), None);
        entry.way = Way::Netdev;
        assert_eq!(shared(&entry, "igbvf"), None, "no user of vfio");
    }

    #[test]
    fn what_goes_with_a_function_is_found() {
        let tree = Tree::new("0000:01:00.1 igb_uio");
        for (path, numbers) in
            [("uio/uio4", "1:3"), ("infiniband_verbs/uverbs0", "1:3"), ("infiniband/mlx5_3", "1:3")]
        {
            tree.write(&format!("sys/devices/pci0000:00/0000:01:00.1/{path}/dev"), numbers);
        }
        for node in ["uio4", "infiniband/uverbs0", "vhost-net"] {
            let path = tree.path("dev").join(node);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink("/dev/null", path).unwrap();
        }
        let mut entry = entry(device());
        entry.device.vdpa = None;
        entry.way = Way::Uio;
        let plain = look(&tree.root(), &entry).unwrap();
        assert_eq!(plain.nodes, [Node::There("uio4".to_owned())]);
        assert_eq!((plain.also, plain.rdma_devices), (Vec::new(), Vec::new()));
        entry.with = With { rdma: true, vhost_net: true, extra: None };
        let all = look(&tree.root(), &entry).unwrap();
        assert_eq!(all.rdma_devices, ["mlx5_3"]);
        // /dev/null has not the number of vhost-net
        let expected = [
            Node::There("infiniband/uverbs0".to_owned()),
            Node::Absent("vhost-net".to_owned()),
            Node::Absent("net/tun".to_owned()),
        ];
        assert_eq!(all.also, expected);
    }

    #[test]
    fn a_node_that_is_missing_or_another_device_is_absent() {
        let tree = tree();
        let absent = [Node::Absent("vhost-vdpa-3".to_owned())];
        set_number(&tree, "1:5");
        assert_eq!(look(&tree.root(), &entry(device())).unwrap().nodes, absent);
        std::fs::remove_file(tree.path("dev/vhost-vdpa-3")).unwrap();
        assert_eq!(look(&tree.root(), &entry(device())).unwrap().nodes, absent);
        tree.write("dev/vhost-vdpa-3", "a file");
        assert_eq!(look(&tree.root(), &entry(device())).unwrap().nodes, absent);
    }

    #[test]
    fn a_virtio_device_without_a_driver_has_no_interface() {
        let tree = Tree::new("0000:01:00.1 vp-vdpa vdpa=vdpa:0000:01:00.1 virtio=3");
        let mut entry = entry(device());
        entry.way = Way::VirtioVdpa;
        assert!(!look(&tree.root(), &entry).unwrap().virtio_unbound);
        let driver = tree.path("sys/devices/pci0000:00/0000:01:00.1/virtio3/driver");
        std::fs::remove_file(driver).unwrap();
        assert!(look(&tree.root(), &entry).unwrap().virtio_unbound);
    }

    #[test]
    fn devices_can_be_missing_or_unbound() {
        let empty = Tree::new("");
        let sighting = look(&empty.root(), &entry(device())).unwrap();
        assert_eq!(sighting.function, Some(Presence::Missing));
        assert_eq!(sighting.vdpa, Some(Presence::Missing));

        let unbound = Tree::new("0000:01:00.1 vdpa=vdpa:0000:01:00.1");
        let sighting = look(&unbound.root(), &entry(device())).unwrap();
        assert_eq!(sighting.function, Some(Presence::Unbound));
        assert_eq!(sighting.vdpa, Some(Presence::Unbound));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let tree = tree();
        set_number(&tree, "nonsense");
        assert!(look(&tree.root(), &entry(device())).is_err());
    }
}
