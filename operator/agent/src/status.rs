//! What the agent says of its node: the status of `NodeDevices` from a report. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use ringway_api::conditions::{AWAITING_DISRUPTION, DEGRADED, PROGRESSING, READY, Reason};
use ringway_api::node_devices::{
    DegradedParent, FunctionStatus, Identity, NodeDevicesStatus, ParentStatus, StepStatus, Summary,
};
use ringway_kernel::Error;
use ringway_kernel::devlink::EswitchMode;
use ringway_kernel::inventory::{Netdev, Parent as Found};

use crate::abilities::feature_sets;
use crate::cards;
use crate::plan::card;
use crate::reconcile::{Report, chain};
use crate::standing::{Seen, Standing, standing};
use crate::step::simulated_name;
use crate::wanted::{Parent, ParentName, Wanted};

/// The longest message, in characters.
const LONGEST_MESSAGE: usize = 1024;

/// Renders the status. `now` is only used for conditions that differ from `last`'s.
pub fn status(
    generation: Option<i64>,
    wanted: &Wanted,
    report: &Report,
    last: &[Condition],
    now: &Time,
) -> NodeDevicesStatus {
    let parents = parents(wanted, report);
    let functions = parents.iter().flat_map(|parent| &parent.functions);
    let count = |f: &FunctionStatus| i32::try_from(f.devices.len()).unwrap_or(i32::MAX);
    let summary = Summary {
        parents: i32::try_from(parents.len()).unwrap_or(i32::MAX),
        functions: functions.clone().map(count).sum(),
        ready: functions.filter(|f| f.ready).map(count).sum(),
        steps: i32::try_from(report.plan.steps.len()).unwrap_or(i32::MAX),
    };
    let conditions = conditions(generation, report, &summary, last, now);
    NodeDevicesStatus {
        observed_generation: generation,
        summary,
        parents,
        feature_sets: feature_sets(wanted, &report.observed.inventory),
        plan: plan(report),
        degraded: degraded_parents(report),
        conditions,
    }
}

fn plan(report: &Report) -> Vec<StepStatus> {
    let steps =
        report.plan.steps.iter().zip(report.waits.iter().map(Some).chain(std::iter::repeat(None)));
    steps
        .map(|(planned, wait)| StepStatus {
            step: planned.step.to_string(),
            parent: planned.parent.to_string(),
            disturbs: planned.disturbs.iter().map(ToString::to_string).collect(),
            waits: wait.cloned(),
        })
        .collect()
}

fn parents(wanted: &Wanted, report: &Report) -> Vec<ParentStatus> {
    let inventory = &report.observed.inventory;
    let cards = inventory.parents.iter().map(|found| {
        let name = ParentName::Pci(found.address);
        let asked = wanted.parents.iter().find(|parent| parent.name == name);
        card_status(found, asked, report)
    });
    let simulators = inventory.simulators.iter().map(|found| {
        let simulator = &found.management_device.handle.name;
        let name = ParentName::Simulator(simulator.clone());
        let asked = wanted.parents.iter().find(|parent| parent.name == name);
        let functions = (0..asked.map_or(0, |p| u32::from(p.count)))
            .filter_map(|index| {
                let device =
                    found.vdpa.iter().find(|v| v.name == simulated_name(simulator, index))?;
                let seen = Seen { vdpa: Some(device), ..Seen::default() };
                Some((index, function_status(&device.name, seen, index, &name, asked, report)))
            })
            .collect();
        ParentStatus {
            name: simulator.clone(),
            attach: cards::SIMULATED.to_vec(),
            attach_reason: Some(cards::NO_FUNCTION.to_owned()),
            function_count: u16::try_from(found.vdpa.len()).unwrap_or(u16::MAX),
            functions: merge(functions),
            ..ParentStatus::default()
        }
    });
    cards.chain(simulators).collect()
}

fn card_status(found: &Found, asked: Option<&Parent>, report: &Report) -> ParentStatus {
    let name = ParentName::Pci(found.address);
    let (attach, attach_reason) = cards::attach(found);
    let card = cards::card(found.driver.as_deref());
    let stays = card.and_then(|card| card.vdpa.as_ref()?.stays);
    let first = found.netdevs.first();
    let mac = first.and_then(|n| n.permanent_mac.or(n.mac)).map(|mac| mac.to_string());
    let functions = found
        .functions
        .iter()
        .map(|f| {
            let seen = Seen { card, function: Some(f), vdpa: f.vdpa.first() };
            (f.index, function_status(&f.address.to_string(), seen, f.index, &name, asked, report))
        })
        .collect();
    ParentStatus {
        name: found.address.to_string(),
        identity: Some(Identity {
            vendor: format!("{:04x}", found.ids.vendor),
            device: format!("{:04x}", found.ids.device),
            mac,
        }),
        driver: found.driver.clone(),
        interfaces: found
            .netdevs
            .iter()
            .flat_map(|n| std::iter::once(&n.name).chain(&n.altnames))
            .cloned()
            .collect(),
        mtu: first.and_then(Netdev::known_mtu),
        eswitch: found.eswitch.mode().map(eswitch),
        numa_node: found.numa,
        max_functions: Some(found.totalvfs),
        function_count: found.numvfs,
        attach,
        attach_reason,
        migratable: stays.map(|_| false),
        migratable_reason: stays.map(str::to_owned),
        off_limits: card::off_limits(found),
        functions: merge(functions),
    }
}

fn eswitch(mode: EswitchMode) -> ringway_api::device_policy::EswitchMode {
    match mode {
        EswitchMode::Legacy => ringway_api::device_policy::EswitchMode::Legacy,
        EswitchMode::Switchdev => ringway_api::device_policy::EswitchMode::Switchdev,
    }
}

fn function_status(
    id: &str,
    seen: Seen<'_>,
    index: u32,
    parent: &ParentName,
    asked: Option<&Parent>,
    report: &Report,
) -> FunctionStatus {
    let pool = asked.and_then(|parent| parent.pool(index));
    let standing = pool.map(|pool| standing(report, parent, index, pool, seen));
    FunctionStatus {
        range: index.to_string(),
        devices: vec![id.to_owned()],
        pool: pool.map(|pool| pool.name.clone()),
        driver: seen.function.and_then(|function| function.driver.clone()),
        vdpa_driver: seen.vdpa.and_then(|device| device.driver.clone()),
        ready: standing == Some(Standing::AsWanted),
        reason: standing.and_then(Standing::reason),
    }
}

/// Equal neighbours become one entry.
fn merge(functions: Vec<(u32, FunctionStatus)>) -> Vec<FunctionStatus> {
    let mut merged: Vec<(u32, u32, FunctionStatus)> = Vec::new();
    for (index, mut status) in functions {
        if let Some((first, last, before)) = merged.last_mut() {
            let devices = std::mem::take(&mut status.devices);
            let range = std::mem::replace(&mut status.range, before.range.clone());
            let known = std::mem::take(&mut before.devices);
            let alike = *last + 1 == index && *before == status;
            before.devices = known;
            if alike {
                before.devices.extend(devices);
                *last = index;
                before.range = format!("{first}-{last}");
                continue;
            }
            (status.devices, status.range) = (devices, range);
        }
        merged.push((index, index, status));
    }
    merged.into_iter().map(|(_, _, status)| status).collect()
}

fn conditions(
    generation: Option<i64>,
    report: &Report,
    summary: &Summary,
    last: &[Condition],
    now: &Time,
) -> Vec<Condition> {
    let degraded = degraded(report);
    let held = report.plan.steps.iter().zip(&report.waits).find(|(s, _)| !s.disturbs.is_empty());
    let awaiting = held.filter(|_| degraded.is_none()).map(|(planned, wait)| {
        (Reason::DeviceHeld, format!("{}: {}: {wait}", planned.parent, planned.step))
    });
    let steps = (summary.steps > 0)
        .then(|| (Reason::StepsPending, format!("{} steps to do", summary.steps)));
    let progressing =
        steps.or_else(|| awaited(report)).filter(|_| degraded.is_none() && awaiting.is_none());
    let serving = format!("{} of {} functions serve pools", summary.ready, summary.functions);
    written(generation, [progressing, degraded, awaiting], serving, last, now)
}

/// What functions wait for that others have to say.
fn awaited(report: &Report) -> Why {
    let awaits = &report.plan.awaits;
    let mut messages: Vec<&str> = awaits.iter().map(|told| told.message.as_str()).collect();
    messages.dedup();
    Some((awaits.first()?.reason, messages.join("; ")))
}

/// The status after a round that broke off: what was said last of the node, and that it may not be
/// so any more.
pub fn broken(
    generation: Option<i64>,
    said: Option<&NodeDevicesStatus>,
    error: &str,
    now: &Time,
) -> NodeDevicesStatus {
    let last = said.map_or(&[][..], |said| &said.conditions);
    let degraded = Some((Reason::StepFailed, format!("the node cannot be worked on: {error}")));
    let conditions = written(generation, [None, degraded, None], String::new(), last, now);
    // all of it is one trouble now
    NodeDevicesStatus { degraded: vec![], conditions, ..said.cloned().unwrap_or_default() }
}

/// Why a condition holds.
type Why = Option<(Reason, String)>;

/// The conditions, from those that speak against `Ready`; `serving` is its message if none does.
fn written(
    generation: Option<i64>,
    [progressing, degraded, awaiting]: [Why; 3],
    serving: String,
    last: &[Condition],
    now: &Time,
) -> Vec<Condition> {
    let ready = match degraded.as_ref().or(awaiting.as_ref()).or(progressing.as_ref()) {
        None => (true, Reason::AsWanted, serving),
        Some((reason, message)) => (false, *reason, message.clone()),
    };
    let negative = |found: Why| match found {
        Some((reason, message)) => (true, reason, message),
        None => (false, Reason::Nothing, String::new()),
    };
    [
        (READY, ready),
        (PROGRESSING, negative(progressing)),
        (DEGRADED, negative(degraded)),
        (AWAITING_DISRUPTION, negative(awaiting)),
    ]
    .into_iter()
    .map(|(kind, (is, reason, message))| {
        let status = if is { "True" } else { "False" };
        let before = last.iter().find(|c| c.type_ == kind && c.status == status);
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: bounded(&message),
            observed_generation: generation,
            last_transition_time: before
                .map_or_else(|| now.clone(), |c| c.last_transition_time.clone()),
        }
    })
    .collect()
}

/// One thing that does not mend itself.
struct Trouble {
    parent: String,
    reason: Reason,
    text: String,
    /// Whether the text names the parent, or what asked for it.
    named: bool,
}

fn troubles(report: &Report) -> impl Iterator<Item = Trouble> {
    let refused = report.plan.refusals.iter().map(|refusal| Trouble {
        parent: refusal.parent.clone(),
        reason: refusal.reason,
        text: refusal.message.clone(),
        named: true,
    });
    let failed = report.failures.iter().map(|(planned, error)| Trouble {
        parent: planned.parent.to_string(),
        reason: reason(error),
        text: match error {
            // names the module itself
            Error::Module { .. } => chain(error),
            _ => format!("{}: {}", planned.step, chain(error)),
        },
        named: false,
    });
    refused.chain(failed)
}

/// All troubles, with the reason of the first. What is wrong with several parents is told once.
fn degraded(report: &Report) -> Why {
    let (mut first, mut told) = (None, Vec::<(String, Vec<String>)>::new());
    for Trouble { parent, reason, text, named } in troubles(report) {
        first.get_or_insert(reason);
        let parent = (!named).then_some(parent);
        match told.iter_mut().find(|(known, _)| *known == text) {
            Some((_, parents)) => parents.extend(parent),
            None => told.push((text, parent.into_iter().collect())),
        }
    }
    let words = told.into_iter().map(|(text, parents)| match parents.is_empty() {
        true => text,
        false => format!("{}: {text}", parents.join(", ")),
    });
    Some((first?, words.collect::<Vec<_>>().join("; ")))
}

/// The troubles of each parent, with the reason of its own first: a policy is told of its own parents
/// only.
fn degraded_parents(report: &Report) -> Vec<DegradedParent> {
    let mut degraded = Vec::<DegradedParent>::new();
    for Trouble { parent, reason, text, named } in troubles(report) {
        let text = if named { text } else { format!("{parent}: {text}") };
        match degraded.iter_mut().find(|known| known.parent == parent) {
            Some(known) => known.message = format!("{}; {text}", known.message),
            None => {
                let reason = reason.as_str().to_owned();
                degraded.push(DegradedParent { parent, reason, message: text });
            }
        }
    }
    for parent in &mut degraded {
        parent.message = bounded(&parent.message);
    }
    degraded
}

/// No longer than a person reads.
fn bounded(message: &str) -> String {
    message.chars().take(LONGEST_MESSAGE).collect()
}

pub(crate) fn reason(error: &Error) -> Reason {
    match error {
        Error::Module { .. } => Reason::ModuleMissing,
        Error::Deadline { .. } | Error::Stuck { .. } => Reason::CallStuck,
        _ => Reason::StepFailed,
    }
}

#[cfg(test)]
mod tests;
