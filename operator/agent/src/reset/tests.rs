use ringway_node::pools::VERSION;
use serde_json::json;

use ringway_kernel::link::{VfSetting, VfTag};
use ringway_kernel::testing::Tree;
use tempfile::TempDir;

use super::*;
use crate::before::ParentBefore;
use crate::fake::{self, Fake, PF, pf};
use crate::offer;
use crate::plan::Attach;
use crate::reconcile::Gate;
use crate::wanted::{Defaults, Parent, ParentName, Pool, Settings};
use crate::wish::Wish;

const A: &str = "0000:01:00.0";
const B: &str = "0000:02:00.0";

fn record(parents: &[&str], vdpa_autoprobe: Option<bool>) -> Before {
    let parents = parents.iter().map(|name| (name.to_string(), ParentBefore::default()));
    Before { parents: parents.collect(), vdpa_autoprobe, vdpa: ["vdpa:x".to_owned()].into() }
}

fn pools() -> Pools {
    let device = |n: u32, parent: &str| {
        json!({"id": format!("{}{n}", &parent[..11]), "parent": parent, "index": 0, "state": "ready",
               "pciAddress": format!("{}{n}", &parent[..11])})
    };
    let pool = |name: &str, devices: serde_json::Value| {
        json!({"name": name, "resource": format!("ringway.dev/{name}"), "attach": "netdev",
               "devices": devices})
    };
    serde_json::from_value(json!({"version": VERSION, "node": "n", "generation": 1, "pools": [
        pool("a", json!([device(1, A)])), pool("both", json!([device(2, A), device(1, B)])),
    ]}))
    .unwrap()
}

#[test]
fn the_bus_goes_with_the_last_parent() {
    let whole = record(&[A, B], Some(true));
    let scope = Scope::of(&whole, &[A.to_owned()]);
    assert_eq!(scope.part, record(&[A], None));
    assert_eq!(scope.whole(&scope.part), whole);
    // what is saved when the part is put back
    assert_eq!(scope.whole(&record(&[], None)), record(&[B], Some(true)));

    for named in [vec![], vec![A.to_owned(), B.to_owned()]] {
        let scope = Scope::of(&whole, &named);
        assert_eq!(scope.part, whole);
        assert_eq!(scope.whole(&Before::default()), Before::default());
    }
}

#[test]
fn what_is_put_back_is_first_not_handed_out_and_then_not_listed() {
    let scope = Scope::of(&record(&[A, B], None), &[A.to_owned()]);
    let states = |pools: &Pools| -> Vec<(String, State)> {
        let devices = pools.pools.iter().flat_map(|pool| &pool.devices);
        devices.map(|device| (device.id.to_string(), device.state)).collect()
    };
    let (one, two, other) = ("0000:01:00.1", "0000:01:00.2", "0000:02:00.1");
    let own = |state| vec![(one.into(), state), (two.into(), state), (other.into(), State::Ready)];
    let pools = withdrawn(pools(), &scope);
    assert_eq!(states(&pools), own(State::Draining));
    // one that could not be put back stays listed, and is not handed out
    let left = A.to_owned();
    assert_eq!(states(&without(pools.clone(), &scope, &[&left].into())), own(State::Draining));
    let rest = without(pools, &scope, &BTreeSet::new());
    assert_eq!(states(&rest), [(other.into(), State::Ready)]);
    assert_eq!(rest.pools.len(), 1, "a pool with nothing in it goes");
}

/// A node that was carved, and what it was before.
struct Carved {
    dir: TempDir,
    tree: Tree,
    fake: Fake,
    at_first: Observed,
}

impl Carved {
    fn new() -> Self {
        let (dir, tree, mut fake) = (tempfile::tempdir().unwrap(), Tree::new(""), Fake::new());
        let _ = fake.apply(&crate::step::Step::LoadModule("vdpa"));
        let at_first = fake.observed.clone();
        let pools = vec![
            fake::pool("vms", 0..=1, Attach::VhostVdpa),
            fake::pool("pods", 2..=3, Attach::VirtioVdpa),
        ];
        let parent = Parent { mtu: Some(1400), ..Parent::new(ParentName::Pci(pf()), 4, pools) };
        let wanted = Wanted { parents: vec![parent], refusals: vec![] };
        Self { at_first, ..Self::of(dir, tree, fake, &wanted) }
    }

    fn of(dir: TempDir, tree: Tree, mut fake: Fake, wanted: &Wanted) -> Self {
        let (at_first, mut before) = (fake.observed.clone(), Before::default());
        let go = |_: &_, _: &_| Gate::Go(vec![]);
        let report = reconcile("n", &mut fake, wanted, &mut before, |_| Ok(()), go).unwrap();
        let carved = Self { dir, tree, fake, at_first };
        let files = carved.files();
        before.write(&files.shared.before).unwrap();
        wish::remember(&files, &Wish::default()).unwrap();
        let pools = offer::pools("n", wanted, &report, &BTreeSet::new(), None).unwrap();
        files.write_pools(pools).unwrap();
        carved
    }

    fn files(&self) -> Files {
        let path = |name: &str| self.dir.path().join(name);
        Files::below("n", &path("state"), &path("run"), &path("rules.d")).unwrap()
    }

    fn reset(&mut self, dry_run: bool) -> Result<()> {
        let kubelet_dir = self.dir.path().join("kubelet");
        let within = Duration::from_secs(1);
        let args = Reset { parents: vec![], dry_run, kubelet_dir, within };
        let files = self.files();
        reset(&mut self.fake, &self.tree.root(), &files, &args)
    }

    /// What `pools.json` offers.
    fn offered(&self) -> usize {
        let pools = self.files().last_pools().unwrap().unwrap().pools;
        let devices = pools.iter().flat_map(|pool| &pool.devices);
        devices.filter(|device| device.state == State::Ready).count()
    }
}

#[test]
fn a_carved_node_is_put_back_and_nothing_is_on_record_of_it() {
    let mut node = Carved::new();
    let steps = node.fake.done.len();
    node.reset(true).unwrap();
    assert_eq!((node.fake.done.len(), node.offered()), (steps, 4), "a dry run changes nothing");
    node.reset(false).unwrap();
    assert_eq!(node.fake.observed.inventory, {
        let mut inventory = node.at_first.inventory.clone();
        inventory.vdpa_family = ringway_kernel::inventory::VdpaFamily::Present;
        inventory
    });
    assert_eq!(node.fake.observed.vdpa_autoprobe, Some(true));
    let shared = node.files().shared;
    assert!(!shared.before.exists() && !shared.node.exists());
    assert_eq!(node.files().last_pools().unwrap().unwrap().pools, []);
    // again, and nothing is to be done
    let steps = node.fake.done.len();
    node.reset(false).unwrap();
    assert_eq!(node.fake.done.len(), steps);
}

#[test]
fn while_a_device_is_in_use_or_an_agent_works_nothing_is_changed() {
    let mut node = Carved::new();
    let (steps, record) =
        (node.fake.done.len(), Before::read(&node.files().shared.before).unwrap());
    node.fake.card().functions[3].vdpa[0].netdevs.clear();
    let error = node.reset(false).unwrap_err().to_string();
    let words = "0000:01:00.4 is in use: its interface is in another network namespace";
    assert!(error.contains(words) && error.contains("nothing was changed"), "{error}");
    node.fake.card().functions[3].vdpa[0].netdevs = vec![crate::fake::netdev("eth9", 9)];
    {
        let _alone = local::alone(&node.files()).unwrap();
        let error = node.reset(false).unwrap_err().to_string();
        assert!(error.contains("another ringway-agent works on this node"), "{error}");
    }
    // a kubelet that was there and does not answer
    std::fs::create_dir_all(node.dir.path().join("kubelet/pod-resources")).unwrap();
    let error = node.reset(false).unwrap_err().to_string();
    assert!(error.contains("kubelet does not say which pods hold devices"), "{error}");
    assert_eq!(node.fake.done.len(), steps);
    assert_eq!(Before::read(&node.files().shared.before).unwrap(), record);
    assert_eq!(node.offered(), 4);
}

#[test]
fn what_cannot_be_put_back_is_said_and_stays_on_record() {
    let mut node = Carved::new();
    node.fake.card().ids.device = 0x9999;
    let error = node.reset(false).unwrap_err().to_string();
    assert!(error.contains("has a card moved?"), "{error}");
    let before = Before::read(&node.files().shared.before).unwrap();
    assert!(before.parents.contains_key(PF));
    assert_eq!(node.offered(), 0, "but nobody is given anything of it");
}

#[test]
fn what_functions_are_set_to_is_put_back() {
    let (dir, tree, mut fake) = (tempfile::tempdir().unwrap(), Tree::new(""), Fake::igb());
    fake.set_count(pf(), 2).unwrap();
    fake.observed.modules.insert("igbvf");
    let theirs = VfSetting::Vlan(Some(VfTag { id: 7, qos: 0, service: false }));
    fake.card().functions[0].settings.as_mut().unwrap().set(theirs);
    let defaults = Defaults {
        stable_mac: true,
        vlan: Some(None),
        trust: Some(true),
        mtu: Some(1280),
        ..Defaults::default()
    };
    let resource = Some("ringway.dev/nets".parse().unwrap());
    let (attach, settings) = (Attach::Netdev, Settings::default());
    let pool = Pool {
        name: "nets".into(),
        resource,
        range: 0..=1,
        attach,
        settings,
        defaults,
        limits: Default::default(),
        allocation: None,
        carrier: None,
    };
    let name = ParentName::Pci(pf());
    let parent = Parent::new(name, 2, vec![pool]);
    let wanted = Wanted { parents: vec![parent], refusals: vec![] };
    let mut node = Carved::of(dir, tree, fake, &wanted);
    assert_ne!(node.fake.observed.inventory, node.at_first.inventory);
    node.reset(false).unwrap();
    assert_eq!(node.fake.observed.inventory, node.at_first.inventory);
    assert!(!node.files().shared.before.exists());
}
