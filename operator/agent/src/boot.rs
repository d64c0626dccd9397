//! `boot`: makes the node what it was told to be last, before kubelet starts.
//!
//! Who could hold a device then? Pods are given devices by our device plugin's Allocate and by the
//! CNI plugin, and both lock the device first, in a directory of `/run` that the machine starts
//! without, by files that are never removed. So a device without a lock file has been given to
//! nobody since the machine started; and whatever held it before ended with the kernel that it ran
//! on. That none can be given now: both act for kubelet only, and kubelet does not run. This must be
//! known, not taken from silence: its socket is not there, or nobody listens on it. Processes
//! outside Kubernetes are looked for as always, in the kernel.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ringway_kernel::Root;

use crate::args::Boot;
use crate::before::Before;
use crate::drain::Draining;
use crate::files::Files;
use crate::kubelet;
use crate::local;
use crate::node::{Node, Observed};
use crate::offer;
use crate::plan::Planned;
use crate::reconcile::{Gate, reconcile};
use crate::udev;
use crate::wanted::{ParentName, Wanted};
use crate::wish;

/// Cards are there when udev has settled; one whose driver takes longer has this long.
const APPEAR: Duration = Duration::from_secs(15);
/// Between two looks for them.
const PAUSE: Duration = Duration::from_millis(200);

/// Applies `node.json`, and writes what the node then offers.
///
/// # Errors
/// Another agent or a kubelet runs; the wish cannot be read; not everything became as wanted, and
/// `pools.json` says what did.
pub fn boot(node: &mut impl Node, root: &Root, mut files: Files, args: &Boot) -> Result<()> {
    let deadline = Instant::now() + args.within;
    let _alone = local::alone(&files)?;
    let Some(wish) = wish::read(&files)? else {
        return local::print("nothing was ever wished of this node\n");
    };
    if kubelet::runs(&args.kubelet_dir)? {
        bail!("kubelet runs: this is for the time before it does, then ringway-agent run is");
    }
    let last = files.last_pools().ok().flatten();
    if let Some(last) = &last {
        // as the cluster calls it; the machine may call itself something else
        files.node.clone_from(&last.node);
    }
    let wanted = Wanted::of(&wish.spec);
    wait_for_cards(node, &wanted, deadline.min(Instant::now() + APPEAR))?;
    let given = given_out(&files.shared.locks)?;
    let mut before = Before::read(&files.shared.before)?;
    let mut draining = Draining::default();
    let mut managers = files.managers();
    let gate = |planned: &Planned, observed: &Observed| {
        if Instant::now() >= deadline {
            return Gate::Wait("the time for it at boot is over".to_owned());
        }
        managers.keep_off_first(udev::rules(&wanted, observed, last.as_ref()));
        match may_disturb(planned, &given, &args.kubelet_dir) {
            Ok(()) => local::gate(root, &files.shared, &mut draining, planned, observed),
            Err(why) => Gate::Wait(why),
        }
    };
    let save = |before: &Before| before.write(&files.shared.before);
    let report = reconcile(&files.node, node, &wanted, &mut before, save, gate)?;
    if let Some(pools) =
        offer::pools(&files.node, &wanted, &report, &BTreeSet::new(), last.as_ref())
    {
        files.write_pools(pools)?;
    }
    local::finish(&report)
}

/// What was given to somebody since the machine started: every device that was ever locked.
fn given_out(locks: &Path) -> Result<BTreeSet<String>> {
    let entries = match std::fs::read_dir(locks) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error).with_context(|| format!("list {}", locks.display())),
    };
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        Ok(entry?.file_name().to_string_lossy().into_owned())
    };
    let names = entries.map(name).collect::<std::io::Result<_>>();
    names.with_context(|| format!("list {}", locks.display()))
}

/// Whether nobody can have been given the devices that a step disturbs.
fn may_disturb(planned: &Planned, given: &BTreeSet<String>, kubelet: &Path) -> Result<(), String> {
    if let Some(id) = planned.disturbs.iter().find(|id| given.contains(id.as_str())) {
        return Err(format!(
            "{id} may have been given to a pod since the machine started, and kubelet does not \
             run to say so"
        ));
    }
    match kubelet::runs(kubelet) {
        _ if planned.disturbs.is_empty() => Ok(()),
        Ok(false) => Ok(()),
        Ok(true) => Err("kubelet has started".to_owned()),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// Until every card that is wanted is there and has a driver, or the time is over.
fn wait_for_cards(node: &mut impl Node, wanted: &Wanted, until: Instant) -> Result<()> {
    while missing(wanted, &node.observe()?) && Instant::now() < until {
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn missing(wanted: &Wanted, observed: &Observed) -> bool {
    let there = |name: &ParentName| observed.parent(name).is_some_and(|p| p.driver.is_some());
    let cards = wanted.parents.iter().map(|parent| &parent.name);
    cards.filter(|name| matches!(name, ParentName::Pci(_))).any(|name| !there(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use ringway_kernel::testing::Tree;
    use ringway_node::lock::Locks;

    use super::*;
    use crate::fake::{Fake, pf};
    use crate::step::Step;
    use crate::wanted::Parent;

    fn step(disturbs: &[&str]) -> Planned {
        Planned {
            step: Step::SetFunctionCount { pf: pf(), count: 0 },
            parent: ParentName::Pci(pf()),
            function: None,
            disturbs: disturbs.iter().map(|id| id.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn what_was_locked_since_the_machine_started_may_be_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let (locks, kubelet) = (dir.path().join("lock"), dir.path().join("kubelet"));
        assert_eq!(given_out(&locks).unwrap(), BTreeSet::new(), "nothing was");
        Locks::at(&locks).try_lock(&"0000:01:00.1".parse().unwrap()).unwrap();
        let given = given_out(&locks).unwrap();
        let may = |ids: &[&str]| may_disturb(&step(ids), &given, &kubelet);
        assert_eq!(may(&["0000:01:00.2"]), Ok(()));
        let why = may(&["0000:01:00.2", "0000:01:00.1"]).unwrap_err();
        assert!(why.starts_with("0000:01:00.1 may have been given to a pod"), "{why}");
    }

    #[test]
    fn nothing_is_disturbed_once_kubelet_runs() {
        let dir = tempfile::tempdir().unwrap();
        let socket = kubelet::directory(dir.path());
        std::fs::create_dir_all(&socket).unwrap();
        let may = |ids: &[&str]| may_disturb(&step(ids), &BTreeSet::new(), dir.path());
        assert_eq!(may(&["0000:01:00.1"]), Ok(()), "no socket");
        let listener = UnixListener::bind(socket.join("kubelet.sock")).unwrap();
        assert_eq!(may(&["0000:01:00.1"]), Err("kubelet has started".into()));
        assert_eq!(may(&[]), Ok(()), "what disturbs nobody goes on");
        drop(listener);
        assert_eq!(may(&["0000:01:00.1"]), Ok(()), "a socket of before, with nobody there");
    }

    #[test]
    fn the_node_becomes_what_was_wished_last_and_says_what_it_offers() {
        let (dir, tree) = (tempfile::tempdir().unwrap(), Tree::new(""));
        let kubelet_dir = dir.path().join("kubelet");
        let args = Boot { kubelet_dir: kubelet_dir.clone(), within: Duration::from_secs(60) };
        let files = || {
            let path = |name: &str| dir.path().join(name);
            Files::below("n", &path("state"), &path("run"), &path("rules.d")).unwrap()
        };
        let mut fake = Fake::new();
        boot(&mut fake, &tree.root(), files(), &args).unwrap();
        assert_eq!(fake.done, [], "nothing was wished");
        let spec = serde_json::from_value(serde_json::json!({"parents": [{
            "name": pf().to_string(), "policy": "p", "functionCount": 2,
            "pools": [{"name": "vms", "resource": "ringway.dev/vms", "range": "0-1",
                       "attach": "vhost-vdpa"}],
        }]}));
        let wish = wish::Wish { generation: Some(3), spec: spec.unwrap(), leaving: false };
        wish::remember(&files(), &wish).unwrap();
        boot(&mut fake, &tree.root(), files(), &args).unwrap();
        assert_eq!(fake.card().numvfs, 2);
        let pools = files().last_pools().unwrap().unwrap();
        assert_eq!(pools.pools[0].devices.len(), 2);
        assert_eq!(wish::read(&files()).unwrap(), Some(wish));

        // kubelet runs, and one agent does
        std::fs::create_dir_all(kubelet::directory(&kubelet_dir)).unwrap();
        let socket = kubelet::directory(&kubelet_dir).join("kubelet.sock");
        let listener = UnixListener::bind(socket).unwrap();
        let error = boot(&mut fake, &tree.root(), files(), &args).unwrap_err();
        assert!(error.to_string().starts_with("kubelet runs"), "{error}");
        drop(listener);
        let _alone = local::alone(&files()).unwrap();
        let error = boot(&mut fake, &tree.root(), files(), &args).unwrap_err();
        assert!(error.to_string().contains("another ringway-agent"), "{error}");
    }

    #[test]
    fn a_card_without_its_driver_is_waited_for() {
        let mut fake = Fake::new();
        let name = ParentName::Pci(pf());
        let parent = Parent::new(name, 1, vec![]);
        let wanted = Wanted { parents: vec![parent], refusals: vec![] };
        assert!(!missing(&wanted, &fake.observed));
        fake.card().driver = None;
        assert!(missing(&wanted, &fake.observed));
        fake.observed.inventory.parents.clear();
        assert!(missing(&wanted, &fake.observed));
    }
}
