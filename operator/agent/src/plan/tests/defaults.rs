//! What functions are set to at rest.

use ringway_kernel::Mac;
use ringway_kernel::link::{Vf, VfSetting, VfTag, VfTxRate};

use super::*;
use crate::fake::fresh_vf;

const TAG: VfTag = VfTag { id: 100, qos: 3, service: false };

/// Of each function of a pool.
fn everything() -> Defaults {
    Defaults {
        stable_mac: true,
        vlan: Some(Some(TAG)),
        max_rate: Some(500),
        spoof_check: Some(false),
        trust: Some(true),
        ..Defaults::default()
    }
}

fn with(attach: Attach, defaults: Defaults) -> Wanted {
    card(2, vec![Pool { defaults, ..pool("nets", 0..=1, attach) }])
}

fn settings(fake: &mut Fake, index: usize) -> Vf {
    fake.card().functions[index].settings.unwrap()
}

fn words(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|planned| planned.step.to_string()).collect()
}

#[test]
fn new_functions_are_set_before_their_driver_reads_the_address() {
    let (mut fake, mut before) = (Fake::igb(), Before::default());
    let wish = with(Attach::Netdev, Defaults { mtu: Some(1280), ..everything() });
    let first = words(&plan_of(&wish, &fake, &before)).join("\n");
    let both = "spoof check off, trust on of function 1 of 0000:01:00.0\nbind function 1";
    assert!(first.contains(both), "{first}");
    converge(&wish, &mut fake, &mut before);
    let mut macs = Vec::new();
    for index in 0..2_u32 {
        let now = settings(&mut fake, index as usize);
        let rate = VfTxRate { min: 0, max: 500 };
        let (vlan, spoof_check, trust) = (Some(TAG), Some(false), Some(true));
        let expected = Vf { mac: now.mac, vlan, rate, spoof_check, trust, ..fresh_vf(index) };
        assert_eq!(now, expected);
        let netdev = &fake.card().functions[index as usize].netdevs[0];
        assert_eq!((netdev.mac, netdev.mtu), (now.mac, 1280));
        macs.push(now.mac.unwrap());
    }
    assert!(macs[0] != macs[1] && macs.iter().all(|mac| mac.is_unicast()));
    // they are the same wherever the functions come from
    let again = &mut Fake::igb();
    converge(&with(Attach::Vfio, everything()), again, &mut Before::default());
    assert_eq!(settings(again, 1).mac, Some(macs[1]));
}

#[test]
fn a_step_names_just_what_differs_and_disturbs_its_function_alone() {
    let (mut fake, mut before) = (Fake::igb(), Before::default());
    let wish = with(Attach::Vfio, everything());
    converge(&wish, &mut fake, &mut before);
    let function = &mut fake.card().functions[1];
    function.settings.as_mut().unwrap().set(VfSetting::Vlan(None));
    function.settings.as_mut().unwrap().set(VfSetting::SpoofCheck(true));
    let plan = plan_of(&wish, &fake, &before);
    let expected = "set VLAN 100 (802.1q, qos 3), spoof check off of function 1 of 0000:01:00.0";
    assert_eq!(words(&plan), [expected]);
    let disturbs: Vec<_> = plan.steps[0].disturbs.iter().map(ToString::to_string).collect();
    assert_eq!(disturbs, ["0000:01:00.2"]);
    converge(&wish, &mut fake, &mut before);
    assert_eq!(settings(&mut fake, 1).vlan, Some(TAG));
}

#[test]
fn another_address_is_read_by_the_driver_that_goes_on_and_needs_none_for_vfio() {
    for (attach, expected) in
        [(Attach::Netdev, vec!["unbind", "set MAC", "bind"]), (Attach::Vfio, vec!["set MAC"])]
    {
        let (mut fake, mut before) = (Fake::igb(), Before::default());
        let wish = with(attach, everything());
        converge(&wish, &mut fake, &mut before);
        let stable = settings(&mut fake, 0).mac;
        let by_hand = VfSetting::Mac(Mac([2, 9, 9, 9, 9, 9]));
        fake.card().functions[0].settings.as_mut().unwrap().set(by_hand);
        let plan = plan_of(&wish, &fake, &before);
        assert!(plan.steps.iter().all(|planned| planned.disturbs.len() == 1));
        let found = words(&plan);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        assert!(found.iter().zip(expected).all(|(step, begin)| step.starts_with(begin)));
        converge(&wish, &mut fake, &mut before);
        let function = &fake.card().functions[0];
        assert_eq!(function.settings.unwrap().mac, stable);
        assert!(function.netdevs.iter().all(|netdev| netdev.mac == stable));
    }
}

#[test]
fn what_a_pool_no_longer_asks_for_is_as_it_was_and_the_rest_stays() {
    let (mut fake, mut before) = (Fake::igb(), Before::default());
    fake.set_count(pf(), 2).unwrap();
    let by_hand = VfTag { id: 7, qos: 0, service: false };
    let mtu = Defaults { mtu: Some(1280), ..everything() };
    fake.observed.modules.insert("igbvf");
    fake.card().functions[0].settings.as_mut().unwrap().vlan = Some(by_hand);
    let at_first = fake.card().functions.clone();
    converge(&with(Attach::Netdev, mtu), &mut fake, &mut before);
    assert_ne!(fake.card().functions, at_first);
    assert_eq!(before.parents[crate::fake::PF].mtus, [(0, 1500), (1, 1500)].into());
    // the VLAN goes on being wanted, and somebody has set something that nobody asked for
    let link = VfSetting::Link(ringway_kernel::link::VfLink::Enable);
    fake.card().functions[1].settings.as_mut().unwrap().set(link);
    let vlan = Defaults { vlan: Some(Some(TAG)), ..Defaults::default() };
    converge(&with(Attach::Netdev, vlan), &mut fake, &mut before);
    let expected = Vf { vlan: Some(TAG), ..at_first[0].settings.unwrap() };
    assert_eq!(settings(&mut fake, 0), expected);
    assert_eq!(fake.card().functions[0].netdevs, at_first[0].netdevs);
    fake.card().functions[1].settings.as_mut().unwrap().link = Default::default();
    converge(&with(Attach::Netdev, Defaults::default()), &mut fake, &mut before);
    assert_eq!(fake.card().functions, at_first);
    assert!(!before.parents[crate::fake::PF].has_settings(), "{before:?}");
    // and so it is when nobody wants anything at all
    converge(&with(Attach::Netdev, everything()), &mut fake, &mut before);
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!(fake.card().functions, at_first);
    assert_eq!(before, Before::default());
}

#[test]
fn functions_that_the_card_had_get_their_settings_back_with_their_number() {
    let (mut fake, mut before) = (Fake::igb(), Before::default());
    fake.set_count(pf(), 3).unwrap();
    fake.observed.modules.insert("igbvf");
    for setting in [VfSetting::Vlan(Some(TAG)), VfSetting::Trust(true)] {
        fake.card().functions[2].settings.as_mut().unwrap().set(setting);
    }
    let at_first = fake.card().functions.clone();
    converge(&with(Attach::Vfio, everything()), &mut fake, &mut before);
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!(fake.card().functions, at_first);
    assert_eq!(before, Before::default());
}

#[test]
fn what_the_cni_plugin_has_attached_is_the_plugins() {
    let (mut fake, mut before) = (Fake::igb(), Before::default());
    let wish = with(Attach::Netdev, everything());
    converge(&wish, &mut fake, &mut before);
    let other = VfSetting::Vlan(Some(VfTag { id: 5, qos: 0, service: false }));
    fake.card().functions[0].settings.as_mut().unwrap().set(other);
    fake.observed.attached =
        Ok([("0000:01:00.1".to_owned(), "attached to c1 as net1".to_owned())].into());
    assert_eq!(plan_of(&wish, &fake, &before), Plan::default());
    // nobody wants it any more: what was before stays on record until the pod has gone
    let nothing = with(Attach::Netdev, Defaults::default());
    converge(&nothing, &mut fake, &mut before);
    assert!(!before.parents[crate::fake::PF].own_settings(0).is_empty());
    assert_eq!(before.parents[crate::fake::PF].own_settings(1), []);
    fake.observed.attached = Err("parse the record of an attachment /a: eof".into());
    let plan = plan_of(&wish, &fake, &before);
    assert!(plan.steps.iter().all(|planned| planned.function.is_none()), "{:?}", plan.steps);
    assert_eq!(plan.refusals[0].reason, Reason::HoldersUnknown);
    assert!(plan.refusals[0].message.ends_with("/a: eof"), "{}", plan.refusals[0].message);
    fake.observed.attached = Ok(BTreeMap::new());
    converge(&nothing, &mut fake, &mut before);
    let now = settings(&mut fake, 0);
    assert_eq!(now, Vf { mac: now.mac, ..fresh_vf(0) });
    assert!(!before.parents[crate::fake::PF].has_settings(), "{before:?}");
}

/// A function without an address from the PF chooses one, and the PF's driver tells that.
#[test]
fn an_address_that_is_taken_back_is_not_taken_back_again() {
    let (mut fake, mut before) = (Fake::igb(), Before::default());
    converge(&with(Attach::Netdev, everything()), &mut fake, &mut before);
    let nothing = with(Attach::Netdev, Defaults::default());
    let taken_back = |fake: &Fake| {
        let of_mac = |step: &&Step| step.to_string().contains("no MAC");
        fake.done.iter().filter(of_mac).count()
    };
    converge(&nothing, &mut fake, &mut before);
    assert_eq!(taken_back(&fake), 2, "of each function once");
    assert_eq!(settings(&mut fake, 0).mac, fake.card().functions[0].netdevs[0].mac);
    assert_eq!(converge(&nothing, &mut fake, &mut before), 0);
}

/// A function that was there, is attached, and whose parent nobody wants carved any more.
#[test]
fn a_record_stays_as_long_as_the_pod_that_is_in_the_way_of_it() {
    let (mut fake, mut before) = (Fake::igb(), Before::default());
    fake.set_count(pf(), 2).unwrap();
    fake.observed.modules.insert("igbvf");
    let at_first = fake.card().functions.clone();
    let trust = Defaults { trust: Some(true), ..Defaults::default() };
    converge(&with(Attach::Netdev, trust), &mut fake, &mut before);
    fake.observed.attached = Ok([("0000:01:00.2".to_owned(), "attached".to_owned())].into());
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!(settings(&mut fake, 0), at_first[0].settings.unwrap());
    assert_eq!(before.parents.len(), 1, "function 1 is still to be put back");
    fake.observed.attached = Ok(BTreeMap::new());
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!((&fake.card().functions, before), (&at_first, Before::default()));
}

#[test]
fn what_a_card_cannot_set_is_refused_with_what_it_can() {
    let igb = "it can set mac, vlan, vlan.qos, maxRate, spoofCheck, trust";
    let service = VfTag { service: true, ..TAG };
    let virtio = "driver virtio-pci cannot set it for its functions; it can set nothing";
    let none = Defaults::default;
    let cases = [
        (Fake::igb(), Defaults { min_rate: Some(5), ..none() }, "defaults.minRate 5", igb),
        (
            Fake::igb(),
            Defaults { link: Some(ringway_kernel::link::VfLink::Enable), ..none() },
            "pool nets: defaults.linkState enable: driver igb cannot",
            igb,
        ),
        (
            Fake::igb(),
            Defaults { vlan: Some(Some(service)), ..none() },
            "defaults.vlan.protocol 802.1ad",
            igb,
        ),
        (Fake::new(), Defaults { trust: Some(false), ..none() }, "defaults.trust false", virtio),
        (Fake::new(), Defaults { stable_mac: true, ..none() }, "defaults.mac Stable", virtio),
    ];
    let mut i350 = Fake::igb();
    i350.card().ids.device = 0x1521;
    let rates = "it can set mac, vlan, vlan.qos, spoofCheck, trust";
    let more = (i350, Defaults { max_rate: Some(5), ..none() }, "defaults.maxRate 5", rates);
    for (mut fake, defaults, field, can) in cases.into_iter().chain([more]) {
        let plan = plan_of(&with(Attach::Netdev, defaults), &fake, &Before::default());
        assert_eq!((plan.steps.len(), plan.refusals.len()), (0, 1), "{field}");
        assert_eq!(plan.refusals[0].reason, Reason::SettingsUnsupported);
        let message = &plan.refusals[0].message;
        assert!(message.contains(field) && message.contains(can), "{message}");
        assert_eq!(fake.card().numvfs, 0);
    }
    let name = ParentName::Simulator("vdpasim_net".into());
    let defaults = Defaults { trust: Some(true), ..none() };
    let pools = vec![Pool { defaults, ..pool("a", 0..=0, Attach::VhostVdpa) }];
    let parent = Parent::new(name, 1, pools);
    let wanted = Wanted { parents: vec![parent], refusals: vec![] };
    let plan = plan_of(&wanted, &Fake::new(), &Before::default());
    assert_eq!((plan.steps.len(), plan.refusals[0].reason), (0, Reason::SettingsUnsupported));
    let words = "vdpasim_net: pool a: defaults.trust true: a simulated device has no PF";
    assert!(plan.refusals[0].message.starts_with(words), "{}", plan.refusals[0].message);
}

#[test]
fn without_a_carrier_rates_are_told_and_the_rest_is_set() {
    let (mut fake, mut before) = (Fake::igb(), Before::default());
    fake.card().netdevs[0].carrier = false;
    let wish = with(Attach::Vfio, everything());
    converge(&wish, &mut fake, &mut before);
    assert_eq!(settings(&mut fake, 0).vlan, Some(TAG));
    let refusal = &plan_of(&wish, &fake, &before).refusals[0];
    assert_eq!((refusal.reason, refusal.function), (Reason::SettingsUnsupported, Some(0)));
    let words = "function 0 of 0000:01:00.0: rates 0 to 500 Mbit/s: cannot be set: driver igb takes \
                 rates only while enp2s0f0 has a carrier, and it has none";
    assert_eq!(refusal.message, words);
    fake.card().netdevs[0].carrier = true;
    converge(&wish, &mut fake, &mut before);
    assert_eq!(settings(&mut fake, 0).rate.max, 500);
}

#[test]
fn nothing_is_said_to_be_set_that_cannot_be_seen() {
    let (mut fake, mut before) = (Fake::igb(), Before::default());
    let wish = with(Attach::Vfio, everything());
    converge(&wish, &mut fake, &mut before);
    let refused = |fake: &Fake, words: &str| {
        let plan = plan_of(&wish, fake, &before);
        assert!(plan.steps.is_empty(), "{:?}", plan.steps);
        assert_eq!(plan.refusals.len(), 2, "{:?}", plan.refusals);
        assert!(plan.refusals[1].message.ends_with(words), "{}", plan.refusals[1].message);
    };
    for function in &mut fake.card().functions {
        function.settings.as_mut().unwrap().trust = None;
    }
    refused(&fake, "driver igb does not tell what is set of trust on");
    fake.card().functions.iter_mut().for_each(|function| function.settings = None);
    refused(&fake, "driver igb does not tell what is set");
    fake.card().netdevs.clear();
    refused(&fake, "its card's interface is in another network namespace");
}

/// Whatever was set, and whatever was wanted meanwhile. The address of functions whose number was
/// changed is the driver's to choose.
#[test]
fn any_functions_are_put_back_to_what_they_were() {
    for seed in 0..500 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut fake, mut before) = (Fake::igb(), Before::default());
        fake.observed.modules = ["igbvf", "vfio_pci"].into();
        let count = random.u16(1..=3);
        fake.set_count(pf(), count).unwrap();
        let keeps_count = random.bool();
        for function in &mut fake.card().functions {
            let tag = random.bool().then_some(VfTag { id: 7, qos: 1, service: false });
            let mac = keeps_count.then_some(Mac([2, 9, 9, 9, 9, function.index as u8]));
            let trust = Some(random.bool());
            let first = Vf { mac, vlan: tag, trust, ..fresh_vf(function.index) };
            function.settings = Some(first);
            let driver = function.driver.clone();
            crate::fake::drive(function, driver.as_deref());
        }
        let at_first = fake.observed.inventory.clone();
        for _ in 0..random.usize(1..4) {
            let attach = *random.choice(&[Attach::Netdev, Attach::Vfio]).unwrap();
            let defaults = any::any_defaults(&mut random, attach, true);
            let wished = if keeps_count { count } else { random.u16(1..=4) };
            let last = random.u32(0..u32::from(wished));
            let pools = vec![Pool { defaults, ..pool("nets", 0..=last, attach) }];
            converge(&card(wished, pools), &mut fake, &mut before);
        }
        converge(&Wanted::default(), &mut fake, &mut before);
        assert_eq!(fake.observed.inventory, at_first, "seed {seed}");
        assert_eq!(before, Before::default(), "seed {seed}");
    }
}

#[test]
fn a_driver_that_says_yes_and_sets_nothing_is_told_once_more_and_no_more() {
    let (mut fake, mut before) = (Fake::igb(), Before::default());
    fake.deaf = true;
    let wish = with(Attach::Netdev, everything());
    let go = |_: &Planned, _: &crate::node::Observed| Gate::Go(vec![]);
    let report = reconcile("node1", &mut fake, &wish, &mut before, |_| Ok(()), go).unwrap();
    let left: Vec<_> = report.waits.iter().map(String::as_str).collect();
    let told = "was done, and the driver still tells something else";
    let rest = "waits for an earlier step";
    assert_eq!(left, [told, rest, rest].repeat(2), "{:?}", report.plan);
    assert_eq!(fake.card().functions[0].driver.as_deref(), Some("igbvf"), "it is not left alone");
    fake.deaf = false;
    converge(&wish, &mut fake, &mut before);
}
