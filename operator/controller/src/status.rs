//! What became of a policy: findings and the nodes' own conditions in, its status out. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use ringway_api::conditions::{AWAITING_DISRUPTION, DEGRADED, PROGRESSING, READY, Reason};
use ringway_api::device_policy::{DevicePolicy, DevicePolicyStatus};
use ringway_api::node_devices::{NodeDevices, NodeDevicesSpec, NodeDevicesStatus, ParentSpec};

use crate::conditions::{self, Wanted};
use crate::finding::{Finding, count, tell};
use crate::partition::parse_range;
use crate::render::{Outcome, same};

/// Where a policy stands on a node, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Ready,
    Idle,
    Progressing,
    AwaitingDisruption,
    Degraded,
}

/// Folds. `specs` are the specs as rendered, `devices` the nodes as they are.
pub fn status(
    policy: &DevicePolicy,
    outcome: &Outcome,
    specs: &BTreeMap<String, NodeDevicesSpec>,
    devices: &BTreeMap<String, &NodeDevices>,
    now: Timestamp,
) -> DevicePolicyStatus {
    let mut told: Vec<(Standing, Finding)> = outcome
        .findings
        .iter()
        .map(|finding| (severity(finding.reason), finding.clone()))
        .collect();
    for (node, parents) in &outcome.carved {
        if let (Some(spec), Some(devices)) = (specs.get(node), devices.get(node)) {
            let (standing, reason, message) = on_node(spec, parents, devices);
            told.push((standing, Finding { reason, node: Some(node.clone()), message }));
        }
    }
    told.retain(|(standing, _)| *standing != Standing::Ready);
    let parents = outcome.carved.values().map(Vec::len).sum::<usize>();
    let old = policy.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let generation = policy.metadata.generation;
    DevicePolicyStatus {
        observed_generation: generation,
        nodes: bounded_count(outcome.carved.len()),
        parents: bounded_count(parents),
        conditions: fold(&told, parents, outcome.carved.len(), |wanted| {
            conditions::set(old, generation, now, wanted)
        }),
    }
}

fn fold(
    told: &[(Standing, Finding)],
    parents: usize,
    nodes: usize,
    set: impl FnOnce(Vec<Wanted>) -> Vec<Condition>,
) -> Vec<Condition> {
    let of = |kind: &'static str, standing: Standing| {
        let findings: Vec<&Finding> =
            told.iter().filter(|(s, _)| *s == standing).map(|(_, finding)| finding).collect();
        match findings.first() {
            None => Wanted::not(kind),
            Some(first) => Wanted {
                kind,
                holds: true,
                reason: first.reason,
                message: tell(findings.iter().copied()),
            },
        }
    };
    let progressing = of(PROGRESSING, Standing::Progressing);
    let degraded = of(DEGRADED, Standing::Degraded);
    let awaiting = of(AWAITING_DISRUPTION, Standing::AwaitingDisruption);
    // the worst of them is why it is not ready
    let idle = of(READY, Standing::Idle);
    let worst = [&degraded, &awaiting, &progressing, &idle].into_iter().find(|wanted| wanted.holds);
    let ready = match worst {
        Some(worst) => Wanted {
            kind: READY,
            holds: false,
            reason: worst.reason,
            message: worst.message.clone(),
        },
        None => Wanted {
            kind: READY,
            holds: true,
            reason: Reason::AsWanted,
            message: format!("as wanted: {} on {}", count(parents, "parent"), count(nodes, "node")),
        },
    };
    set(vec![ready, progressing, degraded, awaiting])
}

/// What a finding of ours means for the policy.
fn severity(reason: Reason) -> Standing {
    match reason {
        // nodes and cards may still come
        Reason::NothingSelected => Standing::Idle,
        Reason::AwaitingAgent | Reason::AwaitingFeatures => Standing::Progressing,
        _ => Standing::Degraded,
    }
}

fn on_node(
    wanted: &NodeDevicesSpec,
    parents: &[String],
    devices: &NodeDevices,
) -> (Standing, Reason, String) {
    let mine: Vec<&ParentSpec> =
        wanted.parents.iter().filter(|parent| parents.contains(&parent.name)).collect();
    let answered = |status: &&NodeDevicesStatus| {
        same(&devices.spec, wanted) && status.observed_generation >= devices.metadata.generation
    };
    let Some(status) = devices.status.as_ref().filter(answered) else {
        let message = "its agent has not answered for the newest spec yet".to_owned();
        return (Standing::Progressing, Reason::AwaitingAgent, message);
    };
    let pending = status.plan.iter().find(|step| parents.contains(&step.parent));
    let unready = mine.iter().find_map(|parent| unready(parent, status));
    if pending.is_none() && unready.is_none() {
        return (Standing::Ready, Reason::AsWanted, String::new());
    }
    if let Some((reason, message)) = degraded(parents, status) {
        return (Standing::Degraded, reason, message);
    }
    if conditions::holds(&status.conditions, AWAITING_DISRUPTION) {
        let waiting = status.plan.iter().find_map(|step| {
            let waits = step.waits.as_ref().filter(|_| parents.contains(&step.parent))?;
            Some(format!("{}: {}: {waits}", step.parent, step.step))
        });
        if let Some(message) = waiting {
            let reason = conditions::find(&status.conditions, AWAITING_DISRUPTION)
                .and_then(|condition| Reason::from_name(&condition.reason))
                .unwrap_or(Reason::DeviceHeld);
            return (Standing::AwaitingDisruption, reason, message);
        }
    }
    match (pending, unready) {
        (Some(step), _) => {
            let message = format!("{}: next: {}", step.parent, step.step);
            (Standing::Progressing, Reason::StepsPending, message)
        }
        (None, Some(message)) => (Standing::Degraded, Reason::StepFailed, message),
        (None, None) => (Standing::Ready, Reason::AsWanted, String::new()),
    }
}

/// What is wrong with these parents and does not mend itself, or with the whole node: what is said
/// of no parent in particular concerns them all.
fn degraded(parents: &[String], status: &NodeDevicesStatus) -> Option<(Reason, String)> {
    let reason = |name: &str| Reason::from_name(name).unwrap_or(Reason::StepFailed);
    let mut mine = status.degraded.iter().filter(|told| parents.contains(&told.parent)).peekable();
    if let Some(first) = mine.peek() {
        let reason = reason(&first.reason);
        let mut messages: Vec<&str> = mine.map(|told| told.message.as_str()).collect();
        messages.dedup();
        return Some((reason, messages.join("; ")));
    }
    let whole = |condition: &&Condition| condition.status == "True" && status.degraded.is_empty();
    let condition = conditions::find(&status.conditions, DEGRADED).filter(whole)?;
    Some((reason(&condition.reason), condition.message.clone()))
}

/// Why not every function of the parent's pools is as wanted; nothing if they all are. That features
/// are waited for is a finding of its own.
fn unready(parent: &ParentSpec, status: &NodeDevicesStatus) -> Option<String> {
    let pools = || parent.pools.iter().filter(|pool| !pool.awaits_features());
    let wanted: usize =
        pools().filter_map(|pool| parse_range(&pool.range)).map(|range| range.len()).sum();
    let Some(found) = status.parents.iter().find(|found| found.name == parent.name) else {
        return Some(format!("{}: not there", parent.name));
    };
    let of_pools = || {
        found.functions.iter().filter(|function| {
            let of = |name: &String| pools().any(|pool| pool.name == *name);
            function.pool.as_ref().is_some_and(of)
        })
    };
    let ready: usize = of_pools()
        .filter(|function| function.ready)
        .filter_map(|function| parse_range(&function.range))
        .map(|range| range.len())
        .sum();
    if ready >= wanted {
        return None;
    }
    let why = of_pools().find(|function| !function.ready).and_then(|function| {
        Some(format!("; function {}: {}", function.range, function.reason.as_ref()?))
    });
    Some(format!(
        "{}: {ready} of {wanted} functions are ready{}",
        parent.name,
        why.unwrap_or_default()
    ))
}

fn bounded_count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
