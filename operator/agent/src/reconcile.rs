//! Goes through plans until there is nothing left that may be done. Never undoes: after a failed
//! step the node is observed again, and what is then left is planned anew.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use ringway_kernel::inventory::Parent;
use ringway_node::lock::Lock;
use tracing::{info, warn};

use crate::before::{Before, ParentBefore};
use crate::node::{Node, Observed};
use crate::plan::{Plan, Planned, card, plan};
use crate::step::{Function, Step, simulated_name, vdpa_name};
use crate::wanted::{Maker, ParentName, Wanted};

/// More passes than any plan needs: each ends with a step that reveals what could not be planned.
const PASSES: usize = 256;

/// Whether a step may be done now.
#[derive(Debug)]
pub enum Gate {
    /// It may, while these locks are held.
    Go(Vec<Lock>),
    /// It may not, and what it waits for.
    Wait(String),
    /// It may not because somebody holds a device: which, and who.
    Held(String),
}

/// Where it ended.
#[derive(Debug)]
pub struct Report {
    /// The node as it is now.
    pub observed: Observed,
    /// What is left to do, and what is refused.
    pub plan: Plan,
    /// What each step that is left waits for, in the plan's order.
    pub waits: Vec<String>,
    /// Steps that failed.
    pub failures: Vec<(Planned, ringway_kernel::Error)>,
    /// Who is in the way of steps that are left, each said once.
    pub held: BTreeSet<String>,
    /// The steps that were done.
    pub done: Vec<Planned>,
}

/// Makes a node as wanted, as far as `gate` lets it. `save` puts the record on the disk: it is
/// called before the change that it records.
pub fn reconcile(
    name: &str,
    node: &mut impl Node,
    wanted: &Wanted,
    before: &mut Before,
    mut save: impl FnMut(&Before) -> Result<()>,
    mut gate: impl FnMut(&Planned, &Observed) -> Gate,
) -> Result<Report> {
    let (mut failures, mut done) = (Vec::new(), Vec::new());
    for _ in 0..PASSES {
        let observed = node.observe().context("observe the node")?;
        let known = before.clone();
        forget(before, wanted, &observed);
        let plan = plan(name, wanted, &observed, before);
        if *before != known {
            save(before)?;
        }
        let (mut waits, mut progress) = (Vec::new(), false);
        let (mut blocked, mut held) = (Vec::<Planned>::new(), BTreeSet::new());
        for planned in &plan.steps {
            if let Some(why) = failed(planned, &failures) {
                waits.push(why);
                continue;
            }
            if blocked.iter().any(|earlier| builds_on(planned, earlier)) {
                waits.push("waits for an earlier step".to_owned());
                continue;
            }
            let _locks = match gate(planned, &observed) {
                Gate::Go(locks) => locks,
                Gate::Wait(why) => {
                    blocked.push(planned.clone());
                    waits.push(why);
                    continue;
                }
                Gate::Held(who) => {
                    blocked.push(planned.clone());
                    held.insert(who.clone());
                    waits.push(who);
                    continue;
                }
            };
            match carry_out(node, planned, &observed, before, &mut save)? {
                Ok(()) => {
                    info!(parent = %planned.parent, step = %planned.step, "done");
                    progress = true;
                    if forget_functions(before, planned) {
                        save(before)?;
                    }
                    done.push(planned.clone());
                    if reveals(&planned.step) {
                        break;
                    }
                }
                Err(error) => {
                    warn!(parent = %planned.parent, step = %planned.step, error = %chain(&error), "failed");
                    failures.push((planned.clone(), error));
                    waits.extend(failed(planned, &failures));
                }
            }
        }
        if !progress {
            return Ok(Report { observed, plan, waits, failures, held, done });
        }
    }
    bail!("the node does not become as wanted: every pass finds steps to do")
}

/// Does a step, after what it changes is on record.
fn carry_out(
    node: &mut impl Node,
    planned: &Planned,
    observed: &Observed,
    before: &mut Before,
    save: &mut impl FnMut(&Before) -> Result<()>,
) -> Result<ringway_kernel::Result<()>> {
    let has_functions = |parent: &&Parent| !parent.functions.is_empty();
    let known = before.parents.contains_key(&planned.parent.to_string());
    let overrides = match observed.parent(&planned.parent).filter(has_functions) {
        Some(parent) if !known => match node.overrides(parent.address) {
            Ok(overrides) => overrides,
            Err(error) => return Ok(Err(error)),
        },
        _ => BTreeMap::new(),
    };
    if record(before, planned, observed, overrides) {
        save(before)?;
    }
    Ok(node.apply(&planned.step))
}

/// Why a step is not done again, or not at all, after the failures so far.
fn failed(planned: &Planned, failures: &[(Planned, ringway_kernel::Error)]) -> Option<String> {
    if let Some((_, error)) = failures.iter().find(|(failed, _)| failed == planned) {
        return Some(format!("failed: {}", chain(error)));
    }
    let in_vain = failures.iter().any(|(failed, _)| builds_on(planned, failed));
    in_vain.then(|| "waits for a step that failed".to_owned())
}

/// Whether a step makes sense only after an earlier one of the same plan.
fn builds_on(step: &Planned, earlier: &Planned) -> bool {
    // the bus is the last to be given back
    if step.parent == ParentName::VdpaBus {
        return true;
    }
    step.parent == earlier.parent
        && (earlier.function.is_none() || step.function == earlier.function)
}

/// After these the rest of the plan is out of date: the node has things that it could only name by
/// their index, or another parent's plan has the same step.
fn reveals(step: &Step) -> bool {
    matches!(
        step,
        Step::SetFunctionCount { .. }
            | Step::SetEswitchMode { .. }
            | Step::LoadModule(_)
            | Step::SetVdpaAutoprobe { .. }
    )
}

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
    *before != known
}

/// Drops records of devices that are gone, of parents that are back as they were and that nobody
/// wants carved, and of those that others shape from now on.
pub(crate) fn forget(before: &mut Before, wanted: &Wanted, observed: &Observed) {
    if matches!(observed.inventory.vdpa_family, ringway_kernel::inventory::VdpaFamily::Unknown(_)) {
        return;
    }
    for parent in wanted.parents.iter().filter(|parent| parent.maker == Maker::Others) {
        before.hand_over(&parent.name, observed);
    }
    let there = |name: &String| observed.vdpa().any(|device| device.name == *name);
    before.vdpa.retain(there);
    before.parents.values_mut().for_each(|parent| parent.adopted.retain(there));
    before.forget_drivers(observed);
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

/// Drops the drivers of functions that went when their number changed. Not before: an agent that is
/// killed in between still has to give them back. Says whether there were any.
fn forget_functions(before: &mut Before, done: &Planned) -> bool {
    let Step::SetFunctionCount { .. } = done.step else { return false };
    let parent = before.parents.get_mut(&done.parent.to_string());
    parent.is_some_and(|parent| !std::mem::take(&mut parent.functions).is_empty())
}

/// The name of the vDPA device that we make on a function, once the function exists.
pub(crate) fn device_name(function: &Function, observed: &Observed) -> Option<String> {
    match function {
        Function::Simulated { simulator, index } => Some(simulated_name(simulator, *index)),
        Function::Vf { .. } => observed.function(function).map(|found| vdpa_name(found.address)),
    }
}

/// An error with what caused it, as one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
