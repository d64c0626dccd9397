//! Pods in user namespaces (`hostUsers: false`): what reaches them. By crun, since the node's runc is too
//! old for them.

use serde_json::{Value, json};

use crate::cluster::{Cluster, kubectl, lab, policy, pool, said};
use crate::pods;

/// A runtime class for what the lab's containerd calls `crun`.
fn runtime_class(cluster: &Cluster) {
    cluster.apply(&json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "crun"},
        "handler": "crun",
    }));
}

/// The pod in a user namespace of its own.
fn apart(mut pod: Value) -> Value {
    (pod["spec"]["hostUsers"], pod["spec"]["runtimeClassName"]) = (json!(false), json!("crun"));
    pod
}

/// Whom its root is outside.
fn root_outside(name: &str) -> u64 {
    let map = kubectl(&format!("exec {name} -- cat /proc/self/uid_map"));
    map.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn an_interface_reaches_a_pod_in_a_user_namespace() {
    let cluster = Cluster::at_rest();
    runtime_class(&cluster);
    cluster.apply(&policy("apart", 2, json!([pool("apart", "0-1", "virtio-vdpa")])));
    cluster.allocatable("apart", 2);
    cluster.apply(&pods::network("net", "apart"));
    cluster.condition_of("devicenetwork net", "Ready");
    cluster.apply(&apart(pods::pod("inside", "net", "apart")));
    cluster.apply(&pods::pod("beside", "net", "apart"));
    pods::runs(&cluster, "inside");
    pods::runs(&cluster, "beside");
    assert_eq!(root_outside("beside"), 0);
    assert_ne!(root_outside("inside"), 0);
    let address = pods::address("beside");
    kubectl(&format!("exec inside -- ping -c 3 -w 60 {address}"));
    pods::delete(&cluster, "inside");
    pods::delete(&cluster, "beside");
    cluster.condition("apart", "Ready");
}

/// By whatever user: crun makes the node outside, with the mode that the CDI spec says.
#[test]
fn a_node_can_be_opened_in_a_user_namespace() {
    let cluster = Cluster::at_rest();
    runtime_class(&cluster);
    cluster.apply(&policy("apart", 1, json!([pool("nodes", "0", "vhost-vdpa")])));
    cluster.allocatable("nodes", 1);
    let mut user = apart(pods::without_network("inside", "nodes"));
    user["spec"]["securityContext"] = json!({"runAsUser": 1000});
    cluster.apply(&user);
    pods::runs(&cluster, "inside");
    assert_ne!(root_outside("inside"), 0);
    let node = kubectl("exec inside -- ls /dev/ringway");
    let open = format!("exec 3<>/dev/ringway/{} && stat -c %F,%a /dev/ringway/*", node.trim());
    let output = lab("kubectl").args(["exec", "inside", "--", "sh", "-c", &open]).output().unwrap();
    assert_eq!(said(&output), "character special file,666");
}
