//! `run`: follows this node's NodeDevices object, and answers in its status.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node as KubeNode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use ringway_api::node_devices::{LEAVE, NodeDevices, NodeDevicesSpec, NodeDevicesStatus};
use ringway_node::lock::Locks;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::args::Run;
use crate::before::Before;
use crate::drain::{self, Draining, GRACE, Look};
use crate::files::Files;
use crate::holders;
use crate::host::Host;
use crate::kubelet;
use crate::leave::{self, Rest};
use crate::local;
use crate::node::Observed;
use crate::offer;
use crate::plan::Planned;
use crate::reconcile::{Gate, Report, chain, reconcile};
use crate::status;
use crate::wanted::Wanted;
use crate::wish::{self, Wish};

/// The agent's name as a writer of objects.
const MANAGER: &str = "ringway-agent";
/// Two writes of the status are at least so far apart.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// The API server answers within this time or not at all: nothing else is done meanwhile.
const STATUS_DEADLINE: Duration = Duration::from_secs(10);
/// The API server is asked again after this long.
const RETRY: Duration = Duration::from_secs(5);

/// Runs until told to stop. A step that is being done is finished first, and no other is begun.
pub fn run(host: Host, files: Files, args: &Run) -> Result<()> {
    let _alone = local::alone(&files)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (send, wishes) = watch::channel(remembered(&files));
        let mut stop = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stopping = Arc::new(AtomicBool::new(false));
        let left = Arc::new(AtomicBool::new(false));
        let agent = Agent {
            left: left.clone(),
            host_files: args.host_files.clone(),
            stopping: stopping.clone(),
            host,
            files,
            kubelet: args.kubelet_dir.clone(),
            draining: Draining::default(),
            last: Vec::new(),
            said: None,
            refused: BTreeSet::new(),
            failed_rounds: 0,
            client: None,
        };
        let node = args.node_name.clone();
        let result = tokio::select! {
            result = agent.serve(wishes, args.resync) => result,
            never = follow(&node, &send, &left) => match never {},
            _ = stop.recv() => { info!("told to stop"); Ok(()) }
            _ = interrupt.recv() => { info!("interrupted"); Ok(()) }
        };
        // the worker's thread outlives this: the runtime waits for it
        stopping.store(true, Ordering::Relaxed);
        result
    })
}

/// The last accepted wish: what holds until the API server answers.
fn remembered(files: &Files) -> Option<Wish> {
    let wish = wish::read(files);
    wish.inspect_err(|error| warn!(error = format!("{error:#}"), "it is not known")).ok().flatten()
}

/// Watches the node's object for ever. Whatever goes wrong is said and tried again.
async fn follow(
    node: &str,
    wishes: &watch::Sender<Option<Wish>>,
    left: &AtomicBool,
) -> std::convert::Infallible {
    loop {
        // whoever told us to leave has removed our object, too: it is not made anew
        while left.load(Ordering::Relaxed) {
            tokio::time::sleep(RETRY).await;
        }
        if let Err(error) = follow_once(node, wishes).await {
            warn!(
                error = format!("{error:#}"),
                "this node's NodeDevices cannot be followed; the last wish holds"
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
    let stream = watcher(api.clone(), only).default_backoff();
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        let object = match event.context("watch this node's NodeDevices")? {
            Event::Apply(object) | Event::InitApply(object) => object,
            // nobody else makes it again
            Event::Delete(_) => bail!("this node's NodeDevices was deleted"),
            Event::Init | Event::InitDone => continue,
        };
        if object.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let leaving = object.annotations().contains_key(LEAVE);
        let wish = Wish { generation: object.metadata.generation, spec: object.spec, leaving };
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
    kubelet: PathBuf,
    draining: Draining,
    last: Vec<Condition>,
    said: Option<(NodeDevicesStatus, Instant)>,
    /// Refusals that were logged.
    refused: BTreeSet<String>,
    /// How many rounds in a row had a step that failed.
    failed_rounds: u32,
    stopping: Arc<AtomicBool>,
    /// Whether nothing of ours is on the node any more.
    left: Arc<AtomicBool>,
    /// What the chart has put on the host.
    host_files: Vec<PathBuf>,
    client: Option<Client>,
}

/// How the node is after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct After {
    draining: bool,
    unsaid: bool,
    failed_rounds: u32,
}

impl After {
    /// How long until the next round. Steps that fail again and again are tried less and less.
    fn pause(self, resync: Duration) -> Duration {
        let failed = match self.failed_rounds {
            0 => resync,
            rounds => RETRY.saturating_mul(1 << (rounds - 1).min(10)),
        };
        let draining = if self.draining { GRACE } else { resync };
        let unsaid = if self.unsaid { RETRY } else { resync };
        failed.min(draining).min(unsaid).min(resync)
    }
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
            let wish = wish.unwrap_or_default();
            let stays_left = wish.leaving && self.left.load(Ordering::Relaxed);
            self.left.store(stays_left, Ordering::Relaxed);
            if stays_left {
                wishes.changed().await.context("follow the wish")?;
                continue;
            }
            let again = match self.round(&wish, known).await {
                Ok(after) => after.pause(resync),
                Err(error) => {
                    let error = format!("{error:#}");
                    error!(error, "this round failed");
                    let now = Time(k8s_openapi::jiff::Timestamp::now());
                    let said = self.said.as_ref().map(|(said, _)| said);
                    let status = status::broken(wish.generation, said, &error, &self.last, &now);
                    self.say(status).await;
                    RETRY
                }
            };
            tokio::select! {
                changed = wishes.changed() => changed.context("follow the wish")?,
                () = tokio::time::sleep(again) => {}
            }
        }
    }

    async fn round(&mut self, wish: &Wish, known: bool) -> Result<After> {
        let asked = Instant::now();
        let view = kubelet::view(&self.kubelet).await.map_err(|error| format!("{error:#}"));
        let Done { wanted, report, leaving } = self.work(wish.clone(), known, asked, view).await?;
        self.log_refusals(&report);
        self.failed_rounds = match report.failures.is_empty() {
            true => 0,
            false => self.failed_rounds.saturating_add(1),
        };
        let now = Time(k8s_openapi::jiff::Timestamp::now());
        let mut status = status::status(wish.generation, &wanted, &report, &self.last, &now);
        let gone = matches!(leaving, Some(None));
        if let Some(waits) = leaving {
            let said = leave::condition(wish.generation, waits.as_deref(), &self.last, &now);
            status.conditions.push(said);
        }
        let unsaid = self.say(status).await;
        if gone && !unsaid {
            info!("nothing of ours is left on this node");
            self.left.store(true, Ordering::Relaxed);
        }
        let draining = !self.draining.devices().is_empty();
        Ok(After { draining, unsaid, failed_rounds: self.failed_rounds })
    }

    /// Each once, until it is gone.
    fn log_refusals(&mut self, report: &Report) {
        for refusal in &report.plan.refusals {
            if !self.refused.contains(&refusal.message) {
                let reason = refusal.reason.as_str();
                warn!(parent = refusal.parent, reason, "{}", refusal.message);
            }
        }
        self.refused = report.plan.refusals.iter().map(|r| r.message.clone()).collect();
    }

    /// The part that blocks, in a thread of its own.
    async fn work(
        &mut self,
        wish: Wish,
        known: bool,
        asked: Instant,
        view: Result<kubelet::View, String>,
    ) -> Result<Done> {
        let (mut host, files) = (self.host.clone(), self.files.clone());
        let host_files = self.host_files.clone();
        let stopping = self.stopping.clone();
        let mut draining = std::mem::take(&mut self.draining);
        let (result, draining) = tokio::task::spawn_blocking(move || {
            let wish = known.then_some(&wish);
            let host_files = &host_files;
            let world = World { view: &view, asked, stopping: &stopping, host_files };
            let result = work(&mut host, &files, wish, &world, &mut draining);
            (result, draining)
        })
        .await
        .context("the worker broke")?;
        self.draining = draining;
        result
    }

    /// Writes the status if it has changed; `true` if that has to wait or failed.
    async fn say(&mut self, status: NodeDevicesStatus) -> bool {
        if let Some((said, when)) = &self.said {
            if *said == status {
                return false;
            }
            if when.elapsed() < STATUS_INTERVAL {
                return true;
            }
        }
        let written = tokio::time::timeout(STATUS_DEADLINE, self.write(&status)).await;
        let late = || anyhow!("no answer within {} s", STATUS_DEADLINE.as_secs());
        match written.unwrap_or_else(|_| Err(late())) {
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

/// What the worker is told of the world.
struct World<'a> {
    /// Kubelet's view, or why there is none.
    view: &'a Result<kubelet::View, String>,
    /// When kubelet was asked.
    asked: Instant,
    /// Whether the agent was told to stop.
    stopping: &'a AtomicBool,
    /// What the chart has put on the host.
    host_files: &'a [PathBuf],
}

/// What became of a round.
struct Done {
    wanted: Wanted,
    report: Report,
    /// If the node is to be left: what that waits for, or that it is done.
    leaving: Option<Option<String>>,
}

fn work(
    host: &mut Host,
    files: &Files,
    wish: Option<&Wish>,
    world: &World<'_>,
    draining: &mut Draining,
) -> Result<Done> {
    if let Some(wish) = wish {
        wish::remember(files, wish)?;
    }
    let wanted = wish.map(|wish| Wanted::of(&wish.spec)).unwrap_or_default();
    let mut before = Before::read(&files.shared.before)?;
    let last = files.last_pools().map_err(|error| chain(&error));
    let offered = last.as_ref().map(|last| drain::states(last.as_ref()));
    let (root, locks) = (host.root.clone(), Locks::at(&files.shared.locks));
    let save = |before: &Before| before.write(&files.shared.before);
    let gate = |planned: &Planned, observed: &Observed| {
        if wish.is_none() {
            return Gate::Wait("no wish is known yet".to_owned());
        }
        if world.stopping.load(Ordering::Relaxed) {
            return Gate::Wait("the agent was told to stop".to_owned());
        }
        let holders = holders::in_the_way(&root, planned, observed);
        let offered = offered.as_ref().map_err(|error| error.as_str());
        let (kubelet, asked) = (world.view.as_ref().map_err(String::as_str), world.asked);
        let (holders, locks) = (&holders, &locks);
        draining.gate(planned, &Look { offered, kubelet, holders, locks, asked })
    };
    let report = reconcile(&files.node, host, &wanted, &mut before, save, gate)?;
    draining.keep(report.plan.steps.iter());
    let last = last.as_ref().ok().and_then(Option::as_ref);
    let pools = offer::pools(&files.node, &wanted, &report, &draining.devices(), last);
    if let Some(pools) = pools.filter(|_| wish.is_some()) {
        files.write_pools(pools)?;
    }
    let leaving = wish.filter(|wish| wish.leaving).map(|wish| {
        let kubelet = world.view.as_ref().map_err(String::as_str);
        let attachments = leave::attachments(files)?;
        let (before, report) = (&before, &report);
        let rest = Rest { wish, before, report, kubelet, attachments: &attachments };
        let waits = leave::waits_for(&rest);
        if waits.is_none() {
            leave::remove(files, world.host_files)?;
        }
        anyhow::Ok(waits)
    });
    Ok(Done { leaving: leaving.transpose()?, wanted, report })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_often_steps_fail_the_longer_the_pause() {
        let resync = Duration::from_secs(30);
        let quiet = After { draining: false, unsaid: false, failed_rounds: 0 };
        let check = |after: After, seconds| {
            assert_eq!(after.pause(resync), Duration::from_secs(seconds), "{after:?}");
        };
        check(quiet, 30);
        check(After { draining: true, failed_rounds: 9, ..quiet }, 2);
        check(After { unsaid: true, ..quiet }, 5);
        for (failed_rounds, seconds) in [(1, 5), (2, 10), (3, 20), (4, 30), (u32::MAX, 30)] {
            check(After { failed_rounds, ..quiet }, seconds);
        }
    }
}
