//! Goes through plans until there is nothing left that may be done. Never undoes: after a failed
//! step the node is observed again, and what is then left is planned anew.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use ringway_kernel::inventory::Parent;
use ringway_node::lock::Lock;
use tracing::{info, warn};

use self::record::forget_done;
pub(crate) use self::record::{forget, record};
use crate::before::Before;
use crate::node::{Node, Observed};
use crate::plan::{Plan, Planned, plan};
use crate::step::Step;
use crate::wanted::{ParentName, Wanted};

mod record;

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
    save: impl FnMut(&Before) -> Result<()>,
    mut gate: impl FnMut(&Planned, &Observed) -> Gate,
) -> Result<Report> {
    let mut so_far = SoFar::default();
    let mut kept = Kept { written: before.clone(), before, save };
    for _ in 0..PASSES {
        let observed = node.observe().context("observe the node")?;
        forget(kept.before, wanted, &observed);
        let plan = plan(name, wanted, &observed, kept.before);
        if *kept.before != kept.written {
            kept.write()?;
        }
        let pass = Pass { node, plan: &plan, observed: &observed, kept: &mut kept };
        let Ended { waits, held, progress } = pass.go_through(&mut gate, &mut so_far)?;
        if !progress {
            let SoFar { failures, done } = so_far;
            return Ok(Report { observed, plan, waits, failures, held, done });
        }
    }
    bail!("the node does not become as wanted: every pass finds steps to do")
}

/// What became of steps in all passes.
#[derive(Default)]
struct SoFar {
    failures: Vec<(Planned, ringway_kernel::Error)>,
    done: Vec<Planned>,
}

/// The record, and what is on the disk of it.
struct Kept<'a, S> {
    before: &'a mut Before,
    written: Before,
    save: S,
}

impl<S: FnMut(&Before) -> Result<()>> Kept<'_, S> {
    fn write(&mut self) -> Result<()> {
        (self.save)(self.before)?;
        self.written.clone_from(self.before);
        Ok(())
    }
}

/// One way through a plan.
struct Pass<'a, 'b, N, S> {
    node: &'a mut N,
    plan: &'a Plan,
    observed: &'a Observed,
    kept: &'a mut Kept<'b, S>,
}

/// How a pass ended.
#[derive(Default)]
struct Ended {
    waits: Vec<String>,
    held: BTreeSet<String>,
    /// Whether anything was done.
    progress: bool,
}

impl<N: Node, S: FnMut(&Before) -> Result<()>> Pass<'_, '_, N, S> {
    /// Does what may be done, up to a step after which the rest of the plan is out of date.
    fn go_through(
        mut self,
        gate: &mut impl FnMut(&Planned, &Observed) -> Gate,
        so_far: &mut SoFar,
    ) -> Result<Ended> {
        let (mut ended, mut blocked) = (Ended::default(), Vec::<Planned>::new());
        let (mut revealed, first) = (false, so_far.done.len());
        for (at, planned) in self.plan.steps.iter().enumerate() {
            let loads = matches!(planned.step, Step::LoadModule(_));
            if revealed && !loads {
                break;
            }
            // another parent's plan has the same step
            let same = |done: &Planned| done.step == planned.step;
            if is_ground(&planned.step) && so_far.done[first..].iter().any(same) {
                continue;
            }
            if let Some(why) = failed(planned, &so_far.failures) {
                ended.waits.push(why);
                continue;
            }
            let gate = match not_yet(planned, self.plan, &blocked, &so_far.done) {
                Some(why) => Gate::Wait(why.to_owned()),
                None => gate(planned, self.observed),
            };
            let _locks = match gate {
                Gate::Go(locks) => locks,
                Gate::Wait(why) => {
                    blocked.push(planned.clone());
                    ended.waits.push(why);
                    continue;
                }
                Gate::Held(who) => {
                    blocked.push(planned.clone());
                    ended.held.insert(who.clone());
                    ended.waits.push(who);
                    continue;
                }
            };
            if let Err(error) = self.carry_out(at)? {
                warn!(parent = %planned.parent, step = %planned.step, error = %chain(&error), "failed");
                so_far.failures.push((planned.clone(), error));
                ended.waits.extend(failed(planned, &so_far.failures));
                continue;
            }
            info!(parent = %planned.parent, step = %planned.step, "done");
            ended.progress = true;
            so_far.done.push(planned.clone());
            if let Step::SetFunctionCount { .. } | Step::SetEswitchMode { .. } = planned.step {
                break;
            }
            revealed |= loads;
        }
        Ok(ended)
    }

    /// Does a step, after what it changes is on record; what it puts back goes from there.
    fn carry_out(&mut self, at: usize) -> Result<ringway_kernel::Result<()>> {
        let planned = &self.plan.steps[at];
        let has_functions = |parent: &&Parent| !parent.functions.is_empty();
        let known = self.kept.before.parents.contains_key(&planned.parent.to_string());
        let overrides = match self.observed.parent(&planned.parent).filter(has_functions) {
            Some(parent) if !known => match self.node.overrides(parent.address) {
                Ok(overrides) => overrides,
                Err(error) => return Ok(Err(error)),
            },
            _ => BTreeMap::new(),
        };
        if record(self.kept.before, planned, self.observed, overrides) {
            self.record_ahead(at);
            self.kept.write()?;
        }
        let applied = self.node.apply(&planned.step);
        if applied.is_ok() && forget_done(self.kept.before, planned) {
            self.kept.write()?;
        }
        Ok(applied)
    }

    /// Notes what the next steps of the same parent change as well, if nobody is in their way: the
    /// record is flushed to the disk for each step that adds to it. One that is not done after all has
    /// noted what is so.
    fn record_ahead(&mut self, at: usize) {
        let parent = &self.plan.steps[at].parent;
        let next = self.plan.steps[at + 1..].iter().take_while(|next| {
            let about_all = next.function.is_none();
            next.parent == *parent && next.disturbs.is_empty() && !about_all
        });
        for next in next {
            record(self.kept.before, next, self.observed, BTreeMap::new());
        }
    }
}

/// Why a step is not done again, or not at all, after the failures so far.
fn failed(planned: &Planned, failures: &[(Planned, ringway_kernel::Error)]) -> Option<String> {
    if let Some((_, error)) = failures.iter().find(|(failed, _)| failed == planned) {
        return Some(format!("failed: {}", chain(error)));
    }
    let in_vain = failures.iter().any(|(failed, _)| builds_on(planned, failed));
    in_vain.then(|| "waits for a step that failed".to_owned())
}

/// What keeps a step from being done, whoever holds what.
fn not_yet(
    planned: &Planned,
    plan: &Plan,
    blocked: &[Planned],
    done: &[Planned],
) -> Option<&'static str> {
    if blocked.iter().any(|earlier| builds_on(planned, earlier)) {
        return Some("waits for an earlier step");
    }
    set_in_vain(planned, plan, done)
        .then_some("was done, and the driver still tells something else")
}

/// Whether what a step sets, or is to be done for, was set before in this round and is planned again: a
/// driver that says yes and does nothing would be told for ever.
fn set_in_vain(planned: &Planned, plan: &Plan, done: &[Planned]) -> bool {
    let sets =
        |step: &Step| matches!(step, Step::SetVfSettings { .. } | Step::SetFunctionLink { .. });
    let again = |other: &Planned| {
        let own = other.parent == planned.parent && other.function == planned.function;
        own && sets(&other.step) && done.iter().any(|done| done.step == other.step)
    };
    let about = sets(&planned.step) || matches!(planned.step, Step::UnbindFunction { .. });
    about && plan.steps.iter().any(again)
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

/// Whether a step is about the whole node, for whichever parent needs it first.
fn is_ground(step: &Step) -> bool {
    matches!(step, Step::LoadModule(_) | Step::SetVdpaAutoprobe { .. })
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
