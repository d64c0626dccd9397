//! The part of a round that blocks: looks at the node, and makes it as wanted.

use std::cell::LazyCell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Result;
use ringway_node::lock::Locks;
use ringway_node::pools::Pools;

use crate::before::Before;
use crate::drain::{self, Draining, Look};
use crate::files::Files;
use crate::holders;
use crate::host::Host;
use crate::kubelet::View;
use crate::leave::{self, Rest};
use crate::node::Observed;
use crate::offer;
use crate::plan::Planned;
use crate::reconcile::{Gate, Report, chain, reconcile};
use crate::udev;
use crate::wanted::Wanted;
use crate::wish::{self, Wish};

/// What the worker is told of the world.
#[derive(Debug)]
pub(crate) struct World<'a> {
    /// Kubelet's view, or why there is none.
    pub(crate) view: &'a Result<View, String>,
    /// When kubelet was asked.
    pub(crate) asked: Instant,
    /// Whether the agent was told to stop.
    pub(crate) stopping: &'a AtomicBool,
    /// What the chart has put on the host.
    pub(crate) host_files: &'a [PathBuf],
}

/// What a round came to.
#[derive(Debug)]
pub(crate) struct Done {
    /// What was wanted.
    pub(crate) wanted: Wanted,
    /// How the node is.
    pub(crate) report: Report,
    /// What it offers; `None` if that cannot be known, or nobody has asked for anything.
    pub(crate) pools: Option<Pools>,
    /// If the node is to be left: what that waits for, or that it is done.
    pub(crate) leaving: Option<Option<String>>,
}

/// Does what may be done, and writes what the node then offers. Without a wish there is nothing to
/// do, but the inventory is worth knowing.
pub(crate) fn work(
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
    let listed = last.as_ref().ok().and_then(Option::as_ref);
    let mut managers = files.managers();
    let gate = |planned: &Planned, observed: &Observed| {
        if wish.is_none() {
            return Gate::Wait("no wish is known yet".to_owned());
        }
        managers.keep_off_first(udev::rules(&wanted, observed, listed));
        if world.stopping.load(Ordering::Relaxed) {
            return Gate::Wait("the agent was told to stop".to_owned());
        }
        let holders = holders::in_the_way(&root, &files.shared.attachments, planned, observed);
        let offered = offered.as_ref().map_err(|error| error.as_str());
        let (kubelet, asked) = (world.view.as_ref().map_err(String::as_str), world.asked);
        let (holders, locks) = (&holders, &locks);
        draining.gate(planned, &Look { offered, kubelet, holders, locks, asked })
    };
    let report = reconcile(&files.node, host, &wanted, &mut before, save, gate)?;
    draining.keep(report.plan.steps.iter());
    let pools = offer::pools(&files.node, &wanted, &report, &draining.devices(), listed);
    let mut pools = pools.filter(|_| wish.is_some());
    if let Some((pools, view)) = pools.as_mut().zip(world.view.as_ref().ok()) {
        let kernel = LazyCell::new(|| holders::of_kernel(&root, &report.observed.inventory));
        offer::let_go(pools, &report, listed, |id| {
            let id = id.as_str();
            let known = view.allocatable.contains(id) || view.held.contains_key(id);
            known || kernel.contains_key(id)
        });
    }
    if let Some(pools) = &pools {
        files.write_pools(pools.clone())?;
        files.keep_managers_off(udev::rules(&wanted, &report.observed, Some(pools)).as_deref());
    }
    let leaving = wish.filter(|wish| wish.leaving).map(|wish| {
        let kubelet = world.view.as_ref().map_err(String::as_str);
        let attachments = leave::attachments(files)?;
        let (before, report) = (&before, &report);
        let waits =
            leave::waits_for(&Rest { wish, before, report, kubelet, attachments: &attachments });
        if waits.is_none() {
            leave::remove(files, world.host_files)?;
        }
        anyhow::Ok(waits)
    });
    Ok(Done { leaving: leaving.transpose()?, wanted, report, pools })
}
