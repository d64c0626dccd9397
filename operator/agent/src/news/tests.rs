use super::*;
use crate::before::Before;
use crate::fake::{self, Fake, pf};
use crate::node::Node as _;
use crate::plan::{Attach, Planned};
use crate::reconcile::{Gate, reconcile};
use crate::step::Step;
use crate::wanted::{Parent, ParentName, Wanted};

/// A node, what is wanted of it, and what was told of it.
struct World {
    fake: Fake,
    wanted: Wanted,
    wish: Wish,
    before: Before,
    told: Told,
}

impl World {
    fn new() -> Self {
        let pool = fake::pool("vms", 0..=1, Attach::VhostVdpa);
        let name = ParentName::Pci(pf());
        let parent = Parent::new(name, 2, vec![pool]);
        Self {
            fake: Fake::new(),
            wanted: Wanted { parents: vec![parent], refusals: vec![] },
            wish: Wish { generation: Some(1), ..Wish::default() },
            before: Before::default(),
            told: Told::default(),
        }
    }

    fn round(&mut self) -> Vec<News> {
        self.round_through(|_| Gate::Go(vec![]))
    }

    fn round_through(&mut self, mut gate: impl FnMut(&Planned) -> Gate) -> Vec<News> {
        let Self { fake, wanted, wish, before, told } = self;
        let gate = |planned: &_, _: &_| gate(planned);
        let report = reconcile("n", fake, wanted, before, |_| Ok(()), gate).unwrap();
        told.news(Some(wish), &report)
    }

    /// Somebody takes a device from its driver.
    fn drift(&mut self) {
        self.fake.apply(&Step::UnbindVdpa { name: "vdpa:0000:01:00.2".into() }).unwrap();
    }
}

fn words(news: &[News]) -> Vec<(Kind, &str, &str)> {
    news.iter().map(|news| (news.kind, news.reason, news.note.as_str())).collect()
}

const REPAIRED: &str = "0000:01:00.0 had changed and is as wanted again: \
                        bind the vDPA device of function 1 of 0000:01:00.0 to vhost_vdpa";

#[test]
fn what_was_asked_for_is_no_news_and_drift_is() {
    let mut world = World::new();
    assert_eq!(world.round(), []);
    assert_eq!(world.round(), []);
    world.drift();
    assert_eq!(words(&world.round()), [(Kind::Repaired, "Repaired", REPAIRED)]);
    assert_eq!(world.round(), []);
}

#[test]
fn a_repair_that_has_to_wait_is_told_once_it_is_done() {
    let mut world = World::new();
    world.round();
    world.drift();
    for _ in 0..3 {
        assert_eq!(world.round_through(|_| Gate::Wait("it is draining".into())), []);
    }
    assert_eq!(words(&world.round()), [(Kind::Repaired, "Repaired", REPAIRED)]);
}

#[test]
fn what_changes_with_the_wish_is_no_drift() {
    let mut world = World::new();
    world.round();
    world.wanted.parents[0].pools[0].attach = Attach::VirtioVdpa;
    world.wish.spec.parents.push(
        serde_json::from_value(serde_json::json!({
            "name": "0000:01:00.0", "policy": "edge", "functionCount": 2,
        }))
        .unwrap(),
    );
    assert_eq!(world.round(), []);
    // nor is what an agent finds at its start
    world.drift();
    world.told = Told::default();
    assert_eq!(world.round(), []);
}

#[test]
fn a_held_device_is_told_with_its_holder_until_another_holds_it() {
    let mut world = World::new();
    let held = |pod: &str| {
        let who = format!("0000:01:00.1 is in use: pod default/{pod} holds it");
        move |_: &_| Gate::Held(who.clone())
    };
    let news = world.round_through(held("a"));
    let note = "0000:01:00.1 is in use: pod default/a holds it";
    assert_eq!(words(&news), [(Kind::Held, "DeviceHeld", note)]);
    assert_eq!(world.round_through(held("a")), []);
    assert_eq!(world.round_through(held("b")).len(), 1);
    // and again after it was free
    world.round_through(|_| Gate::Wait("it is draining".into()));
    assert_eq!(world.round_through(held("b")).len(), 1);
}

#[test]
fn a_step_that_fails_again_and_again_is_told_once() {
    let mut world = World::new();
    world.fake.absent.push("vp_vdpa");
    let news = world.round();
    assert_eq!((news.len(), news[0].kind, news[0].reason), (1, Kind::Failed, "ModuleMissing"));
    assert!(news[0].note.starts_with("0000:01:00.0: load kernel module vp_vdpa: "), "{news:?}");
    assert_eq!(world.round(), []);
    world.fake.absent.clear();
    assert_eq!(world.round(), []);
}

#[test]
fn a_refusal_is_told_until_it_is_gone_and_again_when_it_is_back() {
    let mut world = World::new();
    for _ in 0..2 {
        world.fake.card().driver = Some("igb".into());
        let news = world.round();
        assert_eq!(
            (news.len(), news[0].kind, news[0].reason),
            (1, Kind::Refused, "AttachUnsupported")
        );
        assert_eq!(world.round(), []);
        world.fake.card().driver = Some("virtio-pci".into());
        assert!(world.round().iter().all(|news| news.kind != Kind::Refused));
    }
}

#[test]
fn a_round_that_breaks_is_told_until_one_does_not() {
    let mut world = World::new();
    assert_eq!(
        world.told.broken("no space").unwrap().note,
        "the node cannot be worked on: no space"
    );
    assert_eq!(world.told.broken("no space left"), None);
    world.round();
    assert!(world.told.broken("no space").is_some());
}

#[test]
fn notes_are_no_longer_than_the_api_server_takes_and_not_many() {
    let mut world = World::new();
    let refusal = |message: String| crate::wanted::Refusal {
        parent: "x".into(),
        function: None,
        reason: ringway_api::conditions::Reason::Invalid,
        message,
    };
    world.wanted.refusals =
        (0..100).map(|i| refusal(format!("{i} {}", "ü".repeat(2000)))).collect();
    let news = world.round();
    assert_eq!(news.len(), MOST);
    assert!(news.iter().all(|news| news.note.len() <= LONGEST_NOTE && news.note.ends_with("ü...")));
}
