//! Policies that cannot be: each says what is wrong and what is allowed, and the node stays as it
//! is.

use serde_json::{Value, json};

use crate::cluster::{Cluster, IGB, PutBack, VIRTIO, on_node, policy, policy_for, pool};

/// Applies a policy that must be refused: the reason, the message's parts, and an unchanged node.
fn refused(cluster: &Cluster, policy: &Value, reason: &str, parts: &[&str]) {
    let before = cluster.kernel();
    cluster.apply(policy);
    let name = policy["metadata"]["name"].as_str().unwrap();
    let (is, message) = cluster.condition(name, "Degraded");
    assert_eq!(is, reason, "{message}");
    for part in parts {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert_eq!(cluster.kernel(), before, "the node has changed");
}

#[test]
fn one_that_matches_nothing_says_what_there_is() {
    let cluster = Cluster::at_rest();
    let before = cluster.kernel();
    let parents = json!([{"pci": {"vendor": "15b3", "device": "101d"}}]);
    cluster.apply(&policy_for("none", parents, 4, json!([pool("r", "0-3", "vhost-vdpa")])));
    let found = cluster.until("the policy is answered", crate::cluster::SOON, || {
        let found = crate::cluster::condition(&cluster.get("devicepolicy none"), "Ready");
        (!found.0.is_empty()).then_some(found)
    });
    let (status, reason, message) = found;
    assert_eq!((status.as_str(), reason.as_str()), ("False", "NothingSelected"), "{message}");
    for part in ["15b3", "101d", VIRTIO, "1af4:1041", IGB, "8086:10c9"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert_eq!(cluster.kernel(), before);
}

#[test]
fn more_functions_than_the_card_has_are_refused() {
    let cluster = Cluster::at_rest();
    let policy = policy("many", 5, json!([pool("r", "0-4", "vhost-vdpa")]));
    refused(&cluster, &policy, "TooManyFunctions", &[VIRTIO, "functionCount 5", "at most 4"]);
}

#[test]
fn an_attach_kind_that_the_card_cannot_do_is_refused() {
    let cluster = Cluster::at_rest();
    let parents = json!([{"pci": {"addresses": [IGB]}}]);
    let policy = policy_for("igb", parents, 2, json!([pool("r", "0-1", "vhost-vdpa")]));
    let parts = [IGB, "pool r", "attach vhost-vdpa", "it can do netdev, vfio", "driver igb"];
    refused(&cluster, &policy, "AttachUnsupported", &parts);
}

#[test]
fn ranges_that_overlap_or_leave_the_card_are_refused() {
    let cluster = Cluster::at_rest();
    let pools = json!([pool("a", "0-2", "vhost-vdpa"), pool("b", "2-3", "virtio-vdpa")]);
    let overlap = policy("ranges", 4, pools);
    refused(&cluster, &overlap, "OverlappingRanges", &["pool", "0-2", "2-3"]);
    let beyond = policy("ranges", 2, json!([pool("a", "0-3", "vhost-vdpa")]));
    refused(&cluster, &beyond, "TooManyFunctions", &["pool a", "0-3", "2"]);
}

#[test]
fn a_card_that_carries_the_nodes_own_traffic_is_off_limits() {
    let cluster = Cluster::at_rest();
    let netdev = on_node(&format!("ls /sys/bus/pci/devices/{VIRTIO}/virtio*/net"));
    let netdev = netdev.trim();
    // an address of the node is on it from now on
    on_node(&format!("ip link set {netdev} up && ip address add 10.99.0.1/24 dev {netdev}"));
    let owned = PutBack(format!("ip address del 10.99.0.1/24 dev {netdev}"));
    let policy = policy("own", 4, json!([pool("r", "0-3", "vhost-vdpa")]));
    refused(&cluster, &policy, "CarriesNodeTraffic", &[VIRTIO, netdev, "10.99.0.1"]);
    // and once it has left, the policy is done without being touched
    drop(owned);
    cluster.condition("own", "Ready");
    cluster.allocatable("r", 4);
}

#[test]
fn of_two_policies_for_one_card_the_higher_priority_wins() {
    let cluster = Cluster::at_rest();
    let mut winner = policy("winner", 2, json!([pool("won", "0-1", "vhost-vdpa")]));
    winner["spec"]["priority"] = json!(10);
    cluster.apply(&winner);
    cluster.condition("winner", "Ready");
    let loser = policy("loser", 4, json!([pool("lost", "0-3", "virtio-vdpa")]));
    refused(&cluster, &loser, "Conflict", &[VIRTIO, "DevicePolicy winner", "priority 10 over 0"]);
    cluster.allocatable("won", 2);
    cluster.allocatable("lost", 0);
}
