use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

fn object<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).unwrap())
}

fn cluster() -> Cluster {
    let devices = object(json!({
        "apiVersion": "ringway.dev/v1alpha1", "kind": "NodeDevices",
        "metadata": {"name": "a", "uid": "d-1", "generation": 1}, "spec": {"parents": []},
        "status": {"observedGeneration": 1, "parents": [{
            "name": "0000:01:00.0", "maxFunctions": 4, "attach": ["vhost-vdpa"],
            "identity": {"vendor": "1af4", "device": "1041"},
        }]},
    }));
    Cluster {
        policies: vec![object(json!({
            "apiVersion": "ringway.dev/v1alpha1", "kind": "DevicePolicy",
            "metadata": {"name": "edge", "generation": 1},
            "spec": {
                "parents": [{"pci": {"vendor": "1af4"}}], "functionCount": 4,
                "pools": [{"name": "vms", "resource": "vms", "range": "0", "attach": "vhost-vdpa"}],
            },
        }))],
        nodes: [("a".to_owned(), Default::default())].into(),
        devices: [("a".to_owned(), devices)].into(),
        networks: vec![object(json!({
            "apiVersion": "ringway.dev/v1alpha1", "kind": "DeviceNetwork",
            "metadata": {"name": "n", "namespace": "apps", "uid": "u-1"},
            "spec": {"resource": "vms"},
        }))],
        definitions: Definitions::of([]),
    }
}

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

/// What the API server would make of the writes.
fn carry_out(cluster: &mut Cluster, writes: Vec<Write>) {
    for write in writes {
        match write {
            Write::Spec { node, spec, .. } => {
                let devices = Arc::make_mut(cluster.devices.get_mut(&node).unwrap());
                devices.spec = spec;
                devices.metadata.generation = devices.metadata.generation.map(|was| was + 1);
            }
            Write::PolicyStatus { status, .. } => {
                Arc::make_mut(&mut cluster.policies[0]).status = Some(status);
            }
            Write::NetworkStatus { status, .. } => {
                Arc::make_mut(&mut cluster.networks[0]).status = Some(status);
            }
            Write::CreateDefinition(object) | Write::RepairDefinition(object) => {
                cluster.definitions = Definitions::of([Arc::new(*object)]);
            }
        }
    }
}

#[test]
fn writes_come_to_an_end() {
    let mut cluster = cluster();
    let first = writes(&cluster, now());
    assert_eq!(first.len(), 4, "{first:?}");
    carry_out(&mut cluster, first);
    // the policy now waits for the agent, the network is ready
    let second = writes(&cluster, now());
    assert!(
        matches!(&second[..], [Write::NetworkStatus { status, .. }]
            if conditions::holds(&status.conditions, READY)),
        "{second:?}"
    );
    carry_out(&mut cluster, second);
    assert_eq!(writes(&cluster, Timestamp::from_second(99).unwrap()), []);
}

#[test]
fn a_spec_is_written_with_the_uid_it_was_made_for() {
    let writes = writes(&cluster(), now());
    let Some(Write::Spec { node, uid, spec }) = writes.first() else { panic!("{writes:?}") };
    assert_eq!((node.as_str(), uid.as_deref(), spec.parents.len()), ("a", Some("d-1"), 1));
}

fn network_condition(cluster: &Cluster) -> (String, String) {
    let written = writes(cluster, now()).into_iter().find_map(|write| match write {
        Write::NetworkStatus { status, .. } => Some(status),
        _ => None,
    });
    let ready = &written.unwrap().conditions[0];
    (ready.reason.clone(), ready.message.clone())
}

#[test]
fn without_multus_a_network_says_so() {
    let mut cluster = cluster();
    cluster.definitions = Definitions::NotServed;
    let (reason, message) = network_condition(&cluster);
    assert_eq!(reason, "KindMissing");
    assert!(message.contains("install Multus"), "{message}");
    // nothing follows from not knowing yet
    cluster.definitions = Definitions::Unknown;
    assert!(!writes(&cluster, now()).iter().any(|w| matches!(w, Write::NetworkStatus { .. })));
}

#[test]
fn a_network_nobody_serves_says_so() {
    let mut cluster = cluster();
    let definition = networks::render(&cluster.networks[0]);
    cluster.definitions = Definitions::of([Arc::new(definition)]);
    assert!(!network_condition(&cluster).1.contains("no DevicePolicy"));
    cluster.policies.clear();
    assert!(network_condition(&cluster).1.contains("no DevicePolicy has a pool with resource vms"));
}

#[test]
fn a_foreign_definition_is_left_alone() {
    let mut cluster = cluster();
    let mut foreign = networks::render(&cluster.networks[0]);
    foreign.metadata.owner_references = None;
    cluster.definitions = Definitions::of([Arc::new(foreign)]);
    assert_eq!(network_condition(&cluster).0, "Conflict");
    let touched =
        |write: &Write| matches!(write, Write::CreateDefinition(_) | Write::RepairDefinition(_));
    assert!(!writes(&cluster, now()).iter().any(touched));
}

#[test]
fn what_is_being_deleted_is_gone() {
    let mut cluster = cluster();
    let time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    Arc::make_mut(&mut cluster.policies[0]).metadata.deletion_timestamp.clone_from(&time);
    Arc::make_mut(&mut cluster.networks[0]).metadata.deletion_timestamp = time;
    assert_eq!(writes(&cluster, now()), []);
}
