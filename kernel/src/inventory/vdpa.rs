//! The vDPA devices: sysfs lists all of them, netlink adds what it knows.

use super::{Netlink, VdpaDevice, traffic, unless_gone};
use crate::{
    error::{Error, Result},
    pci,
    root::Root,
    sysfs,
    vdpa::NET,
    vdpa_bus::{self, Driver, find},
};

/// A device, and the PCI function that it is below.
pub(super) struct Found {
    pub(super) device: VdpaDevice,
    pub(super) function: Option<pci::Address>,
}

pub(super) fn devices(
    root: &Root,
    netlink: &Netlink,
    notes: &mut Vec<String>,
) -> Result<Vec<Found>> {
    let mut devices = Vec::new();
    for name in vdpa_bus::list(root)? {
        devices.extend(unless_gone(device(root, netlink, &name, notes))?);
    }
    Ok(devices)
}

fn device(root: &Root, netlink: &Netlink, name: &str, notes: &mut Vec<String>) -> Result<Found> {
    let real = find::real(&vdpa_bus::dir(root, name)?)?;
    let driver = vdpa_bus::driver(root, name)?;
    let by = driver.as_deref().and_then(Driver::from_name);
    let char_device = match by {
        Some(Driver::VhostVdpa) => vdpa_bus::char_device(root, name)?,
        _ => None,
    };
    let virtio = match by {
        Some(Driver::VirtioVdpa) => vdpa_bus::virtio_dir(root, name),
        _ => Ok(None),
    };
    let virtio = match virtio {
        Err(error @ Error::Unexpected { .. }) => {
            notes.push(error.to_string());
            None
        }
        found => found?,
    };
    let interfaces = virtio.as_deref().map_or(Ok(Vec::new()), sysfs::numbered_netdevs)?;
    // sysfs has `!` where the name has a slash.
    let known =
        netlink.vdpa_devices.iter().find(|(device, _)| device.name.replace('/', "!") == name);
    let config = known.and_then(|(_, config)| config.clone());
    let one_pair = known.is_some_and(|(device, _)| device.device_id == NET).then_some(1);
    let (mac, mtu, pairs, features) = match config {
        Some(config) => (config.mac, config.mtu, config.max_queue_pairs, config.features),
        None => (None, None, None, None),
    };
    let device = VdpaDevice {
        name: known.map_or_else(|| name.to_owned(), |(device, _)| device.name.clone()),
        management_device: known.map(|(device, _)| device.management_device.clone()),
        driver,
        char_device,
        netdevs: interfaces
            .iter()
            .map(|(name, index)| traffic::netdev(netlink, name, *index))
            .collect(),
        virtio_unbound: virtio.is_some_and(|dir| !dir.join("driver").exists()),
        mac,
        mtu,
        // A network device that does not say has one pair (virtio 1.3, section 5.1.4).
        max_queue_pairs: pairs.or(one_pair),
        features,
    };
    Ok(Found { device, function: find::pci_address(&real) })
}
