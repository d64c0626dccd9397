//! What the loop of the process and its servers share.

use std::sync::atomic::{AtomicBool, Ordering};

use ringway_kernel::monitor::Monitor;
use tokio::sync::Notify;

use crate::counts::Counts;
use crate::error::chain;
use crate::plugin::Config;
use crate::source;

/// What the loop of the process and its servers share.
#[derive(Debug)]
pub struct Shared {
    /// How the plugin runs.
    pub config: Config,
    /// What the source said when it was last read for an allocation.
    pub source: source::Known,
    /// What was counted since its start.
    pub counts: Counts,
    /// Something happened that is a reason to look.
    pub news: Notify,
    /// Kubelet began or ceased to watch a list.
    pub watchers: Notify,
    /// Whether the kernel tells of devices that come, go and change.
    hears: AtomicBool,
    /// Whether the process is about to end.
    leaves: AtomicBool,
}

impl Shared {
    /// For a process that starts.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            source: source::Known::default(),
            counts: Counts::default(),
            news: Notify::new(),
            watchers: Notify::new(),
            hears: AtomicBool::new(false),
            leaves: AtomicBool::new(false),
        }
    }

    /// From now on the process is about to end.
    pub fn leave(&self) {
        self.leaves.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn leaves(&self) -> bool {
        self.leaves.load(Ordering::Relaxed)
    }

    /// Whether the kernel's events are listened to.
    pub fn hears(&self) -> bool {
        self.hears.load(Ordering::Relaxed)
    }

    /// Listens to the kernel's events of devices for as long as the process lives. They come to every
    /// network namespace; those of interfaces, as a carrier that is lost, only to their own.
    pub fn listen(self: &std::sync::Arc<Self>) {
        let monitor = match Monitor::open() {
            Ok(monitor) => monitor,
            Err(e) => {
                tracing::warn!(error = chain(&e), "no events of devices, polling instead");
                return;
            }
        };
        let shared = self.clone();
        self.hears.store(true, Ordering::Relaxed);
        let thread = std::thread::Builder::new().name("events".to_owned()).stack_size(64 * 1024);
        let spawned = thread.spawn(move || {
            loop {
                match monitor.wait() {
                    Ok(change) => {
                        tracing::debug!(%change, "news");
                        shared.news.notify_one();
                    }
                    Err(e) => {
                        tracing::warn!(
                            error = chain(&e),
                            "no more events of devices, polling instead"
                        );
                        shared.hears.store(false, Ordering::Relaxed);
                        return shared.news.notify_one();
                    }
                }
            }
        });
        if let Err(e) = spawned {
            tracing::warn!(error = chain(&e), "no events of devices, polling instead");
            self.hears.store(false, Ordering::Relaxed);
        }
    }
}
