//! Publishes news as Kubernetes events of the node's NodeDevices object.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use ringway_api::node_devices::NodeDevices;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::cluster::{Cluster, MANAGER};
use crate::news::{Kind, News};

/// News that wait to be published; what comes while so many wait is in the conditions alone.
pub(crate) const WAITING: usize = 64;
/// The API server answers within this time or not at all.
const DEADLINE: Duration = Duration::from_secs(10);
/// It is asked again after this long.
const RETRY: Duration = Duration::from_secs(5);
/// An event is a courtesy: after so many tries there will be newer ones.
const TRIES: usize = 3;

/// Publishes for ever, once the object is known.
pub(crate) async fn publish(
    cluster: &Cluster,
    node: &str,
    mut news: mpsc::Receiver<News>,
    mut object: watch::Receiver<Option<String>>,
) -> Infallible {
    while let Some(news) = news.recv().await {
        for attempt in 1..=TRIES {
            let Ok(uid) = object.wait_for(Option::is_some).await.map(|uid| uid.clone()) else {
                break;
            };
            match publish_one(cluster, node, uid, &news).await {
                Ok(()) => break,
                Err(error) if attempt == TRIES => {
                    warn!(error = format!("{error:#}"), "an event could not be published");
                }
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }
    // whoever told us is gone, and so are we in a moment
    std::future::pending().await
}

async fn publish_one(
    cluster: &Cluster,
    node: &str,
    uid: Option<String>,
    news: &News,
) -> Result<()> {
    let regarding = ObjectReference {
        api_version: Some(NodeDevices::api_version(&()).into_owned()),
        kind: Some(NodeDevices::kind(&()).into_owned()),
        name: Some(node.to_owned()),
        uid,
        ..ObjectReference::default()
    };
    let (type_, action) = match news.kind {
        Kind::Refused => (EventType::Warning, "Refuse"),
        Kind::Failed => (EventType::Warning, "Configure"),
        Kind::Held => (EventType::Warning, "Configure"),
        Kind::Repaired => (EventType::Normal, "Repair"),
    };
    let event = Event {
        type_,
        reason: news.reason.to_owned(),
        note: Some(news.note.clone()),
        action: action.to_owned(),
        secondary: None,
    };
    let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(node.to_owned()) };
    // one for each: a recorder that is kept takes the second of two events with one reason for a
    // repetition of the first, and keeps the first's note
    let recorder = Recorder::new(cluster.client().await?, reporter);
    tokio::time::timeout(DEADLINE, recorder.publish(&event, &regarding))
        .await
        .with_context(|| format!("no answer within {} s", DEADLINE.as_secs()))?
        .with_context(|| format!("publish {}: {}", news.reason, news.note))?;
    Ok(())
}
