//! Rules between the fields of `pools.json` that its types cannot say.

use std::collections::{HashMap, HashSet};

use ringway_kernel::vdpa_bus::Driver;

use super::{Attach, Device, Error, Pools, State};
use crate::device_id::is_device_name;

/// The first rule that `pools` breaks.
pub(super) fn check(pools: &Pools) -> Result<(), Error> {
    let mut attaches = HashMap::new();
    let mut ids = HashSet::new();
    for (p, pool) in pools.pools.iter().enumerate() {
        let at = |field: &str| format!("pools[{p}].{field}");
        rule(!pool.name.is_empty(), at("name"), &pool.name, "a pool has a name")?;
        let first = attaches.entry(&pool.resource).or_insert(pool.attach);
        let alike = *first == pool.attach;
        rule(alike, at("attach"), &pool.attach, "pools of one resource attach alike")?;
        for (d, device) in pool.devices.iter().enumerate() {
            let at = |field: &str| format!("pools[{p}].devices[{d}].{field}");
            rule(ids.insert(&device.id), at("id"), &device.id, "a device is listed once")?;
            check_device(device, &at)?;
            if device.state == State::Ready {
                check_attach(pool.attach, device, &at)?;
            }
        }
    }
    Ok(())
}

fn check_device(device: &Device, at: &dyn Fn(&str) -> String) -> Result<(), Error> {
    let Device { parent, reason, mac, mtu, vdpa, .. } = device;
    rule(is_device_name(parent), at("parent"), parent, "a pci address or management device name")?;
    let told = device.state == State::Ready || reason.as_ref().is_some_and(|r| !r.is_empty());
    rule(told, at("reason"), reason, "every state but ready has a reason")?;
    // The kernel's bounds: ETH_MIN_MTU (include/uapi/linux/if_ether.h), and what IP can use.
    let mtu_fits = mtu.is_none_or(|mtu| (68..=65535).contains(&mtu));
    rule(mtu_fits, at("mtu"), mtu, "between 68 and 65535 bytes")?;
    let queues = device.queue_pairs;
    rule(queues != Some(0), at("queuePairs"), &queues, "at least 1")?;
    let mac_fits = mac.is_none_or(|mac| mac.is_unicast());
    rule(mac_fits, at("mac"), mac, "unicast and not zero")?;
    let Some(vdpa) = vdpa else { return Ok(()) };
    rule(is_device_name(&vdpa.name), at("vdpa.name"), &vdpa.name, "grammar of a device id")?;
    let node_name = vdpa.node.as_ref().map(|node| node.strip_prefix("/dev/"));
    let node_fits = match node_name {
        None => true,
        Some(Ok(name)) => name.to_str().is_some_and(is_vhost_node),
        Some(Err(_)) => false,
    };
    rule(node_fits, at("vdpa.node"), &vdpa.node, "/dev/vhost-vdpa- and a number")
}

fn is_vhost_node(name: &str) -> bool {
    name.strip_prefix("vhost-vdpa-").is_some_and(|number| number.parse::<u32>().is_ok())
}

/// What a ready device must have to be used in its pool's way.
fn check_attach(attach: Attach, device: &Device, at: &dyn Fn(&str) -> String) -> Result<(), Error> {
    let driver = device.vdpa.as_ref().map(|vdpa| vdpa.driver);
    let node = device.vdpa.as_ref().and_then(|vdpa| vdpa.node.as_ref());
    match attach {
        Attach::VhostVdpa => {
            let bound = driver == Some(Driver::VhostVdpa);
            rule(bound, at("vdpa.driver"), &driver, "vhost_vdpa when ready in its pool")?;
            rule(node.is_some(), at("vdpa.node"), &node, "present when ready in its pool")
        }
        Attach::VirtioVdpa => {
            let bound = driver == Some(Driver::VirtioVdpa);
            rule(bound, at("vdpa.driver"), &driver, "virtio_vdpa when ready in its pool")
        }
        Attach::Vfio | Attach::Uio => {
            let address = &device.pci_address;
            rule(address.is_some(), at("pciAddress"), address, "present when ready in its pool")
        }
        // A subfunction has no PCI address: its id is all there is.
        Attach::Netdev => Ok(()),
    }
}

fn rule(
    holds: bool,
    field: String,
    value: &impl serde::Serialize,
    rule: &'static str,
) -> Result<(), Error> {
    if holds {
        return Ok(());
    }
    let value = serde_json::to_string(value).unwrap_or_default();
    Err(Error::Rule { field, value: value.chars().take(120).collect(), rule, line: None })
}
