use serde_json::{Value, json};

use super::*;

fn report(served: bool, ready: Option<Value>, allocatable: &str) -> Report {
    let served = [("devicepolicies.ringway.dev".to_owned(), served)].into();
    let devices: Vec<NodeDevices> = ready
        .into_iter()
        .map(|conditions| {
            serde_json::from_value(json!({
                "apiVersion": "ringway.dev/v1alpha1", "kind": "NodeDevices",
                "metadata": {"name": "a"}, "spec": {}, "status": {"conditions": conditions},
            }))
            .unwrap()
        })
        .collect();
    let policy: DevicePolicy = serde_json::from_value(json!({
        "apiVersion": "ringway.dev/v1alpha1", "kind": "DevicePolicy", "metadata": {"name": "edge"},
        "spec": {"parents": [], "functionCount": 1, "pools": [
            {"name": "vms", "resource": "vms", "range": "0", "attach": "vhost-vdpa"},
            {"name": "more", "resource": "vms", "range": "1", "attach": "vhost-vdpa"},
        ]},
    }))
    .unwrap();
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": "a"}, "status": {"allocatable": {"ringway.dev/vms": allocatable}},
    }))
    .unwrap();
    judge(&served, &devices, &[policy], &[node])
}

fn ready(status: &str) -> Option<Value> {
    Some(json!([{"type": "Ready", "status": status, "reason": "StepFailed", "message": "no module",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]))
}

#[test]
fn a_working_installation_is_well() {
    let report = report(true, ready("True"), "4");
    assert!(report.is_well());
    assert_eq!(
        report.to_string(),
        "ok    kind      devicepolicies.ringway.dev  established\n\
         ok    node      a                           Ready\n\
         ok    resource  ringway.dev/vms             4 allocatable on 1 node\n\
         all is well\n"
    );
}

#[test]
fn each_thing_that_is_wrong_is_told() {
    for (report, words) in [
        (report(false, ready("True"), "4"), "not established: ringway-operator crds"),
        (report(true, None, "4"), "no agent has reported"),
        (report(true, Some(json!([])), "4"), "has not answered yet"),
        (report(true, ready("False"), "4"), "not Ready: StepFailed: no module"),
        (report(true, ready("True"), "0"), "none allocatable"),
    ] {
        let text = report.to_string();
        assert!(!report.is_well() && text.contains(words), "{text}");
        assert!(text.ends_with("1 thing is wrong\n"), "{text}");
    }
}
