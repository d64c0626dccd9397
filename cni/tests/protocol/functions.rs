//! Functions on vfio-pci, and what the PF is asked for: on a node whose PFs have no interface, so
//! that nobody can set anything.

use std::fs;

use serde_json::{Value, json};

use crate::check_error;
use crate::node::{Call, NETDEV, Node, VFIO, VHOST};

#[test]
fn a_function_on_vfio_has_no_interface_and_its_device_info_says_what_it_is() {
    let node = Node::new();
    let path = node.path("var/run/k8s.cni.cncf.io/devinfo/cni/default-net-c1_net1");
    let runtime = json!({"CNIDeviceInfoFile": path});
    let call = |verb| Call::new(verb).conf("deviceID", VFIO).conf("runtimeConfig", runtime.clone());
    let answer = call("ADD").run(&node).unwrap();
    assert_eq!(
        answer,
        json!({"cniVersion": "1.1.0", "interfaces": [{
            "name": "net1", "sandbox": "/proc/self/ns/net", "pciID": VFIO}]})
    );
    let info: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(
        info,
        json!({"type": "pci", "version": "1.1.0",
               "pci": {"pci-address": VFIO, "pf-pci-address": "0000:01:00.0"}})
    );
    let record = node.record();
    assert_eq!((&record["pci"], &record["attachment"]), (&json!(VFIO), &json!("vfio")));
    assert!(record["since"].as_u64().unwrap() > 0);
    call("CHECK").conf("prevResult", answer).run(&node).unwrap();
    for _ in 0..2 {
        assert_eq!(call("DEL").run(&node).unwrap(), Value::Null);
        assert!(!path.exists());
        assert_eq!(node.records(), 0);
    }
}

#[test]
fn ipam_is_asked_for_a_function_on_vfio_only_where_the_network_has_one() {
    let node = Node::new();
    let call = |verb| Call::new(verb).conf("deviceID", VFIO);
    assert_eq!(call("ADD").run(&node).unwrap()["ips"], Value::Null);
    call("DEL").run(&node).unwrap();
    node.plugin("fake", r#"{"ips":[{"address":"10.0.0.2/24"}]}"#, 0);
    let answer = call("ADD").conf("ipam", json!({"type": "fake"})).run(&node).unwrap();
    assert_eq!(answer["ips"][0]["address"], "10.0.0.2/24");
}

#[test]
fn what_nobody_can_set_is_refused_by_field_and_value_and_nothing_is_nothing() {
    let node = Node::new();
    let add = |device: &str| Call::new("ADD").conf("deviceID", device);
    let mac = json!({"mac": "02:00:00:00:00:09"});
    for (call, field, value) in [
        (add(VFIO).conf("vlan", 100).conf("vlanQoS", 3), "vlan", "VLAN 100 (802.1q, qos 3)"),
        (add(VFIO).conf("max_tx_rate", 50), "max_tx_rate", "rates 0 to 50 Mbit/s"),
        (add(VFIO).conf("spoofchk", "off"), "spoofchk", "spoof check off"),
        (add(VFIO).conf("trust", "on"), "trust", "trust on"),
        (add(VFIO).conf("link_state", "enable"), "link_state", "link state enable"),
        (add(VFIO).conf("runtimeConfig", mac), "mac", "MAC 02:00:00:00:00:09"),
        (add(VFIO).conf("mtu", 9000), "mtu", "9000"),
        (add(NETDEV).conf("trust", "off"), "trust", "VF 4 of PF 0000:01:00.0"),
        (add(VHOST).conf("vlan", 100), "vlan", "as vhost-vdpa"),
    ] {
        let error = call.run(&node).unwrap_err();
        check_error(&error, 7, &format!("field {field} asks for"));
        check_error(&error, 7, value);
    }
    assert_eq!(node.records(), 0);
    for device in [VFIO, VHOST] {
        let nothing = |verb| {
            let call = Call::new(verb).conf("deviceID", device).conf("vlan", 0).conf("vlanQoS", 0);
            call.conf("max_tx_rate", 0).conf("spoofchk", "").conf("link_state", "")
        };
        nothing("ADD").run(&node).unwrap();
        assert_eq!(node.record()["function"], Value::Null);
        nothing("DEL").run(&node).unwrap();
    }
}

#[test]
fn device_info_that_tells_otherwise_is_named_beside_what_is() {
    let node = Node::new();
    let file =
        format!("var/run/k8s.cni.cncf.io/devinfo/dp/ringway.dev-functions-{VFIO}-device.json");
    let vdpa = json!({"type": "vdpa", "version": "1.1.0",
                      "vdpa": {"parent-device": "v", "driver": "vhost"}});
    node.write(&file, &vdpa.to_string());
    let path = node.path("var/run/k8s.cni.cncf.io/devinfo/cni/f");
    let add = || {
        let runtime = json!({"CNIDeviceInfoFile": path});
        Call::new("ADD").conf("deviceID", VFIO).conf("runtimeConfig", runtime)
    };
    let error = add().run(&node).unwrap_err();
    check_error(&error, 11, "tells of a vhost-vdpa device, but it attaches as vfio");
    check_error(&error, 11, VFIO);
    // what only the device plugin knows is passed on
    let pci = json!({"type": "pci", "version": "1.1.0",
                     "pci": {"pci-address": VFIO, "rdma-device": "mlx5_2"}});
    node.write(&file, &pci.to_string());
    add().run(&node).unwrap();
    let info: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(info["pci"]["rdma-device"], "mlx5_2");
}

#[test]
fn check_sees_another_driver_and_del_needs_no_device() {
    let node = Node::new();
    let call = |verb| Call::new(verb).conf("deviceID", VFIO);
    let answer = call("ADD").run(&node).unwrap();
    node.rebind(VFIO, "igbvf");
    let check = || call("CHECK").conf("prevResult", answer.clone()).run(&node).unwrap_err();
    let error = check();
    let told = "attachment of function 0000:01:00.4: found bound to igbvf, expected vfio";
    check_error(&error, 100, told);
    node.unplug(VFIO);
    check_error(&check(), 100, "bound to no driver");
    call("DEL").env("CNI_NETNS", "").run(&node).unwrap();
    assert_eq!(node.records(), 0);
}

/// A record of a netdev with all that can be put back, whose device, and then whose PF, is gone.
#[test]
fn del_without_a_namespace_of_a_netdev_that_is_gone_succeeds() {
    let node = Node::new();
    Call::new("ADD").conf("deviceID", VFIO).run(&node).unwrap();
    let mut record = node.record();
    record["attachment"] = "netdev".into();
    record["device"] = NETDEV.into();
    record["pci"] = NETDEV.into();
    record["before"] = json!({"name": "rwtest5", "mac": null, "permanentMac": null, "mtu": 1500,
                              "up": false});
    record["function"] = json!({
        "function": {"pf": "0000:01:00.0", "index": 4, "address": NETDEV},
        "set": [{"vlan": {"id": 100, "qos": 0, "service": false}}], "before": [{"vlan": null}]});
    node.unplug(NETDEV);
    for pf in ["0000:01:00.0", "0000:77:00.0"] {
        record["function"]["function"]["pf"] = pf.into();
        node.write("var/lib/ringway/attachments/c1:net1.json", &record.to_string());
        let del = Call::new("DEL").conf("deviceID", NETDEV).env("CNI_NETNS", "");
        del.run(&node).unwrap();
        assert_eq!(node.records(), 0, "{pf}");
    }
}
