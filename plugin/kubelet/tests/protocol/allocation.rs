//! What a container gets, and when it gets nothing.

use serde_json::{Value, json};
use tonic::Code;

use crate::eventually;
use crate::fake_kubelet::Kubelet;
use crate::node::{Node, PODS, Plugin, VMS};

async fn started() -> (Node, Kubelet, Plugin) {
    let node = Node::new();
    let kubelet = node.kubelet();
    let plugin = node.plugin("a");
    kubelet.healthy(VMS, &["0000:01:00.1", "0000:01:00.2"]).await;
    kubelet.healthy(PODS, &["0000:01:00.3"]).await;
    (node, kubelet, plugin)
}

async fn refused(kubelet: &Kubelet, id: &str, code: Code, text: &str) {
    let status = kubelet.allocate(VMS, &[id]).await.unwrap_err();
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(text), "{}", status.message());
    let names_id = status.message().contains(id) || code == Code::Unavailable;
    assert!(names_id, "{}", status.message());
}

#[tokio::test]
async fn a_vhost_device_is_a_cdi_name_and_a_virtio_device_an_id() {
    let (_node, kubelet, _plugin) = started().await;
    let answer = kubelet.allocate(VMS, &["0000:01:00.2"]).await.unwrap();
    assert_eq!(answer.cdi_devices.len(), 1);
    assert_eq!(answer.cdi_devices[0].name, "ringway.dev/vm-rings=0000:01:00.2");
    assert_eq!(answer.envs["PCIDEVICE_RINGWAY_DEV_VM-RINGS"], "0000:01:00.2");
    let info: Value =
        serde_json::from_str(&answer.envs["PCIDEVICE_RINGWAY_DEV_VM_RINGS_INFO"]).unwrap();
    assert_eq!(info["0000:01:00.2"]["vdpa"]["mount"], "/dev/ringway/0000:01:00.2");

    let answer = kubelet.allocate(PODS, &["0000:01:00.3"]).await.unwrap();
    assert!(answer.cdi_devices.is_empty() && answer.devices.is_empty());
    assert_eq!(answer.envs["PCIDEVICE_RINGWAY_DEV_POD_RINGS"], "0000:01:00.3");
}

#[tokio::test]
async fn functions_are_handed_out_as_interfaces_and_for_vfio() {
    let (mut node, kubelet, _plugin) = started().await;
    node.offer_functions();
    kubelet.healthy("ringway.dev/nets", &["0000:01:00.4"]).await;
    kubelet.healthy("ringway.dev/functions", &["0000:01:00.5"]).await;
    let nets = kubelet.allocate("ringway.dev/nets", &["0000:01:00.4"]).await.unwrap();
    assert!(nets.cdi_devices.is_empty() && nets.devices.is_empty());
    let functions = kubelet.allocate("ringway.dev/functions", &["0000:01:00.5"]).await.unwrap();
    assert_eq!(functions.cdi_devices[0].name, "ringway.dev/functions=0000:01:00.5");
    let info: Value =
        serde_json::from_str(&functions.envs["PCIDEVICE_RINGWAY_DEV_FUNCTIONS_INFO"]).unwrap();
    assert_eq!(info["0000:01:00.5"]["vfio"]["dev-mount"], "/dev/vfio/12");
    let spec = node.json("cdi/ringway.dev-functions.json");
    let nodes = &spec["devices"][0]["containerEdits"]["deviceNodes"];
    assert_eq!(nodes[1]["hostPath"], "/dev/vfio/12");
    assert!(!node.path("cdi/ringway.dev-nets.json").exists());
    let info = node.json("devinfo/dp/ringway.dev-functions-0000:01:00.5-device.json");
    assert_eq!(info["pci"]["pci-address"], "0000:01:00.5");
}

#[tokio::test]
async fn ids_that_are_not_of_the_resource_are_refused() {
    let (_node, kubelet, _plugin) = started().await;
    refused(&kubelet, "0000:01:00.7", Code::NotFound, "is not in its pools").await;
    refused(&kubelet, "0000:01:00.3", Code::NotFound, "is not in its pools").await;
    refused(&kubelet, "../passwd", Code::InvalidArgument, "is not a device id").await;
}

#[tokio::test]
async fn devices_that_cannot_be_used_are_refused_with_the_reason() {
    let (mut node, kubelet, _plugin) = started().await;
    for state in ["draining", "failed"] {
        node.change_pools(|pools| {
            pools[0]["devices"][0]["state"] = json!(state);
            pools[0]["devices"][0]["reason"] = json!("mtu changes");
        });
        // At once: an allocation reads the file itself.
        let text = format!("{state}: mtu changes");
        refused(&kubelet, "0000:01:00.1", Code::FailedPrecondition, &text).await;
    }
    node.unbind(2);
    let text = "is bound to no driver, not to vhost_vdpa";
    refused(&kubelet, "0000:01:00.2", Code::FailedPrecondition, text).await;
}

#[tokio::test]
async fn the_spec_follows_a_node_that_got_another_number() {
    let (node, kubelet, _plugin) = started().await;
    let device = node.path("sys/bus/vdpa/devices/vdpa:0000:01:00.1");
    std::fs::rename(device.join("vhost-vdpa-0"), device.join("vhost-vdpa-9")).unwrap();
    std::fs::rename(node.path("dev/vhost-vdpa-0"), node.path("dev/vhost-vdpa-9")).unwrap();
    kubelet.allocate(VMS, &["0000:01:00.1"]).await.unwrap();
    let spec = node.json("cdi/ringway.dev-vm-rings.json");
    let host_path = &spec["devices"][0]["containerEdits"]["deviceNodes"][0]["hostPath"];
    assert_eq!(host_path, "/dev/vhost-vdpa-9");
}

#[tokio::test]
async fn a_device_that_is_being_changed_is_not_handed_out() {
    let (node, kubelet, _plugin) = started().await;
    let lock = node.lock("0000:01:00.1");
    refused(&kubelet, "0000:01:00.1", Code::Unavailable, "device 0000:01:00.1: still held").await;
    kubelet.allocate(VMS, &["0000:01:00.2"]).await.unwrap();
    drop(lock);
    kubelet.allocate(VMS, &["0000:01:00.1"]).await.unwrap();
}

#[tokio::test]
async fn a_broken_pools_file_stops_allocations_and_nothing_else() {
    let (node, kubelet, plugin) = started().await;
    node.break_pools(r#"{"version": 9}"#);
    refused(&kubelet, "0000:01:00.1", Code::Unavailable, "version 9").await;
    eventually("complaint", || plugin.log().contains("version 9 is more").then_some(())).await;
    std::fs::remove_file(node.path("state/pools.json")).unwrap();
    refused(&kubelet, "0000:01:00.1", Code::Unavailable, "pools.json").await;

    node.write_pools();
    kubelet.allocate(VMS, &["0000:01:00.1"]).await.unwrap();
    assert_eq!(kubelet.lists(VMS).len(), 1, "the list did not change");
    assert_eq!((kubelet.registrations(VMS), kubelet.ended(VMS)), (1, 0));
    assert!(node.path("cdi/ringway.dev-vm-rings.json").exists());
}

#[tokio::test]
async fn without_cdi_the_answer_names_the_node_and_its_stable_path() {
    let node = Node::new();
    let kubelet = node.kubelet();
    let _plugin = node.plugin_with("a", &["--cdi", "never"]);
    kubelet.healthy(VMS, &["0000:01:00.1", "0000:01:00.2"]).await;
    let answer = kubelet.allocate(VMS, &["0000:01:00.2"]).await.unwrap();
    assert!(answer.cdi_devices.is_empty());
    let [device] = &answer.devices[..] else { panic!("{answer:?}") };
    assert_eq!(
        (&*device.host_path, &*device.container_path),
        ("/dev/vhost-vdpa-1", "/dev/ringway/0000:01:00.2")
    );
    assert!(!node.path("cdi/ringway.dev-vm-rings.json").exists());
}

#[tokio::test]
async fn what_changes_after_files_were_kept_is_seen_by_the_next_allocation() {
    let (mut node, kubelet, _plugin) = started().await;
    let (pools, spec) = ("state/pools.json", "cdi/ringway.dev-vm-rings.json");
    // from then on what was made of them is kept
    let settled = |node: &Node| [pools, spec].iter().all(|file| node.is_settled(file));
    eventually("age of the files", || settled(&node).then_some(())).await;
    for _ in 0..2 {
        kubelet.allocate(VMS, &["0000:01:00.1"]).await.unwrap();
    }
    std::fs::remove_file(node.path(spec)).unwrap();
    kubelet.allocate(VMS, &["0000:01:00.1"]).await.unwrap();
    assert_eq!(node.json(spec)["kind"], VMS);

    node.unbind(1);
    node.bind(1, "virtio_vdpa");
    let text = "is bound to virtio_vdpa, not to vhost_vdpa";
    refused(&kubelet, "0000:01:00.1", Code::FailedPrecondition, text).await;
    node.unbind(1);
    node.bind(1, "vhost_vdpa");
    kubelet.allocate(VMS, &["0000:01:00.1"]).await.unwrap();

    node.change_pools(|pools| {
        pools[0]["devices"][0]["state"] = json!("draining");
        pools[0]["devices"][0]["reason"] = json!("mtu changes");
    });
    let text = "draining: mtu changes";
    refused(&kubelet, "0000:01:00.1", Code::FailedPrecondition, text).await;
    // content of the same length in the same file
    let text = std::fs::read_to_string(node.path(pools)).unwrap();
    eventually("age of the file", || node.is_settled(pools).then_some(())).await;
    refused(&kubelet, "0000:01:00.1", Code::FailedPrecondition, "mtu changes").await;
    std::fs::write(node.path(pools), text.replace("mtu changes", "mac changes")).unwrap();
    refused(&kubelet, "0000:01:00.1", Code::FailedPrecondition, "mac changes").await;
}
