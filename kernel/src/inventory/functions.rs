//! The PFs and their VFs.

use super::{Netdev, Netlink, Parent, VirtualFunction, traffic, unless_gone, vdpa::Found};
use crate::{
    devlink,
    error::Result,
    pci::{self, Address},
    root::Root,
    sriov, sysfs,
    vdpa::Handle,
    vfio,
};

pub(super) fn parents(root: &Root, netlink: &Netlink, devices: &[Found]) -> Result<Vec<Parent>> {
    let mut parents = Vec::new();
    for address in pci::list(root)? {
        parents.extend(unless_gone(parent(root, netlink, devices, address))?.flatten());
    }
    Ok(parents)
}

/// The PF at an address; `None` if what is there cannot have VFs, or is no network card.
fn parent(
    root: &Root,
    netlink: &Netlink,
    devices: &[Found],
    address: Address,
) -> Result<Option<Parent>> {
    let Some(totalvfs) = sriov::totalvfs(root, address)?.filter(|total| *total > 0) else {
        return Ok(None);
    };
    let ids = pci::ids(root, address)?;
    if !ids.is_network() {
        return Ok(None);
    }
    let (representors, netdevs) = interfaces(root, netlink, address)?;
    let told = first_link(&netdevs).and_then(|link| netlink.vfs.get(&link));
    let mut functions = Vec::new();
    for vf in sriov::functions(root, address)? {
        let settings = told.and_then(|told| told.iter().find(|told| told.index == vf.index));
        let function = unless_gone(function(root, netlink, devices, vf))?;
        let settings = settings.copied();
        functions.extend(function.map(|found| VirtualFunction { settings, ..found }));
    }
    Ok(Some(Parent {
        address,
        ids,
        driver: pci::driver(root, address)?,
        numa: pci::numa_node(root, address)?,
        iommu_group: pci::iommu_group(root, address)?,
        netdevs,
        eswitch: netlink.eswitches.of(address),
        representors,
        totalvfs,
        numvfs: u16::try_from(functions.len()).unwrap_or(u16::MAX),
        drivers_autoprobe: sriov::drivers_autoprobe(root, address)?,
        layout: sriov::layout(root, address)?,
        functions,
    }))
}

fn function(
    root: &Root,
    netlink: &Netlink,
    devices: &[Found],
    vf: sriov::Function,
) -> Result<VirtualFunction> {
    let address = vf.address;
    let vdpa: Vec<_> = devices
        .iter()
        .filter(|found| found.function == Some(address))
        .map(|found| found.device.clone())
        .collect();
    let mut netdevs = seen(netlink, &sysfs::numbered_netdevs(&pci::dir(root, address))?);
    // The virtio device of a vDPA device hangs below the function, like one of its own would.
    netdevs.retain(|netdev| !vdpa.iter().flat_map(|device| &device.netdevs).any(|of| of == netdev));
    let handle = Handle::pci(address);
    let management_device =
        netlink.management_devices.iter().find(|device| device.handle == handle).cloned();
    let driver = pci::driver(root, address)?;
    // With another driver a virtio device below the function is a vDPA device's.
    let (virtio_driver, vfio) = match driver.as_deref() {
        Some("virtio-pci") => (pci::virtio_driver(root, address)?, None),
        Some(vfio::DRIVER) => (None, vfio::of(root, address)?),
        _ => (None, None),
    };
    Ok(VirtualFunction {
        index: vf.index,
        address,
        ids: pci::ids(root, address)?,
        driver,
        iommu_group: pci::iommu_group(root, address)?,
        iommu_sharers: pci::iommu_sharers(root, address)?,
        settings: None,
        virtio_driver,
        vfio,
        netdevs,
        management_device,
        vdpa,
    })
}

/// The links that VFs are asked of: the first of each PF that has any.
pub(super) fn links_with_vfs(root: &Root, netlink: &Netlink) -> Result<Vec<u32>> {
    let mut links = Vec::new();
    for address in pci::list(root)? {
        links.extend(unless_gone(link_with_vfs(root, netlink, address))?.flatten());
    }
    Ok(links)
}

fn link_with_vfs(root: &Root, netlink: &Netlink, pf: Address) -> Result<Option<u32>> {
    let can_have = sriov::totalvfs(root, pf)?.is_some_and(|total| total > 0);
    if !can_have || sriov::functions(root, pf)?.is_empty() {
        return Ok(None);
    }
    Ok(first_link(&interfaces(root, netlink, pf)?.1))
}

fn first_link(netdevs: &[Netdev]) -> Option<u32> {
    netdevs.first().and_then(|netdev| netdev.index)
}

/// A PF's representors, and its own interfaces: of them alone is its driver asked.
fn interfaces(root: &Root, netlink: &Netlink, pf: Address) -> Result<(Vec<Netdev>, Vec<Netdev>)> {
    let all = seen(netlink, &sysfs::numbered_netdevs(&pci::dir(root, pf))?);
    Ok(all.into_iter().partition(|netdev| represents(netlink, netdev)))
}

/// Whether an interface stands for a function.
fn represents(netlink: &Netlink, netdev: &Netdev) -> bool {
    let link = netlink.links.iter().find(|link| Some(link.index) == netdev.index);
    link.and_then(|link| link.port_name.as_deref()).is_some_and(devlink::is_representor)
}

fn seen(netlink: &Netlink, netdevs: &[(String, Option<u32>)]) -> Vec<Netdev> {
    netdevs.iter().map(|(name, index)| traffic::netdev(netlink, name, *index)).collect()
}
