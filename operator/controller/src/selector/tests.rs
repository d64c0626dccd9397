use serde_json::{Value, json};

use super::*;

fn selectors(value: Value) -> Vec<ParentSelector> {
    serde_json::from_value(value).unwrap()
}

fn card() -> ParentStatus {
    ParentStatus {
        name: "0000:65:00.0".into(),
        identity: Some(Identity { vendor: "15b3".into(), device: "101d".into(), mac: None }),
        driver: Some("mlx5_core".into()),
        interfaces: vec!["ens1f0np0".into(), "enp101s0f0np0".into()],
        ..ParentStatus::default()
    }
}

fn simulator() -> ParentStatus {
    ParentStatus { name: "vdpasim_net".into(), ..ParentStatus::default() }
}

#[test]
fn keys_and_entries_or_lists_any() {
    let check = |selector: Value, expected: &[&str]| {
        let (selectors, present) = (selectors(selector.clone()), [card(), simulator()]);
        let found = parents("p", &selectors, &present, &[]);
        let found: Vec<&str> = found.iter().map(Parent::name).collect();
        assert_eq!(found, expected, "{selector}");
    };
    check(json!([{"pci": {"vendor": "15b3"}}]), &["0000:65:00.0"]);
    check(json!([{"pci": {"vendor": "15b3", "device": "1019"}}]), &[]);
    check(json!([{"pci": {"vendor": "15b3", "driver": "mlx5_core"}}]), &["0000:65:00.0"]);
    check(json!([{"pci": {"driver": "ice"}}]), &[]);
    check(json!([{"pci": {"names": ["eth0", "enp101s0f0np0"]}}]), &["0000:65:00.0"]);
    check(json!([{"pci": {"names": ["eth0"]}}]), &[]);
    check(json!([{"pci": {"addresses": ["0000:65:00.1"]}}]), &[]);
    check(json!([{"pci": {"vendor": "15b3"}}, {"pci": {"device": "101d"}}]), &["0000:65:00.0"]);
    check(json!([{"pci": {"device": "1019"}}, {"simulator": "vdpasim_net"}]), &["vdpasim_net"]);
    check(json!([{"pci": {}}]), &[]);
    check(json!([{}]), &[]);
}

#[test]
fn a_simulator_is_meant_before_it_is_there() {
    let selectors = selectors(json!([{"simulator": "vdpasim_net"}, {"simulator": "vdpasim_net"}]));
    assert_eq!(parents("p", &selectors, &[], &[]), [Parent::Simulator("vdpasim_net")]);
}

#[test]
fn a_card_that_is_away_stays_with_its_policy() {
    let spec = ParentSpec {
        ownership: Default::default(),
        adopt: false,
        name: "0000:65:00.0".into(),
        identity: card().identity,
        policy: "p".into(),
        uplink: None,
        function_count: 4,
        pools: Vec::new(),
    };
    let spec = std::slice::from_ref(&spec);
    let check = |policy: &str, selector: Value, expected: usize| {
        let selectors = selectors(selector);
        assert_eq!(parents(policy, &selectors, &[], spec).len(), expected, "{selectors:?}");
    };
    check("p", json!([{"pci": {"vendor": "15b3", "names": ["ens1f0np0"]}}]), 1);
    check("p", json!([{"pci": {"addresses": ["0000:66:00.0"]}}]), 0);
    check("p", json!([{"simulator": "vdpasim_net"}]), 1); // the simulator only
    check("other", json!([{"pci": {"vendor": "15b3"}}]), 0);
    let present = [card()];
    let selectors = selectors(json!([{"pci": {"vendor": "15b3"}}]));
    assert_eq!(parents("p", &selectors, &present, spec), [Parent::Present(&present[0])]);
}

#[test]
fn nodes_are_selected_by_labels_and_expressions() {
    let check = |selector: Value, expected: bool| {
        let policy =
            json!({"functionCount": 1, "parents": [], "pools": [], "nodeSelector": selector});
        let nodes = Nodes::of(&serde_json::from_value(policy).unwrap()).unwrap();
        let labels = Labels::from([("edge".into(), "true".into())]);
        assert_eq!(nodes.select(&labels), expected, "{selector}");
    };
    check(Value::Null, true);
    check(json!({"matchLabels": {"edge": "true"}}), true);
    check(json!({"matchLabels": {"edge": "false"}}), false);
    check(json!({"matchExpressions": [{"key": "edge", "operator": "Exists"}]}), true);
    check(
        json!({"matchExpressions": [{"key": "edge", "operator": "NotIn", "values": ["true"]}]}),
        false,
    );
}

#[test]
fn an_unknown_operator_is_a_finding() {
    let policy = json!({"functionCount": 1, "parents": [], "pools": [],
        "nodeSelector": {"matchExpressions": [{"key": "edge", "operator": "Near"}]}});
    let (reason, message) = Nodes::of(&serde_json::from_value(policy).unwrap()).unwrap_err();
    assert_eq!(reason, Reason::Invalid);
    assert!(message.starts_with("nodeSelector: ") && message.contains("[edge Near]"), "{message}");
}

#[test]
fn selectors_read_well() {
    let selectors = selectors(json!([
        {"pci": {"vendor": "15b3", "names": ["ens1f0", "ens1f1"]}}, {"simulator": "vdpasim_net"}
    ]));
    assert_eq!(
        describe(&selectors),
        "pci vendor 15b3, names [ens1f0, ens1f1]; simulator vdpasim_net"
    );
}
