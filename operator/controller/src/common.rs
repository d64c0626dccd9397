//! Features that all functions with a resource have in common, written into each node's spec. Pure.
//!
//! In two phases: a pool that asks for them has `common` in its node's spec until functions everywhere
//! have told what they can be given; then the names. From then on the specs themselves are what is
//! known of a resource: what was given to any of its pools holds for all of them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ringway_api::conditions::{AWAITING_DISRUPTION, DEGRADED, Reason};
use ringway_api::device_policy::{COMMON, DevicePolicy, WITHOUT_FEATURES};
use ringway_api::node_devices::{NodeDevices, NodeDevicesStatus, ParentSpec, PoolSpec};

use self::agreement::{Agreement, Names, Voice, agree};
use crate::conditions;
use crate::finding::{Finding, names};
use crate::partition::parse_range;
use crate::render::Rendered;

mod agreement;
mod consent;

/// A pool of one parent of one node that asks for features in common.
struct Asking {
    node: String,
    parent: String,
    pool: String,
    policy: String,
    voice: Voice,
}

/// Writes what is known into the specs, and says what is not, or what a node lacks.
pub fn resolve(
    policies: &[&DevicePolicy],
    devices: &BTreeMap<String, &NodeDevices>,
    rendered: &mut Rendered,
) {
    let by_resource = asking(devices, rendered);
    let given_up = consent::given_up(policies, rendered);
    for (resource, asking) in by_resource {
        let voices: Vec<&Voice> = asking.iter().map(|asking| &asking.voice).collect();
        let given_up = given_up.get(&resource).cloned().unwrap_or_default();
        match agree(&voices, &given_up) {
            Agreement::On(set) => {
                let names = text(&set);
                for asking in &asking {
                    let features = if asking.voice.gets(&set) { &names } else { COMMON };
                    asking.write(features, rendered);
                    rendered.tell(asking, asking.complaint(&set, &resource));
                }
            }
            Agreement::Awaited => awaited(&asking, &resource, rendered),
            Agreement::Nothing => {
                let message = format!(
                    "{resource}: vdpa.features common: there is none that all its functions can be \
                     given and that nobody gave up: let other nodes or cards serve it, name \
                     features, or change annotation {WITHOUT_FEATURES}"
                );
                for asking in &asking {
                    let given = asking.voice.given.as_ref().map(text);
                    asking.write(given.as_deref().unwrap_or(COMMON), rendered);
                    let finding = (Reason::SettingsUnsupported, None, message.clone());
                    rendered.tell(asking, Some(finding));
                }
            }
        }
    }
}

/// Nothing was given yet, and somebody who will tell has not.
fn awaited(asking: &[Asking], resource: &str, rendered: &mut Rendered) {
    let silent = asking.iter().filter(|asking| asking.voice.is_awaited());
    let mut silent: Vec<&str> = silent.map(|asking| asking.node.as_str()).collect();
    silent.dedup();
    let whom = names(&silent).unwrap_or_else(|| "any node".to_owned());
    let message = format!(
        "{resource}: vdpa.features common: waits for {whom} to tell what its functions can be given"
    );
    for asking in asking {
        asking.write(COMMON, rendered);
        rendered.tell(asking, Some((Reason::AwaitingFeatures, None, message.clone())));
    }
}

/// What is wrong: for machines, where, and for people.
type Complaint = (Reason, Option<String>, String);

impl Rendered {
    /// Once for a policy, however many pools it is about.
    fn tell(&mut self, asking: &Asking, complaint: Option<Complaint>) {
        let Some((reason, node, message)) = complaint else { return };
        let finding = Finding { reason, node, message };
        let findings = &mut self.policies.entry(asking.policy.clone()).or_default().findings;
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
}

impl Asking {
    fn write(&self, features: &str, rendered: &mut Rendered) {
        let parents = rendered.specs.get_mut(&self.node).map(|spec| &mut spec.parents);
        let parent = parents.into_iter().flatten().find(|parent| parent.name == self.parent);
        let pools = parent.into_iter().flat_map(|parent| &mut parent.pools);
        for pool in pools.filter(|pool| pool.name == self.pool) {
            pool.vdpa.get_or_insert_default().features = Some(features.to_owned());
        }
    }

    /// Why its devices are not made, although it is known what all others have.
    fn complaint(&self, set: &Names, resource: &str) -> Option<Complaint> {
        let (node, what) =
            (Some(self.node.clone()), format!("{}: pool {}", self.parent, self.pool));
        let missing = self.voice.missing(set);
        if !missing.is_empty() {
            let missing = missing.into_iter().collect::<Vec<_>>().join(",");
            let short = resource.split_once('/').map_or(resource, |(_, short)| short);
            // said once: it may be long, and a condition's message is cut
            let message = format!(
                "{what}: no vDPA device is made: its functions lack features that all others with \
                 {resource} have; the policy's annotation {WITHOUT_FEATURES} would give these up for \
                 all: {short}={missing}"
            );
            return Some((Reason::FeaturesMissing, node, message));
        }
        (!self.voice.gets(set)).then(|| {
            let message = format!("{what}: it has not told yet what its functions can be given");
            (Reason::AwaitingFeatures, node, message)
        })
    }
}

/// All pools that ask, by resource, in order of node and parent.
fn asking(
    devices: &BTreeMap<String, &NodeDevices>,
    rendered: &Rendered,
) -> BTreeMap<String, Vec<Asking>> {
    let mut all = BTreeMap::<String, Vec<Asking>>::new();
    for (node, spec) in &rendered.specs {
        let Some(devices) = devices.get(node) else { continue };
        for parent in &spec.parents {
            for pool in parent.pools.iter().filter(|pool| pool.common_features) {
                let Some(resource) = &pool.resource else { continue };
                all.entry(resource.clone()).or_default().push(Asking {
                    node: node.clone(),
                    parent: parent.name.clone(),
                    pool: pool.name.clone(),
                    policy: parent.policy.clone(),
                    voice: voice(parent, pool, devices),
                });
            }
        }
    }
    all
}

/// What a node says of a pool's functions, and what it was given.
fn voice(parent: &ParentSpec, pool: &PoolSpec, devices: &NodeDevices) -> Voice {
    let stands = devices.spec.parents.iter().find(|stands| stands.name == parent.name);
    let pools =
        || stands.into_iter().flat_map(|stands| &stands.pools).filter(|p| p.common_features);
    let given = pools()
        .filter(|stands| stands.resource == pool.resource && !stands.awaits_features())
        .filter_map(|stands| stands.vdpa.as_ref()?.features.as_deref())
        .map(parse)
        .reduce(|a, b| &a & &b);
    // what is told must be about these functions, made as they are asked for now
    let about = |stands: &PoolSpec| stands.name == pool.name && stands.range == pool.range;
    let same = stands.is_some_and(|stands| stands.function_count == parent.function_count);
    let answered = |status: &&NodeDevicesStatus| {
        same && pools().any(about) && status.observed_generation >= devices.metadata.generation
    };
    let answer = devices.status.as_ref().filter(answered);
    Voice {
        able: answer.and_then(|status| able(&parent.name, &pool.range, status)),
        given,
        will_tell: answer.is_none_or(|status| !is_kept(&parent.name, status)),
    }
}

/// Whether something that does not mend itself, or somebody's device, keeps a node from making a
/// parent's functions.
fn is_kept(parent: &str, status: &NodeDevicesStatus) -> bool {
    let holds = |kind| conditions::holds(&status.conditions, kind);
    let whole = holds(DEGRADED) && status.degraded.is_empty();
    whole || holds(AWAITING_DISRUPTION) || status.degraded.iter().any(|told| told.parent == parent)
}

/// What all functions of a range can be given, once each of them has told.
fn able(parent: &str, range: &str, status: &NodeDevicesStatus) -> Option<Names> {
    let of_parent = |range: RangeInclusive<u16>| {
        range.map(|index| {
            let mut sets = status.feature_sets.iter();
            let told = sets.find(|set| {
                let mut functions = set.functions.iter().filter(|told| told.parent == parent);
                functions.any(|told| parse_range(&told.range).is_some_and(|r| r.contains(&index)))
            });
            told.map(|set| set.features.as_str())
        })
    };
    let mut told: Vec<&str> = of_parent(parse_range(range)?).collect::<Option<_>>()?;
    told.dedup();
    told.into_iter().map(parse).reduce(|a, b| &a & &b)
}

fn text(names: &Names) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

fn parse(features: &str) -> Names {
    features.split(',').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
