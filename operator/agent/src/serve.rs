//! `run`: makes the node what its NodeDevices object asks for, round by round, and says how it is.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ringway_api::node_devices::NodeDevicesStatus;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use crate::args::Run;
use crate::changes;
use crate::cluster::Cluster;
use crate::drain::{Draining, GRACE};
use crate::events::{self, publish};
use crate::files::Files;
use crate::follow::{Followed, follow, replace};
use crate::host::Host;
use crate::kubelet;
use crate::leave;
use crate::local;
use crate::metrics::{self, Metrics};
use crate::news::{Kind, News, Told};
use crate::say::say;
use crate::status;
use crate::wish::Wish;
use crate::work::{Done, World, work};

/// A round that failed is tried again after this long.
const RETRY: Duration = Duration::from_secs(5);
/// From the end of a round to the next that a change asks for: a link that goes up and down all the
/// time does not keep the node busy.
const APART: Duration = Duration::from_millis(500);
/// Between two looks at kubelet while somebody has a device that a step waits for: it says nothing by
/// itself when a pod has ended.
const HELD: Duration = Duration::from_secs(5);

/// Runs until told to stop. A step that is being done is finished first, and no other is begun.
pub fn run(host: Host, files: Files, args: &Run) -> Result<()> {
    let _alone = local::alone(&files)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // the worker's thread outlives the future: the runtime waits for it
    runtime.block_on(async {
        let mut stop = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stopped = async {
            tokio::select! {
                _ = stop.recv() => info!("told to stop"),
                _ = interrupt.recv() => info!("interrupted"),
            }
        };
        serve(host, files, args, &Cluster::default(), changes::of_kernel(), stopped).await
    })
}

/// Serves a cluster until `stopped`. `changes` tells that the node is other than it was. What it has begun then goes on in a thread to the end of the
/// step.
pub async fn serve(
    host: Host,
    files: Files,
    args: &Run,
    cluster: &Cluster,
    changes: mpsc::Receiver<()>,
    stopped: impl Future<Output = ()>,
) -> Result<()> {
    let stopping = Arc::new(AtomicBool::new(false));
    let left = Arc::new(AtomicBool::new(false));
    let followed = Followed {
        wish: watch::Sender::new(Wish::remembered(&files)),
        object: watch::Sender::new(None),
        left: left.clone(),
    };
    let (node, metrics, stuck) =
        (&args.node_name, Arc::new(Metrics::default()), host.stuck.clone());
    let status = watch::Sender::new(None);
    let (send_news, news) = mpsc::channel(events::WAITING);
    let (said, object) = (status.subscribe(), || followed.object.subscribe());
    let agent = Agent {
        host,
        files,
        kubelet: args.kubelet_dir.clone(),
        draining: Draining::default(),
        status,
        told: Told::default(),
        news: send_news,
        metrics: metrics.clone(),
        failed_rounds: 0,
        stopping: stopping.clone(),
        left,
        host_files: args.host_files.clone(),
    };
    let scraped = async {
        match args.metrics_address {
            Some(address) => metrics::serve(address, &metrics, stuck).await,
            None => std::future::pending().await,
        }
    };
    let once = AtomicBool::new(false);
    let probed = async {
        match &args.status_socket {
            Some(socket) => metrics::serve_ready(socket, &once).await,
            None => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        result = agent.serve(followed.wish.subscribe(), changes, args.resync) => result,
        never = follow(cluster, node, &followed) => match never {},
        never = say(cluster, node, said, object(), &once) => match never {},
        never = publish(cluster, node, news, object()) => match never {},
        never = scraped => match never {},
        never = probed => match never {},
        () = stopped => Ok(()),
    };
    stopping.store(true, Ordering::Relaxed);
    result
}

struct Agent {
    host: Host,
    files: Files,
    kubelet: PathBuf,
    draining: Draining,
    /// How the node is.
    status: watch::Sender<Option<NodeDevicesStatus>>,
    told: Told,
    news: mpsc::Sender<News>,
    metrics: Arc<Metrics>,
    /// How many rounds in a row had a step that failed.
    failed_rounds: u32,
    stopping: Arc<AtomicBool>,
    /// Whether nothing of ours is on the node any more.
    left: Arc<AtomicBool>,
    /// What the chart has put on the host.
    host_files: Vec<PathBuf>,
}

/// How the node is after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct After {
    draining: bool,
    held: bool,
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
        let held = if self.held { HELD } else { resync };
        failed.min(draining).min(held).min(resync)
    }

    /// How long until the next round that a change may ask for. Steps that fail may change
    /// something each time.
    fn apart(self, resync: Duration) -> Duration {
        APART.saturating_mul(1 << self.failed_rounds.min(10)).min(resync)
    }
}

impl Agent {
    /// Reconciles at each new wish, when something has changed, at each resync, and soon again while
    /// devices drain. What its own steps change asks for one more round, which changes nothing.
    async fn serve(
        mut self,
        mut wishes: watch::Receiver<Option<Wish>>,
        mut changed: mpsc::Receiver<()>,
        resync: Duration,
    ) -> Result<()> {
        loop {
            changes::forget(&mut changed);
            let wish = wishes.borrow_and_update().clone();
            // a node that was left is left alone, until somebody wants it again
            let left =
                self.left.load(Ordering::Relaxed) && wish.as_ref().is_some_and(|wish| wish.leaving);
            self.left.store(left, Ordering::Relaxed);
            if left {
                wishes.changed().await.context("follow the wish")?;
                continue;
            }
            let begun = Instant::now();
            let (again, apart) = match self.round(wish.as_ref()).await {
                Ok(done) => {
                    let after = self.ended(wish.as_ref(), &done, begun.elapsed());
                    (after.pause(resync), after.apart(resync))
                }
                Err(error) => {
                    self.broken(wish.as_ref(), &format!("{error:#}"), begun.elapsed());
                    (RETRY, RETRY)
                }
            };
            let earliest = tokio::time::Instant::now() + apart;
            tokio::select! {
                changed = wishes.changed() => changed.context("follow the wish")?,
                () = tokio::time::sleep(again) => {}
                () = changes::happen(&mut changed, earliest) => {}
            }
        }
    }

    /// Tells of a round that came to its end.
    fn ended(&mut self, wish: Option<&Wish>, done: &Done, took: Duration) -> After {
        let Done { wanted, report, pools, leaving } = done;
        self.metrics.count(took, report, pools.as_ref());
        for news in self.told.news(wish, report) {
            self.hear(news);
        }
        self.failed_rounds = match report.failures.is_empty() {
            true => 0,
            false => self.failed_rounds.saturating_add(1),
        };
        let generation = wish.and_then(|wish| wish.generation);
        self.tell(|last, now| {
            let last = last.map_or(&[][..], |last| &last.conditions);
            let mut status = status::status(generation, wanted, report, last, now);
            if let Some(waits) = leaving {
                status.conditions.push(leave::condition(generation, waits.as_deref(), last, now));
            }
            status
        });
        if *leaving == Some(None) {
            info!("nothing of ours is left on this node");
            self.left.store(true, Ordering::Relaxed);
        }
        let draining = !self.draining.devices().is_empty();
        After { draining, held: !report.held.is_empty(), failed_rounds: self.failed_rounds }
    }

    /// Tells of a round that broke off.
    fn broken(&mut self, wish: Option<&Wish>, error: &str, took: Duration) {
        error!(error, "this round failed");
        self.metrics.count_broken(took);
        if let Some(news) = self.told.broken(error) {
            self.hear(news);
        }
        let generation = wish.and_then(|wish| wish.generation);
        self.tell(|last, now| status::broken(generation, last, error, now));
    }

    /// Logs and publishes; what was done and what failed is in the log already.
    fn hear(&self, news: News) {
        match news.kind {
            Kind::Refused => warn!(reason = news.reason, "{}", news.note),
            Kind::Held => info!(reason = news.reason, "{}", news.note),
            Kind::Repaired | Kind::Failed => {}
        }
        // with a full queue the API server has not answered for long: the conditions will tell
        let _ = self.news.try_send(news);
    }

    /// Tells how the node is, from how it was.
    fn tell(&self, new: impl FnOnce(Option<&NodeDevicesStatus>, &Time) -> NodeDevicesStatus) {
        let now = Time(k8s_openapi::jiff::Timestamp::now());
        let new = new(self.status.borrow().as_ref(), &now);
        replace(&self.status, Some(new));
    }

    /// Asks kubelet who holds what, and then works in a thread of its own: that blocks.
    async fn round(&mut self, wish: Option<&Wish>) -> Result<Done> {
        let asked = Instant::now();
        let view = kubelet::view(&self.kubelet).await.map_err(|error| format!("{error:#}"));
        let (mut host, files, wish) = (self.host.clone(), self.files.clone(), wish.cloned());
        let (stopping, host_files) = (self.stopping.clone(), self.host_files.clone());
        let mut draining = std::mem::take(&mut self.draining);
        let (result, draining) = tokio::task::spawn_blocking(move || {
            let world = World { view: &view, asked, stopping: &stopping, host_files: &host_files };
            let result = work(&mut host, &files, wish.as_ref(), &world, &mut draining);
            (result, draining)
        })
        .await
        .context("the worker broke")?;
        self.draining = draining;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_often_steps_fail_the_longer_the_pause() {
        let resync = Duration::from_secs(30);
        let quiet = After { draining: false, held: false, failed_rounds: 0 };
        let check = |after: After, seconds| {
            assert_eq!(after.pause(resync), Duration::from_secs(seconds), "{after:?}");
        };
        check(quiet, 30);
        check(After { draining: true, failed_rounds: 9, ..quiet }, 2);
        check(After { held: true, ..quiet }, 5);
        for (failed_rounds, seconds) in [(1, 5), (2, 10), (3, 20), (4, 30), (u32::MAX, 30)] {
            check(After { failed_rounds, ..quiet }, seconds);
        }
    }

    #[test]
    fn steps_that_fail_and_change_something_each_time_are_not_tried_all_the_time() {
        let resync = Duration::from_secs(30);
        for (failed_rounds, milliseconds) in [(0, 500), (1, 1000), (4, 8000), (u32::MAX, 30_000)] {
            let after = After { draining: false, held: false, failed_rounds };
            assert_eq!(after.apart(resync), Duration::from_millis(milliseconds));
        }
    }
}
