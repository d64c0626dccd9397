//! `run`: follows this node's NodeDevices object, and answers in its status.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node as KubeNode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use ringway_api::node_devices::{NodeDevices, NodeDevicesSpec, NodeDevicesStatus};
use ringway_node::pools::Pools;
use ringway_node::{DeviceId, atomic, lock::Locks};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::args::Run;
use crate::before::Before;
use crate::drain::{Draining, GRACE, Look};
use crate::files::Files;
use crate::holders;
use crate::host::Host;
use crate::kubelet;
use crate::local;
use crate::node::Observed;
use crate::offer;
use crate::plan::Planned;
use crate::reconcile::{Report, reconcile};
use crate::status;
use crate::wanted::Wanted;

/// The agent's name as a writer of objects.
const MANAGER: &str = "ringway-agent";
/// Two writes of the status are at least so far apart.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// The API server is asked again after this long.
const RETRY: Duration = Duration::from_secs(5);
/// A spec that was accepted once is far smaller.
const MAX_WISH: u64 = 4 << 20;

/// What the node shall be, and which generation of its object says so.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Wish {
    generation: Option<i64>,
    spec: NodeDevicesSpec,
}

/// Runs until told to stop. A step that is being done is finished first.
pub fn run(host: Host, files: Files, args: &Run) -> Result<()> {
    let _alone = local::alone(&files)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (send, wishes) = watch::channel(remembered(&files));
        let mut stop = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let agent = Agent {
            host,
            files,
            kubelet: args.kubelet_dir.clone(),
            draining: Draining::default(),
            last: Vec::new(),
            said: None,
            client: None,
        };
        let node = args.node_name.clone();
        tokio::select! {
            result = agent.serve(wishes, args.resync) => result,
            never = follow(&node, &send) => match never {},
            _ = stop.recv() => { info!("told to stop"); Ok(()) }
            _ = interrupt.recv() => { info!("interrupted"); Ok(()) }
        }
    })
}

/// The last accepted wish: what holds until the API server answers.
fn remembered(files: &Files) -> Option<Wish> {
    let bytes = match atomic::read(&files.shared.node, MAX_WISH) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return None,
        Err(error) => {
            warn!(error = %error, "the last wish cannot be read");
            return None;
        }
    };
    serde_json::from_slice(&bytes)
        .inspect_err(|error| warn!(%error, "the last wish cannot be understood"))
        .ok()
}

/// Watches the node's object for ever. Whatever goes wrong is said and tried again.
async fn follow(node: &str, wishes: &watch::Sender<Option<Wish>>) -> std::convert::Infallible {
    loop {
        if let Err(error) = follow_once(node, wishes).await {
            warn!(
                error = format!("{error:#}"),
                "the API server is not to be had; the last wish holds"
            );
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow_once(node: &str, wishes: &watch::Sender<Option<Wish>>) -> Result<()> {
    let client = client().await?;
    let api: Api<NodeDevices> = Api::all(client.clone());
    ensure_object(&client, &api, node).await?;
    let only = watcher::Config::default().fields(&format!("metadata.name={node}"));
    let stream = watcher(api.clone(), only).default_backoff().touched_objects();
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        let object = event.context("watch this node's NodeDevices")?;
        if object.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let wish = Wish { generation: object.metadata.generation, spec: object.spec };
        wishes.send_if_modified(|last| {
            let new = last.as_ref() != Some(&wish);
            if new {
                *last = Some(wish);
            }
            new
        });
    }
    Ok(())
}

async fn client() -> Result<Client> {
    Client::try_default().await.context("find the API server")
}

/// The object belongs to its node, so that it goes with it.
async fn ensure_object(client: &Client, api: &Api<NodeDevices>, name: &str) -> Result<()> {
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
    let mut object = NodeDevices::new(name, NodeDevicesSpec::default());
    object.metadata = ObjectMeta { owner_references: Some(vec![owner]), ..object.metadata };
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(error).context("create this node's NodeDevices"),
    }
}

struct Agent {
    host: Host,
    files: Files,
    kubelet: std::path::PathBuf,
    draining: Draining,
    last: Vec<Condition>,
    said: Option<(NodeDevicesStatus, Instant)>,
    client: Option<Client>,
}

impl Agent {
    /// Reconciles at each new wish, at each resync, and soon again while devices drain.
    async fn serve(
        mut self,
        mut wishes: watch::Receiver<Option<Wish>>,
        resync: Duration,
    ) -> Result<()> {
        loop {
            let wish = wishes.borrow_and_update().clone();
            // without a wish there is nothing to do, but the inventory is worth saying
            let known = wish.is_some();
            let again = match self.round(wish.unwrap_or_default(), known).await {
                Ok(true) => GRACE,
                Ok(false) => resync,
                Err(error) => {
                    error!(error = format!("{error:#}"), "this round failed");
                    RETRY
                }
            };
            tokio::select! {
                changed = wishes.changed() => changed.context("follow the wish")?,
                () = tokio::time::sleep(again) => {}
            }
        }
    }

    /// One round; says whether another one is due soon.
    async fn round(&mut self, wish: Wish, known: bool) -> Result<bool> {
        let view = kubelet::view(&self.kubelet).await.map_err(|error| format!("{error:#}"));
        let (wanted, report) = self.work(wish.clone(), known, view).await?;
        for (refusal, _) in report.plan.refusals.iter().zip(0..8) {
            warn!(parent = refusal.parent, reason = refusal.reason.as_str(), "{}", refusal.message);
        }
        let unsaid = self.say(&wish, &wanted, &report).await;
        Ok(!self.draining.devices().is_empty() || !report.failures.is_empty() || unsaid)
    }

    /// The part that blocks, in a thread of its own.
    async fn work(
        &mut self,
        wish: Wish,
        known: bool,
        view: Result<kubelet::View, String>,
    ) -> Result<(Wanted, Report)> {
        let (mut host, files) = (self.host.clone(), self.files.clone());
        let mut draining = std::mem::take(&mut self.draining);
        let (result, draining) = tokio::task::spawn_blocking(move || {
            let result = work(&mut host, &files, &wish, known, &view, &mut draining);
            (result, draining)
        })
        .await
        .context("the worker broke")?;
        self.draining = draining;
        result
    }

    /// Writes the status if it has changed; `true` if that has to wait or failed.
    async fn say(&mut self, wish: &Wish, wanted: &Wanted, report: &Report) -> bool {
        let now = Time(k8s_openapi::jiff::Timestamp::now());
        let status = status::status(wish.generation, wanted, report, &self.last, &now);
        if let Some((said, when)) = &self.said {
            if *said == status {
                return false;
            }
            if when.elapsed() < STATUS_INTERVAL {
                return true;
            }
        }
        match self.write(&status).await {
            Ok(()) => {
                self.last.clone_from(&status.conditions);
                self.said = Some((status, Instant::now()));
                false
            }
            Err(error) => {
                warn!(error = format!("{error:#}"), "the status could not be written");
                true
            }
        }
    }

    async fn write(&mut self, status: &NodeDevicesStatus) -> Result<()> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.client.insert(client().await?).clone(),
        };
        let api: Api<NodeDevices> = Api::all(client);
        let object = json!({
            "apiVersion": "ringway.dev/v1alpha1",
            "kind": "NodeDevices",
            "metadata": {"name": self.files.node},
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        api.patch_status(&self.files.node, &params, &Patch::Apply(object))
            .await
            .context("write the status of this node's NodeDevices")?;
        Ok(())
    }
}

fn work(
    host: &mut Host,
    files: &Files,
    wish: &Wish,
    known: bool,
    view: &Result<kubelet::View, String>,
    draining: &mut Draining,
) -> Result<(Wanted, Report)> {
    if known {
        let bytes = serde_json::to_vec_pretty(wish)?;
        if atomic::read(&files.shared.node, MAX_WISH).ok().as_ref() != Some(&bytes) {
            atomic::write(&files.shared.node, &bytes, 0o600).context("remember the wish")?;
        }
    }
    let wanted = Wanted::of(&wish.spec);
    let mut before = Before::read(&files.shared.before)?;
    let offered = offered(files);
    let (root, locks) = (host.root.clone(), Locks::at(&files.shared.locks));
    let save = |before: &Before| before.write(&files.shared.before);
    let gate = |planned: &Planned, observed: &Observed| {
        if !known {
            return crate::reconcile::Gate::Wait("no wish is known yet".to_owned());
        }
        let holders = holders::in_the_way(&root, planned, observed);
        let (offered, holders, locks) = (&offered, &holders, &locks);
        let kubelet = view.as_ref().map_err(String::as_str);
        draining.gate(planned, &Look { offered, kubelet, holders, locks, now: Instant::now() })
    };
    let report = reconcile(&files.node, host, &wanted, &mut before, save, gate)?;
    draining.keep(report.plan.steps.iter());
    let pools = offer::pools(&files.node, &wanted, &report, &draining.devices());
    if let Some(pools) = pools.filter(|_| known) {
        files.write_pools(pools)?;
    }
    Ok((wanted, report))
}

/// The devices that somebody can have been given.
fn offered(files: &Files) -> BTreeSet<DeviceId> {
    let pools = Pools::read(&files.shared.pools).map(|pools| pools.pools).unwrap_or_default();
    pools.into_iter().flat_map(|pool| pool.devices).map(|device| device.id).collect()
}
