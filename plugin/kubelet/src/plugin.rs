//! The loop: look, offer, publish, serve, register; again whenever something changes.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_kernel::Root;
use ringway_node::Resource;

use crate::complaints::Complaints;
use crate::endpoint::{self, Endpoint, Identity, identity};
use crate::error::chain;
use crate::look::look;
use crate::offer::{self, Became, Offers};
use crate::publish;
use crate::register::register;
use crate::source::{self, Source};
use crate::supply::Supply;
use crate::watch::Watcher;

/// Longer than an allocation waits for a lock, shorter than any grace period of a pod.
const LEAVE_WITHIN: Duration = Duration::from_secs(4);

/// How the plugin runs.
#[derive(Debug)]
pub struct Config {
    /// Kubelet's `device-plugins` directory.
    pub plugins_dir: PathBuf,
    /// Where it is written down what to offer.
    pub source: Source,
    /// Directory of CDI specs.
    pub cdi_dir: PathBuf,
    /// Directory of device-info, with `dp` below.
    pub devinfo_dir: PathBuf,
    /// Directory of device locks.
    pub lock_dir: PathBuf,
    /// The kernel's trees.
    pub root: Root,
    /// Path of the `ringway` binary on the host, for the CDI hook.
    pub hook: Option<PathBuf>,
    /// Part of the sockets' names that is ours alone.
    pub instance: String,
    /// Time between looks at sysfs.
    pub health_interval: Duration,
}

impl Config {
    /// What can be offered now, by the source and a fresh look.
    ///
    /// # Errors
    /// Those of [`Source::read`].
    pub fn observe(&self) -> Result<Offers, source::Error> {
        Ok(self.offers(&self.source.read(&self.root)?.supplies))
    }

    /// What can be offered of `supplies` now.
    pub fn offers(&self, supplies: &[Supply]) -> Offers {
        offer::offers(supplies, |entry| look(&self.root, entry).map_err(|e| chain(&e)))
    }
}

/// Runs until `shutdown`. Whatever goes wrong is logged and tried again.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) {
    let config = Arc::new(config);
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, instance = config.instance, source = %config.source.path().display(), "starting");
    let mut plugin = Plugin {
        watcher: Watcher::new(&config.plugins_dir, config.source.path())
            .inspect_err(|e| tracing::warn!(error = chain(e), "no inotify, polling instead"))
            .ok(),
        config,
        supplies: None,
        warnings: BTreeSet::new(),
        offers: Offers::new(),
        endpoints: BTreeMap::new(),
        complaints: Complaints::default(),
    };
    tokio::select! {
        () = plugin.keep_up() => {}
        () = shutdown => {}
    }
    tracing::info!("leaving");
    plugin.leave().await;
}

struct Plugin {
    config: Arc<Config>,
    watcher: Option<Watcher>,
    /// The last good supplies.
    supplies: Option<Vec<Supply>>,
    /// What the source warned of.
    warnings: BTreeSet<String>,
    offers: Offers,
    endpoints: BTreeMap<Resource, Endpoint>,
    complaints: Complaints,
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
            self.reconcile().await;
            let interval = self.config.health_interval;
            let changed = async {
                match &mut self.watcher {
                    Some(watcher) => watcher.changed().await,
                    None => std::future::pending().await,
                }
            };
            if tokio::time::timeout(interval, changed).await == Ok(false) {
                tracing::warn!("no inotify any more, polling instead");
                self.watcher = None;
            }
        }
    }

    /// Lets allocations under way come to their end: kubelet rejects the pod of one that breaks
    /// off, for good.
    async fn leave(self) {
        let closing: Vec<_> = self.endpoints.into_values().filter_map(Endpoint::close).collect();
        let closed = async {
            for task in closing {
                // A server that panicked is closed, too.
                let _ = task.await;
            }
        };
        if tokio::time::timeout(LEAVE_WITHIN, closed).await.is_err() {
            tracing::warn!("leaving with calls under way");
        }
    }

    async fn reconcile(&mut self) {
        match self.config.source.read(&self.config.root) {
            Ok(told) => {
                self.complaints.about("pools", None);
                self.warn(told.warnings);
                self.supplies = Some(told.supplies);
            }
            Err(e) => self.complaints.about("pools", Some(chain(&e))),
        }
        // Not known is not empty: nothing is offered yet, and nothing is taken back.
        let Some(supplies) = &self.supplies else { return };
        let offers = self.config.offers(supplies);
        log(&self.offers, &offers);
        let before = std::mem::replace(&mut self.offers, offers);
        self.publish(&before);
        self.serve();
        self.register().await;
    }

    /// Each once, for as long as it holds.
    fn warn(&mut self, warnings: Vec<String>) {
        let warnings: BTreeSet<_> = warnings.into_iter().collect();
        for warning in warnings.difference(&self.warnings) {
            tracing::warn!(source = %self.config.source.path().display(), "{warning}");
        }
        self.warnings = warnings;
    }

    fn publish(&mut self, before: &Offers) {
        let Config { cdi_dir, devinfo_dir, hook, source, .. } = &*self.config;
        let ours = source.ours([before, &self.offers]);
        let specs = publish::specs(cdi_dir, &self.offers, hook.as_deref(), &ours);
        self.complaints.about("cdi", specs.err().map(|e| chain(&e)));
        let infos = publish::infos(devinfo_dir, &self.offers, &ours);
        self.complaints.about("device-info", infos.err().map(|e| chain(&e)));
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
                None => match Endpoint::start(&self.config, resource, offer) {
                    Ok(endpoint) => {
                        self.endpoints.insert(resource.clone(), endpoint);
                        None
                    }
                    Err(e) => Some(chain(&e)),
                },
            };
            complaints.about(&format!("serve {resource}"), problem);
        }
    }

    async fn register(&mut self) {
        let socket = self.config.plugins_dir.join("kubelet.sock");
        let Some(kubelet) = identity(&socket) else {
            let problem = format!("{} is not there: waiting for kubelet", socket.display());
            return self.complaints.about("kubelet", Some(problem));
        };
        self.complaints.about("kubelet", None);
        for (resource, endpoint) in &mut self.endpoints {
            if !needs_registration(&self.config, resource, endpoint, kubelet).await {
                continue;
            }
            let name = endpoint::socket_name(resource, &self.config.instance);
            let result = register(&socket, resource, &name).await;
            if result.is_ok() {
                if endpoint.registered.is_none() {
                    endpoint::remove_dead(&self.config, resource).await;
                }
                endpoint.registered = Some((kubelet, Instant::now()));
                tracing::info!(%resource, socket = name, "registered with kubelet");
            }
            self.complaints.about(&format!("register {resource}"), result.err().map(|e| chain(&e)));
        }
    }
}

/// A kubelet that is new does not know us. One that we told may also have lost us: it does not
/// connect again when a stream ends, so that we must. But it ends our stream, too, when another
/// instance has registered, and then we are the one to leave.
async fn needs_registration(
    config: &Config,
    resource: &Resource,
    endpoint: &Endpoint,
    kubelet: Identity,
) -> bool {
    match endpoint.registered {
        Some((known, _)) if known != kubelet => true,
        Some((_, when)) => {
            let patience = 3 * config.health_interval;
            endpoint.watchers() == 0
                && when.elapsed() > patience
                && !endpoint::another_serves(config, resource).await
        }
        None => true,
    }
}

fn log(old: &Offers, new: &Offers) {
    for offer::Change { resource, id, now } in offer::changes(old, new) {
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
