//! What the node offers: `pools.json` from what is wanted and what is there. Pure.

use std::collections::BTreeSet;

use ringway_kernel::inventory::{Inventory, VdpaDevice, VdpaFamily, VirtualFunction};
use ringway_kernel::vdpa::Handle;
use ringway_kernel::vdpa_bus::Driver;
use ringway_node::DeviceId;
use ringway_node::pools::{Attach as Offered, Device, Pool as OfferedPool, Pools, State, Vdpa};

use crate::plan::{Attach, card, driver};
use crate::reconcile::Report;
use crate::standing::{Standing, standing};
use crate::step::{simulated_name, simulator_handle};
use crate::wanted::{Parent, ParentName, Pool, Wanted};

/// Renders the pools. A device that exists is offered as `ready` if it serves its pool, as
/// `draining` if a step is about to disturb it, and as `failed` with the reason otherwise.
///
/// A device of the `last` pools that is in no pool any more, and still is there, stays listed: the
/// pod that may hold it needs its entry until the device goes.
///
/// `None` while the kernel's vDPA devices cannot be read: what was said last then holds.
pub fn pools(
    node: &str,
    wanted: &Wanted,
    report: &Report,
    draining: &BTreeSet<DeviceId>,
    last: Option<&Pools>,
) -> Option<Pools> {
    if matches!(report.observed.inventory.vdpa_family, VdpaFamily::Unknown(_)) {
        return None;
    }
    let mut pools = Vec::new();
    for parent in &wanted.parents {
        for pool in &parent.pools {
            let devices = pool
                .range
                .clone()
                .filter_map(|index| device(parent, pool, index, report, draining))
                .collect();
            pools.push(OfferedPool {
                name: pool.name.clone(),
                resource: pool.resource.clone(),
                attach: match pool.attach {
                    Attach::VhostVdpa => Offered::VhostVdpa,
                    Attach::VirtioVdpa => Offered::VirtioVdpa,
                },
                devices,
            });
        }
    }
    let remaining: Vec<_> = last
        .map_or(&[][..], |last| &last.pools)
        .iter()
        .filter_map(|pool| remains(pool, &pools, wanted, report))
        .collect();
    pools.extend(remaining);
    let (version, node) = (ringway_node::pools::VERSION, node.to_owned());
    Some(Pools { version, node, generation: 0, pools })
}

/// What is left of a pool in devices that no pool has now.
fn remains(
    last: &OfferedPool,
    now: &[OfferedPool],
    wanted: &Wanted,
    report: &Report,
) -> Option<OfferedPool> {
    // one resource is attached in one way
    if now.iter().any(|pool| pool.resource == last.resource && pool.attach != last.attach) {
        return None;
    }
    let listed = |id: &DeviceId| now.iter().flat_map(|pool| &pool.devices).any(|d| d.id == *id);
    let there = |device: &Device| {
        let name = device.vdpa.as_ref().map(|vdpa| &vdpa.name);
        report.observed.vdpa().any(|found| Some(&found.name) == name)
    };
    let devices: Vec<_> = last
        .devices
        .iter()
        .filter(|device| !listed(&device.id) && there(device))
        .map(|device| {
            // a wish that makes no sense leaves its parent, and what that offers, alone
            if wanted.refusals.iter().any(|refusal| refusal.parent == device.parent) {
                return device.clone();
            }
            let reason = Some("no policy wants it any more".to_owned());
            Device { state: State::Draining, reason, ..device.clone() }
        })
        .collect();
    (!devices.is_empty()).then(|| OfferedPool { devices, ..last.clone() })
}

fn device(
    parent: &Parent,
    pool: &Pool,
    index: u32,
    report: &Report,
    draining: &BTreeSet<DeviceId>,
) -> Option<Device> {
    let inventory = &report.observed.inventory;
    let (id, function, vdpa, made_by) = match &parent.name {
        ParentName::Pci(pf) => {
            let parent = inventory.parents.iter().find(|p| p.address == *pf)?;
            let function = parent.functions.iter().find(|f| f.index == index)?;
            let (id, made_by) = (card::device_id(function.address)?, Handle::pci(function.address));
            (id, Some(function), function.vdpa.first(), made_by)
        }
        ParentName::Simulator(simulator) => {
            let name = simulated_name(simulator, index);
            let vdpa = simulated(inventory, &name)?;
            (name.parse().ok()?, None, Some(vdpa), simulator_handle(simulator))
        }
    };
    let (state, reason) = if draining.contains(&id) {
        (State::Draining, Some("about to be changed".to_owned()))
    } else {
        match standing(report, &parent.name, index, pool, vdpa) {
            Standing::AsWanted | Standing::Serving(_) => (State::Ready, None),
            Standing::Failed(why) => (State::Failed, Some(why)),
        }
    };
    let features = vdpa.and_then(|v| v.features).map(|f| f.names()).unwrap_or_default();
    Some(Device {
        parent: parent.name.to_string(),
        index,
        numa_node: numa(inventory, &parent.name),
        state,
        reason,
        mac: vdpa.and_then(|v| v.mac),
        mtu: vdpa.and_then(|v| v.mtu).map(u32::from),
        queue_pairs: vdpa.and_then(|v| v.max_queue_pairs),
        features,
        vdpa: vdpa.map(|v| described(v, pool, &made_by)),
        pci_address: function.map(|f: &VirtualFunction| f.address),
        pf_pci_address: match &parent.name {
            ParentName::Pci(address) => Some(*address),
            ParentName::Simulator(_) => None,
        },
        id,
    })
}

/// `made_by` is what makes vDPA devices of this function, should the kernel not say.
fn described(device: &VdpaDevice, pool: &Pool, made_by: &Handle) -> Vdpa {
    Vdpa {
        name: device.name.clone(),
        mgmtdev: device.management_device.as_ref().unwrap_or(made_by).to_string(),
        driver: device.driver.as_deref().and_then(Driver::from_name).unwrap_or(driver(pool.attach)),
        node: device.char_device.as_ref().map(|c| c.path.clone()),
    }
}

fn simulated<'a>(inventory: &'a Inventory, name: &str) -> Option<&'a VdpaDevice> {
    inventory.simulators.iter().flat_map(|s| &s.vdpa).find(|device| device.name == name)
}

fn numa(inventory: &Inventory, parent: &ParentName) -> Option<u32> {
    match parent {
        ParentName::Pci(pf) => inventory.parents.iter().find(|p| p.address == *pf)?.numa,
        ParentName::Simulator(_) => None,
    }
}
