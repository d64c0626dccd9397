//! `selftest`: takes a spare card through every attach kind that it can do, puts it back, and
//! reports. What no lab can prove of a card is proven on it, by whoever has one.
//!
//! It is the same plan, the same steps and the same record as anywhere else. So a selftest that was
//! killed is undone by `reset`.

mod report;

use std::fs::File;
use std::time::Instant;

use anyhow::{Result, bail};
use ringway_api::NodeDevicesSpec;
use ringway_api::device_policy::Attach;
use ringway_kernel::Root;
use ringway_kernel::chardev::CharDevice;
use ringway_kernel::inventory::{Parent, VirtualFunction};
use ringway_kernel::pci::Address;
use serde_json::json;

use self::report::{Check, Report};
use crate::args::Selftest;
use crate::before::Before;
use crate::cards;
use crate::drain::Draining;
use crate::files::Files;
use crate::local;
use crate::node::{Node, Observed};
use crate::plan::{Planned, card, plan};
use crate::reconcile::{chain, reconcile};
use crate::reset::Scope;
use crate::wanted::{ParentName, Wanted};

/// Goes through all of it, and prints what came of it.
///
/// # Errors
/// The card is not spare, and nothing was changed; or a check failed, and the report says which.
pub fn run(node: &mut impl Node, root: &Root, files: &Files, args: &Selftest) -> Result<()> {
    let report = selftest(node, root, files, args)?;
    local::print(&report.to_string())?;
    match report.failed() {
        0 => Ok(()),
        failed => bail!("{failed} of {} checks failed", report.checks.len()),
    }
}

fn selftest(node: &mut impl Node, root: &Root, files: &Files, args: &Selftest) -> Result<Report> {
    let _alone = local::alone(files)?;
    let scope = Scope::of(&Before::read(&files.shared.before)?, &[args.parent.to_string()]);
    let rest = spare(&node.observe()?, &scope.part, args.parent)?;
    let (able, unable) = cards::attach(&rest);
    let count = rest.totalvfs.min(args.functions);
    let mut report = Report::of(&rest, unable);
    let mut bench = Bench { node, root, files, scope, rest, count };
    for attach in &able {
        report.checks.extend(bench.attach(*attach));
    }
    for (from, to) in able.iter().zip(able.iter().skip(1)) {
        report.checks.extend(bench.change(*from, *to));
    }
    if bench.scope.whole(&bench.scope.part) == Before::default() {
        ringway_node::atomic::remove(&files.shared.before)?;
    }
    Ok(report)
}

/// The card as it is, if nobody can miss it.
fn spare(observed: &Observed, part: &Before, pf: Address) -> Result<Parent> {
    let Some(found) = observed.parent(&ParentName::Pci(pf)) else {
        bail!("{pf}: no card with SR-IOV is at this address: `ringway-agent observe` shows them");
    };
    if let Some(reason) = card::off_limits(found) {
        bail!("{reason}: a selftest needs a card that nothing goes through");
    }
    if part.parents.contains_key(&pf.to_string()) {
        bail!("{pf}: it is carved by Ringway: `ringway-agent reset --parent {pf}` puts it back");
    }
    if found.numvfs > 0 {
        bail!("{pf}: it has {} functions: a selftest would take them away", found.numvfs);
    }
    if cards::card(found.driver.as_deref()).is_none() {
        bail!("{pf}: {}", cards::attach(found).1.unwrap_or_default());
    }
    Ok(found.clone())
}

/// A card under test.
struct Bench<'a, N> {
    node: &'a mut N,
    root: &'a Root,
    files: &'a Files,
    scope: Scope,
    /// The card before all of it.
    rest: Parent,
    count: u16,
}

impl<N: Node> Bench<'_, N> {
    /// Every function attached in one way, and back.
    fn attach(&mut self, attach: Attach) -> Vec<Check> {
        let (kind, count) = (attach.as_str(), self.count);
        let wish = self.wish(&[(0, count - 1, attach)]);
        let mut checks =
            vec![self.check(kind, format!("carve {count} functions"), |b| b.make(&wish))];
        if checks[0].failure.is_none() {
            checks.push(self.check(kind, "each is reached".into(), |b| b.reached(attach)));
        }
        checks.push(self.back(kind));
        checks
    }

    /// The first function changed from one kind to another, which the others do not notice.
    fn change(&mut self, from: Attach, to: Attach) -> Vec<Check> {
        let kind = format!("{} to {}", from.as_str(), to.as_str());
        let last = self.count - 1;
        if last == 0 {
            return Vec::new();
        }
        let all = self.wish(&[(0, last, from)]);
        let one = self.wish(&[(0, 0, to), (1, last, from)]);
        let what = "change one function, leave its neighbours";
        let changed = self.check(&kind, what.into(), |bench| {
            bench.make(&all)?;
            let neighbours = bench.neighbours()?;
            bench.make(&one)?;
            let now = bench.neighbours()?;
            if now != neighbours {
                bail!("the neighbours were {neighbours:?}, and are {now:?}");
            }
            Ok(())
        });
        vec![changed, self.back(&kind)]
    }

    fn back(&mut self, kind: &str) -> Check {
        self.check(kind, "put back".into(), |bench| {
            bench.make(&Wanted::default())?;
            let now = bench.card()?;
            let (was, is) = (steady(bench.rest.clone()), steady(now));
            if was != is {
                bail!("the card was {was:?}, and is {is:?}");
            }
            Ok(())
        })
    }

    fn check(
        &mut self,
        attach: &str,
        what: String,
        work: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Check {
        let begun = Instant::now();
        let failure = work(self).err().map(|error| format!("{error:#}"));
        Check { attach: attach.to_owned(), what, took: begun.elapsed(), failure }
    }

    fn wish(&self, pools: &[(u16, u16, Attach)]) -> Wanted {
        let pool = |(first, last, attach): &(u16, u16, Attach)| {
            let name = format!("p{first}");
            let mut pool =
                json!({"name": name, "range": format!("{first}-{last}"), "attach": attach});
            if *attach != Attach::Host {
                pool["resource"] = json!(format!("ringway.dev/selftest-{first}"));
            }
            pool
        };
        let pools: Vec<_> = pools.iter().map(pool).collect();
        let parent = json!({"name": self.rest.address.to_string(), "policy": "selftest",
                            "functionCount": self.count, "pools": pools});
        let spec: NodeDevicesSpec =
            serde_json::from_value(json!({"parents": [parent]})).unwrap_or_default();
        Wanted::of(&spec)
    }

    /// Makes it so, and fails with what is not.
    fn make(&mut self, wanted: &Wanted) -> Result<()> {
        let (root, files, scope) = (self.root, self.files, &self.scope);
        let mut draining = Draining::default();
        let mut part = scope.part.clone();
        let save = |part: &Before| scope.whole(part).write(&files.shared.before);
        let gate = |planned: &Planned, observed: &Observed| {
            local::gate(root, &files.shared, &mut draining, planned, observed)
        };
        let made = reconcile(&files.node, self.node, wanted, &mut part, save, gate);
        self.scope.part = part;
        let made = made?;
        let failed = made.failures.iter();
        let failed = failed.map(|(planned, error)| format!("{}: {}", planned.step, chain(error)));
        let failed: Vec<_> = failed.collect();
        let problems = if failed.is_empty() { local::problems(&made) } else { failed };
        if !problems.is_empty() {
            bail!("{}", problems.join("; "));
        }
        // a plan that is not empty now never will be
        let left = plan(&files.node, wanted, &self.node.observe()?, &self.scope.part).steps;
        match left.first() {
            None => Ok(()),
            Some(step) => bail!("it does not stay so: {} is to be done again", step.step),
        }
    }

    fn card(&mut self) -> Result<Parent> {
        let observed = self.node.observe()?;
        let found = observed.parent(&ParentName::Pci(self.rest.address)).cloned();
        found.ok_or_else(|| anyhow::anyhow!("the card is gone"))
    }

    /// What a user of any function but the first would notice: another driver, device node or
    /// interface.
    fn neighbours(&mut self) -> Result<Vec<String>> {
        let seen = |function: VirtualFunction| {
            let devices: Vec<_> =
                function.vdpa.iter().map(|v| (&v.driver, &v.char_device)).collect();
            let netdevs = function.vdpa.iter().flat_map(|vdpa| &vdpa.netdevs);
            let links: Vec<_> = function.netdevs.iter().chain(netdevs).map(|n| n.index).collect();
            let VirtualFunction { address, driver, vfio, .. } = &function;
            format!("{address} {driver:?} {vfio:?} {devices:?} {links:?}")
        };
        Ok(self.card()?.functions.into_iter().skip(1).map(seen).collect())
    }

    /// Whether a user would find what it needs: an interface, or a device that can be opened.
    fn reached(&mut self, attach: Attach) -> Result<()> {
        for function in self.card()?.functions {
            let (index, vdpa) = (function.index, function.vdpa.first());
            let device = |device: Option<&CharDevice>| match device {
                Some(device) => opens(device),
                None => bail!("function {index} has no device node"),
            };
            let has = match attach {
                Attach::VhostVdpa => {
                    device(vdpa.and_then(|vdpa| vdpa.char_device.as_ref()))?;
                    true
                }
                Attach::Vfio => {
                    device(function.vfio.iter().flat_map(|vfio| vfio.own()).next())?;
                    true
                }
                Attach::Netdev => !function.netdevs.is_empty(),
                Attach::VirtioVdpa | Attach::Host => vdpa.is_some_and(|v| !v.netdevs.is_empty()),
            };
            if !has {
                bail!("function {index} has no interface: {}", drivers(&function));
            }
        }
        Ok(())
    }
}

fn opens(device: &CharDevice) -> Result<()> {
    match File::options().read(true).write(true).open(&device.path) {
        Ok(_) => Ok(()),
        Err(error) => bail!("open {}: {error}", device.path.display()),
    }
}

fn drivers(function: &VirtualFunction) -> String {
    let vdpa = function.vdpa.first().and_then(|vdpa| vdpa.driver.as_deref());
    let own = function.driver.as_deref();
    format!("its driver is {}, its vDPA device's {}", own.unwrap_or("none"), vdpa.unwrap_or("none"))
}

/// A card without what nobody has to put back.
fn steady(mut card: Parent) -> Parent {
    for netdev in &mut card.netdevs {
        netdev.carrier = false;
    }
    card
}

#[cfg(test)]
mod tests;
