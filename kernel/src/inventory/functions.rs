//! The PFs and their VFs.

use std::collections::BTreeSet;

use super::{
    Inventory, Netdev, Netlink, Parent, VirtualFunction, traffic, unless_gone, vdpa::Found,
};
use crate::{
    devlink,
    error::Result,
    link::Vf,
    pci::{self, Address},
    root::Root,
    sriov,
    sysfs::{self, Dir},
    vdpa::Handle,
    vfio,
};

pub(super) fn parents(root: &Root, netlink: &Netlink, devices: &[Found]) -> Result<Vec<Parent>> {
    let (mut parents, mut vfs) = (Vec::new(), BTreeSet::new());
    for address in pci::list(root)? {
        // comes after its PF, and has none itself
        if vfs.contains(&address) {
            continue;
        }
        let found = unless_gone(parent(root, netlink, devices, address))?.flatten();
        vfs.extend(found.iter().flat_map(|found| &found.functions).map(|vf| vf.address));
        parents.extend(found);
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
    let dir = pci::open(root, address)?;
    let ids = pci::ids_in(&dir)?;
    if !ids.is_network() {
        return Ok(None);
    }
    let (representors, netdevs) = interfaces(netlink, &dir)?;
    let functions = functions(root, netlink, devices, &dir)?;
    Ok(Some(Parent {
        address,
        ids,
        driver: dir.link_name("driver")?,
        numa: pci::numa_node(root, address)?,
        iommu_group: pci::iommu_group_in(&dir)?,
        netdevs,
        eswitch: netlink.eswitches.of(address),
        representors,
        totalvfs,
        numvfs: u16::try_from(functions.len()).unwrap_or(u16::MAX),
        drivers_autoprobe: sriov::drivers_autoprobe(root, address)?,
        layout: sriov::layout_in(&dir)?,
        functions,
    }))
}

fn functions(
    root: &Root,
    netlink: &Netlink,
    devices: &[Found],
    pf: &Dir,
) -> Result<Vec<VirtualFunction>> {
    let mut functions: Vec<VirtualFunction> = Vec::new();
    for vf in sriov::functions_in(pf)? {
        // all of a PF are the same (pci_iov_add_virtfn, drivers/pci/iov.c; pci_class, probe.c)
        let ids = functions.first().map(|first| first.ids);
        functions.extend(unless_gone(function(root, netlink, devices, vf, ids))?);
    }
    Ok(functions)
}

fn function(
    root: &Root,
    netlink: &Netlink,
    devices: &[Found],
    vf: sriov::Function,
    ids: Option<pci::Ids>,
) -> Result<VirtualFunction> {
    let address = vf.address;
    let dir = pci::open(root, address)?;
    let vdpa: Vec<_> = devices
        .iter()
        .filter(|found| found.function == Some(address))
        .map(|found| found.device.clone())
        .collect();
    let mut netdevs = seen(netlink, &sysfs::numbered_netdevs_in(&dir)?);
    // The virtio device of a vDPA device hangs below the function, like one of its own would.
    netdevs.retain(|netdev| !vdpa.iter().flat_map(|device| &device.netdevs).any(|of| of == netdev));
    let handle = Handle::pci(address);
    let management_device =
        netlink.management_devices.iter().find(|device| device.handle == handle).cloned();
    let driver = dir.link_name("driver")?;
    // With another driver a virtio device below the function is a vDPA device's.
    let (virtio_driver, vfio) = match driver.as_deref() {
        Some("virtio-pci") => (pci::virtio_driver_in(&dir)?, None),
        Some(vfio::DRIVER) => (None, vfio::of(root, address)?),
        _ => (None, None),
    };
    Ok(VirtualFunction {
        index: vf.index,
        address,
        ids: ids.map_or_else(|| pci::ids_in(&dir), Ok)?,
        driver,
        iommu_group: pci::iommu_group_in(&dir)?,
        iommu_sharers: pci::iommu_sharers_in(root, address, &dir)?,
        settings: None,
        virtio_driver,
        vfio,
        netdevs,
        management_device,
        vdpa,
    })
}

/// One question for each PF that has VFs: what its driver does for them. What is no Ethernet link has
/// no MAC, and of its VFs nothing is asked: some kernels do not reserve room for what they tell of
/// InfiniBand.
pub(super) fn ask_settings(inventory: &mut Inventory, mut ask: impl FnMut(u32) -> Result<Vec<Vf>>) {
    let Inventory { parents, notes, .. } = inventory;
    for parent in parents.iter_mut().filter(|parent| !parent.functions.is_empty()) {
        let first = parent.netdevs.first().filter(|netdev| netdev.mac.is_some());
        let Some(link) = first.and_then(|netdev| netdev.index) else { continue };
        match ask(link) {
            Ok(told) => {
                for function in &mut parent.functions {
                    let settings = told.iter().find(|told| told.index == function.index);
                    function.settings = settings.copied();
                }
            }
            // it went away since it was listed
            Err(error) if error.is_missing() => {}
            Err(error) => notes.push(format!("settings of VFs are not known: {error}")),
        }
    }
}

/// A PF's representors, and its own interfaces: of them alone is its driver asked.
fn interfaces(netlink: &Netlink, pf: &Dir) -> Result<(Vec<Netdev>, Vec<Netdev>)> {
    let all = seen(netlink, &sysfs::numbered_netdevs_in(pf)?);
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
