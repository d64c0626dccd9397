//! Features that all devices of a resource have in common: told by functions, written by the operator,
//! and given up by people.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cluster::{Cluster, SOON, on_node, policy, policy_for, pool};

/// A pool of devices with features in common.
fn alike(range: &str) -> Value {
    let mut pool = pool("alike", range, "vhost-vdpa");
    pool["vdpa"] = json!({"features": "common"});
    pool
}

/// The features of every device of that pool that is offered, as the kernel tells them.
fn offered() -> Vec<BTreeSet<String>> {
    let pools: Value = serde_json::from_str(&on_node("cat /var/lib/ringway/pools.json")).unwrap();
    let pools = pools["pools"].as_array().unwrap().iter();
    let devices = pools
        .filter(|pool| pool["name"] == "alike")
        .flat_map(|pool| pool["devices"].as_array().unwrap().clone())
        .filter(|device| device["state"] == "ready");
    devices.map(|device| serde_json::from_value(device["features"].clone()).unwrap()).collect()
}

/// What each parent's pool has in the node's spec.
fn given(cluster: &Cluster) -> BTreeSet<BTreeSet<String>> {
    let parents = cluster.node_devices()["spec"]["parents"].clone();
    let features = |parent: &Value| {
        let text = parent["pools"][0]["vdpa"]["features"].as_str().unwrap().to_owned();
        text.split(',').map(str::to_owned).collect()
    };
    parents.as_array().unwrap().iter().map(features).collect()
}

/// The simulator can do less than QEMU's card.
#[test]
fn who_lacks_some_waits_until_they_are_given_up() {
    let cluster = Cluster::at_rest();
    cluster.apply(&policy("card", 2, json!([alike("0-1")])));
    cluster.condition("card", "Ready");
    cluster.allocatable("alike", 2);
    let first = given(&cluster);
    assert_eq!(offered().into_iter().collect::<BTreeSet<_>>(), first);

    let parents = json!([{"simulator": "vdpasim_net"}]);
    let mut simulator = policy_for("simulator", parents, 1, json!([alike("0")]));
    cluster.apply(&simulator);
    // before its module is loaded it has not told
    let message = cluster.until("what the simulator lacks is told", SOON, || {
        let found = cluster.get("devicepolicy simulator");
        let (status, reason, message) = crate::cluster::condition(&found, "Degraded");
        (status == "True" && reason == "FeaturesMissing").then_some(message)
    });
    let missing = message.rsplit("alike=").next().unwrap().to_owned();
    assert!(missing.split(',').any(|name| name == "MRG_RXBUF"), "{message}");
    assert_eq!(offered().into_iter().collect::<BTreeSet<_>>(), first);

    simulator["metadata"]["annotations"] =
        json!({"ringway.dev/without-features": format!("alike={missing}")});
    cluster.apply(&simulator);
    cluster.condition("simulator", "Ready");
    let lost: BTreeSet<String> = missing.split(',').map(str::to_owned).collect();
    let left: BTreeSet<String> = first.iter().flatten().cloned().collect();
    let left = &left - &lost;
    cluster.until("three devices have what is left", SOON, || {
        let offered = offered();
        (offered.len() == 3 && offered.iter().all(|features| *features == left)).then_some(())
    });
    cluster.allocatable("alike", 3);
    assert_eq!(given(&cluster), BTreeSet::from([left]));
}
