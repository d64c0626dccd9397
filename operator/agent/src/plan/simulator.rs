//! The plan for a simulator: its devices are its functions.

use ringway_api::conditions::Reason;
use ringway_kernel::inventory::VdpaDevice;
use ringway_kernel::mac::Mac;

use super::{Attach, Plan, Planned, external, function};
use crate::before::Before;
use crate::cards;
use crate::node::Observed;
use crate::step::{Function, simulated_name};
use crate::wanted::{Maker, Parent, ParentName};

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
    for pool in &parent.pools {
        if !cards::SIMULATED.contains(&pool.attach) {
            let (attach, why) = (pool.attach.as_str(), cards::NO_FUNCTION);
            let can = cards::SIMULATED.map(Attach::as_str).join(", ");
            let message = format!(
                "{simulator}: pool {}: attach {attach}: it can do {can} ({why})",
                pool.name
            );
            return plan.refuse(&parent.name, Reason::AttachUnsupported, message);
        }
        if let Some(pairs) = pool.settings.queue_pairs.filter(|_| !cards::SIMULATOR.queue_pairs) {
            let message = format!(
                "{simulator}: pool {}: vdpa.queuePairs {pairs}: the simulator cannot set it: \
                 leave the field out",
                pool.name,
            );
            return plan.refuse(&parent.name, Reason::SettingsUnsupported, message);
        }
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
            mac: Some(address(node, &name)),
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

/// A MAC for a simulated device: locally administered, the same at every start, and another on
/// every node (FNV-1a of both names).
fn address(node: &str, name: &str) -> Mac {
    let hash =
        node.bytes().chain([0]).chain(name.bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    let [a, b, c, d, e, ..] = hash.to_be_bytes();
    Mac([0x02, a, b, c, d, e])
}
