//! What kubelet is told, and when.

use serde_json::json;

use crate::eventually;
use crate::node::{Node, PODS, VMS};

#[tokio::test]
async fn each_resource_is_registered_and_listed() {
    let node = Node::new();
    let kubelet = node.kubelet();
    let _plugin = node.plugin("a");
    kubelet.healthy(VMS, &["0000:01:00.1", "0000:01:00.2"]).await;
    kubelet.healthy(PODS, &["0000:01:00.3"]).await;
    assert_eq!((kubelet.registrations(VMS), kubelet.registrations(PODS)), (1, 1));
    assert!(node.path("kubelet/device-plugins/ringway-vm-rings-a.sock").exists());
}

#[tokio::test]
async fn specs_and_device_info_are_there_when_kubelet_hears_of_a_resource() {
    let node = Node::new();
    let kubelet = node.kubelet();
    let _plugin = node.plugin("a");
    kubelet.healthy(VMS, &["0000:01:00.1", "0000:01:00.2"]).await;
    let spec = node.json("cdi/ringway.dev-vm-rings.json");
    assert_eq!(spec["kind"], "ringway.dev/vm-rings");
    assert_eq!(
        spec["devices"][0]["containerEdits"]["deviceNodes"][0],
        json!({"path": "/dev/ringway/0000:01:00.1", "hostPath": "/dev/vhost-vdpa-0",
               "fileMode": 438, "permissions": "rw"})
    );
    assert_eq!(spec["containerEdits"]["hooks"][0]["path"], "/opt/cni/bin/ringway");
    assert!(!node.path("cdi/ringway.dev-pod-rings.json").exists());
    let info = node.json("devinfo/dp/ringway.dev-vm-rings-0000:01:00.2-device.json");
    assert_eq!(info["vdpa"]["path"], "/dev/ringway/0000:01:00.2");
}

/// As at boot: what it writes is what it writes when it serves.
#[tokio::test]
async fn it_publishes_once_without_a_kubelet() {
    let mut node = Node::new();
    let (spec, info) = (
        "cdi/ringway.dev-vm-rings.json",
        "devinfo/dp/ringway.dev-vm-rings-0000:01:00.2-device.json",
    );
    assert!(node.publish().success());
    let published = (node.json(spec), node.json(info));
    let kubelet = node.kubelet();
    let plugin = node.plugin("a");
    kubelet.healthy(VMS, &["0000:01:00.1", "0000:01:00.2"]).await;
    assert_eq!((node.json(spec), node.json(info)), published);
    drop(plugin);
    node.change_pools(|pools| *pools = json!([]));
    assert!(node.publish().success());
    assert!(!node.path(spec).exists() && !node.path(info).exists());
    std::fs::remove_file(node.path("state/pools.json")).unwrap();
    assert!(node.publish().success(), "what is offered nowhere needs no files");
    node.break_pools("nonsense");
    assert!(!node.publish().success());
}

#[tokio::test]
async fn a_change_of_health_reaches_kubelet_both_ways_and_no_other_resource() {
    let node = Node::new();
    let kubelet = node.kubelet();
    let plugin = node.plugin("a");
    kubelet.healthy(VMS, &["0000:01:00.1", "0000:01:00.2"]).await;
    kubelet.healthy(PODS, &["0000:01:00.3"]).await;

    node.unbind(1);
    kubelet.list(VMS, |list| list.iter().map(|(_, healthy)| *healthy).eq([false, true])).await;
    let reason = "vdpa device vdpa:0000:01:00.1 is bound to no driver, not to vhost_vdpa";
    assert!(plugin.log().contains(reason), "the log names the reason");

    node.bind(1, "vhost_vdpa");
    kubelet.healthy(VMS, &["0000:01:00.1", "0000:01:00.2"]).await;
    assert_eq!(kubelet.lists(PODS).len(), 1);
}

#[tokio::test]
async fn a_draining_device_is_unhealthy() {
    let mut node = Node::new();
    let kubelet = node.kubelet();
    let _plugin = node.plugin("a");
    kubelet.healthy(VMS, &["0000:01:00.1", "0000:01:00.2"]).await;
    node.change_pools(|pools| {
        pools[0]["devices"][1]["state"] = json!("draining");
        pools[0]["devices"][1]["reason"] = json!("mtu changes");
    });
    kubelet.list(VMS, |list| list.iter().map(|(_, healthy)| *healthy).eq([true, false])).await;
}

/// As the agent says it while a pod is in the way: what the device is to be, and that it is not yet.
#[tokio::test]
async fn a_device_that_waits_to_be_another_kind_stays_what_it_is_for_its_pod() {
    let mut node = Node::new();
    let kubelet = node.kubelet();
    let _plugin = node.plugin("a");
    kubelet.healthy(VMS, &["0000:01:00.1", "0000:01:00.2"]).await;
    kubelet.allocate(VMS, &["0000:01:00.1"]).await.unwrap();
    let devices = |node: &Node| node.json("cdi/ringway.dev-vm-rings.json")["devices"].clone();
    let info = "devinfo/dp/ringway.dev-vm-rings-0000:01:00.1-device.json";
    let (before, told) = (devices(&node), node.json(info));
    for attach in ["virtio-vdpa", "netdev"] {
        node.change_pools(|pools| {
            pools[0]["attach"] = json!(attach);
            for device in pools[0]["devices"].as_array_mut().unwrap() {
                device["state"] = json!("failed");
                device["reason"] = json!(format!("to do: {attach}"));
            }
        });
        kubelet.list(VMS, |list| list.iter().all(|(_, healthy)| !healthy)).await;
        let refused = kubelet.allocate(VMS, &["0000:01:00.2"]).await.unwrap_err();
        assert!(refused.message().contains(&format!("to do: {attach}")), "{refused}");
        assert_eq!((devices(&node), node.json(info)), (before.clone(), told.clone()), "{attach}");
    }
}

#[tokio::test]
async fn a_carrier_counts_where_a_pool_says_so() {
    let mut node = Node::new();
    let kubelet = node.kubelet();
    let plugin = node.plugin("a");
    kubelet.healthy(VMS, &["0000:01:00.1", "0000:01:00.2"]).await;
    node.set_uplink("1");
    node.change_pools(|pools| {
        pools[0]["carrier"] = json!("Require");
        pools[1]["carrier"] = json!("Report");
    });
    node.set_uplink("0");
    kubelet.list(VMS, |list| list.iter().all(|(_, healthy)| !healthy)).await;
    let words = "parent 0000:01:00.0 has no carrier";
    eventually("reasons", || (plugin.log().matches(words).count() == 3).then_some(())).await;
    let line = "devices{resource=\"ringway.dev/pod-rings\",state=\"reported\"} 1";
    eventually("metric", || node.metrics("a").contains(line).then_some(())).await;
    node.set_uplink("1");
    kubelet.healthy(VMS, &["0000:01:00.1", "0000:01:00.2"]).await;
    assert_eq!(kubelet.lists(PODS).len(), 1, "it is told, and no more");
}

#[tokio::test]
async fn resources_come_and_go_without_disturbing_others() {
    let mut node = Node::new();
    let kubelet = node.kubelet();
    let _plugin = node.plugin("a");
    kubelet.healthy(VMS, &["0000:01:00.1", "0000:01:00.2"]).await;
    kubelet.healthy(PODS, &["0000:01:00.3"]).await;

    // The second vhost device moves into a resource of its own, and the pods' resource goes.
    node.change_pools(|pools| {
        let moved = pools[0]["devices"].as_array_mut().unwrap().remove(1);
        pools[1] = json!({"name": "more", "resource": "ringway.dev/more",
                          "attach": "vhost-vdpa", "devices": [moved]});
    });
    kubelet.healthy("ringway.dev/more", &["0000:01:00.2"]).await;
    kubelet.healthy(VMS, &["0000:01:00.1"]).await;
    eventually("end of the stream", || (kubelet.ended(PODS) == 1).then_some(())).await;
    assert!(!kubelet.lists(PODS).contains(&Vec::new()), "no empty list");
    assert!(!node.path("kubelet/device-plugins/ringway-pod-rings-a.sock").exists());
    assert!(!node.path("devinfo/dp/ringway.dev-pod-rings-0000:01:00.3-device.json").exists());
    assert!(node.path("cdi/ringway.dev-more.json").exists());
    assert_eq!((kubelet.registrations(VMS), kubelet.ended(VMS)), (1, 0));

    node.change_pools(|pools| *pools = json!([]));
    eventually("end of the last streams", || {
        (kubelet.ended(VMS) == 1 && kubelet.ended("ringway.dev/more") == 1).then_some(())
    })
    .await;
    assert!(!node.path("cdi/ringway.dev-vm-rings.json").exists());
}

#[tokio::test]
async fn device_info_stays_while_a_pod_holds_the_device() {
    let mut node = Node::new();
    let kubelet = node.kubelet();
    let plugin = node.plugin("a");
    kubelet.healthy(VMS, &["0000:01:00.1", "0000:01:00.2"]).await;
    kubelet.pods_hold(&[(VMS, "0000:01:00.2")]);
    let info =
        |n| node.path(&format!("devinfo/dp/ringway.dev-vm-rings-0000:01:00.{n}-device.json"));
    let (free, held, spec) = (info(1), info(2), node.path("cdi/ringway.dev-vm-rings.json"));
    node.change_pools(|pools| *pools = json!([]));
    eventually("removal", || (!free.exists()).then_some(())).await;
    let told = || plugin.log().contains("pods hold what is no longer offered").then_some(());
    eventually("complaint", told).await;
    assert!(held.exists() && !spec.exists(), "a spec could come to name another device's node");
    kubelet.pods_hold(&[]);
    eventually("removal", || (!held.exists()).then_some(())).await;
}

#[tokio::test]
async fn nothing_is_removed_while_kubelet_does_not_say_who_holds_what() {
    let mut node = Node::new();
    let kubelet = node.kubelet();
    let plugin = node.plugin("a");
    kubelet.healthy(VMS, &["0000:01:00.1", "0000:01:00.2"]).await;
    kubelet.stop();
    let info = node.path("devinfo/dp/ringway.dev-vm-rings-0000:01:00.1-device.json");
    node.change_pools(|pools| *pools = json!([]));
    let told = || plugin.log().contains("device-info nobody may need any more stays").then_some(());
    eventually("complaint", told).await;
    assert!(info.exists());
    let _kubelet = node.kubelet();
    eventually("removal", || (!info.exists()).then_some(())).await;
}
