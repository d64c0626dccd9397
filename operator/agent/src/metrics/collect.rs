//! Reads from the kernel what a scrape is told of links and traffic.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringway_kernel::link::{Links, VfStats};
use ringway_kernel::stuck::{self, Reach};
use ringway_kernel::vdpa::Vdpa;
use ringway_kernel::{Error, Result};
use ringway_metrics::{Family, Page};
use tokio::sync::{Mutex, oneshot};
use tracing::debug;

use super::catalogue;
use super::targets::{Card, Targets};

/// The kernel answers at once, unless somebody's call sleeps with a lock that ours needs.
const DEADLINE: Duration = Duration::from_secs(5);
/// The most statistics of one device: a driver chooses their names.
const MOST_STATISTICS: usize = 16;

/// What was read; `None` where it could not be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    links: Option<Vec<Link>>,
    functions: Option<Vec<Function>>,
    vdpa: Option<Vec<Statistic>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Link {
    parent: String,
    interface: String,
    up: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Function {
    parent: String,
    device: String,
    stats: VfStats,
}

#[derive(Debug, PartialEq, Eq)]
struct Statistic {
    device: String,
    name: String,
    value: u64,
}

/// Reads once at a time.
#[derive(Debug)]
pub(super) struct Collector {
    /// The directory of markers of calls that have not come back.
    stuck: PathBuf,
    /// Whether a thread of ours is out: one at most, however often somebody scrapes.
    out: Arc<AtomicBool>,
    one: Mutex<()>,
}

impl Collector {
    pub(super) fn new(stuck: PathBuf) -> Self {
        Self { stuck, out: Arc::default(), one: Mutex::default() }
    }

    /// The number of markers; `None` if they cannot be read.
    pub(super) fn stuck_calls(&self) -> Option<usize> {
        stuck::live(&self.stuck).map(|live| live.len()).ok()
    }

    /// `None` if the kernel does not answer in time, or has not answered an earlier question yet.
    pub(super) async fn collect(&self, targets: Targets) -> Option<Traffic> {
        let _one = self.one.lock().await;
        if self.out.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (sender, answer) = oneshot::channel();
        let (out, stuck) = (self.out.clone(), self.stuck.clone());
        // not one of the runtime's, which waits for its threads at its end
        let started = thread::Builder::new().name("collect".to_owned()).spawn(move || {
            let traffic = read(&targets, &stuck);
            out.store(false, Ordering::Release);
            // nobody listens after the deadline
            let _ = sender.send(traffic);
        });
        if let Err(error) = started {
            self.out.store(false, Ordering::Release);
            debug!(%error, "no thread to read statistics");
            return None;
        }
        tokio::time::timeout(DEADLINE, answer).await.ok()?.ok()
    }
}

fn read(targets: &Targets, stuck: &Path) -> Traffic {
    let told = |what: &str, error: Error| debug!(%error, "{what} cannot be read");
    Traffic {
        links: links(targets).map_err(|e| told("links", e)).ok(),
        functions: functions(targets).map_err(|e| told("VF statistics", e)).ok(),
        vdpa: vdpa(targets, stuck).map_err(|e| told("vDPA statistics", e)).ok(),
    }
}

fn links(targets: &Targets) -> Result<Vec<Link>> {
    let mut netlink = Links::open()?;
    let mut found = Vec::new();
    for Card { parent, links, .. } in &targets.cards {
        for (index, name) in links {
            let Some(link) = unless_gone(netlink.get(*index))? else { continue };
            let (parent, interface) = (parent.clone(), name.clone());
            found.push(Link { parent, interface, up: link.carrier });
        }
    }
    Ok(found)
}

fn functions(targets: &Targets) -> Result<Vec<Function>> {
    let mut netlink = Links::open()?;
    let mut found = Vec::new();
    for card in targets.cards.iter().filter(|card| !card.functions.is_empty()) {
        // ports that share a function share its VFs
        let Some((index, _)) = card.links.first() else { continue };
        let Some(stats) = unless_gone(netlink.vf_stats(*index))? else { continue };
        found.extend(of_card(card, &stats));
    }
    Ok(found)
}

/// A card of which all counters are zero most likely has a driver that does not count.
fn of_card(card: &Card, stats: &[VfStats]) -> Vec<Function> {
    let silent = |stats: &VfStats| *stats == VfStats { index: stats.index, ..VfStats::default() };
    if stats.iter().all(silent) {
        return Vec::new();
    }
    let functions = card.functions.iter().filter_map(|(index, device)| {
        let stats = *stats.iter().find(|stats| stats.index == *index)?;
        Some(Function { parent: card.parent.clone(), device: device.clone(), stats })
    });
    functions.collect()
}

fn vdpa(targets: &Targets, stuck: &Path) -> Result<Vec<Statistic>> {
    let mut found = Vec::new();
    if targets.vdpa.is_empty() {
        return Ok(found);
    }
    let (object, op) = ("the vdpa family", "ask");
    stuck::check(stuck, object, op, Reach::GenericNetlink)?;
    let Some(family) = Vdpa::open()? else { return Ok(found) };
    for target in &targets.vdpa {
        // somebody's call may have got stuck since the last question
        stuck::check(stuck, object, op, Reach::GenericNetlink)?;
        let queues = (0..target.queues).map(|queue| family.vendor_stats(&target.name, queue));
        let Some(sums) = unless_gone(sums(queues))? else { continue };
        found.extend(sums.into_iter().map(|(name, value)| Statistic {
            device: target.device.clone(),
            name,
            value,
        }));
    }
    Ok(found)
}

/// Sums by name. Where the first queue counts nothing none does, and no other is asked for.
fn sums(queues: impl Iterator<Item = Result<Vec<(String, u64)>>>) -> Result<BTreeMap<String, u64>> {
    let mut sums = BTreeMap::new();
    for counted in queues {
        let counted = counted?;
        if counted.is_empty() {
            break;
        }
        for (name, value) in counted {
            if sums.len() < MOST_STATISTICS || sums.contains_key(&name) {
                let sum: &mut u64 = sums.entry(name).or_default();
                *sum = sum.wrapping_add(value);
            }
        }
    }
    Ok(sums)
}

/// What is gone since the last round has no numbers.
fn unless_gone<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// One number of a VF.
type Counter = fn(&VfStats) -> u64;

/// Writes what was read, and what was not.
pub(super) fn write(page: &mut Page, traffic: Option<Traffic>) {
    let traffic = traffic.unwrap_or_default();
    let read = [
        ("link", traffic.links.is_some()),
        ("function", traffic.functions.is_some()),
        ("vdpa", traffic.vdpa.is_some()),
    ];
    let links = traffic.links.iter().flatten();
    let links = links.map(|l| ([l.parent.as_str(), l.interface.as_str()], u8::from(l.up)));
    page.family(&catalogue::LINK_UP, links);
    let counters: [(&Family, Counter); 6] = [
        (&catalogue::RECEIVE_BYTES, |s| s.received.bytes),
        (&catalogue::TRANSMIT_BYTES, |s| s.sent.bytes),
        (&catalogue::RECEIVE_PACKETS, |s| s.received.packets),
        (&catalogue::TRANSMIT_PACKETS, |s| s.sent.packets),
        (&catalogue::RECEIVE_DROPPED, |s| s.received.dropped),
        (&catalogue::TRANSMIT_DROPPED, |s| s.sent.dropped),
    ];
    for (family, counter) in counters {
        let functions = traffic.functions.iter().flatten();
        let sample = |f: &'_ Function| ([f.parent.clone(), f.device.clone()], counter(&f.stats));
        page.family(family, functions.map(sample));
    }
    let statistics = traffic.vdpa.iter().flatten();
    let statistics = statistics.map(|s| ([s.device.as_str(), s.name.as_str()], s.value));
    page.family(&catalogue::VDPA, statistics);
    let read = read.map(|(collector, read)| ([collector], u8::from(read)));
    page.family(&catalogue::COLLECTED, read);
}

#[cfg(test)]
mod tests;
