//! Plans against the fake node: they converge, are stable, and touch nothing that is not theirs.

use ringway_api::conditions::Reason;
use ringway_kernel::inventory::Traffic;

use super::*;
use crate::fake::{Fake, pf};
use crate::node::Node as _;
use crate::reconcile::{Gate, reconcile, record};
use crate::wanted::{Pool, Settings};

fn pool(name: &str, range: std::ops::RangeInclusive<u32>, attach: Attach) -> Pool {
    let resource = format!("ringway.dev/{name}").parse().unwrap();
    Pool { name: name.into(), resource, range, attach, settings: Settings::default() }
}

fn card(count: u16, pools: Vec<Pool>) -> Wanted {
    let name = ParentName::Pci(pf());
    let parent = Parent { name, identity: None, mtu: None, count, pools };
    Wanted { parents: vec![parent], refusals: vec![] }
}

fn two_pools() -> Wanted {
    card(4, vec![pool("vms", 0..=1, Attach::VhostVdpa), pool("pods", 2..=3, Attach::VirtioVdpa)])
}

fn plan_of(wanted: &Wanted, fake: &Fake, before: &Before) -> Plan {
    plan("node1", wanted, &fake.observed, before)
}

/// Goes to the end; says how many steps it took.
fn converge(wanted: &Wanted, fake: &mut Fake, before: &mut Before) -> usize {
    let go = |_: &Planned, _: &crate::node::Observed| Gate::Go(vec![]);
    let report = reconcile("node1", fake, wanted, before, |_| Ok(()), go).unwrap();
    assert_eq!(report.plan.steps, []);
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    report.done.len()
}

#[test]
fn a_bare_node_becomes_as_wanted_in_one_plan() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    converge(&two_pools(), &mut fake, &mut before);
    let drivers: Vec<_> =
        fake.card().functions.iter().map(|f| f.vdpa[0].driver.clone().unwrap()).collect();
    assert_eq!(drivers, ["vhost_vdpa", "vhost_vdpa", "virtio_vdpa", "virtio_vdpa"]);
    assert_eq!(before.parents[crate::fake::PF].function_count, 0);
    assert_eq!(before.vdpa.len(), 4);
}

#[test]
fn the_first_plan_says_everything_in_order_and_disturbs_nobody() {
    let fake = Fake::new();
    let steps = plan_of(&two_pools(), &fake, &Before::default()).steps;
    let words: Vec<_> = steps.iter().map(|s| s.step.to_string()).collect();
    assert_eq!(
        words[..9],
        [
            "load kernel module vdpa",
            "load kernel module vp_vdpa",
            "load kernel module vhost_vdpa",
            "load kernel module virtio_vdpa",
            "keep drivers off new vDPA devices",
            "set the uplink up",
            "keep drivers off new functions",
            "set the number of functions to 4",
            "bind function 0 of 0000:01:00.0 to vp-vdpa",
        ]
    );
    assert!(steps.iter().all(|s| s.disturbs.is_empty()), "{steps:?}");
}

#[test]
fn changing_one_pool_disturbs_its_own_functions_only() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    converge(&two_pools(), &mut fake, &mut before);
    let mut wanted = two_pools();
    wanted.parents[0].pools[1].attach = Attach::VhostVdpa;
    let plan = plan_of(&wanted, &fake, &before);
    let mut disturbed: Vec<_> =
        plan.steps.iter().flat_map(|s| &s.disturbs).map(ToString::to_string).collect();
    disturbed.dedup();
    assert_eq!(disturbed, ["0000:01:00.3", "0000:01:00.4"]);
}

#[test]
fn a_function_that_nobody_can_use_is_not_disturbed() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    converge(&two_pools(), &mut fake, &mut before);
    let disturbed = |fake: &Fake, wanted: &Wanted| {
        let steps = plan_of(wanted, fake, &before).steps;
        assert!(!steps.is_empty());
        steps.iter().any(|step| !step.disturbs.is_empty())
    };
    // made, but not bound: as an interruption leaves it
    fake.card().functions[0].vdpa[0].driver = None;
    assert!(!disturbed(&fake, &two_pools()));
    fake.card().functions[0].vdpa.clear();
    assert!(!disturbed(&fake, &two_pools()));
    fake.card().functions[0].driver = None;
    assert!(!disturbed(&fake, &two_pools()));
    // somebody else's driver may have a user
    fake.card().functions[0].driver = Some("vfio-pci".into());
    assert!(disturbed(&fake, &two_pools()));
}

#[test]
fn another_count_disturbs_every_function_at_every_step() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    converge(&two_pools(), &mut fake, &mut before);
    let wanted = card(2, vec![pool("vms", 0..=1, Attach::VhostVdpa)]);
    let plan = plan_of(&wanted, &fake, &before);
    let until_count =
        plan.steps.iter().take_while(|s| !matches!(s.step, Step::BindFunction { .. }));
    for step in until_count {
        assert_eq!(step.disturbs.len(), 4, "{step:?}");
    }
    converge(&wanted, &mut fake, &mut before);
    assert_eq!(fake.card().numvfs, 2);
}

#[test]
fn a_policy_that_goes_leaves_the_card_as_it_was() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    let at_first = fake.observed.inventory.parents[0].clone();
    converge(&two_pools(), &mut fake, &mut before);
    converge(&Wanted::default(), &mut fake, &mut before);
    let mut now = fake.observed.inventory.parents[0].clone();
    now.netdevs[0].up = false; // a link that is up harms nobody
    assert_eq!(now, at_first);
    assert_eq!(before.parents.len() + before.vdpa.len(), 0, "{before:?}");
}

#[test]
fn a_refused_parent_is_left_alone() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    converge(&two_pools(), &mut fake, &mut before);
    let refusal = Refusal {
        parent: crate::fake::PF.into(),
        function: None,
        reason: Reason::Invalid,
        message: "x".into(),
    };
    let wanted = Wanted { parents: vec![], refusals: vec![refusal.clone()] };
    let plan = plan_of(&wanted, &fake, &before);
    assert_eq!(plan, Plan { steps: vec![], refusals: vec![refusal] });
}

#[test]
fn what_must_not_be_touched_is_refused_in_words() {
    type Change = fn(&mut Fake);
    let cases: [(Change, Wanted, Reason, &str); 5] = [
        (
            |fake| fake.card().netdevs[0].traffic = vec![Traffic::DefaultRoute { table: 254 }],
            two_pools(),
            Reason::CarriesNodeTraffic,
            "0000:01:00.0 (enp1s0f0) carries the default route",
        ),
        (
            |_| (),
            card(5, vec![]),
            Reason::TooManyFunctions,
            "functionCount 5 is more than the card's 4",
        ),
        (
            |fake| fake.card().driver = Some("igb".into()),
            two_pools(),
            Reason::AttachUnsupported,
            "driver igb",
        ),
        (
            |fake| fake.observed.inventory.parents.clear(),
            two_pools(),
            Reason::IdentityMismatch,
            "no card",
        ),
        (
            |fake| fake.observed.inventory.vdpa_family = VdpaFamily::Unknown("no answer".into()),
            two_pools(),
            Reason::CallStuck,
            "no answer",
        ),
    ];
    for (change, wanted, reason, words) in cases {
        let mut fake = Fake::new();
        change(&mut fake);
        let plan = plan_of(&wanted, &fake, &Before::default());
        assert_eq!(plan.steps, [], "{words}");
        assert_eq!(plan.refusals[0].reason, reason);
        assert!(plan.refusals[0].message.contains(words), "{}", plan.refusals[0].message);
    }
}

#[test]
fn settings_that_the_driver_cannot_make_are_refused() {
    let mut wanted = two_pools();
    wanted.parents[0].pools[0].settings.mtu = Some(9000);
    let plan = plan_of(&wanted, &Fake::new(), &Before::default());
    assert_eq!(plan.steps, []);
    assert_eq!(plan.refusals[0].reason, Reason::SettingsUnsupported);
    assert!(plan.refusals[0].message.contains("pool vms: vdpa.mtu 9000"), "{:?}", plan.refusals);
}

#[test]
fn somebody_elses_device_keeps_its_function_and_the_number_of_functions() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    converge(&card(4, vec![]), &mut fake, &mut before);
    fake.add_foreign(2);
    let plan = plan_of(&two_pools(), &fake, &before);
    assert_eq!(plan.refusals[0].function, Some(2));
    assert_eq!(plan.refusals[0].reason, Reason::Foreign);
    assert!(plan.steps.iter().all(|s| s.function != Some(2)), "{:?}", plan.steps);
    let fewer = plan_of(&card(1, vec![]), &fake, &before);
    assert_eq!((fewer.steps.len(), fewer.refusals[0].reason), (0, Reason::Foreign));
}

#[test]
fn a_simulator_gets_devices_and_loses_them() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    let name = ParentName::Simulator("vdpasim_net".into());
    let wanted = |count: u16| {
        let range = 0..=u32::from(count) - 1;
        let pools = vec![pool("sims", range, Attach::VhostVdpa)];
        let parent = Parent { name: name.clone(), identity: None, mtu: None, count, pools };
        Wanted { parents: vec![parent], refusals: vec![] }
    };
    converge(&wanted(3), &mut fake, &mut before);
    assert_eq!(fake.observed.inventory.simulators[0].vdpa.len(), 3);
    converge(&wanted(1), &mut fake, &mut before);
    assert_eq!(fake.observed.inventory.simulators[0].vdpa[0].name, "vdpasim_net.0");
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!(fake.observed.inventory.simulators[0].vdpa.len(), 0);
}

/// Any wish after any other: each is reached, and stays. An interruption after any step changes
/// nothing about that.
#[test]
fn any_wish_is_reached_from_any_state() {
    for seed in 0..2000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut fake, mut before) = (Fake::new(), Before::default());
        for _ in 0..4 {
            let wanted = any(&mut random);
            let steps = plan_of(&wanted, &fake, &before).steps;
            for planned in steps.iter().take(random.usize(0..=steps.len())) {
                record(&mut before, planned, &fake.observed);
                fake.apply(&planned.step).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
                if matches!(planned.step, Step::SetFunctionCount { .. } | Step::LoadModule(_)) {
                    break;
                }
            }
            converge(&wanted, &mut fake, &mut before);
            assert_eq!(converge(&wanted, &mut fake, &mut before), 0, "seed {seed}");
        }
    }
}

fn any(random: &mut fastrand::Rng) -> Wanted {
    if random.u8(0..8) == 0 {
        return Wanted::default();
    }
    let count = random.u16(1..=4);
    let mut pools = Vec::new();
    let mut next = 0;
    while next < u32::from(count) {
        let last = random.u32(next..u32::from(count));
        let attach = *random.choice(&[Attach::VhostVdpa, Attach::VirtioVdpa]).unwrap();
        let mut new = pool(&format!("p{next}"), next..=last, attach);
        if random.bool() {
            new.settings.features = Some("MAC,VERSION_1".parse().unwrap());
        }
        if random.u8(0..4) > 0 {
            pools.push(new);
        }
        next = last + 1;
    }
    card(count, pools)
}
