//! What the node offers: `pools.json` from what is wanted and what is there. Pure.

use std::collections::BTreeSet;

use ringway_kernel::inventory::{Inventory, VdpaDevice, VirtualFunction};
use ringway_kernel::vdpa_bus::Driver;
use ringway_node::DeviceId;
use ringway_node::pools::{Attach as Offered, Device, Pool as OfferedPool, Pools, State, Vdpa};

use crate::plan::{Attach, card, driver};
use crate::reconcile::Report;
use crate::step::simulated_name;
use crate::wanted::{Parent, ParentName, Pool, Wanted};

/// Renders the pools. A device that exists is offered as `ready` if the plan has nothing to do on
/// it, as `draining` if a step is about to disturb it, and as `failed` with the reason otherwise.
pub fn pools(node: &str, wanted: &Wanted, report: &Report, draining: &BTreeSet<DeviceId>) -> Pools {
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
    Pools { version: ringway_node::pools::VERSION, node: node.to_owned(), generation: 0, pools }
}

fn device(
    parent: &Parent,
    pool: &Pool,
    index: u32,
    report: &Report,
    draining: &BTreeSet<DeviceId>,
) -> Option<Device> {
    let inventory = &report.observed.inventory;
    let (id, function, vdpa) = match &parent.name {
        ParentName::Pci(pf) => {
            let parent = inventory.parents.iter().find(|p| p.address == *pf)?;
            let function = parent.functions.iter().find(|f| f.index == index)?;
            (card::device_id(function.address)?, Some(function), function.vdpa.first())
        }
        ParentName::Simulator(simulator) => {
            let name = simulated_name(simulator, index);
            let vdpa = simulated(inventory, &name)?;
            (name.parse().ok()?, None, Some(vdpa))
        }
    };
    let (state, reason) = state(parent, pool, index, &id, vdpa, report, draining);
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
        vdpa: vdpa.and_then(|v| described(v, pool)),
        pci_address: function.map(|f: &VirtualFunction| f.address),
        pf_pci_address: match &parent.name {
            ParentName::Pci(address) => Some(*address),
            ParentName::Simulator(_) => None,
        },
        id,
    })
}

fn state(
    parent: &Parent,
    pool: &Pool,
    index: u32,
    id: &DeviceId,
    vdpa: Option<&VdpaDevice>,
    report: &Report,
    draining: &BTreeSet<DeviceId>,
) -> (State, Option<String>) {
    let name = parent.name.to_string();
    let refusal = report.plan.refusals.iter().find(|refusal| {
        refusal.parent == name && refusal.function.is_none_or(|function| function == index)
    });
    if draining.contains(id) {
        return (State::Draining, Some("about to be changed".to_owned()));
    }
    if let Some(refusal) = refusal.filter(|refusal| refusal.function.is_some()) {
        return (State::Failed, Some(refusal.message.clone()));
    }
    let mine = |(step, _): &(&crate::plan::Planned, &String)| {
        step.parent == parent.name && step.function == Some(index)
    };
    if let Some((step, wait)) = report.plan.steps.iter().zip(&report.waits).find(mine) {
        return (State::Failed, Some(format!("to do: {} ({wait})", step.step)));
    }
    let bound = vdpa.and_then(|device| device.driver.as_deref());
    if bound != Some(driver(pool.attach).name()) {
        return (State::Failed, Some("its vDPA device is not bound".to_owned()));
    }
    (State::Ready, None)
}

fn described(device: &VdpaDevice, pool: &Pool) -> Option<Vdpa> {
    Some(Vdpa {
        name: device.name.clone(),
        mgmtdev: device.management_device.as_ref()?.to_string(),
        driver: device.driver.as_deref().and_then(Driver::from_name).unwrap_or(driver(pool.attach)),
        node: device.char_device.as_ref().map(|c| c.path.clone()),
    })
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
