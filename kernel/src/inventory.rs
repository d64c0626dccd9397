//! Everything about a node that the rest of Ringway decides by, read once, as plain data.
//!
//! Reading takes no lock that a sleeping call can hold: VFs are counted by their links, because
//! `sriov_numvfs` and `driver_override` wait for the device's lock, and generic netlink is read in
//! threads with a deadline. What could not be read is said in [`Inventory::notes`] or
//! [`Inventory::vdpa_family`], never left out in silence.

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use self::{
    eswitch::{Eswitch, Eswitches},
    netlink::{Netlink, VdpaFamily},
    traffic::Traffic,
};
use crate::{
    chardev::CharDevice,
    error::Result,
    features::Features,
    link::{Links, Vf},
    mac::Mac,
    pci::{Address, Ids},
    root::Root,
    sriov::Layout,
    vdpa::{Handle, ManagementDevice},
    vfio::Vfio,
};

mod ask;
mod eswitch;
mod functions;
mod netlink;
mod traffic;
mod vdpa;

/// A node's devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The network PFs that can have VFs, in order of address.
    pub parents: Vec<Parent>,
    /// The management devices without a bus that can make network devices: the kernel's simulator,
    /// VDUSE.
    pub simulators: Vec<Simulator>,
    /// vDPA devices of neither, among them those that a driver made by itself.
    pub other_vdpa: Vec<VdpaDevice>,
    /// Whether the vdpa family could be asked. Without it the vDPA devices come from sysfs alone,
    /// and there are no management devices.
    pub vdpa_family: VdpaFamily,
    /// What could not be read, or not be told apart, in words.
    pub notes: Vec<String>,
}

/// A PF: what can be carved into VFs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Where it is.
    pub address: Address,
    /// What it is.
    pub ids: Ids,
    /// The bound driver.
    pub driver: Option<String>,
    /// The NUMA node.
    pub numa: Option<u32>,
    /// Its IOMMU group: without one, its VFs have none either.
    pub iommu_group: Option<u32>,
    /// Its interfaces, without representors; several on cards with ports that share a function.
    pub netdevs: Vec<Netdev>,
    /// Its embedded switch.
    #[serde(default)]
    pub eswitch: Eswitch,
    /// The interfaces that stand for its functions while the switch is in switchdev mode: below the
    /// PF's device in sysfs, like its own ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub representors: Vec<Netdev>,
    /// The most VFs it can have.
    pub totalvfs: u16,
    /// The number of VFs it has.
    pub numvfs: u16,
    /// Whether new VFs are offered to drivers as they appear.
    pub drivers_autoprobe: bool,
    /// Where its VFs are, also before they exist.
    pub layout: Option<Layout>,
    /// Its VFs in order of index.
    pub functions: Vec<VirtualFunction>,
}

/// A VF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualFunction {
    /// The VF number.
    pub index: u32,
    /// Where it is.
    pub address: Address,
    /// What it is.
    pub ids: Ids,
    /// The bound driver.
    pub driver: Option<String>,
    /// The IOMMU group.
    pub iommu_group: Option<u32>,
    /// The other functions in that group, without bridges.
    pub iommu_sharers: Vec<Address>,
    /// What the PF's driver does for it: address, VLAN, rates, guards. `None` where the driver tells
    /// nothing, and while the PF's interface is in another network namespace.
    pub settings: Option<Vf>,
    /// The driver of its virtio device, where virtio-pci made one.
    pub virtio_driver: Option<String>,
    /// What vfio-pci made of it.
    pub vfio: Option<Vfio>,
    /// The interfaces of its driver, without those of its vDPA devices. Empty while they are in
    /// another network namespace.
    pub netdevs: Vec<Netdev>,
    /// What makes vDPA devices on it, if something does.
    pub management_device: Option<ManagementDevice>,
    /// The vDPA devices on it: one at most, unless somebody made a second.
    pub vdpa: Vec<VdpaDevice>,
}

/// A management device that needs no PF, with its devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Simulator {
    /// Its name and what it can do.
    pub management_device: ManagementDevice,
    /// Its devices, in order of name.
    pub vdpa: Vec<VdpaDevice>,
}

/// A vDPA device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VdpaDevice {
    /// Its name, unique on the node.
    pub name: String,
    /// What made it; `None` if that is not known, or its driver made it by itself.
    pub management_device: Option<Handle>,
    /// The bound driver of the vDPA bus: `vhost_vdpa`, `virtio_vdpa`.
    pub driver: Option<String>,
    /// What vhost_vdpa made of it.
    pub char_device: Option<CharDevice>,
    /// What virtio_vdpa made of it. Empty while it is in another network namespace.
    pub netdevs: Vec<Netdev>,
    /// Whether virtio_vdpa made a virtio device of it that no driver has: then it has no interface in
    /// any namespace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub virtio_unbound: bool,
    /// Its MAC, where it offers one.
    pub mac: Option<Mac>,
    /// Its MTU in bytes, where it offers one.
    pub mtu: Option<u16>,
    /// Its pairs of data virtqueues; `None` if it is no network device or was not asked.
    pub max_queue_pairs: Option<u16>,
    /// The features that it offers.
    pub features: Option<Features>,
}

/// An interface of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Netdev {
    /// Its name.
    pub name: String,
    /// Its ifindex.
    pub index: Option<u32>,
    /// Its other names.
    pub altnames: Vec<String>,
    /// Its MAC.
    pub mac: Option<Mac>,
    /// The MAC it was made with, where the driver tells.
    pub permanent_mac: Option<Mac>,
    /// In bytes; 0 of one that netlink does not show ([`Traffic::NotSeen`]).
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it has a carrier.
    pub carrier: bool,
    /// Why it is taken for one that carries the node's own traffic. Empty if nothing says so.
    pub traffic: Vec<Traffic>,
}

impl Netdev {
    /// Its MTU, if netlink shows it: one that leaves or comes back this instant may be in sysfs alone.
    pub fn known_mtu(&self) -> Option<u32> {
        Some(self.mtu).filter(|mtu| *mtu > 0)
    }
}

/// Reads a node. `stuck` is the directory of [`crate::stuck`]'s markers: while one is live, the
/// vdpa family is not asked.
///
/// Call from the network namespace that sysfs was mounted in, which must be the first for vDPA, and
/// once at a time in a process: a second call finds the vdpa family [`VdpaFamily::Unknown`], and
/// eswitches [`Eswitch::Unknown`].
pub fn observe(root: &Root, stuck: &Path) -> Result<Inventory> {
    let mut links = Links::open()?;
    let mut inventory = assemble(root, Netlink::read(root, stuck, &mut links)?)?;
    functions::ask_settings(&mut inventory, |link| links.vfs(link));
    Ok(inventory)
}

/// Puts a tree of sysfs and given netlink values together, without what is asked of functions then:
/// [`VirtualFunction::settings`].
pub fn assemble(root: &Root, netlink: Netlink) -> Result<Inventory> {
    let mut notes = netlink.notes.clone();
    let devices = vdpa::devices(root, &netlink, &mut notes)?;
    let parents = functions::parents(root, &netlink, &devices)?;
    let simulators = simulators(&netlink, &devices);
    let placed = |device: &VdpaDevice| {
        let functions = parents.iter().flat_map(|parent| &parent.functions);
        functions.flat_map(|function| &function.vdpa).any(|other| other.name == device.name)
            || simulators.iter().flat_map(|simulator| &simulator.vdpa).any(|other| other == device)
    };
    let other_vdpa = devices.into_iter().map(|found| found.device).filter(|d| !placed(d)).collect();
    Ok(Inventory { parents, simulators, other_vdpa, vdpa_family: netlink.vdpa_family, notes })
}

fn simulators(netlink: &Netlink, devices: &[vdpa::Found]) -> Vec<Simulator> {
    let free = |device: &&ManagementDevice| device.handle.bus.is_none() && device.classes.net();
    let made_by = |handle: &Handle| {
        let devices = devices.iter().map(|found| &found.device);
        devices
            .filter(|device| device.management_device.as_ref() == Some(handle))
            .cloned()
            .collect()
    };
    let mut simulators: Vec<_> = netlink
        .management_devices
        .iter()
        .filter(free)
        .map(|device| Simulator {
            management_device: device.clone(),
            vdpa: made_by(&device.handle),
        })
        .collect();
    simulators.sort_by(|a, b| a.management_device.handle.cmp(&b.management_device.handle));
    simulators
}

/// The value, or `None` if the object went away between being listed and being read.
fn unless_gone<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
