//! Pods in user namespaces (`hostUsers: false`): what reaches them, and what does not. By crun, since the
//! node's runc is too old for them.

use serde_json::{Value, json};

use crate::cluster::{Cluster, kubectl, policy, pool};
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
    let interface = pods::interface("beside");
    let address = interface.split_whitespace().skip_while(|word| *word != "inet").nth(1);
    let address = address.and_then(|prefix| prefix.split('/').next()).expect("an address");
    kubectl(&format!("exec inside -- ping -c 3 -w 60 {address}"));
    pods::delete(&cluster, "inside");
    pods::delete(&cluster, "beside");
    cluster.condition("apart", "Ready");
}

/// A user namespace may make no device nodes: its runtime mounts the host's in their place, with the
/// host's owner and mode, and not those of the CDI spec.
#[test]
fn a_node_is_there_and_cannot_be_opened_in_a_user_namespace() {
    let cluster = Cluster::at_rest();
    runtime_class(&cluster);
    cluster.apply(&policy("apart", 2, json!([pool("nodes", "0-1", "vhost-vdpa")])));
    cluster.allocatable("nodes", 2);
    for (name, is_apart) in [("inside", true), ("beside", false)] {
        let mut user = pods::pod(name, "", "nodes");
        // no network: the device is all there is
        user["metadata"].as_object_mut().unwrap().remove("annotations");
        cluster.apply(&if is_apart { apart(user) } else { user });
        pods::runs(&cluster, name);
    }
    assert_ne!(root_outside("inside"), 0);
    let opens = |name: &str| {
        let node = kubectl(&format!("exec {name} -- ls /dev/ringway"));
        let line = format!("exec 3<>/dev/ringway/{} && echo opened || true", node.trim());
        let output = crate::cluster::lab("kubectl")
            .args(["exec", name, "--", "sh", "-c", &line])
            .output()
            .unwrap();
        crate::cluster::said(&output)
    };
    assert_eq!(opens("beside"), "opened");
    let told = opens("inside");
    assert!(told.contains("Permission denied"), "{told}");
}
