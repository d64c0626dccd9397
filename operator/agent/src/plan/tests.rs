//! Plans against the fake node, case by case; any case at all is in [`any`].

use std::collections::BTreeMap;

use ringway_api::conditions::Reason;
use ringway_kernel::inventory::Traffic;

use super::*;
use crate::fake::{Fake, pf, pool};
use crate::node::Node as _;
use crate::reconcile::{Gate, reconcile, record};
use crate::wanted::{Defaults, Pool, Settings};

mod any;
mod broken;
mod common;
mod defaults;
mod drift;
mod eswitch;
mod ownership;
mod together;
mod world;

fn card(count: u16, pools: Vec<Pool>) -> Wanted {
    let name = ParentName::Pci(pf());
    let parent = Parent::new(name, count, pools);
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
    assert_eq!(fake.observed.inventory.parents[0], at_first);
    assert_eq!(fake.observed.vdpa_autoprobe, Some(true));
    assert_eq!(before, Before::default());
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
    assert_eq!(plan, Plan { refusals: vec![refusal], ..Plan::default() });
}

#[test]
fn what_must_not_be_touched_is_refused_in_words() {
    type Change = fn(&mut Fake);
    let cases: [(Change, Wanted, Reason, &str); 7] = [
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
            "pool vms: attach vhost-vdpa: it can do netdev, vfio (nothing is known to make vDPA \
             devices of driver igb)",
        ),
        (
            |fake| fake.card().driver = Some("i40e".into()),
            card(1, vec![pool("nets", 0..=0, Attach::Netdev)]),
            Reason::AttachUnsupported,
            "driver i40e",
        ),
        (
            |fake| fake.card().iommu_group = None,
            card(2, vec![pool("functions", 0..=1, Attach::Vfio)]),
            Reason::AttachUnsupported,
            "pool functions: attach vfio: it can do netdev, vhost-vdpa, virtio-vdpa, host (it is in \
             no IOMMU group: ",
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
        let parent = Parent::new(name.clone(), count, pools);
        Wanted { parents: vec![parent], refusals: vec![] }
    };
    converge(&wanted(3), &mut fake, &mut before);
    assert_eq!(fake.observed.inventory.simulators[0].vdpa.len(), 3);
    converge(&wanted(1), &mut fake, &mut before);
    assert_eq!(fake.observed.inventory.simulators[0].vdpa[0].name, "vdpasim_net.0");
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!(fake.observed.inventory.simulators[0].vdpa.len(), 0);
}

/// A function of an attach kind is so: what it must have, and what it must not.
fn is_so(fake: &mut Fake, index: usize, attach: Attach) {
    let function = fake.card().functions[index].clone();
    let driver = function.driver.as_deref().unwrap();
    let on_it: Vec<_> = function.vdpa.iter().map(|device| device.driver.as_deref()).collect();
    let expected = match attach {
        Attach::Netdev => ("virtio-pci", vec![]),
        Attach::Vfio => ("vfio-pci", vec![]),
        Attach::VhostVdpa => ("vp-vdpa", vec![Some("vhost_vdpa")]),
        Attach::VirtioVdpa | Attach::Host => ("vp-vdpa", vec![Some("virtio_vdpa")]),
    };
    assert_eq!((driver, on_it), expected, "{attach:?}");
}

/// One pool changes: its functions leave what they were and become what they shall be, and nobody
/// else notices.
#[test]
fn from_any_attach_kind_to_any_other_without_a_neighbour_or_the_parent() {
    for from in Attach::ALL {
        for to in Attach::ALL {
            let (mut fake, mut before) = (Fake::new(), Before::default());
            let pools =
                |kind| card(3, vec![pool("a", 0..=1, kind), pool("b", 2..=2, Attach::VhostVdpa)]);
            converge(&pools(from), &mut fake, &mut before);
            let neighbour = fake.card().functions[2].clone();
            fake.done.clear();
            converge(&pools(to), &mut fake, &mut before);
            is_so(&mut fake, 0, to);
            is_so(&mut fake, 1, to);
            assert_eq!(fake.card().functions[2], neighbour);
            for step in &fake.done {
                let own = match step {
                    Step::UnbindVdpa { name } | Step::DeleteVdpa { name } => !name.ends_with(".3"),
                    Step::BindFunction { function, .. }
                    | Step::CreateVdpa { function, .. }
                    | Step::BindVdpa { function, .. } => function.index() < 2,
                    Step::LoadModule(_) | Step::SetVdpaAutoprobe { .. } => true,
                    _ => false,
                };
                assert!(own, "{from:?} to {to:?}: {step}");
            }
        }
    }
}

#[test]
fn each_transition_takes_what_is_in_the_way_and_no_more() {
    use Attach::{Host, Netdev, Vfio, VhostVdpa, VirtioVdpa};
    const MAKE: [&str; 3] = ["bind vp-vdpa", "create", "bind vdpa"];
    const CLEAR: [&str; 2] = ["unbind vdpa", "delete"];
    let to_function = |bind: &'static str| CLEAR.into_iter().chain([bind]).collect::<Vec<_>>();
    let cases = [
        (Netdev, Vfio, vec!["bind vfio-pci"]),
        (Vfio, Netdev, vec!["bind virtio-pci"]),
        (Netdev, VhostVdpa, MAKE.to_vec()),
        (Netdev, VirtioVdpa, MAKE.to_vec()),
        (Netdev, Host, MAKE.to_vec()),
        (Vfio, VhostVdpa, MAKE.to_vec()),
        (Vfio, VirtioVdpa, MAKE.to_vec()),
        (Vfio, Host, MAKE.to_vec()),
        (VhostVdpa, Netdev, to_function("bind virtio-pci")),
        (VhostVdpa, Vfio, to_function("bind vfio-pci")),
        (VhostVdpa, VirtioVdpa, vec!["bind vdpa"]),
        (VhostVdpa, Host, vec!["bind vdpa"]),
        (VirtioVdpa, Netdev, to_function("bind virtio-pci")),
        (VirtioVdpa, Vfio, to_function("bind vfio-pci")),
        (VirtioVdpa, VhostVdpa, vec!["bind vdpa"]),
        (VirtioVdpa, Host, vec![]),
        (Host, Netdev, to_function("bind virtio-pci")),
        (Host, Vfio, to_function("bind vfio-pci")),
        (Host, VhostVdpa, vec!["bind vdpa"]),
        (Host, VirtioVdpa, vec![]),
    ];
    for (from, to, expected) in cases {
        let (mut fake, mut before) = (Fake::new(), Before::default());
        let wish = |kind| card(1, vec![pool("a", 0..=0, kind)]);
        converge(&wish(from), &mut fake, &mut before);
        let plan = plan_of(&wish(to), &fake, &before);
        let own: Vec<_> = plan.steps.iter().filter(|planned| planned.function.is_some()).collect();
        let words = own.iter().map(|planned| match &planned.step {
            Step::BindFunction { driver, .. } => format!("bind {}", driver.name),
            Step::UnbindVdpa { .. } => "unbind vdpa".to_owned(),
            Step::DeleteVdpa { .. } => "delete".to_owned(),
            Step::CreateVdpa { .. } => "create".to_owned(),
            Step::BindVdpa { .. } => "bind vdpa".to_owned(),
            step => step.to_string(),
        });
        assert_eq!(words.collect::<Vec<_>>(), expected, "{from:?} to {to:?}");
        // whoever has it would notice
        assert!(own.iter().all(|planned| planned.disturbs.len() == 1), "{own:?}");
        assert!(plan.steps.iter().all(|planned| !matches!(
            planned.step,
            Step::SetFunctionCount { .. } | Step::RaiseUplink { .. } | Step::SetUplinkMtu { .. }
        )));
    }
}

#[test]
fn functions_of_an_igb_card_are_interfaces_or_for_vfio() {
    let (mut fake, mut before) = (Fake::igb(), Before::default());
    let pools = |nets, functions| {
        card(4, vec![pool("nets", nets, Attach::Netdev), pool("vms", functions, Attach::Vfio)])
    };
    converge(&pools(0..=1, 2..=3), &mut fake, &mut before);
    let drivers = |fake: &mut Fake| -> Vec<_> {
        fake.card().functions.iter().map(|f| f.driver.clone().unwrap_or_default()).collect()
    };
    assert_eq!(drivers(&mut fake), ["igbvf", "igbvf", "vfio-pci", "vfio-pci"]);
    assert!(!fake.observed.modules.contains("vdpa"), "nothing of vDPA is loaded");
    // one function less in either: no driver has those any more
    converge(&pools(0..=0, 2..=2), &mut fake, &mut before);
    assert_eq!(drivers(&mut fake), ["igbvf", "", "vfio-pci", ""]);
}

#[test]
fn functions_that_were_there_get_their_drivers_back() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    fake.card().drivers_autoprobe = true;
    fake.apply(&Step::SetFunctionCount { pf: pf(), count: 3 }).unwrap();
    let at_first = fake.card().functions.clone();
    let wish = card(3, vec![pool("a", 0..=0, Attach::Vfio), pool("b", 1..=1, Attach::VhostVdpa)]);
    converge(&wish, &mut fake, &mut before);
    is_so(&mut fake, 0, Attach::Vfio);
    assert_eq!(before.parents[crate::fake::PF].functions[&0].as_deref(), Some("virtio-pci"));
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!(fake.card().functions, at_first);
    assert_eq!(before, Before::default());
}

/// Whatever the card was, and whatever became of it: with nobody's wish it is as it was.
#[test]
fn any_card_is_put_back_to_what_it_was() {
    for seed in 0..500 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut fake, mut before) = (Fake::new(), Before::default());
        for module in ["vdpa", "vp_vdpa", "vfio_pci", "vdpa_sim_net"] {
            fake.apply(&Step::LoadModule(module)).unwrap();
        }
        fake.card().drivers_autoprobe = random.bool();
        let count = random.u16(0..=4);
        fake.apply(&Step::SetFunctionCount { pf: pf(), count }).unwrap();
        if count > 0 && random.bool() {
            let kinds = [Attach::Netdev, Attach::Vfio, Attach::VhostVdpa];
            fake.apply(&crate::fake::bind(0, *random.choice(&kinds).unwrap())).unwrap();
        }
        let netdev = &mut fake.card().netdevs[0];
        (netdev.up, netdev.mtu) = (random.bool(), random.u32(1300..=1500));
        let (at_first, overrides) = (fake.observed.inventory.clone(), fake.overrides.clone());
        for _ in 0..random.usize(1..4) {
            let mut wanted = any::any(&mut random, world::First::Virtio);
            wanted.parents.iter_mut().for_each(|parent| parent.mtu = Some(9000));
            converge(&wanted, &mut fake, &mut before);
        }
        converge(&Wanted::default(), &mut fake, &mut before);
        assert_eq!(fake.observed.inventory, at_first, "seed {seed}");
        assert_eq!(fake.overrides, overrides, "seed {seed}");
        assert_eq!(fake.observed.vdpa_autoprobe, Some(true), "seed {seed}");
        assert_eq!(before, Before::default(), "seed {seed}");
        assert_eq!(converge(&Wanted::default(), &mut fake, &mut before), 0, "seed {seed}");
    }
}

/// Killed where a function that the card had has its driver again, and not yet its override.
#[test]
fn a_function_that_the_card_had_gets_its_override_back_after_a_kill() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    fake.apply(&Step::LoadModule("vfio_pci")).unwrap();
    fake.apply(&Step::SetFunctionCount { pf: pf(), count: 2 }).unwrap();
    fake.apply(&crate::fake::bind(0, Attach::Vfio)).unwrap();
    let at_first = fake.overrides.clone();
    assert_eq!(at_first.len(), 1);
    converge(&two_pools(), &mut fake, &mut before);
    let mut died = before.clone();
    let save = |record: &Before| {
        let rebinds = record.parents.values().any(|parent| !parent.rebinding.is_empty());
        if rebinds {
            died = record.clone();
        }
        Ok(())
    };
    let go = |_: &Planned, _: &crate::node::Observed| Gate::Go(vec![]);
    reconcile("node1", &mut fake, &Wanted::default(), &mut before, save, go).unwrap();
    assert_eq!(fake.overrides, at_first);
    fake.overrides.clear();
    converge(&Wanted::default(), &mut fake, &mut died);
    assert_eq!((fake.overrides, died), (at_first, Before::default()));
}

#[test]
fn another_card_in_its_slot_is_not_put_back() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    converge(&two_pools(), &mut fake, &mut before);
    fake.card().ids.device = 0x9999;
    let plan = plan_of(&Wanted::default(), &fake, &before);
    assert_eq!(plan.steps, []);
    let refusal = &plan.refusals[0];
    assert_eq!(refusal.reason, Reason::IdentityMismatch);
    let words = "0000:01:00.0: the card there is 1af4:9999, changed was 1af4:1041";
    assert!(refusal.message.starts_with(words), "{}", refusal.message);
}

#[test]
fn the_bus_is_given_back_once_no_device_of_ours_is_left() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    converge(&two_pools(), &mut fake, &mut before);
    let held = |planned: &Planned, _: &crate::node::Observed| match planned.disturbs.is_empty() {
        true => Gate::Go(vec![]),
        false => Gate::Wait("held".to_owned()),
    };
    let nobody = Wanted::default();
    let report = reconcile("node1", &mut fake, &nobody, &mut before, |_| Ok(()), held).unwrap();
    let last = report.plan.steps.last().unwrap();
    assert_eq!(last.step, Step::SetVdpaAutoprobe { on: true });
    assert_eq!(report.waits.last().unwrap(), "waits for an earlier step");
    assert_eq!(fake.observed.vdpa_autoprobe, Some(false));
    // a pool of another kind does not need it either
    converge(&card(4, vec![pool("a", 0..=3, Attach::Vfio)]), &mut fake, &mut before);
    assert_eq!(fake.observed.vdpa_autoprobe, Some(true));
}

#[test]
fn drivers_that_came_by_themselves_come_again_with_another_number_of_functions() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    fake.set_count(pf(), 3).unwrap();
    let at_first = fake.card().clone();
    converge(&card(2, vec![pool("a", 0..=1, Attach::VhostVdpa)]), &mut fake, &mut before);
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!(fake.card().functions, at_first.functions);
    assert!(fake.card().drivers_autoprobe);
}

#[test]
fn drivers_are_given_back_by_an_agent_that_was_killed_before_the_number_changed() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    fake.set_count(pf(), 3).unwrap();
    let at_first = fake.card().functions.clone();
    converge(&card(3, vec![pool("a", 0..=2, Attach::Vfio)]), &mut fake, &mut before);
    let steps = plan_of(&card(1, vec![]), &fake, &before).steps;
    let count = steps.iter().find(|s| matches!(s.step, Step::SetFunctionCount { .. })).unwrap();
    record(&mut before, count, &fake.observed, BTreeMap::new());
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!(fake.card().functions, at_first);
}

#[test]
fn an_mtu_is_put_back_wherever_the_interface_was_meanwhile() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    let mut wanted = card(1, vec![]);
    wanted.parents[0].mtu = Some(9000);
    let elsewhere = std::mem::take(&mut fake.card().netdevs);
    converge(&wanted, &mut fake, &mut before);
    fake.card().netdevs = elsewhere;
    converge(&wanted, &mut fake, &mut before);
    assert_eq!(fake.card().netdevs[0].mtu, 9000);
    let elsewhere = std::mem::take(&mut fake.card().netdevs);
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!(before.parents.len(), 1, "still to be put back");
    fake.card().netdevs = elsewhere;
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!((fake.card().netdevs[0].mtu, before.parents.len()), (1500, 0));
}

#[test]
fn a_driver_that_somebody_else_bound_stays_where_no_pool_is() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    converge(&card(2, vec![pool("a", 0..=0, Attach::Netdev)]), &mut fake, &mut before);
    fake.apply(&Step::LoadModule("vfio_pci")).unwrap();
    fake.apply(&crate::fake::bind(1, Attach::Vfio)).unwrap();
    converge(&card(2, vec![pool("a", 0..=0, Attach::VhostVdpa)]), &mut fake, &mut before);
    assert_eq!(fake.card().functions[1].driver.as_deref(), Some("vfio-pci"));
}

#[test]
fn a_function_that_vfio_cannot_have_is_refused_and_its_neighbours_are_not() {
    let (mut fake, mut before) = (Fake::with_functions(3), Before::default());
    fake.card().functions[0].iommu_group = None;
    fake.card().functions[1].iommu_sharers = vec![pf()];
    let wish = card(3, vec![pool("a", 0..=2, Attach::Vfio)]);
    converge(&wish, &mut fake, &mut before);
    assert_eq!(fake.card().functions[2].driver.as_deref(), Some("vfio-pci"));
    assert_eq!(fake.card().functions[0].driver, None);
    let refusals = plan_of(&wish, &fake, &before).refusals;
    for (refusal, words) in refusals.iter().zip(["in no IOMMU group", "shares IOMMU group 1"]) {
        assert_eq!(refusal.reason, Reason::AttachUnsupported);
        assert!(refusal.message.contains(words), "{}", refusal.message);
    }
    assert_eq!(refusals.len(), 2);
}

/// What speaks for the node's traffic on the interface of function 0.
fn carries(fake: &mut Fake, traffic: Traffic) {
    let function = &mut fake.card().functions[0];
    let on_it = function.vdpa.iter_mut().flat_map(|device| &mut device.netdevs);
    let netdevs = function.netdevs.iter_mut().chain(on_it);
    netdevs.for_each(|netdev| netdev.traffic = vec![traffic.clone()]);
}

/// The node's own address is on a function's interface: what the host keeps may have it.
#[test]
fn an_interface_of_the_nodes_is_left_to_it() {
    let wish = |kind| card(1, vec![pool("a", 0..=0, kind)]);
    for attach in [Attach::Netdev, Attach::VirtioVdpa, Attach::Host] {
        let (mut fake, mut before) = (Fake::new(), Before::default());
        converge(&wish(attach), &mut fake, &mut before);
        carries(&mut fake, Traffic::DefaultRoute { table: 254 });
        let same = plan_of(&wish(attach), &fake, &before);
        assert_eq!((same.steps, same.refusals.is_empty()), (vec![], attach == Attach::Host));
        for other in [wish(Attach::VhostVdpa), wish(Attach::Vfio), card(2, vec![]), card(1, vec![])]
        {
            let plan = plan_of(&other, &fake, &before);
            let touched = |planned: &Planned| {
                planned.function.is_some() || matches!(planned.step, Step::SetFunctionCount { .. })
            };
            assert!(!plan.steps.iter().any(touched), "{:?}", plan.steps);
            assert_eq!(plan.refusals[0].reason, Reason::CarriesNodeTraffic);
        }
        // netlink was asked before the interface came back from a pod
        carries(&mut fake, Traffic::NotSeen);
        assert_eq!(plan_of(&wish(attach), &fake, &before), Plan::default());
        let other = plan_of(&wish(Attach::Vfio), &fake, &before);
        assert_eq!(other.refusals[0].reason, Reason::CarriesNodeTraffic);
    }
}

#[test]
fn a_simulator_has_no_functions_to_attach() {
    let name = ParentName::Simulator("vdpasim_net".into());
    let pools = vec![pool("a", 0..=0, Attach::Vfio)];
    let parent = Parent::new(name, 1, pools);
    let plan = plan_of(
        &Wanted { parents: vec![parent], refusals: vec![] },
        &Fake::new(),
        &Before::default(),
    );
    assert_eq!((plan.steps.len(), plan.refusals[0].reason), (0, Reason::AttachUnsupported));
    let words = "vdpasim_net: pool a: attach vfio: it can do vhost-vdpa, virtio-vdpa, host (its";
    assert!(plan.refusals[0].message.starts_with(words), "{}", plan.refusals[0].message);
}
