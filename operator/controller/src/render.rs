//! Policies and what nodes have in, each node's spec out. Pure.
//!
//! A parent belongs to one policy: the one with the highest priority, then the oldest, then the
//! first by name. A parent whose policy asks for what cannot be goes into no spec, and where it
//! stands in one already it stays there as it is: a mistake in a policy changes no node.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use ringway_api::conditions::Reason;
use ringway_api::device_policy::{DevicePolicy, DevicePolicySpec, Ownership, Pool, VdpaSettings};
use ringway_api::node_devices::{NodeDevices, NodeDevicesSpec, ParentSpec, ParentStatus, PoolSpec};

use crate::common;
use crate::finding::{Finding, count};
use crate::partition::{self, Complaint};
use crate::selector::{self, Labels, Nodes, Parent};

/// What policies make of nodes.
#[derive(Debug, Default, PartialEq)]
pub struct Rendered {
    /// The spec of each node that has a `NodeDevices`.
    pub specs: BTreeMap<String, NodeDevicesSpec>,
    /// What became of each policy.
    pub policies: BTreeMap<String, Outcome>,
}

/// What became of a policy.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// The parents that it carves, by node.
    pub carved: BTreeMap<String, Vec<String>>,
}

/// The most parents in a node's spec, as its schema has it.
const MOST_PARENTS: usize = 64;

/// Renders. A node is known by its labels, what it has by the `NodeDevices` of the same name.
pub fn render<'a>(
    policies: impl IntoIterator<Item = &'a DevicePolicy>,
    nodes: &BTreeMap<String, Labels>,
    devices: &BTreeMap<String, &NodeDevices>,
) -> Rendered {
    let mut rendered = Rendered::default();
    let policies: Vec<&DevicePolicy> = policies.into_iter().collect();
    let mut claimants: Vec<Claimant<'_>> =
        policies.iter().map(|policy| Claimant::of(policy)).collect();
    claimants.sort_by(|a, b| a.precedence().cmp(&b.precedence()));
    for (name, labels) in nodes {
        let selecting: Vec<&Claimant<'_>> =
            claimants.iter().filter(|claimant| claimant.selects(labels)).collect();
        let Some(devices) = devices.get(name) else {
            for claimant in selecting {
                let message = "its agent has reported nothing yet: is it running there?";
                rendered.find(claimant, Some(name), (Reason::AwaitingAgent, message.into()));
            }
            continue;
        };
        let spec = node(name, &selecting, devices, &mut rendered);
        rendered.specs.insert(name.clone(), spec);
    }
    for claimant in &claimants {
        claimant.conclude(nodes, devices, &mut rendered);
    }
    common::resolve(&policies, devices, &mut rendered);
    rendered
}

/// A policy, with what can be said of it without a node.
struct Claimant<'a> {
    name: &'a str,
    created: Timestamp,
    spec: &'a DevicePolicySpec,
    nodes: Result<Nodes, Complaint>,
    partition: Result<(), Complaint>,
}

impl<'a> Claimant<'a> {
    fn of(policy: &'a DevicePolicy) -> Self {
        Self {
            name: policy.metadata.name.as_deref().unwrap_or_default(),
            created: policy.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |t| t.0),
            spec: &policy.spec,
            nodes: Nodes::of(&policy.spec),
            partition: partition::check(&policy.spec),
        }
    }

    /// The smallest has a parent that several claim.
    fn precedence(&self) -> (std::cmp::Reverse<i32>, Timestamp, &str) {
        (std::cmp::Reverse(self.spec.priority), self.created, self.name)
    }

    fn selects(&self, labels: &Labels) -> bool {
        self.nodes.as_ref().is_ok_and(|nodes| nodes.select(labels))
    }

    /// Adds what is wrong with the policy itself, or that it selects nothing.
    fn conclude(
        &self,
        nodes: &BTreeMap<String, Labels>,
        devices: &BTreeMap<String, &NodeDevices>,
        rendered: &mut Rendered,
    ) {
        let selected: Vec<&String> =
            nodes.iter().filter(|(_, labels)| self.selects(labels)).map(|(name, _)| name).collect();
        let outcome = rendered.policies.entry(self.name.to_owned()).or_default();
        let find = |(reason, message): Complaint| Finding { reason, node: None, message };
        match (&self.nodes, &self.partition) {
            (Err(complaint), _) | (_, Err(complaint)) => {
                outcome.findings.push(find(complaint.clone()));
            }
            (Ok(looked_for), Ok(())) if selected.is_empty() => {
                let message = format!(
                    "no node is selected by {}: {} in the cluster",
                    looked_for.describe(),
                    count(nodes.len(), "node"),
                );
                outcome.findings.push(find((Reason::NothingSelected, message)));
            }
            _ if outcome.findings.is_empty() && outcome.carved.is_empty() => {
                let there = selected.iter().filter_map(|name| devices.get(*name)).copied();
                let message = format!(
                    "no parent on {} matches {}: there is {}",
                    count(selected.len(), "selected node"),
                    selector::describe(&self.spec.parents),
                    inventory(there),
                );
                outcome.findings.push(find((Reason::NothingSelected, message)));
            }
            _ => {}
        }
    }
}

impl Rendered {
    fn find(&mut self, claimant: &Claimant<'_>, node: Option<&str>, complaint: Complaint) {
        let (reason, message) = complaint;
        let finding = Finding { reason, node: node.map(str::to_owned), message };
        self.policies.entry(claimant.name.to_owned()).or_default().findings.push(finding);
    }
}

/// Whether two specs ask for the same. The order of parents means nothing.
pub fn same(a: &NodeDevicesSpec, b: &NodeDevicesSpec) -> bool {
    a.parents.len() == b.parents.len() && a.parents.iter().all(|parent| b.parents.contains(parent))
}

fn node(
    name: &str,
    claimants: &[&Claimant<'_>],
    devices: &NodeDevices,
    rendered: &mut Rendered,
) -> NodeDevicesSpec {
    let present: &[ParentStatus] = devices.status.as_ref().map_or(&[], |status| &status.parents);
    let mut claims: Vec<(&str, &Claimant<'_>)> = Vec::new();
    let mut parents: Vec<ParentSpec> = Vec::new();
    for claimant in claimants {
        let spec = claimant.spec;
        for parent in
            selector::parents(claimant.name, &spec.parents, present, &devices.spec.parents)
        {
            let winner = claims.iter().find(|(claimed, _)| *claimed == parent.name());
            let winner = winner.map(|(_, winner)| *winner);
            let verdict = match winner {
                Some(winner) => Err(taken(&parent, claimant, winner)),
                None => admit(&parent, claimant, &parents),
            };
            claims.push((parent.name(), claimant));
            match verdict {
                Ok(Some(entry)) => {
                    let outcome = rendered.policies.entry(claimant.name.to_owned()).or_default();
                    let carved = outcome.carved.entry(name.to_owned()).or_default();
                    carved.push(entry.name.clone());
                    parents.push(entry);
                }
                Ok(None) => {}
                Err(complaint) => rendered.find(claimant, Some(name), complaint),
            }
        }
    }
    // a refused claim leaves the parent as it stands, if a policy that claims it put it there
    for standing in &devices.spec.parents {
        let claimed = claims.iter().any(|(p, c)| *p == standing.name && c.name == standing.policy);
        if claimed && !parents.iter().any(|parent| parent.name == standing.name) {
            parents.push(standing.clone());
        }
    }
    parents.sort_by(|a, b| a.name.cmp(&b.name));
    NodeDevicesSpec { parents }
}

fn taken(parent: &Parent<'_>, loser: &Claimant<'_>, winner: &Claimant<'_>) -> Complaint {
    let why = match winner.spec.priority == loser.spec.priority {
        false => format!("priority {} over {}", winner.spec.priority, loser.spec.priority),
        true => format!("both have priority {}, and it is older", winner.spec.priority),
    };
    let message =
        format!("{}: DevicePolicy {} has this parent ({why})", parent.name(), winner.name);
    (Reason::Conflict, message)
}

/// The parent's entry in the spec; nothing where the policy itself is wrong, which is told once.
fn admit(
    parent: &Parent<'_>,
    claimant: &Claimant<'_>,
    earlier: &[ParentSpec],
) -> Result<Option<ParentSpec>, Complaint> {
    if claimant.partition.is_err() {
        return Ok(None);
    }
    let status = match parent {
        Parent::Absent(entry) => return Ok(Some((*entry).clone())),
        Parent::Simulator(_) => None,
        Parent::Present(status) => Some(*status),
    };
    if let Some(status) = status {
        check(claimant.spec, status)?;
    }
    for pool in &claimant.spec.pools {
        let Some(resource) = resource(pool) else { continue };
        let other_way = |other: &&PoolSpec| {
            other.resource.as_ref() == Some(&resource) && other.attach != pool.attach
        };
        let clash = earlier.iter().find_map(|p| Some((p, p.pools.iter().find(other_way)?)));
        if let Some((other, with)) = clash {
            let message = format!(
                "{}: pool {}: resource {resource} is served as {} by DevicePolicy {}, not as {}: \
                 a resource has one attach kind per node",
                parent.name(),
                pool.name,
                with.attach.as_str(),
                other.policy,
                pool.attach.as_str(),
            );
            return Err((Reason::Conflict, message));
        }
    }
    if earlier.len() >= MOST_PARENTS {
        let message = format!("{}: a node has at most {MOST_PARENTS} parents", parent.name());
        return Err((Reason::Invalid, message));
    }
    Ok(Some(entry(parent.name(), claimant, status)))
}

/// Whether a parent can be what a policy asks for.
fn check(spec: &DevicePolicySpec, parent: &ParentStatus) -> Result<(), Complaint> {
    let name = &parent.name;
    // what somebody else made of a card is used, and the card itself is not touched
    let untouched = spec.ownership == Ownership::External;
    if let Some(why) = parent.off_limits.as_ref().filter(|_| !untouched) {
        return Err((Reason::CarriesNodeTraffic, format!("{name}: must not be touched: {why}")));
    }
    if let Some(most) = parent.max_functions.filter(|most| *most < spec.function_count) {
        let message =
            format!("{name}: functionCount {}: it has at most {most}", spec.function_count);
        return Err((Reason::TooManyFunctions, message));
    }
    let Some(pool) = spec.pools.iter().find(|pool| !parent.attach.contains(&pool.attach)) else {
        return Ok(());
    };
    let can: Vec<&str> = parent.attach.iter().map(|attach| attach.as_str()).collect();
    let can = if can.is_empty() { "none".to_owned() } else { can.join(", ") };
    let why = parent.attach_reason.iter().map(|why| format!(" ({why})")).collect::<String>();
    let message = format!(
        "{name}: pool {}: attach {}: it can do {can}{why}",
        pool.name,
        pool.attach.as_str()
    );
    Err((Reason::AttachUnsupported, message))
}

fn entry(name: &str, claimant: &Claimant<'_>, status: Option<&ParentStatus>) -> ParentSpec {
    let spec = claimant.spec;
    let pool = |pool: &Pool| PoolSpec {
        name: pool.name.clone(),
        resource: resource(pool),
        range: pool.range.clone(),
        attach: pool.attach,
        vdpa: pool.vdpa.clone(),
        common_features: pool.vdpa.as_ref().is_some_and(VdpaSettings::asks_for_common),
        defaults: pool.defaults.clone(),
        limits: pool.limits.clone(),
        allocation: pool.allocation,
        health: pool.health.clone(),
    };
    ParentSpec {
        name: name.to_owned(),
        identity: status.and_then(|status| status.identity.clone()),
        policy: claimant.name.to_owned(),
        ownership: spec.ownership,
        adopt: spec.adopt,
        uplink: spec.uplink.clone(),
        function_count: spec.function_count,
        pools: spec.pools.iter().map(pool).collect(),
    }
}

fn resource(pool: &Pool) -> Option<String> {
    pool.resource.as_ref().map(|resource| format!("{}/{resource}", ringway_api::GROUP))
}

/// What is there, the first few: `0000:01:00.0 (1af4:1041, virtio-pci)`.
fn inventory<'a>(devices: impl IntoIterator<Item = &'a NodeDevices>) -> String {
    let parents = devices.into_iter().flat_map(|d| d.status.iter().flat_map(|s| &s.parents));
    let mut texts: Vec<String> = parents
        .map(|parent| match &parent.identity {
            Some(id) => format!(
                "{} ({}:{}, {})",
                parent.name,
                id.vendor,
                id.device,
                parent.driver.as_deref().unwrap_or("no driver"),
            ),
            None => parent.name.clone(),
        })
        .collect();
    texts.sort();
    texts.dedup();
    match texts.len() {
        0 => "no parent".to_owned(),
        few if few <= 3 => texts.join(", "),
        many => format!("{} and {} more", texts[..3].join(", "), many - 3),
    }
}

#[cfg(test)]
mod tests;
