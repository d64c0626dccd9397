use super::*;

fn pool(name: &str, resource: &str, range: &str, attach: Attach) -> PoolSpec {
    PoolSpec {
        name: name.into(),
        resource: (attach != Attach::Host).then(|| format!("ringway.dev/{resource}")),
        range: range.into(),
        attach,
        vdpa: None,
        common_features: false,
        defaults: None,
        limits: None,
        allocation: None,
        health: None,
    }
}

/// A pool with features that all nodes have in common.
fn common(attach: Attach, features: &str) -> PoolSpec {
    let vdpa = VdpaSettings { features: Some(features.into()), ..Default::default() };
    PoolSpec { common_features: true, vdpa: Some(vdpa), ..pool("a", "a", "0", attach) }
}

fn parent(pools: Vec<PoolSpec>) -> NodeDevicesSpec {
    let parent = ParentSpec {
        ownership: Default::default(),
        adopt: false,
        name: "0000:01:00.0".into(),
        identity: None,
        policy: "edge".into(),
        uplink: None,
        function_count: 4,
        pools,
    };
    NodeDevicesSpec { parents: vec![parent] }
}

#[test]
fn a_sound_spec_becomes_values() {
    let spec = parent(vec![
        pool("vms", "vms", "0-1", Attach::VhostVdpa),
        pool("pods", "pods", "3", Attach::VirtioVdpa),
        pool("ours", "", "2", Attach::Host),
    ]);
    let wanted = Wanted::of(&spec);
    assert_eq!(wanted.refusals, []);
    let parent = &wanted.parents[0];
    assert_eq!(parent.name, ParentName::Pci("0000:01:00.0".parse().unwrap()));
    assert_eq!(parent.pool(1).unwrap().name, "vms");
    assert_eq!(parent.pool(2).unwrap().resource, None);
    assert_eq!(parent.pool(4), None);
    assert_eq!(parent.pool(3).unwrap().range, 3..=3);
}

#[test]
fn parents_serve_a_resource_in_one_way() {
    let two = |attach| {
        let mut spec = parent(vec![pool("a", "x", "0", Attach::VhostVdpa)]);
        let other = parent(vec![pool("b", "x", "1", attach), pool("own", "", "0", Attach::Host)]);
        spec.parents.extend(other.parents);
        spec.parents[1].name = "0000:02:00.0".into();
        Wanted::of(&spec)
    };
    assert_eq!(two(Attach::VhostVdpa).parents.len(), 2);
    let wanted = two(Attach::Vfio);
    assert_eq!(wanted.parents.len(), 1);
    let Refusal { parent, reason, message, .. } = &wanted.refusals[0];
    assert_eq!((parent.as_str(), *reason), ("0000:02:00.0", Reason::Invalid));
    let words = "pool b serves ringway.dev/x by vfio, and pool a of 0000:01:00.0 by vhost-vdpa";
    assert!(message.contains(words), "{message}");
}

#[test]
fn nonsense_is_refused_with_field_value_and_what_is_allowed() {
    let mut features = pool("a", "a", "0", Attach::VhostVdpa);
    features.vdpa = Some(VdpaSettings { features: Some("MAC,WINGS".into()), ..Default::default() });
    let mut settings = pool("a", "a", "0", Attach::Netdev);
    settings.vdpa = Some(VdpaSettings { mtu: Some(9000), ..Default::default() });
    let kept = PoolSpec { attach: Attach::Host, ..pool("a", "a", "0", Attach::Vfio) };
    let nameless = PoolSpec { attach: Attach::Vfio, ..pool("a", "", "0", Attach::Host) };
    let by_hand = PoolSpec { common_features: false, ..common(Attach::VhostVdpa, "common") };
    let of_host = common(Attach::Host, "common");
    let cases = [
        (vec![pool("a", "a", "3-1", Attach::VhostVdpa)], Reason::Invalid, "range \"3-1\""),
        (
            vec![pool("a", "a", "2-4", Attach::VhostVdpa)],
            Reason::TooManyFunctions,
            "the last function is 3",
        ),
        (
            vec![
                pool("a", "a", "0-2", Attach::VhostVdpa),
                pool("b", "b", "2-3", Attach::VhostVdpa),
            ],
            Reason::OverlappingRanges,
            "pools a (0-2) and b (2-3)",
        ),
        (
            vec![pool("a", "x", "0", Attach::VhostVdpa), pool("b", "x", "1", Attach::VirtioVdpa)],
            Reason::Invalid,
            "one resource, one attach kind",
        ),
        (vec![features], Reason::Invalid, "WINGS"),
        (vec![settings], Reason::Invalid, "pool a: attach \"netdev\": makes no vDPA device"),
        (vec![by_hand], Reason::Invalid, "vdpa.features \"common\": what all nodes have in common"),
        (vec![of_host], Reason::Invalid, "attach host serves none: name features"),
        (vec![kept], Reason::Invalid, "resource \"ringway.dev/a\": attach host serves none"),
        (vec![nameless], Reason::Invalid, "resource \"\": attach vfio serves one"),
    ];
    for (pools, reason, words) in cases {
        let wanted = Wanted::of(&parent(pools));
        assert_eq!(wanted.parents, []);
        assert_eq!(wanted.refusals[0].reason, reason);
        assert!(wanted.refusals[0].message.contains(words), "{}", wanted.refusals[0].message);
        assert!(wanted.refusals[0].message.contains("policy edge"));
    }
}

#[test]
fn features_in_common_are_names_once_they_are_known() {
    let of = |features: &str| {
        let wanted = Wanted::of(&parent(vec![common(Attach::VirtioVdpa, features)]));
        let settings = wanted.parents[0].pools[0].settings.clone();
        (settings.common, settings.features)
    };
    assert_eq!(of("common"), (Common::Awaited, None));
    assert_eq!(of("MAC,MTU"), (Common::Known, Some(Features::MAC | Features::MTU)));
    let mut external = parent(vec![common(Attach::VhostVdpa, "MAC")]);
    external.parents[0].ownership = Ownership::External;
    let message = &Wanted::of(&external).refusals[0].message;
    assert!(message.contains("ownership External makes no devices"), "{message}");
}

#[test]
fn defaults_become_values_and_nonsense_of_them_is_refused() {
    use ringway_kernel::link::{Vf, VfLink, VfSetting, VfTag, VfTxRate};
    let of = |attach: Attach, defaults: serde_json::Value| {
        let mut pool = pool("a", "a", "0", attach);
        pool.defaults = Some(serde_json::from_value(defaults).unwrap());
        Wanted::of(&parent(vec![pool]))
    };
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let whole = json(
        r#"{"mac": "Stable", "vlan": {"id": 100, "protocol": "802.1ad"}, "maxRate": 500,
            "spoofCheck": false, "linkState": "disable", "mtu": 9000}"#,
    );
    let wanted = of(Attach::Netdev, whole);
    let defaults = &wanted.parents[0].pools[0].defaults;
    let fields: Vec<_> =
        defaults.given().iter().map(|g| format!("{} {}", g.field, g.value)).collect();
    let expected = [
        "mac Stable",
        "vlan.id 100",
        "vlan.protocol 802.1ad",
        "maxRate 500",
        "spoofCheck false",
        "linkState disable",
        "mtu 9000",
    ];
    assert_eq!(fields, expected);
    let stable = "02:00:00:00:00:01".parse().unwrap();
    let now = Vf { rate: VfTxRate { min: 7, max: 0 }, ..Vf::default() };
    let tag = VfTag { id: 100, qos: 0, service: true };
    let expected = [
        VfSetting::Mac(stable),
        VfSetting::Vlan(Some(tag)),
        // what is not asked for stays
        VfSetting::Rate(VfTxRate { min: 7, max: 500 }),
        VfSetting::SpoofCheck(false),
        VfSetting::Link(VfLink::Disable),
    ];
    assert_eq!(defaults.settings(stable, &now), expected);
    let kept = of(Attach::Vfio, json(r#"{"mac": "Keep"}"#));
    assert_eq!(kept.parents[0].pools[0].defaults, Defaults::default());
    let untagged = of(Attach::Vfio, json(r#"{"vlan": {"id": 0}}"#));
    assert_eq!(untagged.parents[0].pools[0].defaults.vlan, Some(None));

    for (text, words) in [
        (r#"{"vlan": {"id": 4095}}"#, "defaults.vlan.id \"4095\": 1 to 4094"),
        (r#"{"vlan": {"id": 1, "qos": 8}}"#, "defaults.vlan.qos \"8\": 0 to 7"),
        (r#"{"vlan": {"id": 0, "qos": 1}}"#, "they need an id from 1 to 4094"),
        (r#"{"vlan": {"id": 0, "protocol": "802.1q"}}"#, "they need an id from 1 to 4094"),
        (r#"{"minRate": 6, "maxRate": 5}"#, "defaults.minRate \"6\": at most maxRate"),
        (r#"{"mtu": 9000}"#, "only with attach netdev"),
    ] {
        let wanted = of(Attach::Vfio, json(text));
        assert_eq!((wanted.parents.len(), wanted.refusals[0].reason), (0, Reason::Invalid));
        assert!(wanted.refusals[0].message.contains(words), "{}", wanted.refusals[0].message);
    }
    assert_eq!(of(Attach::Vfio, json(r#"{"minRate": 6, "maxRate": 0}"#)).refusals, []);
}

#[test]
fn who_makes_the_functions_is_said_and_nonsense_is_refused() {
    let of = |change: &dyn Fn(&mut ParentSpec)| {
        let mut spec = parent(vec![pool("a", "a", "0", Attach::Netdev)]);
        change(&mut spec.parents[0]);
        Wanted::of(&spec)
    };
    let maker = |change: &dyn Fn(&mut ParentSpec)| of(change).parents[0].maker;
    assert_eq!(maker(&|_| ()), Maker::Ringway);
    assert_eq!(maker(&|spec| spec.adopt = true), Maker::RingwayAdopting);
    assert_eq!(maker(&|spec| spec.ownership = Ownership::External), Maker::Others);
    type Field = fn(&mut ParentSpec);
    let too_much: [(&str, Field); 2] = [
        ("policy edge: uplink: ownership External", |spec| spec.uplink = Some(Default::default())),
        ("policy edge: adopt: ownership External", |spec| spec.adopt = true),
    ];
    for (words, field) in too_much {
        let wanted = of(&|spec| {
            spec.ownership = Ownership::External;
            field(spec);
        });
        assert_eq!((wanted.parents.len(), wanted.refusals[0].reason), (0, Reason::Invalid));
        assert!(wanted.refusals[0].message.starts_with(words), "{:?}", wanted.refusals);
    }
}
