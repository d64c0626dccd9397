use serde_json::{Value, json};

use super::*;

/// A policy as a person writes it, with what every one needs.
fn policy(name: &str, spec: Value) -> DevicePolicy {
    let mut whole = json!({
        "parents": [{"pci": {"vendor": "1af4"}}],
        "functionCount": 4,
        "pools": [{"name": "vms", "resource": "vm-rings", "range": "0-1", "attach": "vhost-vdpa"}],
    });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "ringway.dev/v1alpha1", "kind": "DevicePolicy",
        "metadata": {"name": name}, "spec": whole,
    }))
    .unwrap()
}

fn created(mut policy: DevicePolicy, second: i64) -> DevicePolicy {
    let time = Timestamp::from_second(second).unwrap();
    policy.metadata.creation_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
    policy
}

/// A node's answer: one virtio card with at most 4 functions, and the simulator.
fn devices(change: impl FnOnce(&mut Value)) -> NodeDevices {
    let mut status = json!({"parents": [
        {
            "name": "0000:01:00.0", "driver": "virtio-pci", "maxFunctions": 4,
            "identity": {"vendor": "1af4", "device": "1041", "mac": "52:54:00:00:00:01"},
            "attach": ["vhost-vdpa", "virtio-vdpa"], "interfaces": ["enp1s0f0"],
        },
        {"name": "vdpasim_net", "attach": ["vhost-vdpa", "virtio-vdpa"]},
    ]});
    change(&mut status["parents"]);
    serde_json::from_value(json!({
        "apiVersion": "ringway.dev/v1alpha1", "kind": "NodeDevices",
        "metadata": {"name": "a"}, "spec": {}, "status": status,
    }))
    .unwrap()
}

/// One node `a`, labelled `edge=true`.
fn on_one_node(policies: &[DevicePolicy], devices: &NodeDevices) -> Rendered {
    let nodes = [("a".to_owned(), Labels::from([("edge".into(), "true".into())]))].into();
    render(policies, &nodes, &[("a".to_owned(), devices)].into())
}

/// Names of the parents in the node's spec, with their policies.
fn entries(rendered: &Rendered) -> Vec<(&str, &str)> {
    let parents = rendered.specs["a"].parents.iter();
    parents.map(|parent| (parent.name.as_str(), parent.policy.as_str())).collect()
}

#[track_caller]
fn found(rendered: &Rendered, policy: &str, reason: Reason, words: &[&str]) {
    let findings = &rendered.policies[policy].findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].reason, reason, "{}", findings[0].message);
    for words in words {
        assert!(findings[0].message.contains(words), "{words}: {}", findings[0].message);
    }
}

const CARD: &str = "0000:01:00.0";

#[test]
fn a_policy_becomes_a_spec() {
    let spec = json!({"uplink": {"mtu": 9000}, "pools": [
        {"name": "vms", "resource": "vm-rings", "range": "0-1", "attach": "vhost-vdpa", "vdpa": {"mtu": 1500}},
        {"name": "pods", "resource": "pod-rings", "range": "2-3", "attach": "virtio-vdpa"},
    ]});
    let rendered = on_one_node(&[policy("edge", spec)], &devices(|_| ()));
    assert_eq!(
        serde_json::to_value(&rendered.specs["a"]).unwrap(),
        json!({"parents": [{
            "name": CARD,
            "identity": {"vendor": "1af4", "device": "1041", "mac": "52:54:00:00:00:01"},
            "policy": "edge",
            "uplink": {"mtu": 9000},
            "functionCount": 4,
            "pools": [
                {"name": "vms", "resource": "ringway.dev/vm-rings", "range": "0-1",
                 "attach": "vhost-vdpa", "vdpa": {"mtu": 1500}},
                {"name": "pods", "resource": "ringway.dev/pod-rings", "range": "2-3",
                 "attach": "virtio-vdpa"},
            ],
        }]})
    );
    let carved = [("a".to_owned(), vec![CARD.to_owned()])].into();
    assert_eq!(rendered.policies["edge"], Outcome { findings: vec![], carved });
}

#[test]
fn what_the_host_keeps_has_no_resource_and_a_kind_must_be_possible() {
    let able = |parents: &mut Value| {
        parents[0]["attach"] = json!(["netdev", "host"]);
        parents[0]["attachReason"] = json!("no vfio: no IOMMU");
    };
    let spec = |second: &str| {
        json!({"pools": [
            {"name": "ours", "range": "0-1", "attach": "host"},
            {"name": "nets", "resource": "nets", "range": "2-3", "attach": second},
        ]})
    };
    let rendered = on_one_node(&[policy("edge", spec("netdev"))], &devices(able));
    assert_eq!(
        serde_json::to_value(&rendered.specs["a"].parents[0].pools).unwrap(),
        json!([
            {"name": "ours", "range": "0-1", "attach": "host"},
            {"name": "nets", "resource": "ringway.dev/nets", "range": "2-3", "attach": "netdev"},
        ])
    );
    let rendered = on_one_node(&[policy("edge", spec("vfio"))], &devices(able));
    let words = ["pool nets: attach vfio: it can do netdev, host (no vfio: no IOMMU)"];
    found(&rendered, "edge", Reason::AttachUnsupported, &words);
}

#[test]
fn a_simulator_needs_no_status() {
    let sim = policy(
        "sim",
        json!({"parents": [{"simulator": "vdpasim_net"}], "functionCount": 64,
        "pools": [{"name": "a", "resource": "a", "range": "63", "attach": "vhost-vdpa"}]}),
    );
    for devices in [devices(|_| ()), devices(|parents| *parents = json!([]))] {
        let rendered = on_one_node(std::slice::from_ref(&sim), &devices);
        assert_eq!(entries(&rendered), [("vdpasim_net", "sim")]);
        assert_eq!(rendered.specs["a"].parents[0].identity, None);
    }
}

#[test]
fn one_parent_has_one_policy() {
    let check = |policies: [DevicePolicy; 2], winner: &str, why: &str| {
        let rendered = on_one_node(&policies, &devices(|_| ()));
        assert_eq!(entries(&rendered), [(CARD, winner)]);
        let loser = policies.iter().map(|p| p.metadata.name.as_deref().unwrap());
        let loser = loser.into_iter().find(|name| *name != winner).unwrap();
        found(&rendered, loser, Reason::Conflict, &[CARD, &format!("DevicePolicy {winner}"), why]);
        assert_eq!(rendered.policies[loser].findings[0].node.as_deref(), Some("a"));
        assert_eq!(rendered.policies[winner].findings, []);
    };
    let high = || policy("high", json!({"priority": 1}));
    check([created(policy("low", json!({})), 1), created(high(), 2)], "high", "priority 1 over 0");
    check(
        [created(policy("a-young", json!({})), 2), created(policy("z-old", json!({})), 1)],
        "z-old",
        "both have priority 0, and it is older",
    );
    check([policy("b", json!({})), policy("a", json!({}))], "a", "both have priority 0");
}

#[test]
fn what_a_parent_cannot_be_is_a_finding_and_no_spec() {
    let check = |change: fn(&mut Value), spec: Value, reason: Reason, words: &[&str]| {
        let rendered = on_one_node(&[policy("edge", spec)], &devices(change));
        assert_eq!(entries(&rendered), []);
        found(&rendered, "edge", reason, words);
    };
    check(
        |_| (),
        json!({"functionCount": 8}),
        Reason::TooManyFunctions,
        &[CARD, "functionCount 8", "at most 4"],
    );
    check(
        |parents| parents[0]["offLimits"] = json!("it holds the default route"),
        json!({}),
        Reason::CarriesNodeTraffic,
        &[CARD, "must not be touched", "the default route"],
    );
    check(
        |parents| parents[0]["attach"] = json!(["virtio-vdpa"]),
        json!({}),
        Reason::AttachUnsupported,
        &[CARD, "pool vms", "attach vhost-vdpa", "it can do virtio-vdpa"],
    );
    check(
        |parents| {
            parents[0]["attach"] = json!([]);
            parents[0]["attachReason"] = json!("driver igb makes no vDPA devices");
        },
        json!({}),
        Reason::AttachUnsupported,
        &["it can do none (driver igb makes no vDPA devices)"],
    );
    check(
        |_| (),
        json!({"pools": [{"name": "x", "resource": "x", "range": "2-4", "attach": "vhost-vdpa"}]}),
        Reason::TooManyFunctions,
        &["pool x", "the last function is 3"],
    );
    check(
        |_| (),
        json!({"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}),
        Reason::Invalid,
        &["nodeSelector"],
    );
}

#[test]
fn a_refused_claim_leaves_the_node_as_it_is() {
    let accepted = on_one_node(&[policy("edge", json!({}))], &devices(|_| ()));
    let mut standing = devices(|_| ());
    standing.spec = accepted.specs["a"].clone();

    let greedy = policy("edge", json!({"functionCount": 8}));
    let rendered = on_one_node(&[greedy], &standing);
    assert_eq!(rendered.specs["a"], standing.spec);
    assert_eq!(rendered.policies["edge"].findings[0].reason, Reason::TooManyFunctions);

    // also where the mistake is in the policy that would win it from the one that has it
    let greedy = policy("other", json!({"functionCount": 8, "priority": 1}));
    let both = on_one_node(&[policy("edge", json!({})), greedy.clone()], &standing);
    assert_eq!(both.specs["a"], standing.spec);

    // but not where its policy is gone, or means other nodes now
    assert_eq!(entries(&on_one_node(&[greedy], &standing)), []);
    assert_eq!(entries(&on_one_node(&[], &standing)), []);
    let elsewhere = policy("edge", json!({"nodeSelector": {"matchLabels": {"edge": "false"}}}));
    assert_eq!(entries(&on_one_node(&[elsewhere], &standing)), []);
}

#[test]
fn a_card_that_is_away_stays_in_the_spec() {
    let accepted = on_one_node(&[policy("edge", json!({}))], &devices(|_| ()));
    let mut away = devices(|parents| *parents = json!([]));
    away.spec = accepted.specs["a"].clone();
    let rendered = on_one_node(&[policy("edge", json!({}))], &away);
    assert_eq!(rendered.specs["a"], away.spec);
    assert_eq!(rendered.policies["edge"].findings, []);
}

#[test]
fn a_resource_has_one_attach_kind_per_node() {
    let sim = policy(
        "sim",
        json!({"priority": -1, "parents": [{"simulator": "vdpasim_net"}],
        "pools": [{"name": "x", "resource": "vm-rings", "range": "0", "attach": "virtio-vdpa"}]}),
    );
    let rendered = on_one_node(&[sim, policy("edge", json!({}))], &devices(|_| ()));
    assert_eq!(entries(&rendered), [(CARD, "edge")]);
    found(
        &rendered,
        "sim",
        Reason::Conflict,
        &[
            "vdpasim_net",
            "pool x",
            "vm-rings",
            "vhost-vdpa by DevicePolicy edge",
            "not as virtio-vdpa",
        ],
    );
}

#[test]
fn nothing_selected_says_what_was_looked_for() {
    let check = |spec: Value, words: &[&str]| {
        let rendered = on_one_node(&[policy("edge", spec)], &devices(|_| ()));
        assert_eq!(entries(&rendered), []);
        found(&rendered, "edge", Reason::NothingSelected, words);
    };
    check(
        json!({"nodeSelector": {"matchLabels": {"edge": "no"}}}),
        &["nodeSelector edge=no", "1 node in the cluster"],
    );
    check(
        json!({"parents": [{"pci": {"vendor": "15b3"}}]}),
        &[
            "1 selected node matches pci vendor 15b3",
            "0000:01:00.0 (1af4:1041, virtio-pci), vdpasim_net",
        ],
    );
    let nowhere = render(&[policy("edge", json!({}))], &BTreeMap::new(), &BTreeMap::new());
    found(
        &nowhere,
        "edge",
        Reason::NothingSelected,
        &["no nodeSelector", "0 nodes in the cluster"],
    );
}

#[test]
fn a_node_without_an_agent_is_waited_for() {
    let nodes = [("a".to_owned(), Labels::new())].into();
    let rendered = render(&[policy("edge", json!({}))], &nodes, &BTreeMap::new());
    assert_eq!(rendered.specs, BTreeMap::new());
    found(&rendered, "edge", Reason::AwaitingAgent, &["is it running there?"]);
}

#[test]
fn what_functions_are_at_rest_is_the_nodes_to_know() {
    let defaults = json!({"mac": "Stable", "vlan": {"id": 100}, "trust": true});
    let pool = json!({"name": "nets", "resource": "nets", "range": "0", "attach": "vhost-vdpa",
                      "defaults": defaults});
    let rendered = on_one_node(&[policy("edge", json!({"pools": [pool]}))], &devices(|_| ()));
    let spec = serde_json::to_value(&rendered.specs["a"].parents[0].pools[0]).unwrap();
    assert_eq!(spec["defaults"], defaults);
}

#[test]
fn which_devices_a_container_gets_is_the_nodes_to_know() {
    let pool = json!({"name": "vms", "resource": "r", "range": "0-1", "attach": "vhost-vdpa",
                      "allocation": "Pack", "health": {"carrier": "Require"}});
    let rendered = on_one_node(&[policy("p", json!({"pools": [pool]}))], &devices(|_| ()));
    let spec = json!(rendered.specs["a"].parents[0].pools[0]);
    assert_eq!(spec["allocation"], "Pack");
    assert_eq!(spec["health"], json!({"carrier": "Require"}));
    let rendered = on_one_node(&[policy("p", json!({}))], &devices(|_| ()));
    assert_eq!(json!(rendered.specs["a"].parents[0].pools[0]).get("allocation"), None);
    assert_eq!(json!(rendered.specs["a"].parents[0].pools[0]).get("health"), None);
}

#[test]
fn ownership_adoption_and_eswitch_reach_the_node() {
    let spec = json!({"adopt": true, "uplink": {"eswitch": "switchdev"}});
    let rendered = on_one_node(&[policy("edge", spec)], &devices(|_| ()));
    let parent = serde_json::to_value(&rendered.specs["a"].parents[0]).unwrap();
    assert_eq!((&parent["adopt"], &parent["ownership"]), (&json!(true), &Value::Null));
    assert_eq!(parent["uplink"], json!({"eswitch": "switchdev"}));
}

#[test]
fn a_card_with_the_nodes_traffic_is_used_where_it_is_not_touched() {
    let off = |parents: &mut Value| parents[0]["offLimits"] = json!("it carries the default route");
    let rendered = on_one_node(&[policy("edge", json!({}))], &devices(off));
    found(&rendered, "edge", Reason::CarriesNodeTraffic, &[CARD, "the default route"]);
    let external = policy("edge", json!({"ownership": "External"}));
    let rendered = on_one_node(&[external], &devices(off));
    assert_eq!(entries(&rendered), [(CARD, "edge")]);
    let parent = serde_json::to_value(&rendered.specs["a"].parents[0]).unwrap();
    assert_eq!(parent["ownership"], "External");
}
