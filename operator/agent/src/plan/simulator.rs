//! The plan for a simulator: its devices are its functions.

use ringway_api::conditions::Reason;
use ringway_kernel::inventory::VdpaDevice;

use super::{Attach, Plan, Planned, function, mac};
use crate::before::Before;
use crate::cards::{self, Simulator};
use crate::node::Observed;
use crate::step::{Function, simulated_name};
use crate::wanted::{Parent, ParentName, Pool};

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
        if let Some((field, value)) = not_settable(known, pool) {
            let message = format!(
                "{simulator}: pool {}: {field} {value}: it cannot set that when it makes a vDPA \
                 device: leave the field out",
                pool.name,
            );
            return plan.refuse(&parent.name, Reason::SettingsUnsupported, message);
        }
    }
    if let Some(message) = parent.pools.iter().find_map(|pool| no_defaults(simulator, pool)) {
        return plan.refuse(&parent.name, Reason::SettingsUnsupported, message);
    }
    plan.ground(parent, |attach| cards::vdpa_modules(known.module, attach), observed);
    remove(plan, simulator, u32::from(parent.count), observed, before);
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
            mac: known.settable.mac.then(|| mac::stable(node, &name)),
            rest: None,
        };
        function::plan(plan, &site, parent.pool(index), before);
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

/// Why a simulated device cannot be set to what its pool asks for.
fn no_defaults(simulator: &str, pool: &Pool) -> Option<String> {
    let given = pool.defaults.given().into_iter().next()?;
    let (name, field, value) = (&pool.name, given.field, given.value);
    Some(format!(
        "{simulator}: pool {name}: defaults.{field} {value}: a simulated device has no PF that could \
         set it: leave defaults out",
    ))
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
        if !before.vdpa.contains(&device.name) || kept(&device.name) {
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

fn devices<'a>(simulator: &str, observed: &'a Observed) -> &'a [VdpaDevice] {
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
