//! Says how the node is, in the status of its NodeDevices object. Apart from the rounds: an API
//! server that does not answer holds none of them up.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use kube::Api;
use kube::api::{Patch, PatchParams};
use ringway_api::node_devices::{NodeDevices, NodeDevicesStatus};
use serde_json::json;
use tokio::sync::watch;
use tracing::warn;

use crate::cluster::{Cluster, MANAGER};

/// Two writes are at least so far apart. What changes meanwhile is said once.
const INTERVAL: Duration = Duration::from_secs(5);
/// The API server answers within this time or not at all.
const DEADLINE: Duration = Duration::from_secs(10);

/// Writes each new status, and the last one into an object that is new, for ever. That it did so
/// `once` is told.
pub(crate) async fn say(
    cluster: &Cluster,
    node: &str,
    mut status: watch::Receiver<Option<NodeDevicesStatus>>,
    mut object: watch::Receiver<Option<String>>,
    once: &AtomicBool,
) -> Infallible {
    let mut said = None;
    loop {
        let object_now = object.borrow_and_update().clone();
        let now = object_now.zip(status.borrow_and_update().clone());
        match &now {
            Some((_, status)) if now != said => {
                match write(cluster, node, status).await {
                    Ok(()) => {
                        said = now;
                        once.store(true, Ordering::Relaxed);
                    }
                    Err(error) => {
                        warn!(error = format!("{error:#}"), "the status could not be written");
                    }
                }
                tokio::time::sleep(INTERVAL).await;
            }
            _ => tokio::select! {
                Ok(()) = status.changed() => {}
                Ok(()) = object.changed() => {}
                // whoever told us is gone, and so are we in a moment
                else => std::future::pending().await,
            },
        }
    }
}

async fn write(cluster: &Cluster, node: &str, status: &NodeDevicesStatus) -> Result<()> {
    let api: Api<NodeDevices> = Api::all(cluster.client().await?);
    let object = json!({
        "apiVersion": "ringway.dev/v1alpha1",
        "kind": "NodeDevices",
        "metadata": {"name": node},
        "status": status,
    });
    let (params, patch) = (PatchParams::apply(MANAGER).force(), Patch::Apply(object));
    let written = api.patch_status(node, &params, &patch);
    tokio::time::timeout(DEADLINE, written)
        .await
        .with_context(|| format!("no answer within {} s", DEADLINE.as_secs()))?
        .context("write the status of this node's NodeDevices")?;
    Ok(())
}
