//! What would be advertised, and why the rest would not.

use std::process::Output;

use serde_json::{Value, json};

use crate::node::Node;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn of_a_configuration_each_device_is_told_with_its_reason() {
    let node = Node::new();
    node.make_vfio_nodes();
    let config = json!({"resourceList": [
        {"resourceName": "vhost", "selectors": {"vdpaType": "vhost", "pfNames": ["x"]}},
        {"resourceName": "dpdk", "selectors": {"drivers": ["vfio-pci"]}},
    ]});
    node.write_config(&config.to_string());
    let path = node.path("state/config.json").display().to_string();
    let output = node.check(&["--config", &path, "--resource-prefix", "x.org"]);
    assert_eq!(status(&output), 3, "{}", text(&output.stderr));
    let table = text(&output.stdout);
    for line in [
        "x.org/dpdk  0000:01:00.5  vfio  -     healthy\n",
        "0000:01:00.0    it is a PF that has VFs or subfunctions\n",
        "0000:01:00.1    x.org/vhost: pfNames: not known is not in x\n",
        "                x.org/dpdk: drivers: vp-vdpa is not vfio-pci\n",
        "warning: x.org/vhost: no function is for it\n",
    ] {
        assert!(table.contains(line), "{line:?} in\n{table}");
    }
    let output = node.check(&["--sriovdp-config", &path, "-o", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["resources"][0]["devices"][0]["nodes"][1], "/dev/vfio/12");

    node.write_config(&json!({"resourceList": [config["resourceList"][1]]}).to_string());
    assert_eq!(status(&node.check(&["--config", &path])), 0);
    node.write_config("{");
    let output = node.check(&["--config", &path]);
    assert_eq!((status(&output), &output.stdout[..]), (1, &[][..]));
    assert!(text(&output.stderr).contains("line 1 column 1"), "{}", text(&output.stderr));
}

#[test]
fn of_the_pools_what_is_in_none_is_told() {
    let mut node = Node::new();
    let output = node.check(&[]);
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    let table = text(&output.stdout);
    for line in [
        "ringway.dev/vm-rings   0000:01:00.2  vhost-vdpa   -     healthy\n",
        "0000:01:00.0    it is a PF that has VFs or subfunctions\n",
        "0000:01:00.4    it is not in pools.json: no policy wants it\n",
    ] {
        assert!(table.contains(line), "{line:?} in\n{table}");
    }
    node.change_pools(|pools| {
        pools[0]["devices"][0]["state"] = json!("draining");
        pools[0]["devices"][0]["reason"] = json!("mtu changes");
    });
    let output = node.check(&["-o", "json"]);
    assert_eq!(status(&output), 3);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["resources"][1]["devices"][0]["reason"], "draining: mtu changes");
    std::fs::remove_file(node.path("state/pools.json")).unwrap();
    assert_eq!(status(&node.check(&[])), 1);
    let written = ["cdi", "devinfo", "lock", "kubelet"].iter().any(|dir| node.path(dir).exists());
    assert!(!written, "it changes nothing");
}
