//! Metrics in Prometheus's text format: what rounds came to, and what the kernel counts.
//!
//! Rounds leave their numbers here. Link states and traffic are read when somebody scrapes, in a
//! thread: a node that nobody scrapes pays nothing, and a kernel that does not answer holds neither
//! a round nor a scrape up, which then goes without.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringway_metrics::http::{self, Answer};
use ringway_metrics::{Histogram, Page};
use ringway_node::pools::{Pools, State};

use crate::reconcile::Report;

mod catalogue;
mod collect;
mod targets;

use collect::{Collector, Traffic};
use targets::Targets;

/// The numbers of all rounds so far.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    rounds: Histogram,
    broken: u64,
    /// By kind and result.
    steps: BTreeMap<(&'static str, &'static str), u64>,
    last: Last,
}

/// What the last round left.
#[derive(Debug, Default)]
struct Last {
    plan_steps: usize,
    held_steps: usize,
    /// By reason.
    refusals: BTreeMap<&'static str, u64>,
    /// By resource and state.
    devices: BTreeMap<(String, &'static str), u64>,
    targets: Targets,
}

impl Metrics {
    /// Counts a round that came to its end. Without pools what the node offers is not known, or as
    /// it was.
    pub(crate) fn count(&self, took: Duration, report: &Report, pools: Option<&Pools>) {
        let mut numbers = self.numbers();
        numbers.rounds.observe(took);
        for planned in &report.done {
            *numbers.steps.entry((planned.step.kind(), "done")).or_default() += 1;
        }
        for (planned, _) in &report.failures {
            *numbers.steps.entry((planned.step.kind(), "failed")).or_default() += 1;
        }
        let last = &mut numbers.last;
        last.plan_steps = report.plan.steps.len();
        last.held_steps = report.waits.iter().filter(|wait| report.held.contains(*wait)).count();
        last.refusals.clear();
        for refusal in &report.plan.refusals {
            *last.refusals.entry(refusal.reason.as_str()).or_default() += 1;
        }
        if let Some(pools) = pools {
            last.devices = devices(pools);
        }
        last.targets = Targets::of(&report.observed.inventory);
    }

    /// Counts a round that broke off.
    pub(crate) fn count_broken(&self, took: Duration) {
        let mut numbers = self.numbers();
        numbers.rounds.observe(took);
        numbers.broken += 1;
    }

    fn targets(&self) -> Targets {
        self.numbers().last.targets.clone()
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        // numbers are never half written
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, page: &mut Page) {
        let numbers = self.numbers();
        page.family(&catalogue::BUILD_INFO, [([env!("CARGO_PKG_VERSION").to_owned()], 1)]);
        page.histogram(&catalogue::RECONCILE_DURATION, &numbers.rounds);
        page.number(&catalogue::RECONCILE_ERRORS, numbers.broken);
        let steps = numbers.steps.iter();
        page.family(&catalogue::STEPS, steps.map(|((step, result), n)| ([*step, *result], n)));
        let Last { plan_steps, held_steps, refusals, devices, .. } = &numbers.last;
        page.number(&catalogue::PLAN_STEPS, plan_steps);
        page.number(&catalogue::HELD_STEPS, held_steps);
        page.family(&catalogue::REFUSALS, refusals.iter().map(|(reason, n)| ([*reason], n)));
        let devices = devices.iter().map(|((resource, state), n)| ([resource.as_str(), *state], n));
        page.family(&catalogue::DEVICES, devices);
    }
}

/// Every state of each resource, so that none is missing when it comes to nothing.
fn devices(pools: &Pools) -> BTreeMap<(String, &'static str), u64> {
    let mut counted = BTreeMap::new();
    for pool in &pools.pools {
        for state in [State::Ready, State::Draining, State::Failed] {
            let count = pool.devices.iter().filter(|device| device.state == state).count();
            let name = match state {
                State::Ready => "ready",
                State::Draining => "draining",
                State::Failed => "failed",
            };
            // several pools may serve one resource
            *counted.entry((pool.resource.to_string(), name)).or_default() += count as u64;
        }
    }
    counted
}

/// The page that tells whether an agent is ready.
pub(crate) const READY: &str = "/readyz";

/// Answers on a Unix socket, for ever, whether it has been `said` how the node is.
pub(crate) async fn serve_ready(socket: &Path, said: &AtomicBool) -> std::convert::Infallible {
    let answer = |_| async {
        let waits = "this node's NodeDevices does not tell yet what there is";
        Answer::probe((!said.load(Ordering::Relaxed)).then(|| waits.to_owned()))
    };
    http::serve_unix(socket, &[READY], answer).await
}

/// Answers scrapes at an address, for ever.
pub(crate) async fn serve(
    address: SocketAddr,
    metrics: &Metrics,
    stuck: std::path::PathBuf,
) -> std::convert::Infallible {
    let collector = Collector::new(stuck);
    let answer = |path| {
        let collector = &collector;
        async move {
            if path != "/metrics" {
                return Answer::probe(None);
            }
            let traffic = collector.collect(metrics.targets()).await;
            Answer::metrics(page(metrics, collector.stuck_calls(), traffic))
        }
    };
    http::serve(address, &["/metrics", "/healthz"], answer).await
}

fn page(metrics: &Metrics, stuck_calls: Option<usize>, traffic: Option<Traffic>) -> String {
    let mut page = Page::default();
    metrics.write(&mut page);
    if let Some(calls) = stuck_calls {
        page.number(&catalogue::STUCK_CALLS, calls);
    }
    collect::write(&mut page, traffic);
    page.into_text()
}

#[cfg(test)]
mod tests;
