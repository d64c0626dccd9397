//! Follows the node's NodeDevices object, and makes it where there is none.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node as KubeNode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use ringway_api::node_devices::{LEAVE, NodeDevices, NodeDevicesSpec};
use tokio::sync::watch;
use tracing::warn;

use crate::cluster::{Cluster, MANAGER};
use crate::wish::Wish;

/// The API server is asked again after this long.
const RETRY: Duration = Duration::from_secs(5);
/// It answers a single question within this time, or not at all.
const DEADLINE: Duration = Duration::from_secs(10);

/// Where the newest goes.
#[derive(Debug)]
pub(crate) struct Followed {
    /// What the node shall be.
    pub(crate) wish: watch::Sender<Option<Wish>>,
    /// The object's uid, while it is known to be there: one that was deleted and made again knows
    /// nothing of what was said of the node.
    pub(crate) object: watch::Sender<Option<String>>,
    /// Whether nothing of ours is on the node any more.
    pub(crate) left: Arc<AtomicBool>,
}

/// Watches the node's object for ever. Whatever goes wrong is said and tried again.
pub(crate) async fn follow(cluster: &Cluster, node: &str, followed: &Followed) -> Infallible {
    loop {
        // whoever told us to leave has removed our object, too: it is not made anew
        while followed.left.load(Ordering::Relaxed) {
            tokio::time::sleep(RETRY).await;
        }
        if let Err(error) = follow_once(cluster, node, followed).await {
            warn!(
                error = format!("{error:#}"),
                "this node's NodeDevices cannot be followed; the last wish holds"
            );
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow_once(cluster: &Cluster, node: &str, followed: &Followed) -> Result<()> {
    let client = cluster.client().await?;
    let api: Api<NodeDevices> = Api::all(client.clone());
    let last = followed.wish.borrow().as_ref().map(|wish| wish.spec.clone()).unwrap_or_default();
    tokio::time::timeout(DEADLINE, ensure_object(&client, &api, node, last))
        .await
        .with_context(|| format!("no answer within {} s", DEADLINE.as_secs()))??;
    let only = watcher::Config::default().fields(&format!("metadata.name={node}"));
    let stream = watcher(api.clone(), only).default_backoff();
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        let object = match event.context("watch this node's NodeDevices")? {
            Event::Apply(object) | Event::InitApply(object) => object,
            Event::Delete(_) => {
                followed.object.send_replace(None);
                // nobody else makes it again
                bail!("this node's NodeDevices was deleted");
            }
            Event::Init | Event::InitDone => continue,
        };
        if object.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let leaving = object.annotations().contains_key(LEAVE);
        let wish = Wish { generation: object.metadata.generation, spec: object.spec, leaving };
        replace(&followed.wish, Some(wish));
        replace(&followed.object, object.metadata.uid);
    }
    Ok(())
}

/// Tells of a new value, and of no other.
pub(crate) fn replace<T: PartialEq>(sender: &watch::Sender<T>, new: T) {
    sender.send_if_modified(|last| {
        let differs = *last != new;
        *last = new;
        differs
    });
}

/// The object belongs to its node, so that it goes with it. A new one asks for what was asked for
/// last: an empty spec would take free devices down until the operator has seen that one is there.
async fn ensure_object(
    client: &Client,
    api: &Api<NodeDevices>,
    name: &str,
    spec: NodeDevicesSpec,
) -> Result<()> {
    if api.get_opt(name).await.context("get this node's NodeDevices")?.is_some() {
        return Ok(());
    }
    let nodes: Api<KubeNode> = Api::all(client.clone());
    let node = nodes.get(name).await.with_context(|| format!("get node {name}"))?;
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: name.to_owned(),
        uid: node.metadata.uid.unwrap_or_default(),
        ..OwnerReference::default()
    };
    let mut object = NodeDevices::new(name, spec);
    object.metadata = ObjectMeta { owner_references: Some(vec![owner]), ..object.metadata };
    let manager = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&manager, &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(error).context("create this node's NodeDevices"),
    }
}
