//! The plan for a simulator: its devices are its functions.

use ringway_api::conditions::Reason;
use ringway_kernel::inventory::VdpaDevice;

use super::card::Complaint;
use super::{Attach, Plan, Planned, external, function, mac};
use crate::before::Before;
use crate::cards;
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
    let Some((_, module)) = cards::SIMULATORS.into_iter().find(|(name, _)| *name == simulator)
    else {
        let known = cards::SIMULATORS.map(|(name, _)| name).join(", ");
        let message = format!("{simulator}: no such simulator is known; known is {known}");
        return plan.refuse(&parent.name, Reason::Invalid, message);
    };
    if let Err((reason, message)) =
        parent.pools.iter().try_for_each(|pool| check_pool(simulator, pool))
    {
        return plan.refuse(&parent.name, reason, message);
    }
    let others = parent.maker == Maker::Others;
    if !others {
        plan.ground(parent, |attach| cards::vdpa_modules(module, attach), observed);
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
            vdpa: existing.map_or(&[], std::slice::from_ref),
            mac: Some(mac::stable(node, &name)),
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
fn check_pool(simulator: &str, pool: &Pool) -> Result<(), Complaint> {
    let Pool { name, settings, defaults, .. } = pool;
    if !cards::SIMULATED.contains(&pool.attach) {
        let (attach, why) = (pool.attach.as_str(), cards::NO_FUNCTION);
        let can = cards::SIMULATED.map(Attach::as_str).join(", ");
        let message = format!("{simulator}: pool {name}: attach {attach}: it can do {can} ({why})");
        return Err((Reason::AttachUnsupported, message));
    }
    let unable = |message| Err((Reason::SettingsUnsupported, message));
    if let Some(pairs) = settings.queue_pairs.filter(|_| !cards::SIMULATOR.queue_pairs) {
        return unable(format!(
            "{simulator}: pool {name}: vdpa.queuePairs {pairs}: the simulator cannot set it: leave \
             the field out",
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
    let found = observed
        .inventory
        .simulators
        .iter()
        .find(|s| s.management_device.handle == crate::step::simulator_handle(simulator));
    found.map_or(&[], |s| &s.vdpa)
}

fn index(simulator: &str, name: &str) -> Option<u32> {
    name.strip_prefix(simulator)?.strip_prefix('.')?.parse().ok()
}
