//! `reset`: puts the node, or some of its parents, back to what it was before us.
//!
//! It is nobody's wish: what is planned for a parent that nobody wants carved is what
//! `before.json` remembers of it. Killed at any point, it goes on when it is called again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ringway_kernel::Root;
use ringway_node::DeviceId;
use ringway_node::lock::Locks;
use ringway_node::pools::{Pools, State};

use crate::args::Reset;
use crate::before::Before;
use crate::drain::{self, Draining, GRACE, Look};
use crate::files::Files;
use crate::holders::{self, Holders};
use crate::kubelet;
use crate::local;
use crate::node::{Node, Observed};
use crate::plan::{Planned, plan};
use crate::preview::Preview;
use crate::reconcile::{Report, chain, reconcile};
use crate::wanted::Wanted;
use crate::wish;

/// Why devices are not handed out any more, as `pools.json` says it.
const REASON: &str = "the node is being put back to what it was";

/// Puts back.
///
/// # Errors
/// Another agent works on the node; a device is in use, and nothing was changed; something could
/// not be put back.
pub fn reset(node: &mut impl Node, root: &Root, files: &Files, args: &Reset) -> Result<()> {
    if args.dry_run {
        return dry_run(node, root, files, args);
    }
    let _alone = local::alone(files)?;
    let whole = Before::read(&files.shared.before)?;
    let scope = Scope::of(&whole, &args.parents);
    refuse_if_held(node, root, files, args, &scope)?;
    // whoever starts next must not carve again, and from here on nobody is given a device
    wish::forget(files, scope.named.as_deref())?;
    let world = World { root, files, kubelet: &args.kubelet_dir, scope: &scope };
    if let Some(pools) = files.last_pools().map_err(|e| broken_pools(&e))? {
        files.write_pools(withdrawn(pools, &scope))?;
    }
    let mut part = scope.part.clone();
    let report = put_back(node, &world, args.within, &mut part)?;
    let left: BTreeSet<&String> = part.parents.keys().collect();
    if let Some(pools) = files.last_pools().map_err(|e| broken_pools(&e))? {
        files.write_pools(without(pools, &scope, &left))?;
    }
    if scope.whole(&part) == Before::default() {
        ringway_node::atomic::remove(&files.shared.before)?;
    }
    tell(&scope, &part, &report)
}

/// What is put back, and what is not touched.
#[derive(Debug)]
pub(crate) struct Scope {
    /// What was asked for; `None` is everything.
    named: Option<Vec<String>>,
    /// What is on record of it.
    pub(crate) part: Before,
    /// What is on record of the rest.
    rest: Before,
}

impl Scope {
    /// What is on record, divided by whether its parent is named; if none is, all of it is meant.
    pub(crate) fn of(whole: &Before, named: &[String]) -> Self {
        let named = (!named.is_empty()).then(|| named.to_vec());
        let asked = |name: &String| named.as_ref().is_none_or(|named| named.contains(name));
        let (mut part, mut rest) = (whole.clone(), whole.clone());
        part.parents.retain(|name, _| asked(name));
        rest.parents.retain(|name, _| !asked(name));
        // the bus goes with the last parent, and all devices are told from somebody else's
        match rest.parents.is_empty() {
            true => rest.vdpa_autoprobe = None,
            false => part.vdpa_autoprobe = None,
        }
        Self { named, part, rest }
    }

    fn covers(&self, parent: &str) -> bool {
        self.named.as_ref().is_none_or(|named| named.iter().any(|name| name == parent))
    }

    /// The record of all, with what is on record of the part now.
    pub(crate) fn whole(&self, part: &Before) -> Before {
        let mut whole = part.clone();
        whole.parents.extend(self.rest.parents.clone());
        whole.vdpa_autoprobe = part.vdpa_autoprobe.or(self.rest.vdpa_autoprobe);
        whole
    }
}

fn dry_run(node: &mut impl Node, root: &Root, files: &Files, args: &Reset) -> Result<()> {
    let scope = Scope::of(&Before::read(&files.shared.before)?, &args.parents);
    let observed = node.observe()?;
    let plan = plan(&files.node, &Wanted::default(), &observed, &scope.part);
    let mut holders = holders::of_kernel(root, &observed.inventory);
    if let Some(Ok(view)) = ask(&args.kubelet_dir)? {
        holders.extend(view.held);
    }
    let preview = Preview::of(&plan, &holders);
    local::print(&match preview.is_empty() {
        true => "nothing is to be put back\n".to_owned(),
        false => preview.to_string(),
    })
}

/// Kubelet's view, or why there is none; `None` where no kubelet ever was.
fn ask(kubelet: &Path) -> Result<Option<Result<kubelet::View, String>>> {
    if !kubelet::is_installed(kubelet) {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let view = runtime.block_on(kubelet::view(kubelet));
    Ok(Some(view.map_err(|error| format!("{error:#}"))))
}

/// Nothing is begun while a device is in use that would have to go.
fn refuse_if_held(
    node: &mut impl Node,
    root: &Root,
    files: &Files,
    args: &Reset,
    scope: &Scope,
) -> Result<()> {
    let observed = node.observe()?;
    let plan = plan(&files.node, &Wanted::default(), &observed, &scope.part);
    let holders = holders::of_kernel(root, &observed.inventory);
    let view = ask(&args.kubelet_dir)?;
    let pods = match &view {
        Some(Err(why)) if plan.steps.iter().any(|step| !step.disturbs.is_empty()) => bail!(
            "kubelet does not say which pods hold devices: {why}; nothing was changed. If no \
             kubelet runs on this machine any more, remove {}",
            kubelet::directory(&args.kubelet_dir).display(),
        ),
        Some(Ok(view)) => &view.held,
        _ => &Holders::new(),
    };
    let disturbed: BTreeSet<&DeviceId> = plan.steps.iter().flat_map(|s| &s.disturbs).collect();
    let held: Vec<String> =
        disturbed.into_iter().filter_map(|id| drain::holder(id, pods, &holders)).collect();
    if !held.is_empty() {
        bail!("devices are in use, nothing was changed:\n  - {}", held.join("\n  - "));
    }
    Ok(())
}

/// Where it is put back.
struct World<'a> {
    root: &'a Root,
    files: &'a Files,
    kubelet: &'a Path,
    scope: &'a Scope,
}

fn put_back(
    node: &mut impl Node,
    world: &World<'_>,
    within: Duration,
    part: &mut Before,
) -> Result<Report> {
    let deadline = Instant::now() + within;
    let (mut draining, mut done) = (Draining::default(), Vec::new());
    loop {
        let asked = Instant::now();
        let mut report = world.round(node, asked, part, &mut draining)?;
        draining.keep(report.plan.steps.iter());
        done.append(&mut report.done);
        // only what drains comes of itself
        if draining.devices().is_empty() || asked >= deadline {
            report.done = done;
            return Ok(report);
        }
        std::thread::sleep(GRACE);
    }
}

impl World<'_> {
    fn round(
        &self,
        node: &mut impl Node,
        asked: Instant,
        part: &mut Before,
        draining: &mut Draining,
    ) -> Result<Report> {
        let Self { root, files, kubelet, scope } = self;
        let (view, locks) = (ask(kubelet)?, Locks::at(&files.shared.locks));
        let offered = match (&view, files.last_pools()) {
            // without a cluster nobody can have been given a device
            (None, _) => Ok(BTreeMap::new()),
            (Some(_), last) => last.map(|last| drain::states(last.as_ref())).map_err(|e| chain(&e)),
        };
        let save = |part: &Before| scope.whole(part).write(&files.shared.before);
        let gate = |planned: &Planned, observed: &Observed| {
            let holders = holders::in_the_way(root, &files.shared.attachments, planned, observed);
            let kubelet = match &view {
                None => Err("there is no cluster"),
                Some(view) => view.as_ref().map_err(String::as_str),
            };
            let offered = offered.as_ref().map_err(String::as_str);
            let (holders, locks) = (&holders, &locks);
            draining.gate(planned, &Look { offered, kubelet, holders, locks, asked })
        };
        reconcile(&files.node, node, &Wanted::default(), part, save, gate)
    }
}

fn broken_pools(error: &ringway_node::pools::Error) -> anyhow::Error {
    anyhow::anyhow!("what the node offers cannot be withdrawn: {}", chain(error))
}

/// The pools, with nothing of the reset parents to be handed out.
fn withdrawn(mut pools: Pools, scope: &Scope) -> Pools {
    for device in pools.pools.iter_mut().flat_map(|pool| &mut pool.devices) {
        if scope.covers(&device.parent) {
            (device.state, device.reason) = (State::Draining, Some(REASON.to_owned()));
        }
    }
    pools
}

/// The pools without the parents that are put back.
fn without(mut pools: Pools, scope: &Scope, left: &BTreeSet<&String>) -> Pools {
    for pool in &mut pools.pools {
        pool.devices.retain(|d| !scope.covers(&d.parent) || left.contains(&d.parent));
    }
    pools.pools.retain(|pool| !pool.devices.is_empty());
    pools
}

/// Says what was put back, and fails with what was not.
fn tell(scope: &Scope, part: &Before, report: &Report) -> Result<()> {
    let mut text = String::new();
    for name in scope.part.parents.keys().filter(|name| !part.parents.contains_key(*name)) {
        text += &format!("{name}: as it was before\n");
    }
    for name in scope.named.iter().flatten().filter(|n| !scope.part.parents.contains_key(*n)) {
        text += &format!("{name}: nothing of it was changed\n");
    }
    let steps = report.done.len();
    text += &format!("{steps} step{} done\n", if steps == 1 { "" } else { "s" });
    local::print(&text)?;
    let problems = local::problems(report);
    if !problems.is_empty() {
        bail!("not everything is as it was before:\n  - {}", problems.join("\n  - "));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
