//! In the place of the SR-IOV network device plugin: its configuration, its names, its paths.

use serde_json::{Value, json};
use tonic::Code;

use crate::eventually;
use crate::node::Node;

const VHOST: &str = "intel.com/vhost";
const DPDK: &str = "other.com/dpdk";
const NETS: &str = "intel.com/nets-all";

/// The vDPA devices on vhost_vdpa (`.1`, `.2`), the function on vfio-pci (`.5`), and all that is left,
/// which is `.3` and `.4`, as interfaces.
fn config() -> Value {
    json!({"resourceList": [
        {"resourceName": "vhost", "selectors": {"vdpaType": "vhost"}},
        {"resourceName": "dpdk", "resourcePrefix": "other.com",
         "selectors": [{"vendors": ["8086"]}, {"drivers": ["vfio-pci"]}],
         "additionalInfo": {"*": {"token": "t"}}},
        {"resourceName": "nets-all", "selectors": {"drivers": ["virtio-pci"]}, "extra": 1},
    ]})
}

fn node() -> Node {
    let node = Node::new();
    node.make_vfio_nodes();
    node.write_config(&config().to_string());
    node
}

fn info(envs: &std::collections::HashMap<String, String>, name: &str) -> Value {
    serde_json::from_str(&envs[name]).unwrap()
}

#[tokio::test]
async fn its_configuration_gives_its_resources_environment_and_nodes() {
    let node = node();
    let kubelet = node.kubelet();
    let plugin = node.plugin_with_config("a", &[]);
    kubelet.healthy(VHOST, &["0000:01:00.1", "0000:01:00.2"]).await;
    kubelet.healthy(DPDK, &["0000:01:00.5"]).await;
    kubelet.healthy(NETS, &["0000:01:00.4"]).await;

    let vhost = kubelet.allocate(VHOST, &["0000:01:00.2"]).await.unwrap();
    let [device] = &vhost.devices[..] else { panic!("{vhost:?}") };
    let path = "/dev/vhost-vdpa-1";
    assert_eq!(
        (&*device.host_path, &*device.container_path, &*device.permissions),
        (path, path, "rw")
    );
    assert!(vhost.cdi_devices.is_empty() && vhost.annotations.is_empty());
    assert_eq!(vhost.envs["PCIDEVICE_INTEL_COM_VHOST"], "0000:01:00.2");
    assert_eq!(
        info(&vhost.envs, "PCIDEVICE_INTEL_COM_VHOST_INFO"),
        json!({"0000:01:00.2": {"generic": {"deviceID": "0000:01:00.2"}, "vdpa": {"mount": path}}})
    );

    let dpdk = kubelet.allocate(DPDK, &["0000:01:00.5"]).await.unwrap();
    let nodes: Vec<_> = dpdk.devices.iter().map(|device| &*device.host_path).collect();
    assert_eq!(nodes, ["/dev/vfio/vfio", "/dev/vfio/12"]);
    assert_eq!(
        info(&dpdk.envs, "PCIDEVICE_OTHER_COM_DPDK_INFO")["0000:01:00.5"],
        json!({"generic": {"deviceID": "0000:01:00.5"}, "extra": {"token": "t"},
               "vfio": {"mount": "/dev/vfio/vfio", "dev-mount": "/dev/vfio/12"}})
    );

    let nets = kubelet.allocate(NETS, &["0000:01:00.4"]).await.unwrap();
    assert!(nets.devices.is_empty());
    assert_eq!(nets.envs["PCIDEVICE_INTEL_COM_NETS-ALL"], "0000:01:00.4");

    let vdpa = node.json("devinfo/dp/intel.com-vhost-0000:01:00.1-device.json");
    assert_eq!(vdpa["vdpa"]["path"], "/dev/vhost-vdpa-0");
    let pci = node.json("devinfo/dp/other.com-dpdk-0000:01:00.5-device.json");
    assert_eq!(pci["pci"]["pf-pci-address"], "0000:01:00.0");
    assert!(plugin.log().contains("resourceList[2]: not known, ignored: extra"));
    assert!(!node.path("cdi").exists());
}

#[tokio::test]
async fn a_subfunction_is_offered_by_its_name() {
    let node = Node::new();
    node.make_subfunction("mlx5_core.sf.4", 88);
    let selector = json!({"auxTypes": ["sf"], "rootDevices": ["0000:01:00.0#88"], "isRdma": true});
    let resource =
        json!({"resourceName": "sf", "deviceType": "auxNetDevice", "selectors": selector});
    node.write_config(&json!({"resourceList": [resource]}).to_string());
    let kubelet = node.kubelet();
    let _plugin = node.plugin_with_config("a", &[]);
    const SF: &str = "intel.com/sf";
    kubelet.healthy(SF, &["mlx5_core.sf.4"]).await;
    let answer = kubelet.allocate(SF, &["mlx5_core.sf.4"]).await.unwrap();
    let nodes: Vec<_> = answer.devices.iter().map(|device| &*device.host_path).collect();
    assert_eq!(nodes, ["/dev/infiniband/uverbs4"]);
    assert_eq!(answer.envs["PCIDEVICE_INTEL_COM_SF"], "mlx5_core.sf.4");
    assert_eq!(
        info(&answer.envs, "PCIDEVICE_INTEL_COM_SF_INFO"),
        json!({"mlx5_core.sf.4": {
            "generic": {"deviceID": "mlx5_core.sf.4"},
            "rdma": {"uverbs": "/dev/infiniband/uverbs4", "rdma_dev": "mlx5_4"},
        }})
    );
    std::fs::remove_file(node.path("sys/bus/auxiliary/devices/mlx5_core.sf.4")).unwrap();
    eventually("end of the stream", || (kubelet.ended(SF) == 1).then_some(())).await;
}

#[tokio::test]
async fn by_cdi_the_kinds_of_two_resources_differ() {
    let node = node();
    let kubelet = node.kubelet();
    let _plugin = node.plugin_with_config("a", &["--use-cdi", "--resource-prefix", "x.org"]);
    kubelet.healthy("x.org/vhost", &["0000:01:00.1", "0000:01:00.2"]).await;
    let answer = kubelet.allocate("x.org/vhost", &["0000:01:00.1"]).await.unwrap();
    assert_eq!(answer.cdi_devices[0].name, "x.org/vhost=0000:01:00.1");
    assert!(answer.devices.is_empty());
    let spec = node.json("cdi/ringway-sriovdp-x.org-vhost.json");
    assert_eq!(spec["kind"], "x.org/vhost");
    let first = &spec["devices"][0]["containerEdits"]["deviceNodes"][0];
    assert_eq!(first["path"], "/dev/vhost-vdpa-0");
    kubelet.healthy(DPDK, &["0000:01:00.5"]).await;
    assert_eq!(node.json("cdi/ringway-sriovdp-other.com-dpdk.json")["kind"], "other.com/dpdk");
}

#[tokio::test]
async fn its_configuration_changes_while_pods_run() {
    let node = node();
    let kubelet = node.kubelet();
    let plugin = node.plugin_with_config("a", &[]);
    kubelet.healthy(VHOST, &["0000:01:00.1", "0000:01:00.2"]).await;
    kubelet.healthy(NETS, &["0000:01:00.4"]).await;

    let mut changed = config();
    changed["resourceList"][0]["selectors"]["pciAddresses"] = json!(["0000:01:00.2"]);
    changed["resourceList"][1] =
        json!({"resourceName": "rest", "selectors": {"vdpaType": "vhost"}});
    node.write_config(&changed.to_string());
    kubelet.healthy(VHOST, &["0000:01:00.2"]).await;
    kubelet.healthy("intel.com/rest", &["0000:01:00.1"]).await;
    eventually("end of the stream", || (kubelet.ended(DPDK) == 1).then_some(())).await;
    let gone = node.path("devinfo/dp/other.com-dpdk-0000:01:00.5-device.json");
    eventually("removal", || (!gone.exists()).then_some(())).await;

    // what cannot be read changes nothing, and nothing is handed out by it
    node.write_config("{\"resourceList\": [");
    let status = kubelet.allocate(VHOST, &["0000:01:00.2"]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("line 1 column 18"), "{}", status.message());
    eventually("complaint", || plugin.log().contains("line 1 column 18").then_some(())).await;
    node.write_config(&changed.to_string());
    kubelet.allocate(VHOST, &["0000:01:00.2"]).await.unwrap();
    assert_eq!((kubelet.lists(NETS).len(), kubelet.registrations(NETS)), (1, 1));
    assert_eq!((kubelet.registrations(VHOST), kubelet.ended(VHOST)), (1, 0));
}

#[tokio::test]
async fn a_function_that_loses_its_driver_leaves_and_comes_back() {
    let node = node();
    let kubelet = node.kubelet();
    let _plugin = node.plugin_with_config("a", &[]);
    kubelet.healthy(VHOST, &["0000:01:00.1", "0000:01:00.2"]).await;
    node.unbind(1);
    kubelet.healthy(VHOST, &["0000:01:00.2"]).await;
    node.bind(1, "vhost_vdpa");
    kubelet.healthy(VHOST, &["0000:01:00.1", "0000:01:00.2"]).await;
}

#[tokio::test]
async fn what_a_configuration_wants_now_counts_for_the_next_allocation() {
    let node = node();
    let kubelet = node.kubelet();
    let _plugin = node.plugin_with_config("a", &[]);
    kubelet.healthy(NETS, &["0000:01:00.4"]).await;
    eventually("age of the file", || node.is_settled("state/config.json").then_some(())).await;
    for _ in 0..2 {
        kubelet.allocate(NETS, &["0000:01:00.4"]).await.unwrap();
    }
    let mut changed = config();
    changed["resourceList"][2]["selectors"]["pfNames"] = json!(["another"]);
    node.write_config(&changed.to_string());
    // at once: it is not of the resource any more, or nobody serves that by now
    kubelet.allocate(NETS, &["0000:01:00.4"]).await.unwrap_err();
}
