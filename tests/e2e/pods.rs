//! Pods that ask for a ring.

use serde_json::{Value, json};

use crate::cluster::{Cluster, SOON, kubectl};

/// A network with addresses for it, in `default`.
pub(crate) fn network(name: &str, resource: &str) -> Value {
    json!({
        "apiVersion": "ringway.dev/v1alpha1", "kind": "DeviceNetwork",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"resource": resource, "ipam": {
            "type": "host-local", "ranges": [[{"subnet": "10.89.0.0/24"}]],
        }},
    })
}

/// A pod on a network, with one device of a resource.
pub(crate) fn pod(name: &str, network: &str, resource: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "default",
            "annotations": {"k8s.v1.cni.cncf.io/networks": network},
        },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "shell", "image": "lab/busybox:1", "imagePullPolicy": "Never",
                "command": ["sleep", "inf"],
                "resources": {"limits": {format!("ringway.dev/{resource}"): 1}},
            }],
        },
    })
}

/// A pod with one device of a resource and no network: the device is all there is.
pub(crate) fn without_network(name: &str, resource: &str) -> Value {
    let mut pod = pod(name, "", resource);
    pod["metadata"].as_object_mut().unwrap().remove("annotations");
    pod
}

/// Waits until it runs.
pub(crate) fn runs(cluster: &Cluster, name: &str) {
    cluster.condition_of(&format!("pod {name}"), "Ready");
}

/// Its ring's interface: state, MAC, addresses.
pub(crate) fn interface(name: &str) -> String {
    kubectl(&format!("exec {name} -- ip addr show net1"))
}

/// The IPv4 address of its ring's interface, without the prefix.
pub(crate) fn address(name: &str) -> String {
    let shown = interface(name);
    let prefix = shown.split_whitespace().skip_while(|word| *word != "inet").nth(1);
    let address = prefix.and_then(|prefix| prefix.split('/').next());
    address.unwrap_or_else(|| panic!("{name} has no address: {shown}")).to_owned()
}

/// The MAC of its ring's interface.
pub(crate) fn mac(name: &str) -> String {
    let mac = kubectl(&format!("exec {name} -- cat /sys/class/net/net1/address"));
    assert!(!mac.is_empty(), "{name} has no MAC");
    mac
}

/// Deletes it and waits until it is gone.
pub(crate) fn delete(cluster: &Cluster, name: &str) {
    kubectl(&format!("delete pod {name} --wait=false"));
    cluster.until(&format!("pod {name} is gone"), SOON, || {
        let left = kubectl(&format!("get pod {name} --ignore-not-found -o name"));
        left.is_empty().then_some(())
    });
}
