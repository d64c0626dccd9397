//! The loop: look, offer, publish, serve, register; again whenever something changes.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_kernel::Root;
use ringway_node::{DeviceId, Resource};
use tokio::task::JoinSet;

use crate::budget::Budget;
use crate::complaints::Complaints;
use crate::due::{self, Due, Registered, due};
use crate::endpoint::{self, Endpoint, identity};
use crate::error::chain;
use crate::holders;
use crate::look::Look;
use crate::metrics;
use crate::offer::{self, Became, Item, Offer, Offers};
use crate::publish;
use crate::register::{self, register};
use crate::shared::Shared;
use crate::source::{self, Source};
use crate::supply::{Delivery, Supply};
use crate::watch::Watcher;

/// Longer than an allocation waits for a lock, shorter than any grace period of a pod.
const LEAVE_WITHIN: Duration = Duration::from_secs(4);

/// Between two attempts to tell kubelet: its socket is there before it listens.
const RETRY: Duration = Duration::from_secs(1);

/// Between two looks where nothing tells of a change.
const POLLED: Duration = Duration::from_secs(5);

/// The same where only default routes are meant.
const POLLED_ROUTES: Duration = Duration::from_secs(60);

/// From the end of another instance until kubelet is told of this one once more, whose stream goes on.
/// Kubelet has to have seen the other one's streams end before, or it lets go of this one for them.
const LET_GO: Duration = Duration::from_secs(1);

/// Between two looks whether an instance that took our place is still there: one that was killed
/// tells nobody.
const SUCCESSOR_LOOK: Duration = Duration::from_millis(500);

/// How the plugin runs.
#[derive(Debug)]
pub struct Config {
    /// Kubelet's `device-plugins` directory.
    pub plugins_dir: PathBuf,
    /// Where it is written down what to offer.
    pub source: Source,
    /// How nodes get into a container, whatever the source says.
    pub delivery: Option<Delivery>,
    /// Directory of CDI specs.
    pub cdi_dir: PathBuf,
    /// Directory of device-info, with `dp` below.
    pub devinfo_dir: PathBuf,
    /// The socket on which kubelet tells who holds which device.
    pub pod_resources: PathBuf,
    /// Directory of device locks.
    pub lock_dir: PathBuf,
    /// The kernel's trees.
    pub root: Root,
    /// Path of the `ringway` binary on the host, for the CDI hook.
    pub hook: Option<PathBuf>,
    /// Part of the sockets' names that is ours alone.
    pub instance: String,
    /// Whether to end once another instance serves all that this one does.
    pub until_replaced: bool,
    /// Where scrapes are answered.
    pub metrics_address: Option<SocketAddr>,
    /// The Unix socket on which probes are.
    pub status_socket: Option<PathBuf>,
    /// Time between looks at sysfs; `None`: only where the kernel's events do not tell.
    pub health_interval: Option<Duration>,
}

impl Config {
    /// What can be offered now, by the source and a fresh look.
    ///
    /// # Errors
    /// Those of [`Source::read`].
    pub fn observe(&self) -> Result<Offers, source::Error> {
        Ok(self.offers(&self.source.read(&self.root)?.supplies))
    }

    /// What a resource has of these devices now, by the source and a fresh look, for an allocation;
    /// `None` where it is not offered (any more).
    ///
    /// # Errors
    /// Those of [`Source::read_of`].
    pub fn look_at(
        &self,
        known: &source::Known,
        resource: &Resource,
        ids: &BTreeSet<DeviceId>,
    ) -> Result<Option<Offer>, source::Error> {
        let supplies = self.source.read_of(&self.root, known, resource, ids)?;
        Ok(self.offers_by(&Look::for_allocation(&self.root), &supplies).remove(resource))
    }

    /// What can be offered of `supplies` now.
    pub fn offers(&self, supplies: &[Supply]) -> Offers {
        self.offers_by(&Look::new(&self.root), supplies)
    }

    fn offers_by(&self, look: &Look<'_>, supplies: &[Supply]) -> Offers {
        let mut offers = offer::offers(supplies, |entry| look.at(entry).map_err(|e| chain(&e)));
        for offer in offers.values_mut() {
            offer.delivery = self.delivery.unwrap_or(offer.delivery);
        }
        offers
    }
}

/// Runs until `shutdown`. Whatever goes wrong is logged and tried again.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) {
    let shared = Arc::new(Shared::new(config));
    let config = &shared.config;
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, instance = config.instance, source = %config.source.path().display(), "starting");
    shared.listen();
    let mut plugin = Plugin {
        watcher: Watcher::new(&config.plugins_dir, config.source.path())
            .inspect_err(|e| tracing::warn!(error = chain(e), "no inotify, polling instead"))
            .ok(),
        shared: shared.clone(),
        supplies: None,
        warnings: BTreeSet::new(),
        offers: Offers::new(),
        offered: BTreeSet::new(),
        endpoints: BTreeMap::new(),
        complaints: Complaints::default(),
        budget: Budget::new(Instant::now()),
        again: None,
        replaced: false,
    };
    let (address, socket) = (config.metrics_address, config.status_socket.as_deref());
    tokio::select! {
        () = plugin.keep_up() => {}
        never = metrics::serve(&shared, address, socket) => match never {},
        () = shutdown => {}
    }
    tracing::info!("leaving");
    plugin.leave().await;
}

struct Plugin {
    shared: Arc<Shared>,
    watcher: Option<Watcher>,
    /// The last good supplies.
    supplies: Option<Vec<Supply>>,
    /// What the source warned of.
    warnings: BTreeSet<String>,
    offers: Offers,
    /// All resources that this process has ever offered.
    offered: BTreeSet<Resource>,
    endpoints: BTreeMap<Resource, Endpoint>,
    complaints: Complaints,
    budget: Budget,
    /// When kubelet may have to be told of a resource again.
    again: Option<Instant>,
    /// Whether an instance that came later serves everything that this one does.
    replaced: bool,
}

impl Plugin {
    async fn keep_up(&mut self) {
        loop {
            // Watch first, look second: a change in between is then seen twice, not never.
            let watching = self.watcher.as_ref().map(Watcher::ensure);
            let problem = match watching {
                Some(Err((dir, e))) => Some(format!("watch {}: {e}", dir.display())),
                Some(Ok(())) | None => None,
            };
            self.complaints.about("watch", problem);
            let start = Instant::now();
            self.shared.counts.begin();
            let source_good = self.reconcile().await;
            self.shared.counts.end(source_good, self.not_ready());
            let next = self.budget.spend(start, Instant::now());
            self.wait(next, source_good).await;
            if self.has_served() {
                return tracing::info!("another instance serves");
            }
        }
    }

    /// Whether it is to end because another instance serves.
    fn has_served(&self) -> bool {
        self.replaced && self.shared.config.until_replaced
    }

    /// Waits until there is a reason to look, and it is not before `earliest`. What kubelet lets go
    /// of meanwhile it is told again at once: that needs no look.
    async fn wait(&mut self, earliest: Instant, source_good: bool) {
        let polled = polled(&self.shared, self.watcher.is_some(), &self.offers, &self.complaints);
        let polled = polled.map(|interval| Instant::now() + interval);
        let mut reason = false;
        while !self.has_served() {
            let again = self.again;
            let changed = async {
                match &mut self.watcher {
                    Some(watcher) => watcher.changed().await,
                    None => std::future::pending().await,
                }
            };
            let about_kubelet = tokio::select! {
                () = self.shared.watchers.notified() => true,
                () = until(again) => true,
                () = until(Some(earliest)), if reason => return,
                () = until(polled), if !reason => false,
                () = self.shared.news.notified(), if !reason => false,
                goes_on = changed, if !reason => {
                    if !goes_on {
                        tracing::warn!("no inotify any more, polling instead");
                        self.watcher = None;
                    }
                    false
                }
            };
            if !about_kubelet {
                reason = true;
                continue;
            }
            self.shared.counts.begin();
            self.register().await;
            self.shared.counts.end(source_good, self.not_ready());
        }
    }

    /// Why pods cannot have devices yet; an instance that is being replaced goes when this one is
    /// ready.
    fn not_ready(&self) -> Option<String> {
        let registered = |endpoint: &Endpoint| endpoint.registered().is_some();
        match &self.supplies {
            // without the agent's file there is nothing to offer
            None if !self.complaints.has("pools.absent") => {
                Some("what to offer could not be read yet".to_owned())
            }
            _ => {
                let mut waiting = self
                    .offers
                    .keys()
                    .filter(|resource| !self.endpoints.get(resource).is_some_and(registered));
                waiting.next().map(|resource| format!("kubelet does not know {resource} yet"))
            }
        }
    }

    /// Lets allocations under way come to their end: kubelet rejects the pod of one that breaks
    /// off, for good.
    async fn leave(self) {
        let closed = async {
            self.hand_over().await;
            let closing: Vec<_> =
                self.endpoints.into_values().filter_map(Endpoint::close).collect();
            for task in closing {
                // A server that panicked is closed, too.
                let _ = task.await;
            }
        };
        if tokio::time::timeout(LEAVE_WITHIN, closed).await.is_err() {
            tracing::warn!("leaving with calls under way");
        }
    }

    /// Sees to it that kubelet takes nothing away when this instance's streams end while another one
    /// serves. For each stream that ends, kubelet disconnects whoever has registered the resource last,
    /// unless it knows nobody by that name any more; and it forgets the name, and nothing else, when one
    /// that registers refuses to tell its options (connectClient, plugin/v1beta1/handler.go). The other
    /// instance sees this one's sockets go, and registers again.
    async fn hand_over(&self) {
        let Shared { config, .. } = &*self.shared;
        let socket = config.plugins_dir.join("kubelet.sock");
        self.shared.leave();
        let mut telling = JoinSet::new();
        for resource in self.endpoints.keys() {
            if !endpoint::has_others(config, resource).await {
                continue;
            }
            let (resource, socket) = (resource.clone(), socket.clone());
            let name = endpoint::socket_name(&resource, &config.instance);
            telling.spawn(async move {
                match register(&socket, &resource, &name).await {
                    // as it should be
                    Err(register::Error::Refused { .. }) => {
                        tracing::info!(%resource, "handed over");
                    }
                    Err(e) => tracing::warn!(%resource, error = chain(&e), "not handed over"),
                    Ok(()) => {
                        tracing::warn!(%resource, "not handed over: kubelet asked no options")
                    }
                }
            });
        }
        while telling.join_next().await.is_some() {}
    }

    /// Whether what to offer could be read.
    async fn reconcile(&mut self) -> bool {
        let config = &self.shared.config;
        let read = config.source.read(&config.root);
        let good = read.is_ok();
        match read {
            Ok(told) => {
                self.complaints.about("pools.absent", None);
                self.complaints.about("pools", None);
                self.warn(told.warnings);
                self.supplies = Some(told.supplies);
            }
            Err(e) if e.is_absent() => self.complaints.about("pools.absent", Some(chain(&e))),
            Err(e) => self.complaints.about("pools", Some(chain(&e))),
        }
        // Not known is not empty: nothing is offered yet, and nothing is taken back.
        let Some(supplies) = &self.supplies else { return good };
        let offers = self.shared.config.offers(supplies);
        self.log(&offers);
        self.offers = offers;
        self.shared.counts.offered(&self.offers);
        self.publish().await;
        self.serve();
        // lists are sent now, and not only when it is known who else serves
        tokio::task::yield_now().await;
        self.register().await;
        good
    }

    /// Each once, for as long as it holds.
    fn warn(&mut self, warnings: Vec<String>) {
        let warnings: BTreeSet<_> = warnings.into_iter().collect();
        for warning in warnings.difference(&self.warnings) {
            tracing::warn!(source = %self.shared.config.source.path().display(), "{warning}");
        }
        self.warnings = warnings;
    }

    async fn publish(&mut self) {
        self.offered.extend(self.offers.keys().cloned());
        let Config { cdi_dir, devinfo_dir, hook, source, pod_resources, .. } = &self.shared.config;
        let ours = source.ours(&self.offered);
        let specs = publish::specs(cdi_dir, &self.offers, hook.as_deref(), &ours);
        self.complaints.about("cdi", specs.err().map(|e| chain(&e)));
        let infos = publish::infos(devinfo_dir, &self.offers, &ours);
        self.complaints.about("device-info", infos.as_ref().err().map(|e| chain(e)));
        let orphans = infos.unwrap_or_default();
        // as long as there is one it is looked after again and again
        let problem = match orphans.is_empty() {
            true => None,
            false => match holders::held(pod_resources).await {
                Err(e) => {
                    Some(format!("device-info nobody may need any more stays: {}", chain(&e)))
                }
                Ok(held) => match orphans.remove(|name| held.has(name)) {
                    Err(e) => Some(chain(&e)),
                    Ok(kept) if kept.is_empty() => None,
                    Ok(kept) => {
                        Some(format!("pods hold what is no longer offered: {}", kept.join(", ")))
                    }
                },
            },
        };
        self.complaints.about("orphans", problem);
    }

    fn serve(&mut self) {
        let (offers, complaints) = (&self.offers, &mut self.complaints);
        self.endpoints.retain(|resource, endpoint| {
            let keep = offers.contains_key(resource);
            if !keep {
                tracing::info!(%resource, "no longer offered");
                complaints.forget(&format!("register {resource}"));
            } else if endpoint.is_lost() {
                tracing::info!(%resource, "socket was removed, making it anew");
            }
            keep && !endpoint.is_lost()
        });
        for (resource, offer) in offers {
            let problem = match self.endpoints.get(resource) {
                Some(endpoint) => {
                    endpoint.update(offer);
                    None
                }
                None => match Endpoint::start(&self.shared, resource, offer) {
                    Ok(endpoint) => {
                        self.endpoints.insert(resource.clone(), endpoint);
                        None
                    }
                    Err(e) => Some(chain(&e)),
                },
            };
            complaints.about(&format!("serve {resource}"), problem);
        }
        let streams = |(resource, endpoint): (&Resource, &Endpoint)| {
            (resource.to_string(), endpoint.streams.clone())
        };
        self.shared.counts.watched(self.endpoints.iter().map(streams).collect());
    }

    async fn register(&mut self) {
        (self.again, self.replaced) = (None, false);
        let mut again = Vec::new();
        let Shared { config, counts, .. } = &*self.shared;
        let socket = config.plugins_dir.join("kubelet.sock");
        let Some(kubelet) = identity(&socket) else {
            let problem = format!("{} is not there: waiting for kubelet", socket.display());
            return self.complaints.about("kubelet", Some(problem));
        };
        self.complaints.about("kubelet", None);
        let mut replaced = !self.endpoints.is_empty();
        // all at once: one that kubelet takes its time for holds up no other
        let mut telling = JoinSet::new();
        for (resource, endpoint) in &mut self.endpoints {
            let watched = endpoint.streams.watched();
            match due(endpoint.registered(), kubelet, watched) {
                Due::No => {
                    let beside = endpoint.look_beside(config, resource).await;
                    replaced &= beside.successor;
                    again.extend(beside.any.then(|| Instant::now() + SUCCESSOR_LOOK));
                    // Kubelet does not end the stream of one instance when another registers, asks
                    // whoever registered last alone, and does not go back when that one ends
                    // (registerClient and runClient, plugin/v1beta1/handler.go).
                    let Some(ended) = beside.ended.filter(|_| !beside.successor) else { continue };
                    if Instant::now() < ended + LET_GO {
                        again.push(ended + LET_GO);
                        continue;
                    }
                }
                Due::New => {}
                Due::Lost(from) => {
                    let (now, beside) =
                        (Instant::now(), endpoint.look_beside(config, resource).await);
                    // When the stream of any instance ends, kubelet disconnects from the one that
                    // registered last: that was no failure of ours, and pods may be waiting.
                    let from = if beside.ended.is_some() { now } else { from };
                    let successor = from <= now && beside.successor;
                    if from > now || successor {
                        again.push(if successor { now + SUCCESSOR_LOOK } else { from });
                        replaced &= successor;
                        continue;
                    }
                }
            }
            replaced = false;
            let (resource, socket) = (resource.clone(), socket.clone());
            let name = endpoint::socket_name(&resource, &config.instance);
            telling.spawn(async move {
                let result = register(&socket, &resource, &name).await;
                (resource, name, watched, result)
            });
        }
        while let Some(told) = telling.join_next().await {
            let Ok((resource, name, watched, result)) = told else { continue };
            let Some(endpoint) = self.endpoints.get_mut(&resource) else { continue };
            counts.registered(&resource, result.is_ok());
            if result.is_ok() {
                if endpoint.registered().is_none() {
                    endpoint::remove_dead(config, &resource).await;
                }
                let failures = endpoint.registered().filter(|last| last.kubelet == kubelet);
                let failures = failures.map_or(0, |last| due::failures(last, watched));
                let (when, before) = (Instant::now(), watched);
                endpoint.has_registered(Registered { kubelet, when, before, failures });
                tracing::info!(%resource, socket = name, "registered with kubelet");
            }
            again.extend(result.is_err().then(|| Instant::now() + RETRY));
            self.complaints.about(&format!("register {resource}"), result.err().map(|e| chain(&e)));
        }
        (self.again, self.replaced) = (again.into_iter().min(), replaced);
    }

    fn log(&self, new: &Offers) {
        for change in offer::changes(&self.offers, new) {
            self.shared.counts.changed(&change);
            let offer::Change { resource, id, now } = change;
            match now {
                Became::Healthy => tracing::info!(%resource, device = %id, "healthy"),
                Became::Unhealthy(reason) => {
                    tracing::warn!(%resource, device = %id, %reason, "unhealthy");
                }
                Became::Remarkable(remark) => {
                    tracing::warn!(%resource, device = %id, %remark, "healthy");
                }
                Became::Gone => tracing::info!(%resource, device = %id, "gone"),
            }
        }
    }
}

/// `None`: never.
async fn until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

/// How long until the next look without a reason; `None`: for ever.
fn polled(
    shared: &Shared,
    watches: bool,
    offers: &Offers,
    complaints: &Complaints,
) -> Option<Duration> {
    if let Some(interval) = shared.config.health_interval {
        return Some(interval);
    }
    let untold = |item: &Item| !item.is_told_by_events();
    let mut items = offers.values().flat_map(|offer| &offer.items);
    if !watches || !shared.hears() || complaints.any() || items.any(untold) {
        return Some(POLLED);
    }
    // what people write speaks of routes, too, of which no event comes; an allocation looks at them
    matches!(shared.config.source, Source::Sriovdp { .. }).then_some(POLLED_ROUTES)
}
