//! What others made: used as it is (`ownership: External`), or taken over in place (`adopt`).

use std::collections::BTreeSet;

use ringway_kernel::vdpa_bus::Driver;
use ringway_node::pools::{Pools, State};

use super::*;
use crate::fake::{device, serve};
use crate::offer;
use crate::reconcile::Report;
use crate::wanted::Maker;

/// A card with four functions that others made, and on the first two of them vDPA devices of theirs
/// that vhost_vdpa serves; the third has its network driver, the fourth none.
fn theirs() -> Fake {
    let mut fake = Fake::with_functions(4);
    fake.observed.modules.extend(["vp_vdpa", "vhost_vdpa"]);
    fake.observed.vdpa_autoprobe = Some(true);
    for index in 0..2 {
        let function = &mut fake.card().functions[index];
        crate::fake::drive(function, Some("vp-vdpa"));
        let mut made = device(&format!("theirs{index}"), None);
        serve(&mut made, Some(Driver::VhostVdpa));
        function.vdpa.push(made);
    }
    crate::fake::drive(&mut fake.card().functions[2], Some("virtio-pci"));
    fake.card().drivers_autoprobe = true;
    fake
}

fn wish(maker: Maker, pools: Vec<Pool>) -> Wanted {
    let mut wanted = card(4, pools);
    wanted.parents[0].maker = maker;
    wanted
}

fn vms(range: std::ops::RangeInclusive<u32>) -> Pool {
    pool("vms", range, Attach::VhostVdpa)
}

fn work(wanted: &Wanted, fake: &mut Fake, before: &mut Before) -> Report {
    let go = |_: &Planned, _: &crate::node::Observed| Gate::Go(vec![]);
    reconcile("node1", fake, wanted, before, |_| Ok(()), go).unwrap()
}

fn offered(wanted: &Wanted, report: &Report, last: Option<&Pools>) -> Pools {
    offer::pools("node1", wanted, report, &BTreeSet::new(), last).unwrap()
}

#[test]
fn external_functions_serve_if_they_are_so_and_nothing_is_changed() {
    let (mut fake, mut before) = (theirs(), Before::default());
    // the node's own traffic on the card does not matter: it is not touched
    fake.card().netdevs[0].traffic = vec![Traffic::DefaultRoute { table: 254 }];
    let at_first = fake.observed.clone();
    let pools = vec![vms(0..=1), pool("nets", 2..=3, Attach::Netdev)];
    let wanted = wish(Maker::Others, pools);
    let report = work(&wanted, &mut fake, &mut before);
    assert_eq!((&report.done, &report.plan.steps), (&vec![], &vec![]));
    assert_eq!((fake.observed, before), (at_first, Before::default()));
    let pools = offered(&wanted, &report, None);
    let devices: Vec<_> = pools.pools.iter().flat_map(|pool| &pool.devices).collect();
    let ready: Vec<_> = devices.iter().map(|device| device.state == State::Ready).collect();
    assert_eq!(ready, [true, true, true, false]);
    assert_eq!(devices[1].vdpa.as_ref().unwrap().name, "theirs1");
    let why = devices[3].reason.as_deref().unwrap();
    assert_eq!(
        why,
        "function 3 of 0000:01:00.0: it is not what pool nets asks for, and ownership External \
         changes nothing: it takes to bind function 3 of 0000:01:00.0 to virtio-pci"
    );
}

#[test]
fn external_says_what_is_missing() {
    let mut fake = theirs();
    fake.set_count_of_others(2);
    let settings = Settings { features: "MAC".parse().ok(), ..Settings::default() };
    fake.card().functions[0].vdpa[0].features = "MTU".parse().ok();
    let pools = vec![Pool { settings, ..vms(0..=0) }, vms(1..=1), vms(3..=3)];
    let plan = plan_of(&wish(Maker::Others, pools), &fake, &Before::default());
    assert_eq!(plan.steps, []);
    let told: Vec<_> = plan.refusals.iter().map(|r| (r.function, r.reason)).collect();
    let reason = Reason::ExternallyManaged;
    assert_eq!(told, [(Some(0), reason), (Some(3), reason)]);
    assert!(plan.refusals[0].message.contains("it takes to unbind vDPA device theirs0, delete"));
    let missing = "function 3 of 0000:01:00.0: it is not there (the card has 2), and ownership";
    assert!(plan.refusals[1].message.starts_with(missing), "{}", plan.refusals[1].message);

    // an interface that is the node's is nobody's to hand out
    fake.card().functions[1].netdevs = vec![crate::fake::netdev("eth7", 21)];
    fake.card().functions[1].netdevs[0].traffic = vec![Traffic::DefaultRoute { table: 254 }];
    let plan = plan_of(&wish(Maker::Others, vec![vms(1..=1)]), &fake, &Before::default());
    assert_eq!(plan.refusals[0].reason, Reason::CarriesNodeTraffic);
    let simulator = ParentName::Simulator("vdpasim_net".into());
    let parent = Parent { maker: Maker::Others, ..Parent::new(simulator, 1, vec![vms(0..=0)]) };
    let wanted = Wanted { parents: vec![parent], refusals: vec![] };
    let plan = plan_of(&wanted, &fake, &Before::default());
    assert_eq!((plan.steps.len(), plan.refusals[0].reason), (0, reason));
}

/// What was ours is handed over as it is: no record is left by which it could be put back.
#[test]
fn a_card_that_becomes_external_is_handed_over() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    converge(&two_pools(), &mut fake, &mut before);
    let carved = fake.card().clone();
    let mut wanted = two_pools();
    wanted.parents[0].maker = Maker::Others;
    let report = work(&wanted, &mut fake, &mut before);
    assert_eq!(report.plan.refusals, []);
    assert_eq!((before.parents.len(), before.vdpa.len()), (0, 0));
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!(*fake.card(), carved);
    assert_eq!((before, fake.observed.vdpa_autoprobe), (Before::default(), Some(true)));
}

#[test]
fn what_is_exactly_as_wanted_is_taken_over_and_left_so_at_the_end() {
    let (mut fake, mut before) = (theirs(), Before::default());
    let plain = work(&wish(Maker::Ringway, vec![vms(0..=1)]), &mut fake, &mut before);
    let reasons: Vec<_> = plain.plan.refusals.iter().map(|refusal| refusal.reason).collect();
    assert_eq!(reasons, [Reason::Foreign, Reason::Foreign]);
    let functions = fake.card().functions.clone();
    let wanted = wish(Maker::RingwayAdopting, vec![vms(0..=1)]);
    let report = work(&wanted, &mut fake, &mut before);
    assert_eq!((report.plan.refusals.len(), report.plan.steps.len()), (0, 0));
    let done: Vec<_> = report.done.iter().map(|planned| planned.step.to_string()).collect();
    assert_eq!(
        done,
        ["take over vDPA device theirs0 as it is", "take over vDPA device theirs1 as it is"]
    );
    assert_eq!(fake.card().functions, functions, "in place");
    assert!(before.vdpa.contains("theirs0") && before.is_adopted("theirs0"));
    assert_eq!(converge(&wanted, &mut fake, &mut before), 0);
    let pools = offered(&wanted, &report, None);
    assert!(pools.pools[0].devices.iter().all(|device| device.state == State::Ready));
    // nobody wants it any more: it is left as it was found, and it is theirs again
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!(fake.card().functions, functions);
    assert_eq!(before, Before::default());
    let plan = plan_of(&wish(Maker::Ringway, vec![vms(0..=1)]), &fake, &before);
    assert_eq!(plan.refusals.len(), 2, "somebody else's");
}

#[test]
fn what_is_not_exactly_as_wanted_is_not_taken_over() {
    type Change = fn(&mut Fake);
    let changes: [Change; 4] = [
        |fake| serve(&mut fake.card().functions[0].vdpa[0], Some(Driver::VirtioVdpa)),
        |fake| serve(&mut fake.card().functions[0].vdpa[0], None),
        |fake| fake.card().functions[0].vdpa[0].features = "MTU".parse().ok(),
        |fake| fake.add_foreign(0),
    ];
    for change in changes {
        let mut fake = theirs();
        change(&mut fake);
        let settings = Settings { features: "MAC".parse().ok(), ..Settings::default() };
        let pools = vec![Pool { settings, ..vms(0..=0) }];
        let plan = plan_of(&wish(Maker::RingwayAdopting, pools), &fake, &Before::default());
        assert!(plan.steps.iter().all(|planned| planned.function.is_none()), "{:?}", plan.steps);
        assert_eq!(plan.refusals[0].reason, Reason::Foreign);
        let words =
            "theirs0 was not made by Ringway and is left alone: it is not exactly what pool";
        assert!(plan.refusals[0].message.contains(words), "{}", plan.refusals[0].message);
    }
}

/// From then on it is ours in every other way: what drifts is made anew, under our name.
#[test]
fn what_was_taken_over_and_drifts_is_made_anew_as_ours() {
    let (mut fake, mut before) = (theirs(), Before::default());
    let wanted = wish(Maker::RingwayAdopting, vec![vms(0..=1)]);
    converge(&wanted, &mut fake, &mut before);
    serve(&mut fake.card().functions[0].vdpa[0], None);
    converge(&wanted, &mut fake, &mut before);
    let names: Vec<_> =
        fake.card().functions.iter().flat_map(|f| &f.vdpa).map(|v| &v.name).collect();
    assert_eq!(names, ["vdpa:0000:01:00.1", "theirs1"]);
    assert!(!before.is_adopted("vdpa:0000:01:00.1") && before.is_adopted("theirs1"));
    converge(&Wanted::default(), &mut fake, &mut before);
    let left: Vec<_> = fake.observed.vdpa().map(|device| device.name.clone()).collect();
    assert_eq!(left, ["theirs1"]);
}

/// A device with a name like ours is no different: once made anew it is not left behind.
#[test]
fn a_name_like_ours_is_adopted_until_we_make_it_anew() {
    let (mut fake, mut before) = (theirs(), Before::default());
    fake.card().functions[0].vdpa[0].name = "vdpa:0000:01:00.1".into();
    converge(&wish(Maker::RingwayAdopting, vec![vms(0..=0)]), &mut fake, &mut before);
    assert!(before.is_adopted("vdpa:0000:01:00.1"));
    let nets = wish(Maker::RingwayAdopting, vec![pool("nets", 0..=0, Attach::Netdev)]);
    converge(&nets, &mut fake, &mut before);
    converge(&wish(Maker::RingwayAdopting, vec![vms(0..=0)]), &mut fake, &mut before);
    assert!(!before.is_adopted("vdpa:0000:01:00.1"));
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!(fake.card().functions[0].vdpa, []);
}

#[test]
fn simulated_devices_are_taken_over_too() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    let name = ParentName::Simulator("vdpasim_net".into());
    let wanted = |maker| {
        let parent = Parent { maker, ..Parent::new(name.clone(), 1, vec![vms(0..=0)]) };
        Wanted { parents: vec![parent], refusals: vec![] }
    };
    converge(&wanted(Maker::Ringway), &mut fake, &mut before);
    let made = fake.observed.inventory.simulators[0].clone();
    // as if somebody else had made it
    let mut before = Before::default();
    converge(&wanted(Maker::RingwayAdopting), &mut fake, &mut before);
    assert!(before.is_adopted("vdpasim_net.0"));
    converge(&Wanted::default(), &mut fake, &mut before);
    assert_eq!((&fake.observed.inventory.simulators[0], before), (&made, Before::default()));
}

/// What stays there when its policy goes is listed until nobody can have it, and no longer.
#[test]
fn a_device_that_stays_is_let_go_once_nobody_uses_it() {
    let (mut fake, mut before) = (theirs(), Before::default());
    let wanted = wish(Maker::Others, vec![vms(0..=1)]);
    let report = work(&wanted, &mut fake, &mut before);
    let first = offered(&wanted, &report, None);
    let nothing = Wanted::default();
    let report = work(&nothing, &mut fake, &mut before);
    let list = |last: &Pools, used: &str| {
        let mut pools = offered(&nothing, &report, Some(last));
        offer::let_go(&mut pools, &report, Some(last), |id| id.as_str() == used);
        pools
    };
    let ids = |pools: &Pools| -> Vec<(String, State)> {
        let devices = pools.pools.iter().flat_map(|pool| &pool.devices);
        devices.map(|device| (device.id.to_string(), device.state)).collect()
    };
    let second = list(&first, "");
    let both = ["0000:01:00.1", "0000:01:00.2"].map(|id| (id.to_owned(), State::Draining));
    assert_eq!(ids(&second), both, "said before it goes");
    let third = list(&second, "0000:01:00.1");
    assert_eq!(ids(&third), both[..1]);
    assert_eq!(list(&third, "").pools, []);
}
