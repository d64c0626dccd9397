//! `DeviceNetwork` and what Multus reads of it.

use serde_json::{Value, json};

use crate::cluster::{Cluster, SOON, kubectl, on_node, policy, pool};
use crate::pods;

const DEFINITION: &str = "network-attachment-definitions.k8s.cni.cncf.io";

#[test]
fn its_definition_is_made_repaired_and_removed_with_it() {
    let cluster = Cluster::at_rest();
    cluster.apply(&pods::network("net", "rings"));
    cluster.condition_of("devicenetwork net", "Ready");
    let made = cluster.get(&format!("{DEFINITION} net"));
    let config: Value = serde_json::from_str(made["spec"]["config"].as_str().unwrap()).unwrap();
    assert_eq!((&config["type"], &config["name"]), (&json!("ringway"), &json!("default.net")));
    let annotations = &made["metadata"]["annotations"];
    assert_eq!(annotations["k8s.v1.cni.cncf.io/resourceName"], "ringway.dev/rings");

    kubectl(&format!(r#"patch {DEFINITION} net --type=merge -p {{"spec":{{"config":"{{}}"}}}}"#));
    cluster.until("the definition is repaired", SOON, || {
        let found = cluster.get(&format!("{DEFINITION} net"));
        (found["spec"]["config"] == made["spec"]["config"]).then_some(())
    });

    kubectl("delete devicenetwork net");
    cluster.until("the definition is gone", SOON, || {
        kubectl(&format!("get {DEFINITION} net --ignore-not-found -o name"))
            .is_empty()
            .then_some(())
    });
}

#[test]
fn a_definition_of_somebody_elses_is_a_conflict_and_stays() {
    let cluster = Cluster::at_rest();
    let foreign = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "taken", "namespace": "default"},
        "spec": {"config": r#"{"cniVersion": "1.0.0", "type": "bridge"}"#},
    });
    cluster.apply(&foreign);
    cluster.apply(&pods::network("taken", "rings"));
    let (reason, message) = cluster.condition_of("devicenetwork taken", "Degraded");
    assert_eq!(reason, "Conflict", "{message}");
    assert!(message.contains("taken") && message.contains("not made by Ringway"), "{message}");
    let found = cluster.get(&format!("{DEFINITION} taken"));
    assert_eq!(found["spec"], foreign["spec"]);
    kubectl(&format!("delete {DEFINITION} taken"));
    // what was in the way is gone
    cluster.condition_of("devicenetwork taken", "Ready");
}

/// Networks that somebody wrote by hand, each of another version of the specification, as Multus asks for
/// them.
#[test]
fn multus_attaches_networks_of_every_version() {
    const VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];
    let cluster = Cluster::at_rest();
    cluster.apply(&policy("versions", 4, json!([pool("versions", "0-3", "virtio-vdpa")])));
    cluster.allocatable("versions", 4);
    let name = |version: &str| format!("v{}", version.replace('.', "-"));
    for (number, version) in VERSIONS.iter().enumerate() {
        let config = json!({
            "cniVersion": version, "name": name(version), "type": "ringway", "mtu": 1400,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": format!("10.91.{number}.0/24")}]]},
        });
        cluster.apply(&json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {
                "name": name(version), "namespace": "default",
                "annotations": {"k8s.v1.cni.cncf.io/resourceName": "ringway.dev/versions"},
            },
            "spec": {"config": config.to_string()},
        }));
    }
    let mut user = pods::pod("user", &VERSIONS.map(name).join(","), "versions");
    user["spec"]["containers"][0]["resources"]["limits"] = json!({"ringway.dev/versions": 4});
    cluster.apply(&user);
    pods::runs(&cluster, "user");
    for (number, version) in VERSIONS.iter().enumerate() {
        let shown = kubectl(&format!("exec user -- ip addr show net{}", number + 1));
        let address = format!("inet 10.91.{number}.");
        assert!(shown.contains(&address) && shown.contains("mtu 1400"), "{version}: {shown}");
    }
    let user = cluster.get("pod user");
    let told = user["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"].as_str();
    let told: Vec<Value> = serde_json::from_str(told.unwrap()).unwrap();
    let kinds: Vec<_> = told[1..].iter().map(|network| &network["device-info"]["type"]).collect();
    assert_eq!(kinds, ["vdpa"; 4]);
    pods::delete(&cluster, "user");
    let left = on_node(
        "grep -l '\"network\":\"v[0-9]' /var/lib/ringway/attachments/* || true
         ls -d /var/lib/cni/networks/v*/10.91.* 2> /dev/null || true",
    );
    assert_eq!(left, "");
    for version in VERSIONS {
        kubectl(&format!("delete {DEFINITION} {}", name(version)));
    }
}

/// An IPAM plugin that keeps its addresses in the cluster: whereabouts, which is none of Ringway's.
#[test]
fn addresses_of_whereabouts_are_given_and_given_back() {
    let cluster = Cluster::at_rest();
    cluster.apply(&policy("addresses", 2, json!([pool("addressed", "0-1", "virtio-vdpa")])));
    cluster.allocatable("addressed", 2);
    let mut network = pods::network("net", "addressed");
    network["spec"]["ipam"] = json!({"type": "whereabouts", "range": "10.90.0.0/28"});
    cluster.apply(&network);
    cluster.condition_of("devicenetwork net", "Ready");
    let names = ["first", "second"];
    for name in names {
        cluster.apply(&pods::pod(name, "net", "addressed"));
    }
    let addresses = names.map(|name| {
        pods::runs(&cluster, name);
        pods::address(name)
    });
    assert!(addresses.iter().all(|address| address.starts_with("10.90.0.")), "{addresses:?}");
    assert_ne!(addresses[0], addresses[1]);
    kubectl(&format!("exec first -- ping -c 3 -w 60 {}", addresses[1]));
    let kept = || {
        let pools = cluster.get("ippools.whereabouts.cni.cncf.io -A");
        let pools = pools["items"].as_array().unwrap().clone();
        let allocations = pools.iter().filter_map(|pool| pool["spec"]["allocations"].as_object());
        allocations.map(serde_json::Map::len).sum::<usize>()
    };
    assert_eq!(kept(), 2);
    for name in names {
        pods::delete(&cluster, name);
    }
    assert_eq!(kept(), 0);
    kubectl("delete ippools.whereabouts.cni.cncf.io -A --all");
}
