//! The device plugin at the real kubelet.

use serde_json::json;

use crate::cluster::{Cluster, IGB, SOON, SYSTEM, kubectl, on_node, policy, policy_for, pool};
use crate::kubelet::{Kubelet, LISTED};
use crate::pods;

#[test]
fn it_registers_again_when_kubelet_restarts() {
    let cluster = Cluster::at_rest();
    cluster.apply(&policy("kubelet", 2, json!([pool("rings", "0-1", "virtio-vdpa")])));
    cluster.condition("kubelet", "Ready");
    cluster.allocatable("rings", 2);
    cluster.apply(&pods::network("rings", "rings"));
    let written = || cluster.node_devices()["metadata"]["resourceVersion"].clone();
    let node = written();
    cluster.apply(&pods::pod("before", "rings", "rings"));
    pods::runs(&cluster, "before");
    let (interface, plugin) = (pods::interface("before"), instance());

    let kubelet = Kubelet::from_now();
    on_node("systemctl restart kubelet && systemctl is-active kubelet");
    // A pod that comes before the list does is refused for good ("no healthy devices present",
    // devicesToAllocate, pkg/kubelet/cm/devicemanager/manager.go).
    cluster.until("kubelet has the list again", SOON, || {
        (kubelet.said(LISTED, "rings") > 0).then_some(())
    });
    cluster.apply(&pods::pod("after", "rings", "rings"));
    pods::runs(&cluster, "after");
    assert_eq!(pods::interface("before"), interface, "the first pod's interface has changed");
    assert_ne!(pods::mac("after"), pods::mac("before"), "two pods have one device");
    assert_eq!(instance(), plugin, "it was restarted, and has not registered by itself");
    assert_eq!(written(), node, "pods that come and go are no news of the node");
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

#[test]
fn a_pod_gets_a_function_by_vfio_and_keeps_it_when_its_pool_changes() {
    let cluster = Cluster::at_rest();
    let functions = |attach| {
        let parents = json!([{"pci": {"addresses": [IGB]}}]);
        policy_for("functions", parents, 2, json!([pool("functions", "0-1", attach)]))
    };
    cluster.apply(&functions("vfio"));
    cluster.allocatable("functions", 2);
    cluster.apply(&pods::without_network("user", "functions"));
    pods::runs(&cluster, "user");
    let nodes = kubectl("exec user -- ls /dev/vfio");
    let group = nodes.lines().find(|name| *name != "vfio").expect("a group");
    assert!(nodes.lines().any(|name| name == "vfio"), "{nodes}");
    let env = kubectl("exec user -- env");
    assert!(env.contains(&format!(r#""dev-mount":"/dev/vfio/{group}""#)), "{env}");
    let limits = kubectl("exec user -- cat /proc/1/limits");
    let locked = limits.lines().find(|line| line.starts_with("Max locked memory")).unwrap();
    assert!(locked.contains("unlimited"), "{locked}");

    cluster.apply(&functions("netdev"));
    cluster.waits_for("functions", "user");
    let driver = format!("readlink /sys/kernel/iommu_groups/{group}/devices/*/driver");
    assert!(on_node(&driver).trim().ends_with("/vfio-pci"));
    pods::delete(&cluster, "user");
    cluster.condition("functions", "Ready");
    cluster.allocatable("functions", 2);
    assert!(on_node(&driver).trim().ends_with("/igbvf"));
}

/// In the pod's own status, by kubelet's `ResourceHealthStatus`.
#[test]
fn a_pod_is_told_that_its_device_is_sick_and_well_again() {
    let cluster = Cluster::at_rest();
    let parents = json!([{"pci": {"addresses": [IGB]}}]);
    let pools = json!([pool("functions", "0", "vfio")]);
    cluster.apply(&policy_for("functions", parents, 1, pools));
    cluster.allocatable("functions", 1);
    cluster.apply(&pods::without_network("user", "functions"));
    pods::runs(&cluster, "user");
    let told = |health: &str| {
        cluster.until(&format!("the pod is told {health}"), SOON, || {
            let pod = cluster.get("pod user");
            let status = &pod["status"]["containerStatuses"][0]["allocatedResourcesStatus"][0];
            let device = &status["resources"][0];
            let id = device["resourceID"].as_str()?.to_owned();
            assert_eq!(status["name"], "ringway.dev/functions", "{pod}");
            (device["health"] == health).then_some(id)
        })
    };
    let id = told("Healthy");
    // it would bind the function again within a second
    let _agent = Paused::agent();
    on_node(&format!("echo {id} > /sys/bus/pci/drivers/vfio-pci/unbind"));
    assert_eq!(told("Unhealthy"), id);
    on_node(&format!("echo {id} > /sys/bus/pci/drivers_probe"));
    assert_eq!(told("Healthy"), id);
}

/// The next instance is known to kubelet before the one in its place leaves, and kubelet does not
/// disconnect from it when that happens.
#[test]
fn an_update_of_the_plugin_takes_no_device_away() {
    let cluster = Cluster::at_rest();
    // a resource of its own: what the node says of one that was there before may be old
    cluster.apply(&policy("update", 2, json!([pool("updated", "0-1", "virtio-vdpa")])));
    cluster.allocatable("updated", 2);
    let before = instance();
    let kubelet = Kubelet::from_now();
    let set = format!("-n {SYSTEM} daemonset/ringway-device-plugin");
    kubectl(&format!("rollout restart {set}"));
    cluster.until("the update is through", 3 * SOON, || {
        let node = cluster.get("node node1");
        let allocatable = &node["status"]["allocatable"]["ringway.dev/updated"];
        assert_eq!(allocatable, "2", "something was taken away");
        let status = cluster.get(&format!("-n {SYSTEM} daemonset ringway-device-plugin"));
        let is = |field: &str| status["status"][field].as_i64().unwrap_or_default();
        let seen = status["status"]["observedGeneration"] == status["metadata"]["generation"];
        let through = seen && is("updatedNumberScheduled") == 1 && is("numberReady") == 1;
        // the old one is gone, too: one container is left
        let now = instance();
        (through && now != before && now.split_whitespace().count() == 1).then_some(())
    });
    // the new one, and the new one again when the old one has handed over
    cluster.until("kubelet knows the new one alone", SOON, || {
        (kubelet.said("Connected to new client", "updated") == 2).then_some(())
    });
    let taken = kubelet.said("Endpoint became unhealthy", "updated");
    assert_eq!(taken, 0, "kubelet took the devices away");
    cluster.apply(&pods::network("rings", "updated"));
    cluster.apply(&pods::pod("after", "rings", "updated"));
    pods::runs(&cluster, "after");
}

#[test]
fn a_socket_that_somebody_removed_is_made_anew() {
    let cluster = Cluster::at_rest();
    cluster.apply(&policy("socket", 2, json!([pool("rings", "0-1", "virtio-vdpa")])));
    cluster.allocatable("rings", 2);
    let plugin = instance();
    let kubelet = Kubelet::from_now();
    on_node("rm /var/lib/kubelet/device-plugins/ringway-rings-*.sock");
    cluster.until("there is a socket again", SOON, || {
        let found = on_node("ls /var/lib/kubelet/device-plugins");
        found.lines().any(|name| name.starts_with("ringway-rings-")).then_some(())
    });
    cluster.until("kubelet has the list again", SOON, || {
        (kubelet.said(LISTED, "rings") > 0).then_some(())
    });
    cluster.apply(&pods::network("rings", "rings"));
    cluster.apply(&pods::pod("after", "rings", "rings"));
    pods::runs(&cluster, "after");
    assert_eq!(instance(), plugin, "it was restarted");
}

/// The agent, which does nothing until this is dropped.
struct Paused;

impl Paused {
    fn agent() -> Self {
        on_node("pkill -STOP -x ringway-agent");
        Self
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        on_node("pkill -CONT -x ringway-agent");
    }
}

/// The plugin's container: another one after a restart.
fn instance() -> String {
    kubectl(&format!(
        "get pods -n {SYSTEM} -l app.kubernetes.io/component=device-plugin \
         -o jsonpath={{.items[*].status.containerStatuses[*].containerID}}"
    ))
}
