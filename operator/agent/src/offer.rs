//! What the node offers: `pools.json` from what is wanted and what is there. Pure.

use std::collections::BTreeSet;

use ringway_api::device_policy::{Allocation as Wish, Carrier as CarrierWish};
use ringway_kernel::inventory::{Inventory, Netdev, VdpaDevice, VdpaFamily};
use ringway_kernel::vdpa::Handle;
use ringway_kernel::vdpa_bus::Driver;
use ringway_node::pools::{
    Allocation, Attach as Offered, Carrier, Device, Pool as OfferedPool, Pools, State, Vdpa,
};
use ringway_node::{DeviceId, Resource};

use crate::cards;
use crate::plan::{Attach, Planned, card};
use crate::reconcile::Report;
use crate::standing::{Seen, Standing, standing};
use crate::step::{Function, simulated_name, simulator_handle};
use crate::wanted::{Parent, ParentName, Pool, Wanted};

/// Why a device is on its way out.
const NOT_WANTED: &str = "no policy wants it any more";
/// Why it is on its way to another resource.
const MOVES: &str = "another pool wants it";

/// Renders the pools. A device that exists is offered as `ready` if it serves its pool, as
/// `draining` if a step is about to disturb it, and as `failed` with the reason otherwise. What the
/// host keeps is not offered.
///
/// A device of the `last` pools that is in no pool any more, or is to serve another resource, and may
/// still have a user, stays listed as what it is: the pod that may hold it needs its entry, for its
/// containers to start, until the device goes.
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
            let Some((resource, attach)) = pool.resource.clone().zip(offered(pool.attach)) else {
                continue;
            };
            let device = |index| {
                let mut device = device(parent, pool, index, report, draining)?;
                if serves_another(&device, &resource, last, report) {
                    return None;
                }
                at_rest(&mut device, attach, last);
                Some(device)
            };
            let devices = pool.range.clone().filter_map(device).collect();
            let (name, allocation) = (pool.name.clone(), allocation(pool.allocation));
            let (limits, carrier) = (pool.limits.clone(), carrier(pool.carrier));
            pools.push(OfferedPool {
                name,
                resource,
                attach,
                allocation,
                limits,
                carrier,
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

fn offered(attach: Attach) -> Option<Offered> {
    match attach {
        Attach::Netdev => Some(Offered::Netdev),
        Attach::Vfio => Some(Offered::Vfio),
        Attach::VhostVdpa => Some(Offered::VhostVdpa),
        Attach::VirtioVdpa => Some(Offered::VirtioVdpa),
        Attach::Host => None,
    }
}

fn allocation(wanted: Option<Wish>) -> Allocation {
    match wanted {
        Some(Wish::Pack) => Allocation::Pack,
        Some(Wish::Spread) | None => Allocation::Spread,
    }
}

fn carrier(wanted: Option<CarrierWish>) -> Carrier {
    match wanted {
        Some(CarrierWish::Require) => Carrier::Require,
        Some(CarrierWish::Report) => Carrier::Report,
        Some(CarrierWish::Ignore) | None => Carrier::Ignore,
    }
}

/// A function's interface tells MAC and MTU only while it is here: what it said last is what it has
/// at rest.
fn at_rest(device: &mut Device, attach: Offered, last: Option<&Pools>) {
    let known = last.and_then(|last| last.find(&device.id));
    if let Some((_, known)) = known.filter(|(pool, _)| pool.attach == attach) {
        device.mac = device.mac.or(known.mac);
        device.mtu = device.mtu.or(known.mtu);
    }
}

/// Whether a device still is what it was for another resource.
fn serves_another(
    device: &Device,
    resource: &Resource,
    last: Option<&Pools>,
    report: &Report,
) -> bool {
    let was = last.and_then(|last| last.find(&device.id)).map(|(pool, _)| &pool.resource);
    let moves = device.state != State::Ready && was.is_some_and(|was| was != resource);
    moves && has_step(device, report)
}

/// Whether a step is left for a device itself.
fn has_step(device: &Device, report: &Report) -> bool {
    let parent = ParentName::of(&device.parent);
    let own =
        |planned: &Planned| planned.parent == parent && planned.function == Some(device.index);
    report.plan.steps.iter().any(own)
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
    let devices: Vec<_> = last
        .devices
        .iter()
        .filter(|device| !listed(&device.id) && may_have_user(device, wanted, report))
        .map(|device| {
            // a wish that makes no sense leaves its parent, and what that offers, alone
            if wanted.refusals.iter().any(|refusal| refusal.parent == device.parent) {
                return device.clone();
            }
            let moves = wanted.parents.iter().any(|parent| {
                parent.name == ParentName::of(&device.parent)
                    && parent.pool(device.index).is_some_and(|pool| pool.resource.is_some())
            });
            let reason = Some(if moves { MOVES } else { NOT_WANTED }.to_owned());
            Device { state: State::Draining, reason, ..device.clone() }
        })
        .collect();
    (!devices.is_empty()).then(|| OfferedPool { devices, ..last.clone() })
}

/// Drops devices that no policy wants any more and that stay as they are, since others made them,
/// once `last` has said so and nobody is `using` them or may be given them.
pub fn let_go(
    pools: &mut Pools,
    report: &Report,
    last: Option<&Pools>,
    using: impl Fn(&DeviceId) -> bool,
) {
    let declared = |id: &DeviceId| {
        let known = last.and_then(|last| last.find(id));
        known.is_some_and(|(_, known)| known.reason.as_deref() == Some(NOT_WANTED))
    };
    let left = |device: &Device| {
        let parent = ParentName::of(&device.parent);
        let mut steps = report.plan.steps.iter();
        steps.any(|planned| planned.parent == parent)
    };
    pools.pools.retain_mut(|pool| {
        let devices = pool.devices.len();
        pool.devices.retain(|device| {
            let going = device.reason.as_deref() == Some(NOT_WANTED) && declared(&device.id);
            !going || left(device) || using(&device.id)
        });
        devices == pool.devices.len() || !pool.devices.is_empty()
    });
}

/// Whether somebody may still use a device that no pool offers any more: while a step is left for
/// it, while its interface is in another network namespace, and while it is there as it was, unless
/// the host keeps it so.
fn may_have_user(device: &Device, wanted: &Wanted, report: &Report) -> bool {
    let parent = ParentName::of(&device.parent);
    if has_step(device, report) {
        return true;
    }
    let name = device.vdpa.as_ref().map(|vdpa| &vdpa.name);
    let vdpa = report.observed.vdpa().find(|found| Some(&found.name) == name);
    if let Some(found) = vdpa {
        let asked = wanted.parents.iter().find(|asked| asked.name == parent);
        let pool = asked.and_then(|asked| asked.pool(device.index));
        let kept = pool.is_some_and(|pool| pool.attach == Attach::Host);
        return !kept || found.netdevs.is_empty();
    }
    let ParentName::Pci(pf) = parent else { return false };
    let function = report.observed.function(&Function::Vf { pf, index: device.index });
    let refused = wanted.refusals.iter().any(|refusal| refusal.parent == device.parent);
    function.is_some_and(|function| {
        let netdev = function.driver.as_deref().and_then(cards::netdev);
        let elsewhere = netdev.is_some_and(|netdev| netdev.made_one(function));
        refused || (function.netdevs.is_empty() && elsewhere)
    })
}

fn device(
    parent: &Parent,
    pool: &Pool,
    index: u32,
    report: &Report,
    draining: &BTreeSet<DeviceId>,
) -> Option<Device> {
    let inventory = &report.observed.inventory;
    let (id, seen, made_by) = match &parent.name {
        ParentName::Pci(pf) => {
            let parent = inventory.parents.iter().find(|p| p.address == *pf)?;
            let function = parent.functions.iter().find(|f| f.index == index)?;
            let card = cards::card(parent.driver.as_deref());
            let seen = Seen { card, function: Some(function), vdpa: function.vdpa.first() };
            (card::device_id(function.address)?, seen, Handle::pci(function.address))
        }
        ParentName::Simulator(simulator) => {
            let name = simulated_name(simulator, index);
            let seen = Seen { vdpa: Some(simulated(inventory, &name)?), ..Seen::default() };
            (name.parse().ok()?, seen, simulator_handle(simulator))
        }
        ParentName::VdpaBus => return None,
    };
    let (state, reason) = if draining.contains(&id) {
        (State::Draining, Some("about to be changed".to_owned()))
    } else {
        match standing(report, &parent.name, index, pool, seen) {
            Standing::AsWanted | Standing::Serving(_) => (State::Ready, None),
            Standing::Failed(why) => (State::Failed, Some(why)),
        }
    };
    let (vdpa, netdev) = (seen.vdpa, seen.function.and_then(|f| f.netdevs.first()));
    let features = vdpa.and_then(|v| v.features).map(|f| f.names()).unwrap_or_default();
    Some(Device {
        parent: parent.name.to_string(),
        index,
        numa_node: numa(inventory, &parent.name),
        state,
        reason,
        mac: vdpa.and_then(|v| v.mac).or(netdev.and_then(|n| n.mac).filter(|m| m.is_unicast())),
        mtu: vdpa.and_then(|v| v.mtu).map(u32::from).or(netdev.and_then(Netdev::known_mtu)),
        queue_pairs: vdpa.and_then(|v| v.max_queue_pairs),
        features,
        vdpa: vdpa.and_then(|v| described(v, pool, &made_by)),
        pci_address: seen.function.map(|function| function.address),
        pf_pci_address: match &parent.name {
            ParentName::Pci(address) => Some(*address),
            ParentName::Simulator(_) | ParentName::VdpaBus => None,
        },
        id,
    })
}

/// `made_by` is what makes vDPA devices of this function, should the kernel not say. `None` for a
/// device that is bound to nothing, in a pool that wants no vDPA device.
fn described(device: &VdpaDevice, pool: &Pool, made_by: &Handle) -> Option<Vdpa> {
    let bound = device.driver.as_deref().and_then(Driver::from_name);
    Some(Vdpa {
        name: device.name.clone(),
        mgmtdev: device.management_device.as_ref().unwrap_or(made_by).to_string(),
        driver: bound.or(cards::bus_driver(pool.attach))?,
        node: device.char_device.as_ref().map(|c| c.path.clone()),
    })
}

fn simulated<'a>(inventory: &'a Inventory, name: &str) -> Option<&'a VdpaDevice> {
    inventory.simulators.iter().flat_map(|s| &s.vdpa).find(|device| device.name == name)
}

fn numa(inventory: &Inventory, parent: &ParentName) -> Option<u32> {
    match parent {
        ParentName::Pci(pf) => inventory.parents.iter().find(|p| p.address == *pf)?.numa,
        ParentName::Simulator(_) | ParentName::VdpaBus => None,
    }
}
