//! The plan for a simulator: its devices are its functions.

use ringway_api::conditions::Reason;
use ringway_kernel::inventory::{Inventory, Simulator as Found, VdpaDevice};
use ringway_kernel::vdpa::ManagementDevice;

use super::card::Complaint;
use super::{Attach, Plan, Planned, common, external, function, mac};
use crate::before::Before;
use crate::cards::{self, Simulator};
use crate::node::Observed;
use crate::step::{Function, simulated_name};
use crate::wanted::{Given, Maker, Parent, ParentName, Pool};

pub(super) fn plan(
    plan: &mut Plan,
    node: &str,
    simulator: &str,
    parent: &Parent,
    observed: &Observed,
    before: &Before,
) {
    let Some(known) = cards::SIMULATORS.into_iter().find(|known| known.name == simulator) else {
        let all = cards::SIMULATORS.map(|known| known.name).join(", ");
        let message = format!("{simulator}: no such simulator is known; known are {all}");
        return plan.refuse(&parent.name, Reason::Invalid, message);
    };
    let management = management(simulator, &observed.inventory);
    let checked =
        |pool| check_pool(known, pool).and_then(|()| common::lacks(known, pool, management));
    if let Err((reason, message)) = parent.pools.iter().try_for_each(checked) {
        return plan.refuse(&parent.name, reason, message);
    }
    let others = parent.maker == Maker::Others;
    if !others {
        plan.ground(parent, |attach| cards::vdpa_modules(known.module, attach), observed);
        remove(plan, simulator, u32::from(parent.count), observed, before);
    }
    for index in 0..u32::from(parent.count) {
        let name = simulated_name(simulator, index);
        let existing = devices(simulator, observed).iter().find(|device| device.name == name);
        let site = function::Site {
            function: Function::Simulated { simulator: simulator.to_owned(), index },
            device: existing.and_then(|_| name.parse().ok()),
            card: None,
            existing: None,
            before: None,
            management,
            vdpa: existing.map_or(&[], std::slice::from_ref),
            mac: known.settable.mac.then(|| mac::stable(node, &name)),
            strayed: None,
            rest: None,
            adopt: parent.maker == Maker::RingwayAdopting,
        };
        match (others, parent.pool(index), existing) {
            (false, pool, _) => function::plan(plan, &site, pool, before),
            (true, Some(pool), Some(_)) => external::device(plan, &site, pool),
            (true, Some(_), None) => {
                external::missing(plan, &site, &format!("no vDPA device is called {name}"));
            }
            (true, None, _) => {}
        }
    }
}

/// Whether a simulator's devices can be what a pool asks for.
fn check_pool(known: Simulator, pool: &Pool) -> Result<(), Complaint> {
    let (Pool { name, defaults, .. }, simulator) = (pool, known.name);
    if !cards::SIMULATED.contains(&pool.attach) {
        let (attach, why) = (pool.attach.as_str(), cards::NO_FUNCTION);
        let can = cards::SIMULATED.map(Attach::as_str).join(", ");
        let message = format!("{simulator}: pool {name}: attach {attach}: it can do {can} ({why})");
        return Err((Reason::AttachUnsupported, message));
    }
    let unable = |message| Err((Reason::SettingsUnsupported, message));
    if let Some((field, value)) = not_settable(known, pool) {
        return unable(format!(
            "{simulator}: pool {name}: {field} {value}: it cannot set that when it makes a vDPA \
             device: leave the field out",
        ));
    }
    match defaults.given().first() {
        None => Ok(()),
        Some(Given { field, value, .. }) => unable(format!(
            "{simulator}: pool {name}: defaults.{field} {value}: a simulated device has no PF that \
             could set it: leave defaults out",
        )),
    }
}

/// A setting that a device cannot be given when it is made.
fn not_settable(known: Simulator, pool: &Pool) -> Option<(&'static str, u16)> {
    let (settings, settable) = (&pool.settings, known.settable);
    let given = [
        ("vdpa.mtu", settings.mtu, settable.mtu),
        ("vdpa.queuePairs", settings.queue_pairs, settable.queue_pairs),
    ];
    let unable = given.into_iter().filter(|(_, _, able)| !able);
    unable.into_iter().find_map(|(field, value, _)| Some((field, value?)))
}

/// Removes our devices of a simulator from an index on.
pub(super) fn remove(
    plan: &mut Plan,
    simulator: &str,
    from: u32,
    observed: &Observed,
    before: &Before,
) {
    let kept = |name: &str| (0..from).any(|index| name == simulated_name(simulator, index));
    for device in devices(simulator, observed) {
        let ours = before.vdpa.contains(&device.name) && !before.is_adopted(&device.name);
        if !ours || kept(&device.name) {
            continue;
        }
        function::take_down(device, |step| {
            plan.steps.push(Planned {
                step,
                parent: ParentName::Simulator(simulator.to_owned()),
                function: index(simulator, &device.name),
                disturbs: device.name.parse().into_iter().collect(),
            });
        });
    }
}

/// The vDPA devices of a simulator, whoever made them.
pub(crate) fn devices<'a>(simulator: &str, observed: &'a Observed) -> &'a [VdpaDevice] {
    found(simulator, &observed.inventory).map_or(&[], |s| &s.vdpa)
}

/// What makes the devices of a simulator, once its module is there.
pub(crate) fn management<'a>(
    simulator: &str,
    inventory: &'a Inventory,
) -> Option<&'a ManagementDevice> {
    found(simulator, inventory).map(|found| &found.management_device)
}

fn found<'a>(simulator: &str, inventory: &'a Inventory) -> Option<&'a Found> {
    let handle = crate::step::simulator_handle(simulator);
    inventory.simulators.iter().find(|found| found.management_device.handle == handle)
}

fn index(simulator: &str, name: &str) -> Option<u32> {
    name.strip_prefix(simulator)?.strip_prefix('.')?.parse().ok()
}
