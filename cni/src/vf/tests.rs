use ringway_kernel::{
    link::{VfLink, VfTag, VfTxRate},
    testing::Tree,
};

use super::*;

const CARD: &str = "
    0000:01:00.0 igb pf totalvfs=7
    0000:01:00.1 vf-of=0000:01:00.0 igbvf net=eth2
";

fn function() -> Function {
    let [pf, address] = ["0000:01:00.0", "0000:01:00.1"].map(|text| text.parse().unwrap());
    Function { pf, index: 0, address }
}

fn now() -> Vf {
    Vf { mac: Some(Mac([2, 0, 0, 0, 0, 1])), spoof_check: Some(true), trust: None, ..Vf::default() }
}

fn tag(id: u16) -> VfSetting {
    VfSetting::Vlan(Some(VfTag { id, qos: 0, service: false }))
}

#[test]
fn what_differs_is_kept_and_the_vlan_comes_first() {
    let mac = Mac([2, 0, 0, 0, 0, 9]);
    let asked = [VfSetting::Link(VfLink::Auto), VfSetting::SpoofCheck(false), tag(100)];
    let change = change(function(), &asked, Some(mac), &now()).unwrap();
    assert_eq!(
        change.set,
        [
            tag(100),
            VfSetting::Mac(mac),
            VfSetting::SpoofCheck(false),
            VfSetting::Link(VfLink::Auto)
        ]
    );
    assert_eq!(
        change.before,
        [
            VfSetting::Vlan(None),
            VfSetting::Mac(Mac([2, 0, 0, 0, 0, 1])),
            VfSetting::SpoofCheck(true)
        ]
    );
    assert!(change.sets_mac());
    let found: Vec<_> = differences(&change, &now()).collect();
    assert_eq!(found[0], (tag(100), "no VLAN".to_owned()));
    assert_eq!(found.len(), 3);
    let mut then = now();
    change.set.iter().for_each(|setting| then.set(*setting));
    assert_eq!(differences(&change, &then).count(), 0);
}

#[test]
fn an_address_that_was_not_given_is_put_back_as_none() {
    let none = Vf { mac: None, ..now() };
    let change = change(function(), &[], Some(Mac([2, 0, 0, 0, 0, 9])), &none).unwrap();
    assert_eq!(change.before, [VfSetting::Mac(Mac([0; 6]))]);
}

#[test]
fn what_the_driver_does_not_tell_is_not_touched() {
    let error = change(function(), &[VfSetting::Trust(true)], None, &now()).unwrap_err();
    assert_eq!(error.code(), Code::Config);
    let text = error.to_string();
    assert!(
        text.contains("field trust asks for trust on, which VF 0 of PF 0000:01:00.0"),
        "{text}"
    );
}

#[test]
fn a_record_keeps_each_kind_of_setting() {
    let rate = VfTxRate { min: 1, max: 2 };
    let set = vec![tag(5), VfSetting::Mac(Mac([2; 6])), VfSetting::Rate(rate)];
    let before = vec![VfSetting::Vlan(None), VfSetting::Trust(true), VfSetting::Link(VfLink::Auto)];
    let change = Change { function: function(), set, before };
    let json = serde_json::to_string(&change).unwrap();
    assert_eq!(serde_json::from_str::<Change>(&json).unwrap(), change, "{json}");
}

#[test]
fn a_function_that_is_gone_or_has_no_pf_to_ask_needs_nothing_put_back() {
    let tree = Tree::new(CARD);
    let change =
        |function| Change { function, set: vec![tag(5)], before: vec![VfSetting::Vlan(None)] };
    let world = World::under(&tree.path(""));
    let of = |function| restore(&world, &change(function)).len();
    // its PF has no interface
    assert_eq!(of(function()), 0);
    assert_eq!(of(Function { index: 3, ..function() }), 0);
    assert_eq!(of(Function { pf: "0000:09:00.0".parse().unwrap(), ..function() }), 0);
    assert_eq!(read(&world, function()).unwrap(), None);
}
