//! Nodes `a`, `b`, `c` with a card each, of which a policy asks for features in common; any order of
//! events is in [`any`].

use serde_json::{Value, json};

use super::*;
use crate::render::{Rendered, render};
use crate::selector::Labels;

mod any;

const CARD: &str = "0000:01:00.0";

fn policy(name: &str, change: impl FnOnce(&mut Value)) -> DevicePolicy {
    let mut policy = json!({
        "apiVersion": "ringway.dev/v1alpha1", "kind": "DevicePolicy", "metadata": {"name": name},
        "spec": {
            "parents": [{"pci": {"vendor": "1af4"}}], "functionCount": 4,
            "pools": [{"name": "vms", "resource": "vm-rings", "range": "0-3", "attach": "vhost-vdpa",
                       "vdpa": {"mtu": 1500, "features": "common"}}],
        },
    });
    change(&mut policy);
    serde_json::from_value(policy).unwrap()
}

fn gives_up(text: &'static str) -> impl FnOnce(&mut Value) {
    move |policy| policy["metadata"]["annotations"] = json!({WITHOUT_FEATURES: text})
}

/// A node before anything was asked of it.
fn node(name: &str) -> NodeDevices {
    serde_json::from_value(json!({
        "apiVersion": "ringway.dev/v1alpha1", "kind": "NodeDevices",
        "metadata": {"name": name, "generation": 1}, "spec": {},
        "status": {"observedGeneration": 1, "parents": [{
            "name": CARD, "maxFunctions": 4, "attach": ["vhost-vdpa"],
            "identity": {"vendor": "1af4", "device": "1041"},
        }]},
    }))
    .unwrap()
}

/// All nodes of a cluster.
struct Nodes(BTreeMap<String, NodeDevices>);

impl Nodes {
    fn new(names: &[&str]) -> Self {
        Self(names.iter().map(|name| ((*name).to_owned(), node(name))).collect())
    }

    fn render(&self, policies: &[DevicePolicy]) -> Rendered {
        let labels = self.0.keys().map(|name| (name.clone(), Labels::new())).collect();
        let devices = self.0.iter().map(|(name, devices)| (name.clone(), devices)).collect();
        render(policies, &labels, &devices)
    }

    /// What the operator does, with the number of specs that it writes.
    fn written(&mut self, policies: &[DevicePolicy]) -> (usize, Rendered) {
        let rendered = self.render(policies);
        let mut written = 0;
        for (name, spec) in &rendered.specs {
            written += usize::from(self.write(name, spec));
        }
        (written, rendered)
    }

    fn write(&mut self, name: &str, spec: &ringway_api::NodeDevicesSpec) -> bool {
        let devices = self.0.get_mut(name).unwrap();
        let differs = !crate::render::same(&devices.spec, spec);
        if differs {
            devices.spec = spec.clone();
            devices.metadata.generation = devices.metadata.generation.map(|was| was + 1);
        }
        differs
    }

    /// What an agent answers: what its functions can be given, or that there are none yet.
    fn answers(&mut self, name: &str, features: Option<&str>) {
        let devices = self.0.get_mut(name).unwrap();
        let status = devices.status.as_mut().unwrap();
        status.observed_generation = devices.metadata.generation;
        let functions = json!([{"parent": CARD, "range": "0-1"}, {"parent": CARD, "range": "2-3"}]);
        let set = |features| json!([{"features": features, "functions": functions}]);
        status.feature_sets = serde_json::from_value(features.map_or(json!([]), set)).unwrap();
    }

    /// What a node's first pool is given.
    fn given(&self, name: &str) -> &str {
        let vdpa = self.0[name].spec.parents[0].pools[0].vdpa.as_ref().unwrap();
        assert_eq!(vdpa.mtu, Some(1500));
        vdpa.features.as_deref().unwrap()
    }
}

#[track_caller]
fn found(rendered: &Rendered, policy: &str, reason: Reason, node: Option<&str>, words: &[&str]) {
    let findings = &rendered.policies[policy].findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!((findings[0].reason, findings[0].node.as_deref()), (reason, node));
    for words in words {
        assert!(findings[0].message.contains(words), "{words}: {}", findings[0].message);
    }
}

#[test]
fn two_writes_for_each_node_and_no_third() {
    let (mut nodes, edge) = (Nodes::new(&["a", "b"]), [policy("edge", |_| ())]);
    let (written, rendered) = nodes.written(&edge);
    assert_eq!((written, nodes.given("a"), nodes.given("b")), (2, "common", "common"));
    let words = ["ringway.dev/vm-rings", "waits for nodes a, b to tell"];
    found(&rendered, "edge", Reason::AwaitingFeatures, None, &words);

    nodes.answers("a", Some("MAC,MRG_RXBUF,VERSION_1"));
    nodes.answers("b", None);
    let (written, rendered) = nodes.written(&edge);
    assert_eq!(written, 0);
    found(&rendered, "edge", Reason::AwaitingFeatures, None, &["waits for node b to tell"]);

    nodes.answers("b", Some("MAC,STATUS,VERSION_1"));
    let (written, rendered) = nodes.written(&edge);
    assert_eq!(
        (written, nodes.given("a"), nodes.given("b")),
        (2, "MAC,VERSION_1", "MAC,VERSION_1")
    );
    assert_eq!(rendered.policies["edge"].findings, []);
    for name in ["a", "b"] {
        nodes.answers(name, Some("MAC,MRG_RXBUF,VERSION_1"));
    }
    assert_eq!(nodes.written(&edge).0, 0, "who could do more now changes nothing");
}

/// Two nodes that were given `MAC,MRG_RXBUF,VERSION_1`, and `c`, which is new and lacks one of them.
fn with_a_lesser_one() -> (Nodes, [DevicePolicy; 1]) {
    let (mut nodes, edge) = (Nodes::new(&["a", "b"]), [policy("edge", |_| ())]);
    nodes.written(&edge);
    for name in ["a", "b"] {
        nodes.answers(name, Some("MAC,MRG_RXBUF,VERSION_1"));
    }
    nodes.written(&edge);
    nodes.0.insert("c".into(), node("c"));
    assert_eq!(nodes.written(&edge).0, 1);
    nodes.answers("c", Some("MAC,VERSION_1"));
    (nodes, edge)
}

#[test]
fn a_lesser_node_waits_for_somebodys_consent() {
    let (mut nodes, edge) = with_a_lesser_one();
    let (written, rendered) = nodes.written(&edge);
    assert_eq!(
        (written, nodes.given("a"), nodes.given("c")),
        (0, "MAC,MRG_RXBUF,VERSION_1", "common")
    );
    let words = [CARD, "pool vms", "lack features", WITHOUT_FEATURES, "vm-rings=MRG_RXBUF"];
    found(&rendered, "edge", Reason::FeaturesMissing, Some("c"), &words);

    let consents = [policy("edge", gives_up("vm-rings=MRG_RXBUF"))];
    let (written, rendered) = nodes.written(&consents);
    assert_eq!((written, &rendered.policies["edge"].findings[..]), (3, &[][..]));
    assert_eq!(["a", "b", "c"].map(|name| nodes.given(name)), ["MAC,VERSION_1"; 3]);

    // it is done: without the annotation nothing comes back by itself
    assert_eq!(nodes.written(&edge).0, 0);
}

#[test]
fn what_cannot_be_read_is_told_and_counts_for_nothing() {
    let (mut nodes, _) = with_a_lesser_one();
    let wrong = [policy("edge", gives_up("MRG_RXBUF"))];
    let (written, rendered) = nodes.written(&wrong);
    assert_eq!(written, 0);
    let reasons: Vec<_> = rendered.policies["edge"].findings.iter().map(|f| f.reason).collect();
    assert_eq!(reasons, [Reason::Invalid, Reason::FeaturesMissing]);
}

#[test]
fn what_was_given_is_not_forgotten_with_the_last_card_that_had_it() {
    let (mut nodes, edge) = (Nodes::new(&["a"]), [policy("edge", |_| ())]);
    nodes.written(&edge);
    nodes.answers("a", Some("MAC,MRG_RXBUF,VERSION_1"));
    nodes.written(&edge);
    for able in [None, Some("MAC,VERSION_1"), None, Some("MAC,MRG_RXBUF,MTU,VERSION_1")] {
        nodes.answers("a", able);
        let (written, rendered) = nodes.written(&edge);
        assert_eq!((written, nodes.given("a")), (0, "MAC,MRG_RXBUF,VERSION_1"), "{able:?}");
        let lacks = able == Some("MAC,VERSION_1");
        assert_eq!(rendered.policies["edge"].findings.len(), usize::from(lacks), "{able:?}");
    }
}

#[test]
fn a_node_in_trouble_is_not_waited_for() {
    let a_is_given = |trouble: Value| {
        let (mut nodes, edge) = (Nodes::new(&["a", "b"]), [policy("edge", |_| ())]);
        nodes.written(&edge);
        nodes.answers("a", Some("MAC,VERSION_1"));
        nodes.answers("b", None);
        let status = nodes.0.get_mut("b").unwrap().status.as_mut().unwrap();
        let mut text = serde_json::to_value(&*status).unwrap();
        text.as_object_mut().unwrap().extend(trouble.as_object().unwrap().clone());
        *status = serde_json::from_value(text).unwrap();
        nodes.written(&edge);
        assert_eq!(nodes.given("b"), "common");
        nodes.given("a").to_owned()
    };
    let holds = |kind: &str| {
        json!([{"type": kind, "status": "True", "reason": "StepFailed",
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}])
    };
    let degraded = |parent: &str| json!([{"parent": parent, "reason": "Foreign", "message": ""}]);
    let other = json!({"conditions": holds(DEGRADED), "degraded": degraded("0000:02:00.0")});
    for waited_for in [json!({}), other] {
        assert_eq!(a_is_given(waited_for), "common");
    }
    for trouble in [
        json!({"degraded": degraded(CARD)}),
        json!({"conditions": holds(DEGRADED)}),
        json!({"conditions": holds(AWAITING_DISRUPTION)}),
    ] {
        assert_eq!(a_is_given(trouble), "MAC,VERSION_1");
    }
}

#[test]
fn functions_that_can_do_nothing_alike_are_told() {
    let (mut nodes, edge) = (Nodes::new(&["a", "b"]), [policy("edge", |_| ())]);
    nodes.written(&edge);
    nodes.answers("a", Some("MAC"));
    nodes.answers("b", Some("MTU"));
    let (written, rendered) = nodes.written(&edge);
    assert_eq!((written, nodes.given("a")), (0, "common"));
    let words = ["there is none that all its functions can be given"];
    found(&rendered, "edge", Reason::SettingsUnsupported, None, &words);
}

#[test]
fn whoever_gives_everything_up_changes_nothing() {
    let (mut nodes, _) = with_a_lesser_one();
    let nothing = [policy("edge", gives_up("vm-rings=MAC,MRG_RXBUF,VERSION_1"))];
    let (written, rendered) = nodes.written(&nothing);
    assert_eq!((written, nodes.given("a")), (0, "MAC,MRG_RXBUF,VERSION_1"));
    found(&rendered, "edge", Reason::SettingsUnsupported, None, &["nobody gave up"]);
}

#[test]
fn policies_share_the_features_of_a_resource() {
    let on = |name: &str| json!({"matchLabels": {"name": name}});
    let of = |name: &'static str| policy(name, |policy| policy["spec"]["nodeSelector"] = on(name));
    let both = [of("a"), of("b")];
    let mut nodes = Nodes::new(&["a", "b"]);
    let render = |nodes: &Nodes| {
        let label = |name: &String| (name.clone(), [("name".to_owned(), name.clone())].into());
        let labels = nodes.0.keys().map(label).collect();
        let devices = nodes.0.iter().map(|(name, devices)| (name.clone(), devices)).collect();
        render(&both, &labels, &devices)
    };
    for able in [("MAC,MTU", "MAC,MQ"), ("MAC,MTU", "MAC,MQ")] {
        let rendered = render(&nodes);
        for (name, spec) in &rendered.specs {
            nodes.write(name, spec);
        }
        nodes.answers("a", Some(able.0));
        nodes.answers("b", Some(able.1));
    }
    assert_eq!((nodes.given("a"), nodes.given("b")), ("MAC", "MAC"));
}

#[test]
fn half_of_the_functions_is_not_all_of_them() {
    let status = |ranges: &[(&str, &str, &str)]| -> NodeDevicesStatus {
        let set = |(features, parent, range): &(&str, &str, &str)| {
            json!({"features": features,
            "functions": [{"parent": parent, "range": range}]})
        };
        let sets: Vec<Value> = ranges.iter().map(set).collect();
        serde_json::from_value(json!({"featureSets": sets})).unwrap()
    };
    for (told, expected) in [
        (&[("MAC,MTU", CARD, "0-3")][..], Some("MAC,MTU")),
        (&[("MAC,MTU", CARD, "0-1"), ("MAC,MQ", CARD, "2-9")], Some("MAC")),
        (&[("MAC,MTU", CARD, "0-2")], None),
        (&[("MAC,MTU", CARD, "0-1"), ("MAC", "0000:02:00.0", "2-3")], None),
        (&[], None),
    ] {
        assert_eq!(able(CARD, "0-3", &status(told)), expected.map(parse), "{told:?}");
    }
}
