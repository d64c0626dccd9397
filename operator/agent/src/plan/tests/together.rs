//! Functions' settings at rest where others made the functions, where what they made is taken over,
//! and where the eswitch changes its mode.

use ringway_kernel::Mac;
use ringway_kernel::devlink::EswitchMode::{self, Legacy, Switchdev};
use ringway_kernel::inventory::Eswitch;
use ringway_kernel::link::{Vf, VfSetting, VfTag, VfTxRate};
use ringway_kernel::vdpa_bus::Driver;

use super::*;
use crate::fake::{PF, device, drive, fresh_vf, represent, serve};
use crate::wanted::Maker;

const TAG: VfTag = VfTag { id: 100, qos: 3, service: false };

fn vlan() -> Defaults {
    Defaults { vlan: Some(Some(TAG)), ..Defaults::default() }
}

fn wish(mode: Option<EswitchMode>, maker: Maker, attach: Attach, defaults: Defaults) -> Wanted {
    let mut wanted = card(2, vec![Pool { defaults, ..pool("rings", 0..=1, attach) }]);
    (wanted.parents[0].eswitch, wanted.parents[0].maker) = (mode, maker);
    wanted
}

fn ours(mode: EswitchMode, attach: Attach, defaults: Defaults) -> Wanted {
    wish(Some(mode), Maker::Ringway, attach, defaults)
}

/// A card with two functions on their network driver, whose uplink has a carrier.
fn left(driver: &str) -> Fake {
    let mut fake = if driver == "igb" { Fake::igb() } else { Fake::with_eswitch(driver) };
    fake.observed.modules.extend(["igbvf", "iavf", "vfio_pci", "mlx5_vdpa", "vhost_vdpa"]);
    fake.card().netdevs[0].carrier = true;
    fake.set_count(pf(), 2).unwrap();
    fake
}

/// An mlx5 card on whose functions others have vDPA devices.
fn theirs() -> Fake {
    let mut fake = left("mlx5_core");
    fake.observed.modules.insert("vdpa");
    fake.observed.vdpa_autoprobe = Some(true);
    for (index, function) in fake.card().functions.iter_mut().enumerate() {
        let mut made = device(&format!("theirs{index}"), None);
        serve(&mut made, Some(Driver::VhostVdpa));
        function.vdpa.push(made);
    }
    fake
}

fn set(fake: &mut Fake, index: usize, setting: VfSetting) {
    fake.card().functions[index].settings.as_mut().unwrap().set(setting);
}

fn words(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|planned| planned.step.to_string()).collect()
}

fn done(fake: &Fake) -> Vec<String> {
    fake.done.iter().map(ToString::to_string).collect()
}

#[test]
fn what_others_made_is_compared_and_told_but_not_set() {
    let mut fake = left("igb");
    let defaults = Defaults { stable_mac: true, trust: Some(false), mtu: Some(1280), ..vlan() };
    let wanted = wish(None, Maker::Others, Attach::Netdev, defaults);
    let mut before = Before::default();
    let at_first = fake.observed.clone();
    assert_eq!(converge(&wanted, &mut fake, &mut before), 0);
    assert_eq!((&fake.observed, &before), (&at_first, &Before::default()));
    let plan = plan_of(&wanted, &fake, &before);
    let told: Vec<_> = plan.refusals.iter().map(|told| (told.function, told.reason)).collect();
    assert_eq!(told, [0, 1].map(|index| (Some(index), Reason::ExternallyManaged)));
    let message = &plan.refusals[0].message;
    assert!(
        message.contains("it takes to unbind function 0 of 0000:01:00.0 from its"),
        "{message}"
    );
    assert!(message.contains(", VLAN 100 (802.1q, qos 3) of function 0"), "{message}");
    assert!(!message.contains("trust"), "it is so: {message}");

    // they set it, all but the VLAN of the second
    let mut right = left("igb");
    let mut as_ours = wanted.clone();
    as_ours.parents[0].maker = Maker::Ringway;
    converge(&as_ours, &mut right, &mut Before::default());
    set(&mut right, 1, VfSetting::Vlan(None));
    let plan = plan_of(&wanted, &right, &before);
    assert_eq!((plan.steps.len(), plan.refusals.len()), (0, 1));
    let expected = "takes to set VLAN 100 (802.1q, qos 3) of function 1 of 0000:01:00.0";
    assert!(plan.refusals[0].message.ends_with(expected), "{}", plan.refusals[0].message);
    // to a pod the CNI plugin gives what that asks for
    right.observed.attached = Ok([("0000:01:00.2".to_owned(), "attached".to_owned())].into());
    assert_eq!(plan_of(&wanted, &right, &before), Plan::default());
}

#[test]
fn what_others_have_set_and_cannot_be_seen_is_told_so() {
    let wanted = wish(None, Maker::Others, Attach::Netdev, vlan());
    let told = |fake: &Fake, reason: Reason, words: &str| {
        let plan = plan_of(&wanted, fake, &Before::default());
        assert_eq!((plan.steps.len(), plan.refusals.len()), (0, 2), "{words}");
        assert_eq!(plan.refusals[0].reason, reason);
        assert!(plan.refusals[0].message.contains(words), "{}", plan.refusals[0].message);
    };
    let mut fake = left("igb");
    fake.observed.attached = Err("parse /a: eof".into());
    told(&fake, Reason::HoldersUnknown, "cannot be compared: whether a pod has it is not known");
    fake.observed.attached = Ok(BTreeMap::new());
    fake.card().functions.iter_mut().for_each(|function| function.settings = None);
    told(&fake, Reason::SettingsUnsupported, "driver igb does not tell what is set");
    fake.card().netdevs.clear();
    told(&fake, Reason::SettingsUnsupported, "interface is in another network namespace");
}

#[test]
fn what_is_taken_over_is_set_beneath_and_put_back_beneath() {
    let mut fake = theirs();
    let by_hand = VfTag { id: 7, qos: 0, service: false };
    set(&mut fake, 0, VfSetting::Vlan(Some(by_hand)));
    let (at_first, mut before) = (fake.observed.inventory.clone(), Before::default());
    let defaults = Defaults { max_rate: Some(500), ..vlan() };
    let wanted = wish(None, Maker::RingwayAdopting, Attach::VhostVdpa, defaults);
    converge(&wanted, &mut fake, &mut before);
    assert!(before.is_adopted("theirs0") && before.is_adopted("theirs1"));
    let rate = VfTxRate { min: 0, max: 500 };
    for (now, was) in fake.card().functions.clone().iter().zip(&at_first.parents[0].functions) {
        assert_eq!((&now.vdpa, &now.driver), (&was.vdpa, &was.driver), "in place");
        let expected = Vf { vlan: Some(TAG), rate, ..fresh_vf(now.index) };
        assert_eq!(now.settings, Some(expected));
    }
    let recorded = before.parents[PF].own_settings(0);
    assert_eq!(recorded, [VfSetting::Vlan(Some(by_hand)), VfSetting::Rate(VfTxRate::default())]);
    // a function that leaves its pool, and then all of them
    let mut fewer = wanted.clone();
    fewer.parents[0].pools[0].range = 1..=1;
    converge(&fewer, &mut fake, &mut before);
    assert_eq!(fake.card().functions[0], at_first.parents[0].functions[0]);
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!(fake.observed.inventory, at_first);
    assert_eq!(before, Before::default());
}

/// Somebody makes a device on a function of ours, which nobody wants any more.
#[test]
fn what_was_set_beneath_a_device_of_others_stays_on_record_until_that_goes() {
    let (mut fake, mut before) = (left("mlx5_core"), Before::default());
    let at_first = fake.observed.inventory.clone();
    converge(&wish(None, Maker::Ringway, Attach::Netdev, vlan()), &mut fake, &mut before);
    fake.add_foreign(0);
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!(fake.card().functions[0].settings.unwrap().vlan, Some(TAG));
    assert_eq!(fake.card().functions[1], at_first.parents[0].functions[1]);
    let plan = plan_of(&Wanted::default(), &fake, &before);
    assert_eq!((plan.refusals.len(), plan.refusals[0].reason), (1, Reason::Foreign));
    assert!(plan.refusals[0].message.contains("device theirs was not"), "{:?}", plan.refusals);
    fake.card().functions[0].vdpa.clear();
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!((&fake.observed.inventory, before), (&at_first, Before::default()));
}

/// A new address would need the driver to go, and with it what others made.
#[test]
fn what_is_to_have_another_address_is_not_taken_over() {
    let defaults = Defaults { stable_mac: true, ..Defaults::default() };
    let wanted = wish(None, Maker::RingwayAdopting, Attach::VhostVdpa, defaults);
    let mut fake = theirs();
    let plan = plan_of(&wanted, &fake, &Before::default());
    assert!(plan.steps.iter().all(|planned| planned.function.is_none()), "{:?}", plan.steps);
    assert_eq!(plan.refusals.len(), 2);
    assert_eq!(plan.refusals[0].reason, Reason::Foreign);
    // they gave it the same address
    for index in 0..2 {
        let name = format!("{PF}.{index}");
        let stable = crate::plan::mac::stable("node1", &name);
        set(&mut fake, index, VfSetting::Mac(stable));
    }
    let functions = fake.card().functions.clone();
    let mut before = Before::default();
    converge(&wanted, &mut fake, &mut before);
    assert!(before.is_adopted("theirs0"));
    assert_eq!(fake.card().functions, functions);
}

#[test]
fn a_device_goes_before_its_functions_driver_reads_another_address() {
    let (mut fake, mut before) = (left("mlx5_core"), Before::default());
    let at_first = fake.card().functions.clone();
    converge(&ours(Legacy, Attach::VhostVdpa, Defaults::default()), &mut fake, &mut before);
    fake.done.clear();
    let stable = Defaults { stable_mac: true, ..Defaults::default() };
    let wanted = ours(Legacy, Attach::VhostVdpa, stable);
    let plan = plan_of(&wanted, &fake, &before);
    assert!(plan.steps.iter().all(|planned| planned.disturbs.len() == 1), "{:?}", plan.steps);
    converge(&wanted, &mut fake, &mut before);
    let first = ["unbind vDPA", "delete vDPA", "unbind function 0", "set MAC", "bind function 0"];
    let then = ["create the vDPA device of function 0", "bind the vDPA device of function 0"];
    let found = done(&fake);
    let expected: Vec<_> = first.into_iter().chain(then).collect();
    assert!(found.iter().zip(&expected).all(|(step, begin)| step.starts_with(begin)), "{found:?}");
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!((&fake.card().functions, before), (&at_first, Before::default()));
}

#[test]
fn what_a_driver_does_not_take_in_switchdev_mode_is_refused_before_anything_is_touched() {
    let none = Defaults::default;
    let spoof = || Defaults { spoof_check: Some(false), ..none() };
    let link = || Defaults { link: Some(ringway_kernel::link::VfLink::Enable), ..none() };
    let cases = [
        ("mlx5_core", vlan(), "defaults.vlan.id 100", "core/esw/legacy.c"),
        ("mlx5_core", spoof(), "defaults.spoofCheck false", "it can set mac, minRate, maxRate"),
        ("mlx5_core", link(), "defaults.linkState enable", "core/esw/legacy.c"),
        ("ice", vlan(), "defaults.vlan.id 100", "intel/ice/ice_eswitch.c"),
        (
            "ice",
            Defaults { trust: Some(true), ..none() },
            "defaults.trust true: driver ice cannot set it for its functions in eswitch mode \
             switchdev (drivers/net/ethernet/intel/ice/ice_eswitch.c)",
            "it can set mac, minRate, maxRate, linkState",
        ),
    ];
    for (driver, defaults, field, words) in cases {
        let wanted = ours(Switchdev, Attach::Netdev, defaults.clone());
        let mut switched = left(driver);
        switched.card().eswitch = Eswitch::Switchdev;
        let found = wish(None, Maker::Ringway, Attach::Netdev, defaults.clone());
        let others = wish(None, Maker::Others, Attach::Netdev, defaults.clone());
        // the mode that it shall have, and the one that it has
        for (wanted, fake) in [(&wanted, &left(driver)), (&found, &switched), (&others, &switched)]
        {
            let plan = plan_of(wanted, fake, &Before::default());
            assert_eq!((plan.steps.len(), plan.refusals.len()), (0, 1), "{driver} {field}");
            let refusal = &plan.refusals[0];
            assert_eq!((refusal.reason, refusal.function), (Reason::SettingsUnsupported, None));
            let message = &refusal.message;
            assert!(message.contains(field) && message.contains(words), "{message}");
        }
        let legacy = ours(Legacy, Attach::Netdev, defaults);
        let plan = plan_of(&legacy, &switched, &Before::default());
        assert_eq!(plan.refusals, [], "in legacy mode it can");
    }
}

#[test]
fn what_a_driver_takes_in_both_modes_is_set_after_the_mode() {
    for driver in ["mlx5_core", "ice", "bnxt_en"] {
        let (mut fake, mut before) = (left(driver), Before::default());
        let at_first = fake.observed.inventory.clone();
        let rates = Defaults { stable_mac: true, max_rate: Some(500), ..Defaults::default() };
        let defaults = if driver == "bnxt_en" { vlan() } else { rates };
        converge(&ours(Switchdev, Attach::Netdev, defaults), &mut fake, &mut before);
        let done = done(&fake);
        let at = |begin: &str| done.iter().position(|step| step.starts_with(begin)).unwrap();
        let first = if driver == "bnxt_en" { "set VLAN" } else { "set MAC" };
        assert!(at("set the eswitch's mode") < at(first), "{done:?}");
        converge(&Wanted::default(), &mut fake, &mut before);
        assert_eq!(fake.observed.inventory, at_first, "{driver}");
        assert_eq!(before, Before::default());
    }
}

/// In switchdev mode mlx5 keeps a VLAN that it was told before, and takes none any more.
#[test]
fn what_a_mode_would_strand_is_put_back_before_it() {
    let (mut fake, mut before) = (left("mlx5_core"), Before::default());
    let at_first = fake.observed.inventory.clone();
    let rates = Defaults { max_rate: Some(500), ..Defaults::default() };
    let both = Defaults { max_rate: Some(500), ..vlan() };
    converge(&ours(Legacy, Attach::Vfio, both.clone()), &mut fake, &mut before);
    let switch = ours(Switchdev, Attach::Vfio, rates);
    let plan = plan_of(&switch, &fake, &before);
    let expected = ["set no VLAN of function 0", "set no VLAN of function 1", "unbind function 0"];
    let found = words(&plan);
    assert!(found.iter().zip(expected).all(|(step, begin)| step.starts_with(begin)), "{found:?}");
    assert!(plan.steps[..5].iter().all(|planned| planned.disturbs.len() == 2), "{:?}", plan.steps);
    converge(&switch, &mut fake, &mut before);
    let now = fake.card().functions[1].settings.unwrap();
    assert_eq!((now.vlan, now.rate.max), (None, 500));
    // and the other way round, the mode first
    fake.done.clear();
    converge(&ours(Legacy, Attach::Vfio, both), &mut fake, &mut before);
    let order = done(&fake);
    let at = |begin: &str| order.iter().position(|step| step.starts_with(begin)).unwrap();
    assert!(at("set the eswitch's mode to legacy") < at("set VLAN 100"), "{order:?}");
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!(fake.observed.inventory, at_first);
    assert_eq!(before, Before::default());
}

#[test]
fn a_card_that_was_in_switchdev_mode_is_put_back_with_its_settings_first() {
    let (mut fake, mut before) = (left("mlx5_core"), Before::default());
    fake.card().eswitch = Eswitch::Switchdev;
    represent(fake.card());
    let at_first = fake.observed.inventory.clone();
    converge(&ours(Legacy, Attach::Netdev, vlan()), &mut fake, &mut before);
    assert_eq!(fake.card().functions[0].settings.unwrap().vlan, Some(TAG));
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!(fake.observed.inventory, at_first);
    assert_eq!(before, Before::default());
}

#[test]
fn a_mode_does_not_change_while_what_it_would_strand_cannot_be_put_back() {
    let (mut fake, mut before) = (left("mlx5_core"), Before::default());
    converge(&ours(Legacy, Attach::Vfio, vlan()), &mut fake, &mut before);
    let switch = ours(Switchdev, Attach::Vfio, Defaults::default());
    type Change = fn(&mut Fake);
    let cases: [(Change, Reason, &str); 2] = [
        (
            |fake| fake.observed.attached = Err("parse /a: eof".into()),
            Reason::HoldersUnknown,
            "function 0 of 0000:01:00.0: no VLAN: is to be put back before the mode of the eswitch \
             becomes switchdev: whether a pod has it is not known: parse /a: eof",
        ),
        (
            |fake| fake.card().netdevs.clear(),
            Reason::SettingsUnsupported,
            "its card's interface is in another network namespace",
        ),
    ];
    for (change, reason, words) in cases {
        let (attached, netdevs) = (fake.observed.attached.clone(), fake.card().netdevs.clone());
        change(&mut fake);
        let plan = plan_of(&switch, &fake, &before);
        assert_eq!((plan.steps.len(), plan.refusals[0].reason), (0, reason), "{plan:?}");
        assert!(plan.refusals[0].message.contains(words), "{:?}", plan.refusals);
        (fake.observed.attached, fake.card().netdevs) = (attached, netdevs);
    }
    // while somebody holds a function both wait
    let held = |planned: &Planned, _: &crate::node::Observed| match planned.disturbs.is_empty() {
        true => Gate::Go(vec![]),
        false => Gate::Held("pod a/b holds it".to_owned()),
    };
    let report = reconcile("node1", &mut fake, &switch, &mut before, |_| Ok(()), held).unwrap();
    assert_eq!((report.done, fake.card().eswitch.clone()), (vec![], Eswitch::Legacy));
}

/// Somebody switches the card, and nobody says which mode it shall have: what was set is told.
#[test]
fn what_somebody_elses_mode_keeps_from_being_put_back_stays_on_record() {
    let (mut fake, mut before) = (left("mlx5_core"), Before::default());
    let at_first = fake.observed.inventory.clone();
    converge(&wish(None, Maker::Ringway, Attach::Netdev, vlan()), &mut fake, &mut before);
    fake.card().eswitch = Eswitch::Switchdev;
    converge(&Wanted::default(), &mut fake, &mut before);
    let plan = plan_of(&Wanted::default(), &fake, &before);
    assert_eq!(plan.refusals.len(), 2);
    let words = "function 0 of 0000:01:00.0: no VLAN: cannot be set: driver mlx5_core does not in \
                 eswitch mode switchdev (drivers/net/ethernet/mellanox/mlx5/core/esw/legacy.c)";
    assert_eq!(plan.refusals[0].message, words);
    fake.card().eswitch = Eswitch::Legacy;
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!((&fake.observed.inventory, before), (&at_first, Before::default()));
}

/// Whatever was set, whatever was wanted meanwhile, and whichever mode it was and went through.
#[test]
fn any_functions_of_any_mode_are_put_back_to_what_they_were() {
    for seed in 0..1000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let driver = *random.choice(&["mlx5_core", "ice", "bnxt_en"]).unwrap();
        let mut fake = left(driver);
        let mut before = Before::default();
        if driver != "ice" && random.bool() {
            fake.card().eswitch = Eswitch::Switchdev;
            represent(fake.card());
        }
        for function in &mut fake.card().functions {
            let mac = random.bool().then_some(Mac([2, 9, 9, 9, 9, function.index as u8]));
            let vlan = random.bool().then_some(VfTag { id: 7, qos: 1, service: false });
            let trust = Some(random.bool());
            function.settings = Some(Vf { mac, vlan, trust, ..fresh_vf(function.index) });
            let own = function.driver.clone();
            drive(function, own.as_deref());
        }
        let at_first = fake.observed.inventory.clone();
        let (mut made_anew, mut wishes) = (false, Vec::new());
        for _ in 0..random.usize(1..4) {
            let mode = *random.choice(&[Legacy, Switchdev]).unwrap();
            let attach = *random.choice(&[Attach::Netdev, Attach::Vfio]).unwrap();
            let mut defaults = any::any_defaults(&mut random, attach, true);
            if mode == Switchdev && driver != "bnxt_en" {
                (defaults.vlan, defaults.spoof_check, defaults.trust) = (None, None, None);
            }
            let mut wanted = ours(mode, attach, defaults);
            // functions that go have no address to be put back
            let other_mode = fake.card().eswitch.mode() != Some(mode);
            made_anew |= driver == "ice" && other_mode;
            wanted.parents[0].pools[0].range = 0..=random.u32(0..=1);
            wishes.push(wanted.clone());
            converge(&wanted, &mut fake, &mut before);
        }
        converge(&Wanted::default(), &mut fake, &mut before);
        let mut now = fake.observed.inventory.clone();
        if made_anew {
            for (now, was) in
                now.parents[0].functions.iter_mut().zip(&at_first.parents[0].functions)
            {
                now.settings.as_mut().unwrap().mac = was.settings.unwrap().mac;
                now.netdevs.clone_from(&was.netdevs);
            }
        }
        assert_eq!(now, at_first, "seed {seed}: {driver} {wishes:?}");
        assert_eq!(before, Before::default(), "seed {seed}");
    }
}
