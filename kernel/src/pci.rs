//! PCI functions: addresses, identity, and which driver is bound
//! (Documentation/ABI/testing/sysfs-bus-pci).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::address::Address;
use crate::{
    error::{Error, Result},
    root::Root,
    sysfs::{self, Dir},
};

mod address;

/// What a function is, by its configuration space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// The PCI vendor, such as 0x1af4.
    pub vendor: u16,
    /// The vendor's number for the device.
    pub device: u16,
    /// Class, subclass and programming interface: 0x020000 is an Ethernet controller.
    pub class: u32,
}

impl Ids {
    /// Whether the base class is "network controller".
    pub fn is_network(self) -> bool {
        self.class >> 16 == 0x02
    }
}

/// All functions, in order of address.
pub fn list(root: &Root) -> Result<Vec<Address>> {
    let names = sysfs::names(&root.sys().join("bus/pci/devices"))?;
    // A domain above ffff belongs to a bridge in software (VMD), which never holds a NIC of ours.
    let mut addresses: Vec<Address> = names.iter().filter_map(|name| name.parse().ok()).collect();
    addresses.sort();
    Ok(addresses)
}

/// The directory of a function. It is a symbolic link into `/sys/devices`.
pub fn dir(root: &Root, address: Address) -> PathBuf {
    root.sys().join("bus/pci/devices").join(address.to_string())
}

/// The same, opened to read several things of it; `ENOENT` without the function.
pub(crate) fn open(root: &Root, address: Address) -> Result<Dir> {
    Dir::open(dir(root, address))
}

/// Whether the function exists now.
pub fn exists(root: &Root, address: Address) -> bool {
    dir(root, address).exists()
}

/// Vendor, device and class, by the function's alias for modules (modalias_show,
/// drivers/pci/pci-sysfs.c): one file instead of three, which counts with hundreds of functions.
pub fn ids(root: &Root, address: Address) -> Result<Ids> {
    let path = dir(root, address).join("modalias");
    identity(&path, &sysfs::read(&path)?)
}

pub(crate) fn ids_in(dir: &Dir) -> Result<Ids> {
    identity(&dir.path().join("modalias"), &dir.read("modalias")?)
}

fn identity(path: &Path, modalias: &str) -> Result<Ids> {
    parse_modalias(modalias).ok_or_else(|| {
        let expected = "pci:v...d...sv...sd...bc...sc...i...";
        Error::parse(path.display().to_string(), modalias, expected)
    })
}

/// Hexadecimal digits of fixed length behind letters: `pci:v00001AF4d00001041sv...sd...bc02sc00i00`.
fn parse_modalias(text: &str) -> Option<Ids> {
    let (vendor, rest) = hex(text.strip_prefix("pci:v")?, 8)?;
    let (device, rest) = hex(rest.strip_prefix('d')?, 8)?;
    let (_, rest) = hex(rest.strip_prefix("sv")?, 8)?;
    let (_, rest) = hex(rest.strip_prefix("sd")?, 8)?;
    let (base, rest) = hex(rest.strip_prefix("bc")?, 2)?;
    let (sub, rest) = hex(rest.strip_prefix("sc")?, 2)?;
    let (interface, rest) = hex(rest.strip_prefix('i')?, 2)?;
    let class = base << 16 | sub << 8 | interface;
    let ids = Ids { vendor: vendor.try_into().ok()?, device: device.try_into().ok()?, class };
    rest.is_empty().then_some(ids)
}

fn hex(text: &str, digits: usize) -> Option<(u32, &str)> {
    let (number, rest) = text.split_at_checked(digits)?;
    // The parser would take a sign.
    if !number.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some((u32::from_str_radix(number, 16).ok()?, rest))
}

/// The NUMA node; `None` where the firmware names none (the file then holds -1).
pub fn numa_node(root: &Root, address: Address) -> Result<Option<u32>> {
    let node: Option<i64> = sysfs::read_number_optional(&dir(root, address).join("numa_node"))?;
    Ok(node.and_then(|node| u32::try_from(node).ok()))
}

/// The name of the bound driver, for example `virtio-pci`.
pub fn driver(root: &Root, address: Address) -> Result<Option<String>> {
    sysfs::link_name(&dir(root, address).join("driver"))
}

/// The IOMMU group; `None` without an IOMMU.
pub fn iommu_group(root: &Root, address: Address) -> Result<Option<u32>> {
    let path = dir(root, address).join("iommu_group");
    sysfs::link_name(&path)?.map(|name| group_number(&path, &name)).transpose()
}

pub(crate) fn iommu_group_in(dir: &Dir) -> Result<Option<u32>> {
    let name = dir.link_name("iommu_group")?;
    name.map(|name| group_number(&dir.path().join("iommu_group"), &name)).transpose()
}

fn group_number(path: &Path, name: &str) -> Result<u32> {
    let expected = "an IOMMU group number";
    name.parse().map_err(|_| Error::parse(path.display().to_string(), name, expected))
}

/// The other functions in the function's IOMMU group: who has one of them by vfio has all, and may
/// have none while a driver of the kernel has another. Bridges do not count: their driver leaves DMA
/// to the others (`driver_managed_dma`, drivers/pci/pcie/portdrv.c).
pub fn iommu_sharers(root: &Root, address: Address) -> Result<Vec<Address>> {
    sharers_of(root, address, &sysfs::names(&dir(root, address).join("iommu_group/devices"))?)
}

pub(crate) fn iommu_sharers_in(root: &Root, address: Address, dir: &Dir) -> Result<Vec<Address>> {
    match dir.below("iommu_group/devices")? {
        Some(group) => sharers_of(root, address, group.names()),
        None => Ok(Vec::new()),
    }
}

fn sharers_of(root: &Root, address: Address, group: &[String]) -> Result<Vec<Address>> {
    const BRIDGE: u32 = 0x06;
    let mut sharers = Vec::new();
    for other in group.iter().filter_map(|name| name.parse().ok()).filter(|o| *o != address) {
        match ids(root, other) {
            Ok(ids) if ids.class >> 16 == BRIDGE => {}
            Ok(_) => sharers.push(other),
            // gone since it was listed
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sharers)
}

/// The virtio device that virtio-pci made of the function; `None` for a function of another driver,
/// below which a vDPA device may have one.
pub fn virtio_dir(root: &Root, address: Address) -> Result<Option<PathBuf>> {
    if driver(root, address)?.as_deref() != Some("virtio-pci") {
        return Ok(None);
    }
    let dir = dir(root, address);
    let names = sysfs::names(&dir)?;
    Ok(names.iter().find(|name| sysfs::is_virtio(name)).map(|name| dir.join(name)))
}

/// The driver of the virtio device that virtio-pci made of the function: without `virtio_net` there,
/// a virtio function has no interface, wherever one looks.
pub fn virtio_driver(root: &Root, address: Address) -> Result<Option<String>> {
    match sysfs::optional(open(root, address))? {
        Some(dir) => virtio_driver_in(&dir),
        None => Ok(None),
    }
}

pub(crate) fn virtio_driver_in(dir: &Dir) -> Result<Option<String>> {
    for name in dir.names().iter().filter(|name| sysfs::is_virtio(name)) {
        if let Some(driver) = sysfs::link_name(&dir.path().join(name).join("driver"))? {
            return Ok(Some(driver));
        }
    }
    Ok(None)
}

/// The interface names of a function in the namespace of the sysfs mount.
pub fn netdevs(root: &Root, address: Address) -> Result<Vec<String>> {
    sysfs::netdevs(&dir(root, address))
}

/// The only driver that may bind the function, where one is set.
pub fn driver_override(root: &Root, address: Address) -> Result<Option<String>> {
    let path = dir(root, address).join("driver_override");
    Ok(sysfs::read_optional(&path)?.filter(|name| !is_unset(name)))
}

/// Sets or clears the only driver that may bind the function.
///
/// The kernel takes any name: a wrong one (`vp_vdpa` is the module, `vp-vdpa` the driver) then
/// binds nothing, which [`verify_driver`] tells.
pub fn set_driver_override(root: &Root, address: Address, driver: Option<&str>) -> Result<()> {
    // An empty write is no write at all: the newline alone clears
    // (driver_set_override, drivers/base/driver.c).
    sysfs::write(&dir(root, address).join("driver_override"), driver.unwrap_or("\n"))
}

/// Asks the bus to find a driver for the function.
///
/// The kernel reports success even when nothing was bound: follow with [`verify_driver`]. The
/// driver's probe runs inside, for seconds with some (octep waits up to 5 s).
pub fn probe(root: &Root, address: Address) -> Result<()> {
    sysfs::write(&root.sys().join("bus/pci/drivers_probe"), &address.to_string())
}

/// Unbinds the function from its driver; nothing to do without one.
///
/// Sleeps in the kernel for as long as a process holds what the driver made: go through
/// [`crate::stuck`], and unbind a vDPA device's bus driver first.
pub fn unbind(root: &Root, address: Address) -> Result<()> {
    match driver(root, address)? {
        Some(_) => unbind_bound(root, address),
        None => Ok(()),
    }
}

fn unbind_bound(root: &Root, address: Address) -> Result<()> {
    sysfs::write(&dir(root, address).join("driver/unbind"), &address.to_string())
}

/// Succeeds if exactly this driver is bound, or none where `None` is wanted.
pub fn verify_driver(root: &Root, address: Address, wanted: Option<&str>) -> Result<()> {
    let found = driver(root, address)?;
    if found.as_deref() == wanted {
        return Ok(());
    }
    Err(Error::Unexpected {
        object: format!("driver of PCI function {address}"),
        found: found.unwrap_or_else(|| "none".to_owned()),
        expected: wanted.unwrap_or("none").to_owned(),
    })
}

/// Binds a function to one driver and no other: override, unbind what else is bound, probe,
/// verify. Nothing is done where the driver is bound already, except to set the override.
///
/// Sleeps as [`unbind`] does.
pub fn bind(root: &Root, address: Address, wanted: &str) -> Result<()> {
    set_driver_override(root, address, Some(wanted))?;
    match driver(root, address)? {
        Some(bound) if bound == wanted => return Ok(()),
        Some(_) => unbind_bound(root, address)?,
        None => {}
    }
    probe(root, address)?;
    verify_driver(root, address, Some(wanted))
}

/// Binds a function to one driver, and leaves it to the bus from then on: for a driver that would
/// take the function by itself.
///
/// The override is needed all the same while the driver is looked for: the bus offers a VF to no
/// driver while its PF's `sriov_drivers_autoprobe` is off, unless one is set
/// (pci_device_can_probe, drivers/pci/pci-driver.c). Sleeps as [`unbind`] does.
pub fn bind_unpinned(root: &Root, address: Address, wanted: &str) -> Result<()> {
    let bound = bind(root, address, wanted);
    bound.and(set_driver_override(root, address, None))
}

/// Gives a function back: to the driver that it had before, or to none, and with the override that
/// it had.
///
/// Sleeps as [`unbind`] does.
pub fn release(
    root: &Root,
    address: Address,
    driver: Option<&str>,
    only: Option<&str>,
) -> Result<()> {
    let released = match driver {
        Some(driver) => bind(root, address, driver),
        None => unbind(root, address),
    };
    if driver.is_none() || driver != only {
        return released
            .and(set_driver_override(root, address, only))
            .and_then(|()| verify_driver(root, address, driver));
    }
    released
}

/// What `driver_override` shows when nothing is set: the kernel prints a null pointer with `%s`.
pub(crate) fn is_unset(value: &str) -> bool {
    value.is_empty() || value == "(null)"
}

#[cfg(test)]
mod tests;
