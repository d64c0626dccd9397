use std::collections::BTreeMap;

use ringway_kernel::inventory::Traffic;
use ringway_kernel::testing::Tree;
use tempfile::TempDir;

use super::*;
use crate::fake::{Fake, pf};
use crate::step::Step;

/// A fake node whose device nodes are files.
struct Nodes {
    fake: Fake,
    dev: TempDir,
}

impl Node for Nodes {
    fn observe(&mut self) -> ringway_kernel::Result<Observed> {
        let mut observed = self.fake.observe()?;
        for function in observed.inventory.parents.iter_mut().flat_map(|p| &mut p.functions) {
            let vfio = function.vfio.iter_mut().map(|vfio| &mut vfio.group);
            let vhost = function.vdpa.iter_mut().filter_map(|vdpa| vdpa.char_device.as_mut());
            for device in vfio.chain(vhost) {
                device.path = self.dev.path().join(device.path.file_name().unwrap());
            }
        }
        Ok(observed)
    }

    fn overrides(&mut self, pf: Address) -> ringway_kernel::Result<BTreeMap<u32, String>> {
        self.fake.overrides(pf)
    }

    fn apply(&mut self, step: &Step) -> ringway_kernel::Result<()> {
        self.fake.apply(step)
    }
}

struct World {
    node: Nodes,
    dir: TempDir,
}

impl World {
    /// With the nodes that a fake card's functions can have.
    fn new(fake: Fake) -> Self {
        let dev = tempfile::tempdir().unwrap();
        for name in ["vhost-vdpa-0", "0", "1"] {
            std::fs::write(dev.path().join(name), "").unwrap();
        }
        Self { node: Nodes { fake, dev }, dir: tempfile::tempdir().unwrap() }
    }

    fn files(&self) -> Files {
        let dir = |name: &str| self.dir.path().join(name);
        Files::below("n", &dir("state"), &dir("run"), &dir("rules.d")).unwrap()
    }

    fn run(&mut self) -> Result<Report> {
        let (files, tree) = (self.files(), Tree::new(""));
        let args = Selftest { parent: pf(), functions: 2 };
        selftest(&mut self.node, &tree.root(), &files, &args)
    }

    /// How many checks fail, of how many; the card is put back.
    fn fails(&mut self) -> (usize, usize) {
        let before = self.node.fake.card().clone();
        let report = self.run().unwrap();
        assert_eq!(*self.node.fake.card(), before);
        assert!(!self.files().shared.before.exists(), "a record is left");
        (report.failed(), report.checks.len())
    }
}

#[test]
fn a_card_is_taken_through_all_it_can_do_and_put_back() {
    for fake in [Fake::new(), Fake::igb()] {
        let mut world = World::new(fake);
        let before = world.node.fake.card().clone();
        let able = cards::attach(&before).0.len();
        assert_eq!(world.fails(), (0, able * 3 + (able - 1) * 2));
        let two = |step: &&Step| matches!(step, Step::SetFunctionCount { count: 2, .. });
        assert_eq!(world.node.fake.done.iter().filter(two).count(), able * 2 - 1);
    }
}

#[test]
fn what_fails_is_told_and_the_rest_is_tried() {
    let mut world = World::new(Fake::new());
    world.node.fake.absent = vec!["vp_vdpa"];
    // by vDPA nothing can be carved, in three kinds, nor a function changed to or from them
    assert_eq!(world.fails(), (6, 20));

    let mut world = World::new(Fake::igb());
    std::fs::remove_file(world.node.dev.path().join("1")).unwrap();
    assert_eq!(world.fails(), (1, 8));
    let report = world.run().unwrap().to_string();
    assert!(report.contains("| vfio | each is reached | FAILED: open "), "{report}");
    assert!(report.ends_with("\n7 of 8 checks passed\n"), "{report}");
}

#[test]
fn a_card_that_is_used_is_left_alone() {
    let check = |change: fn(&mut Fake), words: &str| {
        let mut world = World::new(Fake::new());
        change(&mut world.node.fake);
        let before = world.node.fake.observed.clone();
        let error = world.run().unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(world.node.fake.observed, before);
        assert!(world.node.fake.done.is_empty());
    };
    check(|fake| fake.set_count(pf(), 1).unwrap(), "it has 1 functions");
    check(|fake| fake.card().driver = Some("nfp".into()), "driver nfp is not known");
    check(|fake| fake.observed.inventory.parents.clear(), "no card with SR-IOV");
    check(
        |fake| fake.card().netdevs[0].traffic.push(Traffic::NotSeen),
        "needs a card that nothing goes through",
    );
    let mut world = World::new(Fake::new());
    let mut record = Before::default();
    record.parents.insert(pf().to_string(), Default::default());
    record.write(&world.files().shared.before).unwrap();
    let error = world.run().unwrap_err().to_string();
    assert!(error.contains("reset --parent 0000:01:00.0"), "{error}");
}
