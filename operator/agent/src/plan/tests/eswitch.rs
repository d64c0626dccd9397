//! The mode of the eswitch and the number of functions, in each driver's order.

use ringway_kernel::devlink::EswitchMode::{self, Legacy, Switchdev};
use ringway_kernel::inventory::Eswitch;

use super::*;
use crate::fake::netdev;

/// Of which an order is known.
const DRIVERS: [&str; 3] = ["mlx5_core", "ice", "bnxt_en"];

fn wish(count: u16, mode: Option<EswitchMode>) -> Wanted {
    let mut wanted = card(count, vec![pool("nets", 0..=0, Attach::Netdev)]);
    wanted.parents[0].eswitch = mode;
    wanted
}

/// What is planned for the card as a whole.
fn words(plan: &Plan) -> Vec<String> {
    let whole = plan.steps.iter().filter(|planned| {
        !matches!(planned.step, Step::LoadModule(_) | Step::RaiseUplink { .. })
            && planned.function.is_none()
    });
    whole.map(|planned| planned.step.to_string()).collect()
}

/// A card with its modules, as somebody left it.
fn left(driver: &str, count: u16, mode: EswitchMode, autoprobe: bool) -> Fake {
    let mut fake = Fake::with_eswitch(driver);
    fake.observed.modules.extend(["iavf", "vfio_pci"]);
    fake.card().drivers_autoprobe = autoprobe;
    if driver == "ice" && mode == Switchdev {
        fake.apply(&Step::SetEswitchMode { pf: pf(), mode }).unwrap();
    }
    fake.apply(&Step::SetFunctionCount { pf: pf(), count }).unwrap();
    // mlx5 functions that are made in switchdev mode are bound in it
    fake.card().eswitch = mode.into();
    let representors = fake.card().functions.len();
    if mode == Switchdev {
        let names = (0..representors).map(|i| format!("enp1s0f0_{i}")).zip(40..);
        fake.card().representors = names.map(|(name, index)| netdev(&name, index)).collect();
    }
    fake.done.clear();
    fake
}

#[test]
fn each_driver_has_its_order() {
    let keep = "keep drivers off new functions";
    let (legacy, switchdev) =
        ("set the eswitch's mode to legacy", "set the eswitch's mode to switchdev");
    let counts = [0, 2, 4].map(|n| format!("set the number of functions to {n}"));
    let [zero, two, four] = counts.each_ref().map(String::as_str);
    let unbind = |i: u32| format!("unbind function {i} of {} from its driver", crate::fake::PF);
    let plan = |fake: &Fake| words(&plan_of(&wish(4, Some(Switchdev)), fake, &Before::default()));
    let fresh = |driver| plan(&left(driver, 0, Legacy, true));
    assert_eq!(fresh("mlx5_core"), [keep, four, switchdev]);
    assert_eq!(fresh("bnxt_en"), [keep, four, switchdev]);
    assert_eq!(fresh("ice"), [switchdev, keep, four]);
    // the same number, another mode
    let bound = |driver| plan(&left(driver, 4, Legacy, true));
    let unbound: Vec<String> = (0..4).map(unbind).collect();
    assert_eq!(bound("mlx5_core"), [&unbound[..], &[switchdev.to_owned()]].concat());
    assert_eq!(bound("bnxt_en"), [switchdev]);
    assert_eq!(bound("ice"), [zero, switchdev, keep, four]);
    // another number in the mode that is wanted: mlx5's and bnxt's functions are made in legacy mode
    let more = |driver| plan(&left(driver, 2, Switchdev, true));
    assert_eq!(more("mlx5_core"), [&*unbound[0], &*unbound[1], legacy, keep, four, switchdev]);
    assert_eq!(more("bnxt_en"), [legacy, keep, four, switchdev]);
    assert_eq!(more("ice"), [keep, four]);
    // a mode of which nothing is said is left
    let fake = left("mlx5_core", 4, Switchdev, false);
    assert_eq!(words(&plan_of(&wish(2, None), &fake, &Before::default())), [two]);
}

/// From any state to any other and back again. The fake refuses what the drivers would.
#[test]
fn any_mode_and_number_is_reached_and_put_back() {
    let modes = [Legacy, Switchdev];
    for driver in DRIVERS {
        for (count, mode, autoprobe) in [
            (0, Legacy, true),
            (2, Legacy, true),
            (3, Legacy, false),
            (2, Switchdev, true),
            (4, Switchdev, false),
        ] {
            for (other, kind) in
                [(1, Attach::Netdev), (2, Attach::Vfio), (4, Attach::Netdev), (3, Attach::Vfio)]
            {
                for wanted_mode in modes {
                    let mut fake = left(driver, count, mode, autoprobe);
                    let at_first = fake.card().clone();
                    let overrides = fake.overrides.clone();
                    let mut before = Before::default();
                    let mut wanted = wish(other, Some(wanted_mode));
                    wanted.parents[0].pools = vec![pool("a", 0..=0, kind)];
                    converge(&wanted, &mut fake, &mut before);
                    let card = fake.card().clone();
                    let told = format!("{driver} {at_first:?} to {wanted:?}");
                    assert_eq!(
                        (card.numvfs, card.eswitch.mode()),
                        (other, Some(wanted_mode)),
                        "{told}"
                    );
                    assert_eq!(converge(&wanted, &mut fake, &mut before), 0, "{told}");
                    converge(&Wanted::default(), &mut fake, &mut before);
                    let mut now = fake.card().clone();
                    // the uplink goes down again as well
                    now.netdevs.clone_from(&at_first.netdevs);
                    assert_eq!(now, at_first, "{told}");
                    assert_eq!((fake.overrides, before), (overrides, Before::default()), "{told}");
                }
            }
        }
    }
}

#[test]
fn vdpa_devices_go_before_their_functions_are_unbound_and_come_again() {
    let (mut fake, mut before) = (Fake::with_eswitch("mlx5_core"), Before::default());
    let wish = |mode| {
        let mut wanted = card(2, vec![pool("vms", 0..=1, Attach::VhostVdpa)]);
        wanted.parents[0].eswitch = mode;
        wanted
    };
    converge(&wish(None), &mut fake, &mut before);
    assert_eq!(before.parents[crate::fake::PF].eswitch, None, "not changed yet");
    let plan = plan_of(&wish(Some(Switchdev)), &fake, &before);
    let all = |planned: &&Planned| planned.function.is_none() && planned.disturbs.len() != 2;
    assert_eq!(plan.steps.iter().find(all), None, "a mode disturbs every function");
    converge(&wish(Some(Switchdev)), &mut fake, &mut before);
    assert_eq!(before.parents[crate::fake::PF].eswitch, Some(Legacy));
    let served = |f: &ringway_kernel::inventory::VirtualFunction| {
        f.vdpa.iter().any(|device| device.driver.as_deref() == Some("vhost_vdpa"))
    };
    assert!(fake.card().functions.iter().all(served));
    // somebody sets it back
    fake.card().eswitch = Eswitch::Legacy;
    converge(&wish(Some(Switchdev)), &mut fake, &mut before);
    assert_eq!(fake.card().eswitch, Eswitch::Switchdev);
    assert!(fake.card().functions.iter().all(served));
}

#[test]
fn a_mode_that_drifted_waits_for_whoever_holds_a_function() {
    let (mut fake, mut before) = (Fake::with_eswitch("mlx5_core"), Before::default());
    let wish = wish(4, Some(Switchdev));
    converge(&wish, &mut fake, &mut before);
    fake.card().eswitch = Eswitch::Legacy;
    let held = |planned: &Planned, _: &crate::node::Observed| {
        let first = |id: &ringway_node::DeviceId| id.as_str() == "0000:01:00.1";
        match planned.disturbs.iter().any(first) {
            true => Gate::Held("pod a/b holds it".to_owned()),
            false => Gate::Go(vec![]),
        }
    };
    let report = reconcile("node1", &mut fake, &wish, &mut before, |_| Ok(()), held).unwrap();
    assert_eq!((report.done, fake.card().eswitch.clone()), (vec![], Eswitch::Legacy));
    assert!(report.held.contains("pod a/b holds it"));
    converge(&wish, &mut fake, &mut before);
    assert_eq!(fake.card().eswitch, Eswitch::Switchdev);
}

/// After a reboot kubelet knows pods that wait for functions which wait for the mode.
#[test]
fn functions_that_nobody_can_use_are_not_disturbed() {
    let fake = left("mlx5_core", 4, Legacy, false);
    let steps = plan_of(&wish(4, Some(Switchdev)), &fake, &Before::default()).steps;
    let mode = steps.iter().find(|s| matches!(s.step, Step::SetEswitchMode { .. })).unwrap();
    assert!(mode.disturbs.is_empty());
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_touched() {
    type Change = fn(&mut Fake);
    let cases: [(Change, Reason, &str); 6] = [
        (|_| (), Reason::SettingsUnsupported, "driver virtio-pci has no eswitch whose mode can"),
        (
            |fake| *fake.card() = crate::fake::igb_card(pf()),
            Reason::SettingsUnsupported,
            "0000:01:00.0: uplink.eswitch switchdev: a card of driver igb has no eswitch",
        ),
        (
            // a driver of ours whose eswitch we do not know
            |fake| fake.card().eswitch = Eswitch::Legacy,
            Reason::SettingsUnsupported,
            "driver virtio-pci changes its eswitch is not known, only of mlx5_core, ice, bnxt_en",
        ),
        (
            |fake| fake.card().eswitch = Eswitch::Unknown("no answer".into()),
            Reason::CallStuck,
            "its mode now cannot be read: no answer",
        ),
        (
            |fake| {
                *fake = left("mlx5_core", 4, Legacy, true);
                fake.add_foreign(1);
            },
            Reason::Foreign,
            "delete it to let the mode of the eswitch change",
        ),
        (
            |fake| {
                *fake = left("mlx5_core", 2, Switchdev, true);
                fake.card().representors[1].traffic = vec![Traffic::DefaultRoute { table: 254 }];
            },
            Reason::CarriesNodeTraffic,
            "representor enp1s0f0_1 carries the default route: the number of functions cannot",
        ),
    ];
    for (change, reason, words) in cases {
        let mut fake = Fake::new();
        change(&mut fake);
        let plan = plan_of(&wish(4, Some(Switchdev)), &fake, &Before::default());
        assert_eq!(plan.steps, [], "{words}");
        assert_eq!(plan.refusals[0].reason, reason, "{:?}", plan.refusals);
        assert!(plan.refusals[0].message.contains(words), "{}", plan.refusals[0].message);
    }
}

#[test]
fn a_bridge_of_representors_is_no_traffic_of_the_nodes_and_the_mtu_is_the_uplinks() {
    let mut fake = left("mlx5_core", 2, Switchdev, true);
    let member = Traffic::Member { of: "br0".into(), kind: "bridge".into() };
    fake.card().representors.iter_mut().for_each(|n| n.traffic = vec![member.clone()]);
    let mut wish = wish(4, Some(Switchdev));
    wish.parents[0].mtu = Some(9000);
    converge(&wish, &mut fake, &mut Before::default());
    assert_eq!(fake.card().netdevs[0].mtu, 9000);
    assert!(fake.card().representors.iter().all(|netdev| netdev.mtu == 1500));
}

#[test]
fn a_mode_that_cannot_be_read_is_not_taken_for_put_back() {
    let (mut fake, mut before) = (Fake::with_eswitch("ice"), Before::default());
    converge(&wish(2, Some(Switchdev)), &mut fake, &mut before);
    fake.card().eswitch = Eswitch::Unknown("no answer".into());
    let plan = plan_of(&Wanted::default(), &fake, &before);
    assert_eq!((plan.steps.len(), plan.refusals[0].reason), (0, Reason::CallStuck));
    assert!(plan.refusals[0].message.contains("its eswitch was legacy"), "{:?}", plan.refusals);
}
