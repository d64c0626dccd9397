//! `remove`: what comes before `helm uninstall`. Policies go, every node is put back to what it was,
//! and then left; docs/adr/0004 says why so. Refused while a pod has a device.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt as _};
use ringway_api::conditions::{DEGRADED, REMOVED};
use ringway_api::node_devices::LEAVE;
use ringway_api::{DevicePolicy, GROUP, NodeDevices};
use serde_json::json;
use tracing::info;

use crate::apply::FIELD_MANAGER;
use crate::conditions;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(2);
/// More are not told one by one.
const TOLD: usize = 10;

/// Removes.
///
/// # Errors
/// A pod has a device, and nothing was changed; a node is not at rest, or not left, within `wait`.
pub async fn remove(client: &Client, wait: Duration) -> Result<()> {
    let pods: Api<Pod> = Api::all(client.clone());
    let users = users(&pods.list(&ListParams::default()).await.context("list pods")?.items);
    if !users.is_empty() {
        bail!("pods have devices, nothing was changed: delete them first:\n{}", list(&users));
    }
    let policies: Api<DevicePolicy> = Api::all(client.clone());
    let nodes: Api<NodeDevices> = Api::all(client.clone());
    for policy in all(&policies).await? {
        delete(&policies, &policy.name_any()).await?;
    }
    let deadline = tokio::time::Instant::now() + wait;
    until(&nodes, deadline, "nodes are not as they were before", restless).await?;
    for node in all(&nodes).await? {
        tell_to_leave(&nodes, &node.name_any()).await?;
    }
    until(&nodes, deadline, "nodes are not left", not_left).await?;
    for node in all(&nodes).await? {
        delete(&nodes, &node.name_any()).await?;
    }
    Ok(())
}

/// Pods that have a device, or are about to get one. Pure.
pub fn users(pods: &[Pod]) -> Vec<String> {
    let mut users: Vec<_> = pods
        .iter()
        .filter(|pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            !matches!(phase, Some("Succeeded" | "Failed"))
        })
        .filter_map(|pod| {
            let spec = pod.spec.as_ref()?;
            let node = spec.node_name.as_ref()?;
            let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
            let resource = containers.flat_map(resources).next()?;
            let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
            Some(format!("pod {namespace}/{name} on node {node} has {resource}"))
        })
        .collect();
    users.sort();
    users
}

/// Kubernetes sets requests of extended resources to their limits.
fn resources(container: &Container) -> impl Iterator<Item = &str> {
    let limits = container.resources.iter().flat_map(|resources| resources.limits.iter().flatten());
    let ours = |name: &&str| name.split_once('/').is_some_and(|(group, _)| group == GROUP);
    limits.map(|(name, _)| name.as_str()).filter(ours)
}

/// Why a node is not as it was before; nothing once it is.
pub fn restless(node: &NodeDevices) -> Option<String> {
    let name = node.name_any();
    if let Some(parent) = node.spec.parents.first() {
        return Some(format!("node {name}: the operator has not taken {} back yet", parent.name));
    }
    let answered = |generation: Option<i64>| generation >= node.metadata.generation;
    let Some(status) = node.status.as_ref().filter(|s| answered(s.observed_generation)) else {
        return Some(format!("node {name}: its agent has not answered: does its pod run?"));
    };
    if let Some(step) = status.plan.first() {
        let waits = step.waits.as_ref().map(|waits| format!(": {waits}")).unwrap_or_default();
        return Some(format!("node {name}: {}: {}{waits}", step.parent, step.step));
    }
    let degraded = conditions::find(&status.conditions, DEGRADED);
    let degraded = degraded.filter(|condition| condition.status == "True");
    degraded.map(|condition| format!("node {name}: {}", condition.message))
}

/// Why a node is not left; nothing once it is.
pub fn not_left(node: &NodeDevices) -> Option<String> {
    let name = node.name_any();
    let conditions = node.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let degraded = conditions::find(conditions, DEGRADED).filter(|c| c.status == "True");
    match conditions::find(conditions, REMOVED) {
        Some(removed) if removed.status == "True" => None,
        Some(removed) => Some(format!("node {name}: {}", removed.message)),
        None => Some(match degraded {
            Some(degraded) => format!("node {name}: {}", degraded.message),
            None => format!("node {name}: its agent has not answered: does its pod run?"),
        }),
    }
}

/// Until none of the nodes has anything to say.
async fn until(
    nodes: &Api<NodeDevices>,
    deadline: tokio::time::Instant,
    so: &str,
    says: fn(&NodeDevices) -> Option<String>,
) -> Result<()> {
    let mut said = Vec::new();
    loop {
        let left: Vec<String> = all(nodes).await?.iter().filter_map(says).collect();
        if left.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            bail!("{so}:\n{}", list(&left));
        }
        if left != said {
            info!(nodes = left.len(), "waiting: {}", left[0]);
            said = left;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn list(lines: &[String]) -> String {
    let mut text: Vec<_> = lines.iter().take(TOLD).map(|line| format!("  - {line}")).collect();
    if let more @ 1.. = lines.len().saturating_sub(TOLD) {
        text.push(format!("  and {more} more"));
    }
    text.join("\n")
}

/// All objects of a kind; none where the kind is not served.
async fn all<K>(api: &Api<K>) -> Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(list.items),
        Err(error) if not_found(&error) => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("list {}", K::plural(&()))),
    }
}

async fn delete<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    gone_or(api.delete(name, &DeleteParams::default()), || {
        format!("delete {} {name}", K::kind(&()))
    })
    .await
}

async fn tell_to_leave(nodes: &Api<NodeDevices>, name: &str) -> Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {LEAVE: "true"}}}));
    let manager = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    gone_or(nodes.patch(name, &manager, &patch), || format!("tell node {name} to be left")).await
}

/// That the object is gone meanwhile is fine.
async fn gone_or<T>(
    call: impl Future<Output = kube::Result<T>>,
    operation: impl FnOnce() -> String,
) -> Result<()> {
    match call.await {
        Ok(_) => Ok(()),
        Err(error) if not_found(&error) => Ok(()),
        Err(error) => Err(error).with_context(operation),
    }
}

fn not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, phase: &str, node: Option<&str>, limit: &str) -> Pod {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": name},
            "spec": {"nodeName": node, "containers": [
                {"name": "plain"}, {"name": "c", "resources": {"limits": {limit: "1"}}},
            ]},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn who_has_a_device_is_told() {
        let ours = "ringway.dev/rings";
        let pods = [
            pod("runs", "Running", Some("n"), ours),
            pod("begins", "Pending", Some("n"), ours),
            pod("unplaced", "Pending", None, ours),
            pod("ended", "Succeeded", Some("n"), ours),
            pod("failed", "Failed", Some("n"), ours),
            pod("other", "Running", Some("n"), "ringway.devious/rings"),
        ];
        let told =
            ["begins", "runs"].map(|name| format!("pod a/{name} on node n has ringway.dev/rings"));
        assert_eq!(users(&pods), told);
    }

    #[test]
    fn a_long_list_is_cut() {
        let lines: Vec<_> = (0..12).map(|n| n.to_string()).collect();
        assert!(list(&lines).ends_with("  - 9\n  and 2 more"));
        assert_eq!(list(&lines[..1]), "  - 0");
    }
}
