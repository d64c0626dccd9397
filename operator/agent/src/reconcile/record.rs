//! What goes on record before a step, and off it when it is as it was.

use std::collections::{BTreeMap, BTreeSet};

use ringway_kernel::inventory::VdpaFamily;

use crate::before::{Before, ParentBefore};
use crate::node::Observed;
use crate::plan::{Planned, card, plan};
use crate::step::{Function, Step, simulated_name, vdpa_name};
use crate::wanted::{Maker, Wanted};

/// Notes what a step is about to change for the first time; says whether anything is new.
///
/// `overrides` are those of the parent's functions, if the parent is new.
pub(crate) fn record(
    before: &mut Before,
    planned: &Planned,
    observed: &Observed,
    overrides: BTreeMap<u32, String>,
) -> bool {
    let known = before.clone();
    let parent = &planned.parent;
    match &planned.step {
        Step::LoadModule(_) | Step::SetVdpaAutoprobe { on: true } => {}
        Step::SetVdpaAutoprobe { on: false } => {
            before.vdpa_autoprobe = before.vdpa_autoprobe.or(observed.vdpa_autoprobe);
        }
        Step::CreateVdpa { function, .. } => {
            before.note_parent(parent, observed, overrides);
            if let Some(name) = device_name(function, observed) {
                before.note_made(name);
            }
        }
        Step::SetFunctionCount { .. } => {
            before.note_parent(parent, observed, overrides);
            before.note_count(parent, observed);
        }
        Step::SetUplinkMtu { .. } => {
            before.note_parent(parent, observed, overrides);
            before.note_mtu(parent, observed);
        }
        Step::SetVfSettings { function, settings, .. } => {
            before.note_parent(parent, observed, overrides);
            before.note_settings(function, settings, observed);
        }
        Step::SetFunctionLink { function, mtu: Some(_), .. } => {
            before.note_parent(parent, observed, overrides);
            before.note_function_mtu(function, observed);
        }
        Step::SetEswitchMode { .. } => {
            before.note_parent(parent, observed, overrides);
            before.note_eswitch(parent, observed);
        }
        Step::AdoptVdpa { name } => {
            before.note_parent(parent, observed, overrides);
            before.note_adopted(parent, name);
        }
        Step::BindFunction { function, .. } | Step::UnbindFunction { function } => {
            before.note_parent(parent, observed, overrides);
            before.note_driver(function, observed);
        }
        _ => before.note_parent(parent, observed, overrides),
    }
    if let Some(function) = planned.step.rebinds() {
        before.note_rebinding(function);
    }
    *before != known
}

/// Drops records of devices that are gone, of parents that are back as they were and that nobody
/// wants carved, and of those that others shape from now on.
pub(crate) fn forget(before: &mut Before, wanted: &Wanted, observed: &Observed) {
    if matches!(observed.inventory.vdpa_family, VdpaFamily::Unknown(_)) {
        return;
    }
    for parent in wanted.parents.iter().filter(|parent| parent.maker == Maker::Others) {
        before.hand_over(&parent.name, observed);
    }
    let there = |name: &String| observed.vdpa().any(|device| device.name == *name);
    before.vdpa.retain(there);
    before.parents.values_mut().for_each(|parent| parent.adopted.retain(there));
    before.forget_drivers(observed);
    before.forget_settings(observed);
    forget_parents(before, wanted, observed);
    if before.vdpa.is_empty() && observed.vdpa_autoprobe == before.vdpa_autoprobe {
        before.vdpa_autoprobe = None;
    }
}

fn forget_parents(before: &mut Before, wanted: &Wanted, observed: &Observed) {
    let asked: BTreeSet<_> = wanted.parents.iter().map(|parent| parent.name.to_string()).collect();
    if before.parents.keys().all(|name| asked.contains(name)) {
        return;
    }
    let left = plan("", wanted, observed, before);
    let stays = |(name, was): &(&String, &ParentBefore)| {
        asked.contains(*name)
            || left.refusals.iter().any(|refusal| refusal.parent == **name)
            || left.steps.iter().any(|step| step.parent.to_string() == **name)
            || card::out_of_sight(name, was, observed)
    };
    let goes = before.parents.iter().filter(|parent| !stays(parent));
    for name in goes.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
        before.forget_parent(&name);
    }
}

/// Drops what is on record of functions that went when their number changed, and what was put back or
/// has got its driver by a step that is done. Not before: an agent that is killed in between still has
/// to see to it. Says whether that is to be written at once.
pub(super) fn forget_done(before: &mut Before, done: &Planned) -> bool {
    let Some(parent) = before.parents.get_mut(&done.parent.to_string()) else { return false };
    let settled = match &done.step {
        Step::SetFunctionOverride { function, .. } => Some(function),
        step => step.rebinds(),
    };
    if let Some(function) = settled {
        parent.rebinding.remove(&function.index());
        // read once more it does no harm: the override is set to what it is
        return false;
    }
    match &done.step {
        Step::SetFunctionCount { .. } => parent.forget_functions(),
        Step::SetVfSettings { function, settings, .. } => {
            parent.forget_set(function.index(), settings)
        }
        _ => false,
    }
}

/// The name of the vDPA device that we make on a function, once the function exists.
fn device_name(function: &Function, observed: &Observed) -> Option<String> {
    match function {
        Function::Simulated { simulator, index } => Some(simulated_name(simulator, *index)),
        Function::Vf { .. } => observed.function(function).map(|found| vdpa_name(found.address)),
    }
}
