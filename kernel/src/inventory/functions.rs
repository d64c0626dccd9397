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
    let mut functions = Vec::new();
    for vf in sriov::functions(root, address)? {
        functions.extend(unless_gone(function(root, netlink, devices, vf))?);
    }
    let netdevs = seen(netlink, &sysfs::numbered_netdevs(&pci::dir(root, address))?);
    let (representors, netdevs) = netdevs.into_iter().partition(|n| represents(netlink, n));
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
    // With vDPA devices a virtio device below the function is theirs.
    let virtio_driver = match vdpa.is_empty() {
        true => pci::virtio_driver(root, address)?,
        false => None,
    };
    Ok(VirtualFunction {
        index: vf.index,
        address,
        ids: pci::ids(root, address)?,
        driver: pci::driver(root, address)?,
        iommu_group: pci::iommu_group(root, address)?,
        iommu_sharers: pci::iommu_sharers(root, address)?,
        virtio_driver,
        vfio: vfio::of(root, address)?,
        netdevs,
        management_device,
        vdpa,
    })
}

/// Whether an interface stands for a function.
fn represents(netlink: &Netlink, netdev: &Netdev) -> bool {
    let link = netlink.links.iter().find(|link| Some(link.index) == netdev.index);
    link.and_then(|link| link.port_name.as_deref()).is_some_and(devlink::is_representor)
}

fn seen(netlink: &Netlink, netdevs: &[(String, Option<u32>)]) -> Vec<Netdev> {
    netdevs.iter().map(|(name, index)| traffic::netdev(netlink, name, *index)).collect()
}
