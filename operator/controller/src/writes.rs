//! The cluster as it is in, what to write out. Pure: the same cluster gives the same writes, and
//! none once all is as it shall be.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use ringway_api::conditions::{DEGRADED, READY, Reason};
use ringway_api::device_network::{DeviceNetwork, DeviceNetworkStatus};
use ringway_api::device_policy::{DevicePolicy, DevicePolicyStatus};
use ringway_api::node_devices::{NodeDevices, NodeDevicesSpec};

use crate::cluster::{Cluster, Definitions};
use crate::conditions::{self, Wanted};
use crate::networks::{self, Verdict};
use crate::render::{render, same};
use crate::status::status;

/// A change of one object.
#[derive(Debug, PartialEq)]
pub enum Write {
    /// A node's spec. The uid keeps the API server from making a new object of it.
    Spec {
        /// The node.
        node: String,
        /// The object's uid.
        uid: Option<String>,
        /// What it shall have.
        spec: NodeDevicesSpec,
    },
    /// A policy's status.
    PolicyStatus {
        /// The policy.
        name: String,
        /// What became of it.
        status: DevicePolicyStatus,
    },
    /// A network's status.
    NetworkStatus {
        /// Where it is.
        namespace: String,
        /// The network.
        name: String,
        /// What became of it.
        status: DeviceNetworkStatus,
    },
    /// A new NetworkAttachmentDefinition.
    CreateDefinition(Box<DynamicObject>),
    /// A NetworkAttachmentDefinition of ours that was edited.
    RepairDefinition(Box<DynamicObject>),
}

/// Compares.
pub fn writes(cluster: &Cluster, now: Timestamp) -> Vec<Write> {
    let mut writes = Vec::new();
    for_policies(cluster, now, &mut writes);
    for network in cluster.networks.iter().filter(|network| !going(network.as_ref())) {
        for_network(network, cluster, now, &mut writes);
    }
    writes
}

fn for_policies(cluster: &Cluster, now: Timestamp, writes: &mut Vec<Write>) {
    let policies: Vec<&DevicePolicy> =
        cluster.policies.iter().map(AsRef::as_ref).filter(|policy| !going(*policy)).collect();
    let devices: BTreeMap<String, &NodeDevices> = cluster
        .devices
        .iter()
        .filter(|(_, devices)| !going(devices.as_ref()))
        .map(|(name, devices)| (name.clone(), devices.as_ref()))
        .collect();
    let rendered = render(policies.iter().copied(), &cluster.nodes, &devices);
    for (node, spec) in &rendered.specs {
        let Some(devices) = devices.get(node).filter(|devices| !same(&devices.spec, spec)) else {
            continue;
        };
        let (node, uid) = (node.clone(), devices.metadata.uid.clone());
        writes.push(Write::Spec { node, uid, spec: spec.clone() });
    }
    for policy in policies {
        let Some(outcome) = rendered.policies.get(&policy.name_any()) else { continue };
        let status = status(policy, outcome, &rendered.specs, &devices, now);
        if policy.status.as_ref() != Some(&status) {
            writes.push(Write::PolicyStatus { name: policy.name_any(), status });
        }
    }
}

fn for_network(
    network: &DeviceNetwork,
    cluster: &Cluster,
    now: Timestamp,
    writes: &mut Vec<Write>,
) {
    let (namespace, name) = (network.namespace().unwrap_or_default(), network.name_any());
    let verdict = match &cluster.definitions {
        Definitions::Unknown => return,
        Definitions::NotServed => Verdict::Refused(
            Reason::KindMissing,
            "the cluster has no NetworkAttachmentDefinition kind: install Multus".to_owned(),
        ),
        Definitions::Known(known) => {
            let existing = known.get(&(namespace.clone(), name.clone()));
            networks::judge(network, existing.map(AsRef::as_ref))
        }
    };
    let ready = |holds, reason, message| Wanted { kind: READY, holds, reason, message };
    let (ready, degraded, write) = match verdict {
        Verdict::Right => {
            let message = served(network, cluster);
            (ready(true, Reason::AsWanted, message), Wanted::not(DEGRADED), None)
        }
        Verdict::Create(object) => {
            let message = "its NetworkAttachmentDefinition is being created".to_owned();
            let ready = ready(false, Reason::StepsPending, message);
            (ready, Wanted::not(DEGRADED), Some(Write::CreateDefinition(object)))
        }
        Verdict::Repair(object) => {
            let message = "its NetworkAttachmentDefinition is being put right".to_owned();
            let ready = ready(false, Reason::StepsPending, message);
            (ready, Wanted::not(DEGRADED), Some(Write::RepairDefinition(object)))
        }
        Verdict::Refused(reason, message) => {
            let degraded = Wanted { kind: DEGRADED, holds: true, reason, message: message.clone() };
            (ready(false, reason, message), degraded, None)
        }
    };
    let old = network.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let generation = network.metadata.generation;
    let status = DeviceNetworkStatus {
        observed_generation: generation,
        conditions: conditions::set(old, generation, now, [ready, degraded]),
    };
    if network.status.as_ref() != Some(&status) {
        writes.push(Write::NetworkStatus { namespace, name, status });
    }
    writes.extend(write);
}

/// Pods that use a network nobody serves stay pending: the network says so, too.
fn served(network: &DeviceNetwork, cluster: &Cluster) -> String {
    let resource = &network.spec.resource;
    let mut pools = cluster.policies.iter().flat_map(|policy| &policy.spec.pools);
    match pools.any(|pool| pool.resource.as_ref() == Some(resource)) {
        true => "its NetworkAttachmentDefinition is as wanted".to_owned(),
        false => format!(
            "its NetworkAttachmentDefinition is as wanted, but no DevicePolicy has a pool with \
             resource {resource}"
        ),
    }
}

fn going(object: &impl kube::Resource) -> bool {
    object.meta().deletion_timestamp.is_some()
}

#[cfg(test)]
mod tests;
