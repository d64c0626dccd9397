use super::*;

fn network(spec: Value) -> DeviceNetwork {
    serde_json::from_value(json!({
        "apiVersion": "ringway.dev/v1alpha1",
        "kind": "DeviceNetwork",
        "metadata": {"name": "rings", "namespace": "apps", "uid": "u-1"},
        "spec": spec,
    }))
    .unwrap()
}

fn plain() -> DeviceNetwork {
    network(json!({"resource": "pod-rings"}))
}

fn parsed(object: &DynamicObject) -> Value {
    serde_json::from_str(object.data["spec"]["config"].as_str().unwrap()).unwrap()
}

#[test]
fn a_network_becomes_a_definition() {
    let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/24"}]]});
    let full = render(&network(json!({"resource": "pod-rings", "mtu": 9000, "ipam": ipam})));
    assert_eq!(
        parsed(&full),
        json!({
            "cniVersion": "1.1.0",
            "name": "apps.rings",
            "type": "ringway",
            "capabilities": {"mac": true, "ips": true, "CNIDeviceInfoFile": true},
            "mtu": 9000,
            "ipam": ipam,
        })
    );
    let object = serde_json::to_value(&full).unwrap();
    assert_eq!(object["apiVersion"], "k8s.cni.cncf.io/v1");
    assert_eq!(object["kind"], "NetworkAttachmentDefinition");
    let meta = &object["metadata"];
    assert_eq!((&meta["name"], &meta["namespace"]), (&json!("rings"), &json!("apps")));
    assert_eq!(meta["annotations"][RESOURCE], "ringway.dev/pod-rings");
    assert_eq!(
        meta["ownerReferences"],
        json!([{
            "apiVersion": "ringway.dev/v1alpha1", "kind": "DeviceNetwork", "name": "rings",
            "uid": "u-1", "controller": true,
        }])
    );
}

#[test]
fn what_is_absent_is_not_in_the_configuration() {
    let config = parsed(&render(&plain()));
    assert!(config.get("mtu").is_none() && config.get("ipam").is_none(), "{config}");
}

#[test]
fn the_definition_decides_what_is_done() {
    let right = || {
        let mut object = render(&plain());
        object.metadata.uid = Some("n-1".into());
        object
    };
    assert_eq!(judge(&plain(), Some(&right())), Verdict::Right);
    assert_eq!(judge(&plain(), None), Verdict::Create(Box::new(render(&plain()))));

    let mut decorated = right();
    decorated.metadata.labels.as_mut().unwrap().insert("team".into(), "x".into());
    assert_eq!(judge(&plain(), Some(&decorated)), Verdict::Right);

    let edits: [fn(&mut DynamicObject); 4] = [
        |object| object.data["spec"]["config"] = "{}".into(),
        |object| object.data = json!({}),
        |object| object.metadata.annotations = None,
        |object| object.metadata.labels = None,
    ];
    for edit in edits {
        let mut edited = right();
        edit(&mut edited);
        assert_eq!(judge(&plain(), Some(&edited)), Verdict::Repair(Box::new(right())));
    }
}

#[test]
fn what_is_somebody_elses_is_a_conflict() {
    let check = |owners: Value, words: &str| {
        let mut foreign = render(&plain());
        foreign.metadata.owner_references = serde_json::from_value(owners).unwrap();
        match judge(&plain(), Some(&foreign)) {
            Verdict::Refused(Reason::Conflict, message) => {
                assert!(message.contains(words), "{message}")
            }
            other => panic!("{other:?}"),
        }
    };
    check(Value::Null, "was not made by Ringway");
    check(
        json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "u-1"}]),
        "belongs to Deployment d",
    );
    check(
        json!([{"apiVersion": "ringway.dev/v1alpha1", "kind": "DeviceNetwork", "name": "rings", "uid": "u-0"}]),
        "an earlier DeviceNetwork",
    );
    check(
        json!([{"apiVersion": "other.dev/v1", "kind": "DeviceNetwork", "name": "rings", "uid": "u-1"}]),
        "belongs to DeviceNetwork rings",
    );
}
