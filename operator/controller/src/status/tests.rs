use ringway_api::conditions::Reason;
use serde_json::{Value, json};

use super::*;

/// A policy that carves one card on each of these nodes into four functions, with the nodes'
/// answers; `change` is applied to each.
fn fold(
    nodes: &[&str],
    findings: Vec<Finding>,
    change: impl Fn(&str, &mut Value),
) -> DevicePolicyStatus {
    let entry = json!({
        "name": "0000:01:00.0", "policy": "edge", "functionCount": 4,
        "pools": [{"name": "vms", "resource": "ringway.dev/vms", "range": "0-3", "attach": "vhost-vdpa"}],
    });
    let spec: NodeDevicesSpec = serde_json::from_value(json!({"parents": [entry]})).unwrap();
    let device = |node: &&str| {
        let mut object = json!({
            "apiVersion": "ringway.dev/v1alpha1", "kind": "NodeDevices",
            "metadata": {"name": node, "generation": 3},
            "spec": {"parents": [entry]},
            "status": {
                "observedGeneration": 3,
                "parents": [{"name": "0000:01:00.0", "functions": [
                    {"range": "0-3", "devices": [], "pool": "vms", "ready": true},
                ]}],
                "plan": [],
                "conditions": [],
            },
        });
        change(node, &mut object);
        ((*node).to_owned(), serde_json::from_value::<NodeDevices>(object).unwrap())
    };
    let owned: BTreeMap<String, NodeDevices> = nodes.iter().map(device).collect();
    let devices = owned.iter().map(|(name, devices)| (name.clone(), devices)).collect();
    let specs = nodes.iter().map(|node| ((*node).to_owned(), spec.clone())).collect();
    let carved = nodes.iter().map(|n| ((*n).to_owned(), vec!["0000:01:00.0".to_owned()])).collect();
    status(&policy(), &Outcome { findings, carved }, &specs, &devices, Timestamp::UNIX_EPOCH)
}

fn policy() -> DevicePolicy {
    serde_json::from_value(json!({
        "apiVersion": "ringway.dev/v1alpha1", "kind": "DevicePolicy",
        "metadata": {"name": "edge", "generation": 7},
        "spec": {"parents": [], "functionCount": 4, "pools": []},
    }))
    .unwrap()
}

fn condition(kind: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

/// The types that hold, and why it is not ready.
#[track_caller]
fn check(status: &DevicePolicyStatus, holds: &[&str], reason: &str, words: &[&str]) {
    let kinds: Vec<&str> = status.conditions.iter().map(|c| c.type_.as_str()).collect();
    assert_eq!(kinds, [READY, PROGRESSING, DEGRADED, AWAITING_DISRUPTION]);
    let holding: Vec<&str> = status
        .conditions
        .iter()
        .filter(|condition| condition.status == "True")
        .map(|condition| condition.type_.as_str())
        .collect();
    assert_eq!(holding, holds, "{status:?}");
    assert_eq!(status.conditions[0].reason, reason);
    for words in words {
        assert!(status.conditions[0].message.contains(words), "{}", status.conditions[0].message);
    }
    assert!(status.conditions.iter().all(|c| c.observed_generation == Some(7)));
    assert_eq!(status.observed_generation, Some(7));
}

#[test]
fn all_as_wanted_is_ready() {
    let status = fold(&["a", "b"], vec![], |_, _| ());
    check(&status, &[READY], "AsWanted", &["2 parents on 2 nodes"]);
    assert_eq!((status.nodes, status.parents), (2, 2));
}

#[test]
fn an_agent_that_has_not_answered_is_waited_for() {
    let late = |key: &'static str, value: Value| {
        fold(&["a"], vec![], move |_, node| match key {
            "spec" => node["spec"] = value.clone(),
            "generation" => node["status"]["observedGeneration"] = value.clone(),
            _ => node["status"] = value.clone(),
        })
    };
    for status in [
        late("spec", json!({"parents": []})),
        late("generation", json!(2)),
        late("generation", Value::Null),
        late("status", Value::Null),
    ] {
        check(&status, &[PROGRESSING], "AwaitingAgent", &["node a: "]);
    }
}

#[test]
fn steps_of_our_parents_are_progress() {
    let steps = |parent: &'static str| {
        fold(&["a"], vec![], move |_, node| {
            node["status"]["plan"] = json!([{"step": "create vdpa:x", "parent": parent}]);
        })
    };
    check(&steps("0000:01:00.0"), &[PROGRESSING], "StepsPending", &["next: create vdpa:x"]);
    check(&steps("0000:09:00.0"), &[READY], "AsWanted", &[]);
}

#[test]
fn what_is_held_is_awaited() {
    let status = fold(&["a"], vec![], |_, node| {
        node["status"]["plan"] =
            json!([{"step": "unbind", "parent": "0000:01:00.0", "waits": "held by pod x/y"}]);
        node["status"]["conditions"] =
            json!([condition(AWAITING_DISRUPTION, "DeviceHeld", "waits")]);
    });
    check(
        &status,
        &[AWAITING_DISRUPTION],
        "DeviceHeld",
        &["node a: 0000:01:00.0: unbind: held by pod x/y"],
    );
}

#[test]
fn a_degraded_node_degrades_its_policy() {
    let unready = json!([{"range": "0-3", "devices": [], "pool": "vms", "ready": false}]);
    let degraded = |node: &mut Value, message: &str| {
        node["status"]["parents"][0]["functions"] = unready.clone();
        node["status"]["conditions"] = json!([condition(DEGRADED, "ModuleMissing", message)]);
    };
    let status = fold(&["a", "b", "c", "d", "e"], vec![], |name, node| {
        if name != "e" {
            degraded(node, "module vp_vdpa is missing");
        }
    });
    check(
        &status,
        &[DEGRADED],
        "ModuleMissing",
        &["nodes a, b, c and 1 more: module vp_vdpa is missing"],
    );
}

#[test]
fn trouble_with_another_policys_parent_is_not_ours() {
    let status = fold(&["a"], vec![], |_, node| {
        node["status"]["conditions"] =
            json!([condition(DEGRADED, "StepFailed", "0000:09:00.0: create failed")]);
    });
    check(&status, &[READY], "AsWanted", &[]);
}

/// The node's condition has one reason, that of another policy's parent.
#[test]
fn a_policy_reads_the_reasons_of_its_own_parents() {
    let unready = json!([{"range": "0-3", "devices": [], "pool": "vms", "ready": false}]);
    let told = |parents: Value| {
        fold(&["a"], vec![], |_, node| {
            node["status"]["parents"][0]["functions"] = unready.clone();
            node["status"]["degraded"] = parents.clone();
            let message = "0000:09:00.0: create failed; 0000:01:00.0: theirs";
            node["status"]["conditions"] = json!([condition(DEGRADED, "StepFailed", message)]);
        })
    };
    let other =
        json!({"parent": "0000:09:00.0", "reason": "StepFailed", "message": "create failed"});
    let own = json!({"parent": "0000:01:00.0", "reason": "Foreign", "message": "theirs"});
    let status = told(json!([other, own]));
    check(&status, &[DEGRADED], "Foreign", &["node a: theirs"]);
    assert!(!status.conditions[0].message.contains("create"), "{status:?}");
    // nothing is said of ours but that its functions are not ready
    check(&told(json!([other])), &[DEGRADED], "StepFailed", &["0 of 4 functions are ready"]);
    // nor of any: it is the node
    check(&told(json!([])), &[DEGRADED], "StepFailed", &["create failed"]);
}

#[test]
fn too_few_ready_functions_are_told() {
    let status = fold(&["a"], vec![], |_, node| {
        node["status"]["parents"][0]["functions"] = json!([
            {"range": "0-2", "devices": [], "pool": "vms", "ready": true},
            {"range": "3", "devices": [], "pool": "vms", "ready": false, "reason": "not bound"},
        ]);
    });
    check(
        &status,
        &[DEGRADED],
        "StepFailed",
        &["0000:01:00.0: 3 of 4 functions are ready; function 3: not bound"],
    );
    let gone = fold(&["a"], vec![], |_, node| node["status"]["parents"] = json!([]));
    check(&gone, &[DEGRADED], "StepFailed", &["0000:01:00.0: not there"]);
}

/// Why, is a finding.
#[test]
fn a_pool_without_its_features_is_not_unready() {
    let unready = |features: &str| {
        let pool = json!({"name": "vms", "resource": "ringway.dev/vms", "range": "0-3",
            "attach": "vhost-vdpa", "commonFeatures": true, "vdpa": {"features": features}});
        let parent = json!({"name": "x", "policy": "edge", "functionCount": 4, "pools": [pool]});
        let functions = json!([{"range": "0-3", "devices": [], "pool": "vms", "ready": false}]);
        let status = json!({"parents": [{"name": "x", "functions": functions}]});
        let status: NodeDevicesStatus = serde_json::from_value(status).unwrap();
        unready(&serde_json::from_value(parent).unwrap(), &status)
    };
    assert_eq!(unready("common"), None);
    assert_eq!(unready("MAC").as_deref(), Some("x: 0 of 4 functions are ready"));
    let finding = |reason| Finding { reason, node: None, message: "x".into() };
    for (reason, holds) in
        [(Reason::AwaitingFeatures, PROGRESSING), (Reason::FeaturesMissing, DEGRADED)]
    {
        let status = fold(&["a"], vec![finding(reason)], |_, _| ());
        check(&status, &[holds], reason.as_str(), &["x"]);
    }
}

#[test]
fn our_own_findings_come_first() {
    let finding = |reason, node: Option<&str>| Finding {
        reason,
        node: node.map(str::to_owned),
        message: "x".into(),
    };
    let status = fold(&["a"], vec![finding(Reason::Conflict, Some("b"))], |_, node| {
        node["status"]["observedGeneration"] = json!(1);
    });
    check(&status, &[PROGRESSING, DEGRADED], "Conflict", &["node b: x"]);
    let status = fold(&[], vec![finding(Reason::NothingSelected, None)], |_, _| ());
    check(&status, &[], "NothingSelected", &["x"]);
}
