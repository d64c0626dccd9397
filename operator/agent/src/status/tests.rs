use ringway_api::device_policy::Attach;
use ringway_kernel::features::Features;
use ringway_kernel::sriov::Layout;

use super::*;
use crate::before::Before;
use crate::fake::{Fake, pf, pool};
use crate::plan::plan as plan_of;
use crate::reconcile::{Gate, reconcile};
use crate::wanted::{Defaults, Pool, Settings};

fn wanted() -> Wanted {
    let pools =
        vec![pool("vms", 0..=1, Attach::VhostVdpa), pool("pods", 2..=2, Attach::VirtioVdpa)];
    let name = ParentName::Pci(pf());
    Wanted { parents: vec![Parent::new(name, 4, pools)], refusals: vec![] }
}

fn time(seconds: i64) -> Time {
    serde_json::from_value(serde_json::json!(format!("2026-01-01T00:00:{seconds:02}Z"))).unwrap()
}

fn condition<'a>(status: &'a NodeDevicesStatus, kind: &str) -> &'a Condition {
    status.conditions.iter().find(|c| c.type_ == kind).unwrap()
}

#[test]
fn equal_neighbours_share_an_entry() {
    let mut fake = Fake::new();
    let go = |_: &_, _: &_| Gate::Go(vec![]);
    let report =
        reconcile("n", &mut fake, &wanted(), &mut Before::default(), |_| Ok(()), go).unwrap();
    let status = status(Some(3), &wanted(), &report, &[], &time(0));
    let functions: Vec<_> = status.parents[0]
        .functions
        .iter()
        .map(|f| (f.range.as_str(), f.devices.len(), f.pool.as_deref(), f.ready))
        .collect();
    assert_eq!(
        functions,
        [("0-1", 2, Some("vms"), true), ("2", 1, Some("pods"), true), ("3", 1, None, false),]
    );
    assert_eq!(status.summary, Summary { parents: 1, functions: 4, ready: 3, steps: 0 });
    assert_eq!(condition(&status, READY).status, "True");
    assert_eq!(condition(&status, READY).message, "3 of 4 functions serve pools");
}

#[test]
fn what_is_known_to_stay_says_so_and_why() {
    let told = |mut fake: Fake| {
        let go = |_: &_, _: &_| Gate::Go(vec![]);
        let (nobody, mut before) = (Wanted::default(), Before::default());
        let report = reconcile("n", &mut fake, &nobody, &mut before, |_| Ok(()), go).unwrap();
        let card = status(None, &nobody, &report, &[], &time(0)).parents.remove(0);
        (card.migratable, card.migratable_reason)
    };
    let (migratable, why) = told(Fake::new());
    assert_eq!(migratable, Some(false));
    assert!(why.unwrap().starts_with("driver vp-vdpa can neither suspend a device"));
    // it makes no vDPA devices at all
    assert_eq!(told(Fake::igb()), (None, None));
}

#[test]
fn features_that_are_waited_for_are_progress() {
    let mut fake = Fake::new();
    let mut wanted = wanted();
    wanted.parents[0].pools[0].settings.common = crate::wanted::Common::Awaited;
    let go = |_: &_, _: &_| Gate::Go(vec![]);
    let report =
        reconcile("n", &mut fake, &wanted, &mut Before::default(), |_| Ok(()), go).unwrap();
    let status = status(Some(3), &wanted, &report, &[], &time(0));
    let progressing = condition(&status, PROGRESSING);
    assert_eq!(
        (progressing.status.as_str(), progressing.reason.as_str()),
        ("True", "AwaitingFeatures")
    );
    let words = "0000:01:00.0: waits for the features that all with ringway.dev/vms have in \
                 common: its own are told";
    assert_eq!(progressing.message, words);
    let ready = condition(&status, READY);
    assert_eq!((ready.status.as_str(), &ready.reason), ("False", &progressing.reason));
    let functions: Vec<_> =
        status.parents[0].functions.iter().map(|f| (f.range.as_str(), f.ready)).collect();
    assert_eq!(functions, [("0-1", false), ("2", true), ("3", false)]);
    assert_eq!(status.feature_sets[0].functions[0].range, "0-1");
}

const LAYOUT: Layout = Layout { offset: 1, stride: 1 };

/// No two neighbours alike, all waiting for features, and of two kinds: more is not said of a card.
#[test]
fn sixty_four_functions_stay_below_32_kib() {
    let mut fake = Fake::new();
    let (go, mut before) = (|_: &_, _: &_| Gate::Go(vec![]), Before::default());
    let mut report = reconcile("n", &mut fake, &wanted(), &mut before, |_| Ok(()), go).unwrap();
    let template = report.observed.inventory.parents[0].functions[0].clone();
    let size = |report: &mut Report, count: u16, pools: u32| {
        let pool = |index: u32| {
            let mut pool = wanted().parents[0].pools[0].clone();
            pool.name = format!("pool-{}", index % pools);
            pool.range = index..=index;
            pool.settings.common = crate::wanted::Common::Awaited;
            pool
        };
        let name = ParentName::Pci(pf());
        let parent = Parent::new(name, count, (0..u32::from(count)).map(pool).collect());
        let function = |index: u32| {
            let mut function = template.clone();
            function.address = LAYOUT.address(pf(), index).unwrap();
            (function.index, function.vdpa) = (index, vec![]);
            let management = function.management_device.as_mut().unwrap();
            management.features = Some(Features(u64::MAX - u64::from(index % pools)));
            function
        };
        let card = &mut report.observed.inventory.parents[0];
        (card.totalvfs, card.numvfs) = (count, count);
        card.functions = (0..u32::from(count)).map(function).collect();
        let wanted = Wanted { parents: vec![parent], refusals: vec![] };
        report.plan = plan_of("n", &wanted, &report.observed, &Before::default());
        assert_eq!((report.plan.awaits.len(), report.plan.refusals.len()), (count.into(), 0));
        let status = status(Some(1), &wanted, report, &[], &time(0));
        assert_eq!(status.feature_sets.len(), pools as usize);
        serde_json::to_string(&status).unwrap().len()
    };
    let (different, alike) = (size(&mut report, 64, 2), size(&mut report, 64, 1));
    let many = size(&mut report, 1024, 1);
    println!("shown: 64 different {different}, 64 alike {alike}, 1,024 alike {many} bytes");
    assert!(different < 24 * 1024 && alike < 8 * 1024 && different > alike);
    // each has an id
    assert!(many < 24 * 1024);
}

#[test]
fn a_step_on_a_held_device_awaits_disruption() {
    let mut fake = Fake::new();
    let mut before = Before::default();
    reconcile("n", &mut fake, &wanted(), &mut before, |_| Ok(()), |_, _| Gate::Go(vec![])).unwrap();
    let mut other = wanted();
    other.parents[0].pools[1].attach = Attach::VhostVdpa;
    let held = |_: &_, _: &_| Gate::Wait("pod default/a holds 0000:01:00.3".into());
    let report = reconcile("n", &mut fake, &other, &mut before, |_| Ok(()), held).unwrap();
    let status = status(Some(4), &other, &report, &[], &time(0));
    assert_eq!(condition(&status, AWAITING_DISRUPTION).status, "True");
    assert_eq!(condition(&status, READY).reason, "DeviceHeld");
    assert!(condition(&status, READY).message.contains("pod default/a"), "{status:?}");
    assert_eq!(status.plan.len(), 1);
    assert_eq!(status.plan[0].disturbs, ["0000:01:00.3"]);
}

#[test]
fn a_condition_keeps_its_time_until_it_changes() {
    let mut fake = Fake::new();
    let go = |_: &_, _: &_| Gate::Go(vec![]);
    let report =
        reconcile("n", &mut fake, &wanted(), &mut Before::default(), |_| Ok(()), go).unwrap();
    let first = status(Some(1), &wanted(), &report, &[], &time(1));
    let again = status(Some(1), &wanted(), &report, &first.conditions, &time(2));
    assert_eq!(first, again);
}

#[test]
fn a_round_that_breaks_off_is_told_beside_what_was_known() {
    let mut fake = Fake::new();
    let go = |_: &_, _: &_| Gate::Go(vec![]);
    let report =
        reconcile("n", &mut fake, &wanted(), &mut Before::default(), |_| Ok(()), go).unwrap();
    let said = status(Some(1), &wanted(), &report, &[], &time(1));
    let broken = broken(Some(2), Some(&said), "no space", &time(2));
    assert_eq!(broken.parents, said.parents);
    assert_eq!(broken.observed_generation, Some(1), "the newer wish is not answered");
    for (kind, status, since) in
        [(READY, "False", 2), (DEGRADED, "True", 2), (PROGRESSING, "False", 1)]
    {
        let found = condition(&broken, kind);
        assert_eq!((found.status.as_str(), &found.last_transition_time), (status, &time(since)));
    }
    let words = "the node cannot be worked on: no space";
    assert_eq!(condition(&broken, DEGRADED).message, words);
}

/// A card whose driver's module is not installed, and a simulator that has all it needs.
#[test]
fn a_missing_module_is_named_and_keeps_no_other_parent_from_its_own() {
    let mut fake = Fake::new();
    fake.absent = vec!["vp_vdpa"];
    let mut wanted = wanted();
    let sims = Pool {
        name: "sims".into(),
        resource: Some("ringway.dev/sims".parse().unwrap()),
        range: 0..=0,
        attach: Attach::VirtioVdpa,
        settings: Settings::default(),
        defaults: Defaults::default(),
        limits: Default::default(),
        allocation: None,
        carrier: None,
    };
    let simulator = Parent::new(ParentName::Simulator("vdpasim_net".into()), 1, vec![sims]);
    wanted.parents.push(simulator);
    let go = |_: &_, _: &_| Gate::Go(vec![]);
    let report =
        reconcile("n", &mut fake, &wanted, &mut Before::default(), |_| Ok(()), go).unwrap();
    let status = status(Some(1), &wanted, &report, &[], &time(0));
    let degraded = condition(&status, DEGRADED);
    assert_eq!((degraded.status.as_str(), degraded.reason.as_str()), ("True", "ModuleMissing"));
    let words = "0000:01:00.0: load module vp_vdpa: kernel ";
    assert!(degraded.message.starts_with(words), "{}", degraded.message);
    assert!(degraded.message.contains("is installed without it: "), "{}", degraded.message);
    assert_eq!(condition(&status, READY).reason, "ModuleMissing");
    let functions: Vec<_> = status.parents.iter().flat_map(|p| &p.functions).collect();
    assert_eq!((functions.len(), functions[0].ready), (1, true), "{functions:?}");
    assert_eq!(functions[0].vdpa_driver.as_deref(), Some("virtio_vdpa"));
    assert_eq!(fake.observed.inventory.parents[0].numvfs, 0, "the card is as it was");
    assert_eq!(status.plan[0].step, "load kernel module vp_vdpa");
    let waits: Vec<_> = status.plan.iter().flat_map(|step| &step.waits).collect();
    assert!(waits[0].starts_with("failed: load module vp_vdpa: "), "{waits:?}");
    assert!(waits[1..].iter().all(|w| *w == "waits for a step that failed"), "{waits:?}");
}

#[test]
fn what_is_wrong_with_several_parents_is_told_once_and_names_each() {
    let mut fake = Fake::new();
    fake.absent = vec!["vdpa"];
    let mut second = fake.card().clone();
    second.address = "0000:02:00.0".parse().unwrap();
    fake.observed.inventory.parents.push(second);
    let mut wanted = wanted();
    wanted
        .parents
        .push(Parent { name: ParentName::of("0000:02:00.0"), ..wanted.parents[0].clone() });
    wanted.refusals.push(crate::wanted::Refusal {
        parent: "0000:03:00.0".into(),
        function: None,
        reason: Reason::TooManyFunctions,
        message: "0000:03:00.0: functionCount 5 is more than the card's 4".into(),
    });
    let go = |_: &_, _: &_| Gate::Go(vec![]);
    let report =
        reconcile("n", &mut fake, &wanted, &mut Before::default(), |_| Ok(()), go).unwrap();
    let status = status(Some(1), &wanted, &report, &[], &time(0));
    let degraded = condition(&status, DEGRADED);
    assert_eq!(degraded.reason, "TooManyFunctions");
    let words = "card's 4; 0000:01:00.0, 0000:02:00.0: load module vdpa: ";
    assert!(degraded.message.contains(words), "{}", degraded.message);
    assert_eq!(degraded.message.matches("load module").count(), 1);
}

/// Two policies: each is told of its own parents.
#[test]
fn each_parent_has_the_reason_of_its_own() {
    let mut fake = Fake::new();
    fake.absent = vec!["vp_vdpa"];
    let mut wanted = wanted();
    let refuse = |parent: &str, function, reason, message: &str| crate::wanted::Refusal {
        parent: parent.into(),
        function,
        reason,
        message: message.into(),
    };
    wanted.refusals = vec![
        refuse("0000:03:00.0", None, Reason::TooManyFunctions, "policy a: too many"),
        refuse("0000:04:00.0", Some(1), Reason::Foreign, "theirs"),
        refuse("0000:04:00.0", Some(2), Reason::Invalid, "nonsense"),
    ];
    let go = |_: &_, _: &_| Gate::Go(vec![]);
    let report =
        reconcile("n", &mut fake, &wanted, &mut Before::default(), |_| Ok(()), go).unwrap();
    let status = status(Some(1), &wanted, &report, &[], &time(0));
    let told: Vec<_> =
        status.degraded.iter().map(|d| (d.parent.as_str(), d.reason.as_str())).collect();
    let expected = [
        ("0000:03:00.0", "TooManyFunctions"),
        ("0000:04:00.0", "Foreign"),
        (crate::fake::PF, "ModuleMissing"),
    ];
    assert_eq!(told, expected);
    assert_eq!(status.degraded[1].message, "theirs; nonsense");
    let words = "0000:01:00.0: load module vp_vdpa: ";
    assert!(status.degraded[2].message.starts_with(words), "{:?}", status.degraded);
    assert_eq!(broken(None, Some(&status), "no space", &time(1)).degraded, []);
}

#[test]
fn the_mode_of_an_eswitch_is_shown_where_there_is_one() {
    let shown = |mut fake: Fake| {
        let nothing = Wanted::default();
        let go = |_: &_, _: &_| Gate::Go(vec![]);
        let before = &mut Before::default();
        let report = reconcile("n", &mut fake, &nothing, before, |_| Ok(()), go).unwrap();
        let status = status(None, &nothing, &report, &[], &time(0));
        serde_json::to_value(&status.parents[0]).unwrap()["eswitch"].clone()
    };
    assert_eq!(shown(Fake::with_eswitch("mlx5_core")), "legacy");
    assert_eq!(shown(Fake::new()), serde_json::Value::Null);
}
