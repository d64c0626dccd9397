//! Functions given to user space as they are, by vfio (Documentation/driver-api/vfio.rst).
//!
//! The IOMMU's group is what user space gets: it must hold nothing else that a driver of the kernel
//! has, and who has one device of a group has all.

use serde::{Deserialize, Serialize};

use crate::{
    chardev::{self, CharDevice},
    error::{Error, Result},
    pci::{self, Address},
    root::Root,
    sysfs,
};

/// The driver's name on the PCI bus. It has no device table, so that nothing binds to it but by
/// `driver_override` (drivers/vfio/pci/vfio_pci.c), unless somebody gave it ids.
pub const DRIVER: &str = "vfio-pci";

/// What its user opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vfio {
    /// `/dev/vfio/<IOMMU group>`.
    pub group: CharDevice,
    /// `/dev/vfio/devices/vfioN`, for users of iommufd; `None` where the kernel is built without
    /// (`CONFIG_VFIO_DEVICE_CDEV`).
    pub cdev: Option<CharDevice>,
    /// What every user opens beside its own: `/dev/vfio/vfio` with a group, `/dev/iommu` with a
    /// device of its own.
    pub shared: Vec<CharDevice>,
}

impl Vfio {
    /// The nodes that only this function's user has open.
    pub fn own(&self) -> impl Iterator<Item = &CharDevice> {
        std::iter::once(&self.group).chain(&self.cdev)
    }

    /// All nodes that its user needs.
    pub fn nodes(&self) -> impl Iterator<Item = &CharDevice> {
        self.shared.iter().chain(self.own())
    }
}

/// What vfio-pci made of a function; `None` for one that it has not, and for one without an IOMMU:
/// its group then is one in name only, `noiommu-N`.
pub fn of(root: &Root, address: Address) -> Result<Option<Vfio>> {
    match pci::driver(root, address)?.as_deref() {
        Some(DRIVER) => made(root, address),
        _ => Ok(None),
    }
}

/// As [`of`], of a function that vfio-pci is known to have.
pub fn made(root: &Root, address: Address) -> Result<Option<Vfio>> {
    let Some(group) = pci::iommu_group(root, address)? else { return Ok(None) };
    let (class, nodes) = (root.sys().join("class"), root.dev().join("vfio"));
    let dir = class.join("vfio").join(group.to_string());
    let Some(group) = chardev::of(&dir, nodes.join(group.to_string()))? else { return Ok(None) };
    let mut cdev = None;
    // since 6.1 (vfio_init_device, drivers/vfio/vfio_main.c), with a node since 6.6
    let dir = pci::dir(root, address).join("vfio-dev");
    for name in sysfs::names(&dir)? {
        cdev = cdev.or(chardev::of(&dir.join(&name), nodes.join("devices").join(&name))?);
    }
    let mut shared = Vec::new();
    shared.extend(chardev::of(&class.join("misc/vfio"), nodes.join("vfio"))?);
    if cdev.is_some() {
        shared.extend(chardev::of(&class.join("misc/iommu"), root.dev().join("iommu"))?);
    }
    Ok(Some(Vfio { group, cdev, shared }))
}

/// Binds a function to vfio-pci and no other driver, and looks that user space can have it.
///
/// Without an IOMMU group nothing is touched. Sleeps as [`pci::unbind`] does.
pub fn bind(root: &Root, address: Address) -> Result<()> {
    let group = |found: &str, expected: String| Error::Unexpected {
        object: format!("IOMMU group of PCI function {address}"),
        found: found.to_owned(),
        expected,
    };
    let Some(number) = pci::iommu_group(root, address)? else {
        return Err(group("none", "one: only an IOMMU keeps user space to its own memory".into()));
    };
    pci::bind(root, address, DRIVER)?;
    match of(root, address)? {
        Some(_) => Ok(()),
        None => Err(group(&number.to_string(), format!("a character device /dev/vfio/{number}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    const CARD: &str = "
        0000:01:00.0 virtio-pci pf totalvfs=4 net=eth1 iommu=7
        0000:01:00.1 vf-of=0000:01:00.0 vfio-pci iommu=8 vfio=0
        0000:01:00.2 vf-of=0000:01:00.0 vfio-pci iommu=9 vfio=1 cdev=1
        0000:01:00.3 vf-of=0000:01:00.0 virtio-pci net=eth3
        0000:01:00.4 vf-of=0000:01:00.0 vfio-pci iommu=10
    ";

    fn address(function: u32) -> Address {
        format!("0000:01:00.{function}").parse().unwrap()
    }

    fn paths<'a>(tree: &Tree, nodes: impl Iterator<Item = &'a CharDevice>) -> Vec<String> {
        let dev = tree.path("dev");
        nodes.map(|n| n.path.strip_prefix(&dev).unwrap().display().to_string()).collect()
    }

    #[test]
    fn the_group_and_where_there_is_one_the_device() {
        let tree = Tree::new(CARD);
        let found = |function| of(&tree.root(), address(function)).unwrap();
        let first = found(1).unwrap();
        assert_eq!(paths(&tree, first.nodes()), ["vfio/vfio", "vfio/8"]);
        assert_eq!((first.group.major, first.group.minor), (243, 0));
        let second = found(2).unwrap();
        assert_eq!(paths(&tree, second.own()), ["vfio/9", "vfio/devices/vfio1"]);
        assert_eq!(paths(&tree, second.nodes())[..2], ["vfio/vfio", "iommu"]);
        assert_eq!(found(3), None, "another driver's");
        assert_eq!(found(4), None, "no node");
    }

    #[test]
    fn without_an_iommu_nothing_is_touched() {
        let tree = Tree::new(CARD);
        let error = bind(&tree.root(), address(3)).unwrap_err().to_string();
        assert!(
            error.starts_with("IOMMU group of PCI function 0000:01:00.3: found none"),
            "{error}"
        );
        assert_eq!(tree.read("sys/bus/pci/drivers/virtio-pci/unbind"), "");
        assert_eq!(pci::driver_override(&tree.root(), address(3)).unwrap(), None);
    }

    #[test]
    fn what_was_bound_must_have_its_node() {
        let tree = Tree::new(CARD);
        bind(&tree.root(), address(1)).unwrap();
        let error = bind(&tree.root(), address(4)).unwrap_err().to_string();
        assert!(error.ends_with("found 10, expected a character device /dev/vfio/10"), "{error}");
    }
}
