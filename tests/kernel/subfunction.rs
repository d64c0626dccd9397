//! Subfunctions on the kernel's auxiliary bus: read, offered, attached. Those of the lab are its own
//! module's (tests/lab/assets/labsf.c); the bus, the interfaces and the namespaces are the kernel's.

use std::fs;
use std::process::Command;

use ringway_kernel::auxiliary;
use ringway_kernel::bus::Address;
use serde_json::{Value, json};

use crate::node::{IGB, Node, make_subfunctions};
use crate::stand::{Plugin, Pod, Stand};

const MAC: &str = "02:00:00:00:77:01";

fn addressed(address: &str) -> Value {
    json!({"type": "static", "addresses": [{"address": address}]})
}

#[test]
fn the_bus_tells_what_they_are() {
    let node = Node::at_rest();
    let root = &node.root;
    assert_eq!(auxiliary::subfunctions(root).unwrap(), []);
    make_subfunctions("88,7");
    let found = auxiliary::subfunctions(root).unwrap();
    let names: Vec<_> = found.iter().map(auxiliary::Name::as_str).collect();
    assert_eq!(names, ["labsf.sf.0", "labsf.sf.1"]);
    assert_eq!(auxiliary::subfunctions_of(root, node.igb).unwrap(), found);
    assert_eq!(auxiliary::subfunctions_of(root, node.virtio).unwrap(), []);
    for (name, number) in found.iter().zip([88, 7]) {
        assert_eq!(auxiliary::function(root, name).unwrap(), node.igb);
        assert_eq!(auxiliary::sfnum(root, name).unwrap(), Some(number));
        assert_eq!(auxiliary::driver(root, name).unwrap().as_deref(), Some("labsf.sf"));
        assert_eq!(Address::Auxiliary(name.clone()).netdevs(root).unwrap().len(), 1);
    }
}

#[test]
fn two_are_pods_ping_each_other_and_are_then_as_before() {
    let node = Node::at_rest();
    let stand = Stand::subfunctions(&node, Plugin::Installed);
    let before = stand.netdevs(&node);
    let pods = [Pod::new("rw-a"), Pod::new("rw-b")];
    let shaped =
        json!({"ipam": addressed("10.88.7.1/24"), "mtu": 1400, "runtimeConfig": {"mac": MAC}});
    let plain = json!({"ipam": addressed("10.88.7.2/24")});
    for round in 0..2 {
        let result = stand.add(&pods[0], 0, &shaped);
        stand.add(&pods[1], 1, &plain);
        let interface = &result["interfaces"][0];
        assert_eq!((&interface["mac"], &interface["mtu"]), (&json!(MAC), &json!(1400)), "{round}");
        assert_eq!(interface["pciID"], Value::Null, "it has no address of its own");
        assert_eq!(stand.on_host(&node), 0);
        pods[0].ping("10.88.7.2");
        stand.check(&pods[0], 0, &shaped).unwrap();
        let why = stand.host(&["why", "labsf.sf.0"]);
        assert!(why.contains(&format!("subfunction 88 of PF {IGB}")), "{why}");
        for _ in 0..2 {
            stand.del(&pods[0], 0, &shaped);
            stand.del(&pods[1], 1, &plain);
        }
        assert_eq!(stand.netdevs(&node), before, "{round}");
        assert_eq!((stand.records(), stand.files()), (0, Vec::new()));
    }
}

#[test]
fn it_comes_back_from_a_namespace_that_is_gone() {
    let node = Node::at_rest();
    let stand = Stand::subfunctions(&node, Plugin::Installed);
    let before = stand.netdevs(&node);
    let pod = Pod::new("rw-a");
    let conf = json!({"mtu": 1400, "runtimeConfig": {"mac": MAC}});
    stand.add(&pod, 0, &conf);
    let container = pod.target();
    drop(pod);
    stand.del_without_namespace(&container, 0, &conf);
    assert_eq!(stand.netdevs(&node), before);
    assert_eq!(stand.records(), 0);
}

#[test]
fn what_its_port_on_the_eswitch_has_is_refused_and_so_is_another_of_its_name() {
    let node = Node::at_rest();
    let stand = Stand::subfunctions(&node, Plugin::Installed);
    let pod = Pod::new("rw-a");
    let error = stand.add_fails(&pod, 0, &json!({"vlan": 100}));
    assert_eq!(error["code"], 7, "{error}");
    assert!(error["msg"].as_str().unwrap().contains("field vlan"), "{error}");
    make_subfunctions("90,91");
    let error = stand.add_fails(&pod, 0, &json!({}));
    assert_eq!(error["code"], 11, "{error}");
    let told = format!("labsf.sf.0 is 90 of PF {IGB}, and its pool means 88");
    assert!(error["msg"].as_str().unwrap().contains(&told), "{error}");
    assert_eq!(stand.records(), 0);
}

/// The device plugin with the other plugin's configuration, as it would offer them.
#[test]
fn the_device_plugin_offers_them_by_name() {
    let _node = Node::at_rest();
    make_subfunctions("88,89,90");
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.json");
    let selector =
        json!({"auxTypes": ["sf"], "drivers": ["igb"], "rootDevices": [format!("{IGB}#88-89")]});
    let resources = json!({"resourceList": [
        {"resourceName": "sf", "deviceType": "auxNetDevice", "selectors": selector}]});
    fs::write(&config, resources.to_string()).unwrap();
    let output = Command::new("/opt/lab/ringway-device-plugin")
        .args(["check", "-o", "json", "--sriovdp-config"])
        .arg(&config)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let offered = &report["resources"][0];
    assert_eq!(offered["resource"], "intel.com/sf", "{report}");
    let devices = offered["devices"].as_array().unwrap();
    let ids: Vec<_> = devices.iter().map(|device| device["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["labsf.sf.0", "labsf.sf.1"]);
    assert!(devices.iter().all(|device| device["healthy"] == true), "{devices:?}");
    let text = report.to_string();
    assert!(text.contains("rootDevices: index 90 is not in"), "{text}");
    assert!(text.contains("it is a PF that has VFs or subfunctions"), "{text}");
}
