//! Behind another plugin: `prevResult`.

use serde_json::{Value, json};

use crate::check_error;
use crate::node::{Call, Node, VHOST};

/// What the plugin before us has answered.
fn before(version: &str) -> Value {
    let mut before = json!({
        "cniVersion": version,
        "interfaces": [{"name": "eth0", "sandbox": "/proc/self/ns/net"}],
        "ips": [{"address": "10.1.0.2/24", "interface": 0}],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {"search": ["a"]}});
    if version < "1.0.0" {
        before["ips"][0]["version"] = "4".into();
    }
    before
}

fn call(verb: &str, version: &str) -> Call {
    Call::new(verb)
        .conf("deviceID", VHOST)
        .conf("cniVersion", version)
        .conf("ipam", json!({"type": "fake"}))
}

#[test]
fn what_came_before_goes_through_and_check_finds_ours_in_the_whole() {
    let node = Node::new();
    node.plugin("fake", r#"{"ips":[{"address":"10.0.0.2/24"}],"dns":{"search":["b"]}}"#, 0);
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let whole = call("ADD", version).conf("prevResult", before(version)).run(&node).unwrap();
        assert_eq!(whole["cniVersion"], version);
        let mut expected = before(version);
        let mut ip = json!({"address": "10.0.0.2/24", "interface": 1});
        if version < "1.0.0" {
            ip["version"] = "4".into();
        }
        expected["ips"].as_array_mut().unwrap().push(ip);
        expected["dns"]["search"] = json!(["a", "b"]);
        for name in ["ips", "routes", "dns"] {
            assert_eq!(whole[name], expected[name], "{version}");
        }
        assert_eq!(whole["interfaces"][0], expected["interfaces"][0]);
        assert_eq!(whole["interfaces"][1]["name"], "net1");
        assert_eq!(whole["interfaces"].as_array().unwrap().len(), 2);
        let told = whole["interfaces"][1].get("pciID").is_some();
        assert_eq!(told, version == "1.1.0");
        if version > "0.3.1" {
            call("CHECK", version).conf("prevResult", whole.clone()).run(&node).unwrap();
            let error = call("CHECK", version).run(&node).unwrap_err();
            check_error(&error, 7, "field prevResult is missing");
            let error = call("CHECK", version).conf("prevResult", before(version)).run(&node);
            check_error(&error.unwrap_err(), 100, "interface net1 in prevResult: found none");
        }
        // with it, without it, and whatever it says
        for previous in [whole, Value::Null, json!("nonsense")] {
            call("DEL", version).conf("prevResult", previous).run(&node).unwrap();
        }
        assert_eq!(node.records(), 0);
    }
}

#[test]
fn an_interface_that_is_there_and_nonsense_are_refused_before_anything_changes() {
    let node = Node::new();
    let mut taken = before("1.1.0");
    taken["interfaces"][0]["name"] = "net1".into();
    let mut nowhere = before("1.1.0");
    nowhere["ips"][0]["interface"] = 5.into();
    for (previous, code, told) in [
        (taken, 7, "prevResult.interfaces[0].name is \"net1\""),
        (nowhere, 7, "prevResult.ips[0].interface is \"5\""),
        (before("1.0.0"), 7, "prevResult.cniVersion is \"1.0.0\": must be 1.1.0"),
        (json!({"interfaces": [{}]}), 6, "prevResult.interfaces[0]"),
    ] {
        let add = Call::new("ADD").conf("deviceID", VHOST).conf("prevResult", previous);
        check_error(&add.run(&node).unwrap_err(), code, told);
    }
    node.is_untouched();
}
