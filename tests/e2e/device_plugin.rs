//! The device plugin at the real kubelet.

use serde_json::json;

use crate::cluster::{Cluster, SOON, SYSTEM, kubectl, on_node, policy, pool};
use crate::pods;

#[test]
fn it_registers_again_when_kubelet_restarts() {
    let cluster = Cluster::at_rest();
    cluster.apply(&policy("kubelet", 2, json!([pool("rings", "0-1", "virtio-vdpa")])));
    cluster.allocatable("rings", 2);
    cluster.apply(&pods::network("rings", "rings"));
    cluster.apply(&pods::pod("before", "rings", "rings"));
    pods::runs(&cluster, "before");
    let (interface, plugin) = (pods::interface("before"), instance());

    on_node("systemctl restart kubelet && systemctl is-active kubelet");
    // only a plugin that has registered with the new kubelet is asked for a device
    cluster.apply(&pods::pod("after", "rings", "rings"));
    pods::runs(&cluster, "after");
    assert_eq!(pods::interface("before"), interface, "the first pod's interface has changed");
    assert_ne!(pods::mac("after"), pods::mac("before"), "two pods have one device");
    assert_eq!(instance(), plugin, "it was restarted, and has not registered by itself");
}

#[test]
fn a_device_that_goes_away_is_no_longer_offered() {
    let cluster = Cluster::at_rest();
    cluster.apply(&policy("gone", 2, json!([pool("rings", "0-1", "vhost-vdpa")])));
    cluster.allocatable("rings", 2);
    cluster.apply(&json!({
        "apiVersion": "ringway.dev/v1alpha1", "kind": "DevicePolicy", "metadata": {"name": "gone"},
        "spec": {"parents": [{"pci": {"addresses": [crate::cluster::VIRTIO]}}], "functionCount": 2,
                 "pools": [pool("rings", "0", "vhost-vdpa"), pool("others", "1", "virtio-vdpa")]},
    }));
    cluster.allocatable("rings", 1);
    cluster.allocatable("others", 1);
    kubectl("delete devicepolicy gone");
    cluster.until("no resource is left", SOON, || {
        let node = cluster.get("node node1");
        let offered = node["status"]["allocatable"].as_object().unwrap().clone();
        let ours = offered.iter().filter(|(name, count)| {
            name.starts_with("ringway.dev/") && count.as_str() != Some("0")
        });
        (ours.count() == 0).then_some(())
    });
}

/// The plugin's container: another one after a restart.
fn instance() -> String {
    kubectl(&format!(
        "get pods -n {SYSTEM} -l app.kubernetes.io/component=device-plugin \
         -o jsonpath={{.items[*].status.containerStatuses[*].containerID}}"
    ))
}
