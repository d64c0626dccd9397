//! `check`: whether an installation works, as a table for a person.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use ringway_api::conditions::READY;
use ringway_api::{DevicePolicy, GROUP, NodeDevices};

use crate::conditions;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// What was looked at, and how it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    rows: Vec<Row>,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is: `kind`, `node`, `resource`.
    what: &'static str,
    /// Its name.
    name: String,
    /// Whether it is well.
    well: bool,
    /// How it is, or what is wrong with it and what to do.
    says: String,
}

/// Looks at the cluster until all is well, or `wait` is over.
pub async fn check(wait: Duration) -> Result<Report> {
    let client = Client::try_default().await.context("find the API server")?;
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let report = look(&client).await?;
        if report.is_well() || tokio::time::Instant::now() >= deadline {
            return Ok(report);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look(client: &Client) -> Result<Report> {
    let all = ListParams::default();
    let kinds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut served = BTreeMap::new();
    for definition in ringway_api::definitions() {
        let name = definition.name_any();
        let found = kinds.get_opt(&name).await.with_context(|| format!("get kind {name}"))?;
        served.insert(name, found.is_some_and(|found| established(&found)));
    }
    if served.values().any(|served| !served) {
        // nothing can be listed of a kind that is not there
        return Ok(judge(&served, &[], &[], &[]));
    }
    let devices: Api<NodeDevices> = Api::all(client.clone());
    let policies: Api<DevicePolicy> = Api::all(client.clone());
    let nodes: Api<Node> = Api::all(client.clone());
    Ok(judge(
        &served,
        &devices.list(&all).await.context("list NodeDevices")?.items,
        &policies.list(&all).await.context("list DevicePolicies")?.items,
        &nodes.list(&all).await.context("list nodes")?.items,
    ))
}

fn established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Established" && c.status == "True")
}

/// Judges. Pure.
pub fn judge(
    served: &BTreeMap<String, bool>,
    devices: &[NodeDevices],
    policies: &[DevicePolicy],
    nodes: &[Node],
) -> Report {
    let mut rows: Vec<Row> = served
        .iter()
        .map(|(name, served)| Row {
            what: "kind",
            name: name.clone(),
            well: *served,
            says: match served {
                true => "established".to_owned(),
                false => "not established: ringway-operator crds | kubectl apply -f -".to_owned(),
            },
        })
        .collect();
    if served.values().any(|served| !served) {
        return Report { rows };
    }
    if devices.is_empty() {
        let says = "no agent has reported: does the agent's DaemonSet have pods?".to_owned();
        rows.push(Row { what: "node", name: "-".to_owned(), well: false, says });
    }
    rows.extend(devices.iter().map(node));
    let mut resources: Vec<&str> =
        policies.iter().flat_map(|p| &p.spec.pools).filter_map(|p| p.resource.as_deref()).collect();
    resources.sort_unstable();
    resources.dedup();
    rows.extend(resources.into_iter().map(|resource| allocatable(resource, nodes)));
    Report { rows }
}

fn node(devices: &NodeDevices) -> Row {
    let conditions = devices.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let (well, says) = match conditions::find(conditions, READY) {
        None => (false, "its agent has not answered yet: see the agent's log".to_owned()),
        Some(ready) if ready.status == "True" => (true, "Ready".to_owned()),
        Some(ready) => (false, format!("not Ready: {}: {}", ready.reason, ready.message)),
    };
    Row { what: "node", name: devices.name_any(), well, says }
}

fn allocatable(resource: &str, nodes: &[Node]) -> Row {
    let name = format!("{GROUP}/{resource}");
    let quantity = |node: &Node| -> Option<u64> {
        node.status.as_ref()?.allocatable.as_ref()?.get(&name)?.0.parse().ok()
    };
    let counts: Vec<u64> = nodes.iter().filter_map(quantity).filter(|count| *count > 0).collect();
    let (total, on) = (counts.iter().sum::<u64>(), counts.len());
    let says = match total {
        0 => "none allocatable: is its policy Ready, and does the device plugin run there?"
            .to_owned(),
        _ => format!("{total} allocatable on {on} node{}", if on == 1 { "" } else { "s" }),
    };
    Row { what: "resource", name, well: total > 0, says }
}

impl Report {
    /// Whether all of it is well.
    pub fn is_well(&self) -> bool {
        self.rows.iter().all(|row| row.well)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
        for row in &self.rows {
            let mark = if row.well { "ok" } else { "FAIL" };
            writeln!(f, "{mark:<4}  {:<8}  {:<width$}  {}", row.what, row.name, row.says)?;
        }
        let wrong = self.rows.iter().filter(|row| !row.well).count();
        match wrong {
            0 => writeln!(f, "all is well"),
            1 => writeln!(f, "1 thing is wrong"),
            many => writeln!(f, "{many} things are wrong"),
        }
    }
}

#[cfg(test)]
mod tests;
