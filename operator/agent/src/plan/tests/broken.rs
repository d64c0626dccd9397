//! Cards that do not do what they are asked: the agent says so, goes on with what works, does not try
//! again and again, and needs no help once the card does.

use rustix::io::Errno;

use super::*;
use crate::fake::{Broken, igb_card};
use crate::offer;
use crate::reconcile::{Report, chain};

/// A second card beside the broken one.
const SOUND: &str = "0000:02:00.0";

fn two_cards(attach: Attach) -> Wanted {
    let mut wanted = card(2, vec![pool("broken", 0..=1, attach)]);
    let name = ParentName::Pci(SOUND.parse().unwrap());
    wanted.parents.push(Parent::new(name, 1, vec![pool("sound", 0..=0, Attach::Netdev)]));
    wanted
}

fn node(broken: Broken) -> Fake {
    let mut fake = Fake { broken, ..Fake::new() };
    let sound = igb_card(SOUND.parse().unwrap());
    fake.observed.inventory.parents.push(sound);
    fake
}

fn round(wanted: &Wanted, fake: &mut Fake, before: &mut Before) -> Report {
    fake.done.clear();
    let go = |_: &Planned, _: &crate::node::Observed| Gate::Go(vec![]);
    reconcile("node1", fake, wanted, before, |_| Ok(()), go).unwrap()
}

fn ready(wanted: &Wanted, report: &Report) -> Vec<String> {
    let pools = offer::pools("node1", wanted, report, &Default::default(), None).unwrap();
    let ready =
        |device: &&ringway_node::pools::Device| device.state == ringway_node::pools::State::Ready;
    let devices = pools.pools.iter().flat_map(|pool| &pool.devices).filter(ready);
    devices.map(|device| device.id.to_string()).collect()
}

fn is_put_back(mut fake: Fake, mut before: Before) {
    converge(&Wanted { parents: vec![], refusals: vec![] }, &mut fake, &mut before);
    let counts = fake.observed.inventory.parents.iter().map(|card| card.numvfs);
    assert_eq!(counts.collect::<Vec<_>>(), [0, 0]);
    assert_eq!(before, Before::default());
}

#[test]
fn a_card_that_refuses_a_number_of_functions_is_asked_once_a_round() {
    for errno in [Errno::BUSY, Errno::NOMEM] {
        let refuses = Some(errno.raw_os_error());
        let mut fake = node(Broken { refuses, ..Broken::default() });
        let (wanted, mut before) = (two_cards(Attach::Netdev), Before::default());
        for _ in 0..2 {
            let report = round(&wanted, &mut fake, &mut before);
            let asked = Step::SetFunctionCount { pf: pf(), count: 2 };
            assert_eq!(fake.done.iter().filter(|step| **step == asked).count(), 1);
            let [(_, error)] = &report.failures[..] else { panic!("{:?}", report.failures) };
            let path = "/sys/bus/pci/devices/0000:01:00.0/sriov_numvfs";
            let why = std::io::Error::from(errno);
            assert_eq!(chain(error), format!("write \"2\" to {path}: {why}"));
            assert_eq!(ready(&wanted, &report), ["0000:02:00.1"]);
        }
        fake.broken = Broken::default();
        converge(&wanted, &mut fake, &mut before);
        is_put_back(fake, before);
    }
}

#[test]
fn fewer_functions_than_wanted_are_told_and_not_handed_out() {
    let mut fake = node(Broken { most: Some(1), ..Broken::default() });
    let (wanted, mut before) = (two_cards(Attach::Netdev), Before::default());
    for _ in 0..2 {
        let report = round(&wanted, &mut fake, &mut before);
        let [(planned, error)] = &report.failures[..] else { panic!("{:?}", report.failures) };
        assert_eq!(planned.parent, wanted.parents[0].name);
        assert_eq!(chain(error), "VFs of PCI function 0000:01:00.0: found 1, expected 2");
        assert_eq!(ready(&wanted, &report), ["0000:02:00.1"]);
    }
    fake.broken = Broken::default();
    converge(&wanted, &mut fake, &mut before);
    is_put_back(fake, before);
}

#[test]
fn a_function_that_gets_no_interface_is_not_handed_out() {
    let mut fake = node(Broken { no_interface: true, ..Broken::default() });
    let (wanted, mut before) = (two_cards(Attach::Netdev), Before::default());
    let report = round(&wanted, &mut fake, &mut before);
    assert!(report.plan.steps.is_empty(), "{:?}", report.plan.steps);
    let pools = offer::pools("node1", &wanted, &report, &Default::default(), None).unwrap();
    let reasons: Vec<_> =
        pools.pools[0].devices.iter().map(|device| device.reason.clone().unwrap()).collect();
    assert_eq!(reasons, ["virtio_net has made no interface of it"; 2]);
    is_put_back(fake, before);
}
