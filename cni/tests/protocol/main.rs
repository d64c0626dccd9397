//! Ring 5: the CNI binary as a runtime starts it, over environment and standard input, on a node
//! of files. What needs a kernel's devices is in ring 6 (`tests/kernel/cni.rs`).

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is a test")]

mod chain;
mod functions;
mod host;
mod journal;
mod node;

use std::fs;
use std::os::unix::fs::symlink;

use node::{Call, NETDEV, Node, VHOST, VIRTIO};
use serde_json::{Value, json};

#[test]
fn version_answers_whatever_it_is_asked() {
    let node = Node::new();
    let supported = json!(["0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
    for (input, version) in
        [(r#"{"cniVersion":"0.4.0"}"#, "0.4.0"), ("", "1.1.0"), ("junk", "1.1.0")]
    {
        let answer = Call::new("VERSION").input(input).run(&node).unwrap();
        assert_eq!(answer, json!({"cniVersion": version, "supportedVersions": supported}));
    }
}

#[test]
fn a_wrong_call_is_told_with_its_code() {
    let node = Node::new();
    let add = || Call::new("ADD");
    for (call, code, told) in [
        (Call::new("add"), 4, "CNI_COMMAND"),
        (add().env("CNI_CONTAINERID", "../x"), 4, "CNI_CONTAINERID"),
        (add().env("CNI_IFNAME", "a/b"), 4, "CNI_IFNAME"),
        (add().env("CNI_NETNS", ""), 4, "CNI_NETNS"),
        (add().env("CNI_NETNS", "/etc/passwd"), 4, "CNI_NETNS"),
        (add().env("CNI_NETNS", "/no/such"), 4, "CNI_NETNS"),
        (add().input("{"), 6, "parse network configuration"),
        (add().input("[]"), 6, "parse network configuration"),
        (add().conf("cniVersion", "9.9.9"), 1, "9.9.9"),
        (add().conf("deviceId", "x"), 2, "deviceID"),
        (add().conf("trunk", json!([{"id": 7}])), 2, "trunk"),
        (add().conf("vlan", 4095), 7, "0 (none) to 4094"),
        (add().conf("mtu", "big"), 6, "mtu"),
        (Call::new("GC").conf("cniVersion", "1.0.0"), 1, "GC"),
        (Call::new("STATUS").conf("cniVersion", "1.0.0"), 1, "STATUS"),
        (Call::new("CHECK").conf("cniVersion", "0.3.1"), 1, "CHECK"),
        (Call::new("CHECK"), 100, "attachment"),
    ] {
        let error = call.run(&node).unwrap_err();
        check_error(&error, code, told);
    }
    node.is_untouched();
}

#[test]
fn a_device_must_be_named_known_ready_held_and_what_its_pool_says() {
    let node = Node::new();
    let device = |id: &str| Call::new("ADD").conf("deviceID", id);
    for (call, code, told) in [
        (Call::new("ADD").conf("deviceID", Value::Null), 7, "deviceID is missing"),
        (device("../../etc/passwd"), 7, "is not a device id"),
        (device("0000:01:00.1/../.."), 7, "is not a device id"),
        (device("0000:01:00.1\n"), 7, "is not a device id"),
        (device("0000:99:00.1"), 7, "is in no pool"),
        (device("0000:01:00.0"), 7, "is a PF"),
        // the pod's own, as kubelet knows: what counts is what the device is
        (device("draining"), 11, "device draining has no vDPA device"),
        (device("failed"), 11, "failed: no such function"),
        (device("unbound"), 11, "bound to no driver"),
        (
            device("swapped"),
            11,
            "promises virtio-vdpa, but vDPA device vswapped is bound to vhost_vdpa",
        ),
        (device("absent"), 11, "vabsent is not there"),
        (device("mlx5_core.sf.4"), 11, "subfunction mlx5_core.sf.4 is not there"),
        (device("functionless"), 7, "attaches as netdev, and is no function"),
        (
            device("0000:01:00.6"),
            11,
            "promises netdev, but function 0000:01:00.6 is bound to vfio-pci",
        ),
        (device("0000:01:00.7"), 11, "promises vfio, but function 0000:01:00.7 is bound to uio"),
        (device("0000:01:01.0"), 11, "function 0000:01:01.0 is not there"),
        (device("0000:03:00.1"), 7, "is no VF"),
        (device("0000:01:00.3"), 11, "not below 0000:01:00.3"),
        (device(VHOST).args("K8S_POD_UID=someone-else"), 7, "is not held by pod"),
        (device(VHOST).args(""), 4, "K8S_POD_UID"),
        (device(VHOST).conf("pciBusID", "0000:01:00.9"), 7, "must agree"),
    ] {
        check_error(&call.run(&node).unwrap_err(), code, told);
    }
    node.is_untouched();
}

#[test]
fn the_missing_device_id_comes_with_its_usual_cause() {
    let error = Call::new("ADD").conf("deviceID", Value::Null).run(&Node::new()).unwrap_err();
    assert!(error["details"].as_str().unwrap().contains("requests the network's"), "{error}");
}

#[test]
fn a_tenants_tricks_with_paths_reach_nothing() {
    let node = Node::new();
    let target = node.path("precious");
    fs::write(&target, "kept").unwrap();
    let cni = node.path("var/run/k8s.cni.cncf.io/devinfo/cni");
    fs::create_dir_all(&cni).unwrap();
    symlink(&target, cni.join("link")).unwrap();
    let vhost = || Call::new("ADD").conf("deviceID", VHOST);
    let info = |path: &str| vhost().conf("runtimeConfig", json!({"CNIDeviceInfoFile": path}));
    let cni = cni.display();
    for (call, told) in [
        (vhost().conf("logFile", "/etc/x"), "logFile"),
        (vhost().conf("logFile", "../x"), "logFile"),
        (vhost().conf("ipam", json!({"type": "../../bin/sh"})), "ipam.type"),
        (vhost().conf("ipam", json!({"type": "/bin/sh"})), "ipam.type"),
        (info("/etc/cron.d/x"), "CNIDeviceInfoFile"),
        (info(&format!("{cni}/../dp/x")), "CNIDeviceInfoFile"),
        (info(&format!("{cni}/link")), "symbolic link"),
    ] {
        check_error(&call.run(&node).unwrap_err(), 7, told);
    }
    assert_eq!(fs::read_to_string(target).unwrap(), "kept");
    assert_eq!(node.records(), 0);
}

/// Of the directories that we write to, each, between two calls.
#[test]
fn a_link_in_the_place_of_a_directory_leads_nowhere() {
    let elsewhere = |node: &Node, dir: &str| {
        let target = node.path("target");
        fs::create_dir_all(&target).unwrap();
        fs::rename(node.path(dir), node.path("aside")).unwrap();
        symlink(&target, node.path(dir)).unwrap();
        target
    };
    let restore = |node: &Node, dir: &str| {
        fs::remove_file(node.path(dir)).unwrap();
        fs::rename(node.path("aside"), node.path(dir)).unwrap();
    };
    for (dir, keeps) in [
        ("var/log/ringway", false),
        ("var/run/k8s.cni.cncf.io/devinfo", true),
        ("var/run/k8s.cni.cncf.io/devinfo/cni", true),
        ("var/lib/ringway/attachments", true),
    ] {
        let node = Node::new();
        let info = node.path("var/run/k8s.cni.cncf.io/devinfo/cni/of-a-pod");
        let call = |verb: &str| {
            let runtime = json!({"CNIDeviceInfoFile": info});
            let call = Call::new(verb).conf("deviceID", VHOST).conf("logFile", "net.log");
            call.conf("runtimeConfig", runtime)
        };
        call("ADD").run(&node).unwrap();
        let target = elsewhere(&node, dir);
        let del = call("DEL").run(&node);
        assert_eq!(del.is_err(), keeps, "{dir}: {del:?}");
        let add = call("ADD").env("CNI_CONTAINERID", "c2").run(&node);
        assert_eq!(add.is_err(), keeps, "{dir}: {add:?}");
        let written: Vec<_> =
            fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(written.is_empty(), "{dir}: {written:?}");
        restore(&node, dir);
        for container in ["c1", "c2"] {
            call("DEL").env("CNI_CONTAINERID", container).run(&node).unwrap();
        }
        assert_eq!((node.records(), info.exists()), (0, false), "{dir}");
    }
}

#[test]
fn what_tenants_write_stays_one_line_of_the_log() {
    let node = Node::new();
    let args = "K8S_POD_NAME=a\n{\"level\":\"INFO\"};K8S_POD_NAMESPACE=n;K8S_POD_UID=x";
    let call = Call::new("ADD").conf("deviceID", VHOST).conf("logFile", "net.log").args(args);
    check_error(&call.run(&node).unwrap_err(), 7, "is not held");
    let log = fs::read_to_string(node.path("var/log/ringway/net.log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert_eq!(lines[0]["containerID"], "c1");
    assert_eq!(lines[0]["code"], 7);
}

#[test]
fn a_vhost_device_is_told_and_its_device_info_written_and_removed() {
    let node = Node::new();
    let file = "var/run/k8s.cni.cncf.io/devinfo/cni/default-net-c1_net1";
    let path = node.path(file);
    let runtime = json!({"CNIDeviceInfoFile": path, "mac": "52:54:00:00:00:01"});
    let call =
        |verb| Call::new(verb).conf("deviceID", VHOST).conf("runtimeConfig", runtime.clone());
    let answer = call("ADD").conf("mtu", 1500).run(&node).unwrap();
    assert_eq!(
        answer,
        json!({"cniVersion": "1.1.0", "interfaces": [{
            "name": "net1", "sandbox": "/proc/self/ns/net", "mac": "52:54:00:00:00:01",
            "mtu": 1500, "pciID": VHOST, "socketPath": format!("/dev/ringway/{VHOST}")}]})
    );
    let info: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(
        info,
        json!({"type": "vdpa", "version": "1.1.0", "vdpa": {
            "parent-device": "vvhost", "driver": "vhost", "path": format!("/dev/ringway/{VHOST}"),
            "pci-address": VHOST, "pf-pci-address": "0000:01:00.0"}})
    );
    assert_eq!(node.records(), 1);
    call("CHECK").conf("prevResult", answer).run(&node).unwrap();
    for _ in 0..2 {
        assert_eq!(call("DEL").run(&node).unwrap(), Value::Null);
        assert!(!path.exists());
        assert_eq!(node.records(), 0);
    }
    check_error(&call("CHECK").run(&node).unwrap_err(), 100, "attachment: found none");
}

#[test]
fn older_versions_have_their_own_fields() {
    let node = Node::new();
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        let call = |verb| Call::new(verb).conf("deviceID", VHOST).conf("cniVersion", version);
        let answer = call("ADD").run(&node).unwrap();
        let interface = json!({"name": "net1", "sandbox": "/proc/self/ns/net",
                               "mac": "52:54:00:00:00:01"});
        assert_eq!(answer, json!({"cniVersion": version, "interfaces": [interface]}));
        call("DEL").run(&node).unwrap();
        let error = call("ADD").conf("deviceID", "none").run(&node).unwrap_err();
        assert_eq!(error["cniVersion"], version);
    }
}

#[test]
fn a_vhost_device_that_is_not_as_asked_is_refused_with_both_values() {
    let node = Node::new();
    let vhost = || Call::new("ADD").conf("deviceID", VHOST);
    let mac = json!({"mac": "02:00:00:00:00:09"});
    for (call, asked, has) in [
        (vhost().conf("runtimeConfig", mac), "02:00:00:00:00:09", "52:54:00:00:00:01"),
        (vhost().conf("mtu", 9000), "9000", "1500"),
    ] {
        let error = call.run(&node).unwrap_err();
        check_error(&error, 7, asked);
        check_error(&error, 7, has);
    }
    node.is_untouched();
}

#[test]
fn a_vdpa_device_has_what_its_network_expects_or_is_refused() {
    let node = Node::new();
    let call = |verb: &str, vdpa: Value| Call::new(verb).conf("deviceID", VHOST).conf("vdpa", vdpa);
    for (vdpa, code, told) in [
        (
            json!({"queuePairs": 5}),
            7,
            "field vdpa.queuePairs asks for 5, device 0000:01:00.1 has 4",
        ),
        (json!({"features": ["MAC", "RSS"]}), 7, "field vdpa.features asks for RSS, device"),
        (json!({"features": ["mac"]}), 7, "must be one of CSUM"),
        (json!({"pairs": 1}), 2, "must be one of queuePairs, features"),
    ] {
        check_error(&call("ADD", vdpa).run(&node).unwrap_err(), code, told);
    }
    let netdev =
        Call::new("ADD").conf("deviceID", node::VFIO).conf("vdpa", json!({"queuePairs": 1}));
    check_error(&netdev.run(&node).unwrap_err(), 7, "is attached as vfio, and is no vDPA device");
    // of one that tells nothing, one pair is sure
    let silent = |pairs| {
        let call = Call::new("ADD").conf("deviceID", "vhost2").conf("vdpa", pairs);
        call.env("CNI_CONTAINERID", "c2").run(&node)
    };
    check_error(&silent(json!({"queuePairs": 2})).unwrap_err(), 7, "device vhost2 has 1");
    check_error(&silent(json!({"features": ["MQ"]})).unwrap_err(), 7, "has none that is known");
    node.is_untouched();
    silent(json!({"queuePairs": 1})).unwrap();

    let wanted = json!({"queuePairs": 4, "features": ["MAC", "MQ"]});
    let answer = call("ADD", wanted.clone()).run(&node).unwrap();
    let check = || call("CHECK", wanted.clone()).conf("prevResult", answer.clone()).run(&node);
    check().unwrap();
    node.change_device(VHOST, |device| device["queuePairs"] = 2.into());
    check_error(
        &check().unwrap_err(),
        100,
        "vdpa.queuePairs of device 0000:01:00.1: found 2, expected 4",
    );
    node.change_device(VHOST, |device| {
        device["queuePairs"] = 4.into();
        device["features"] = json!(["MAC"]);
    });
    check_error(
        &check().unwrap_err(),
        100,
        "vdpa.features of device 0000:01:00.1: found MAC, expected MQ",
    );
    // what a network expects is no question of the node's
    Call::new("STATUS").conf("vdpa", json!({"queuePairs": 999})).run(&node).unwrap();
    call("DEL", json!({"pairs": 1})).run(&node).unwrap();
}

#[test]
fn a_device_in_use_is_busy_and_its_holder_is_named() {
    let node = Node::new();
    let call = |verb| Call::new(verb).conf("deviceID", VHOST);
    call("ADD").run(&node).unwrap();
    let error = call("ADD").env("CNI_CONTAINERID", "c2").run(&node).unwrap_err();
    check_error(&error, 11, "is attached as c1:net1 of pod \"default/p\"");
    // the same once more is no success either (specification, section ADD)
    check_error(&call("ADD").run(&node).unwrap_err(), 11, "is attached as c1:net1");
    let error = call("ADD").conf("deviceID", "vhost2").run(&node).unwrap_err();
    check_error(&error, 11, "attached already");
    call("DEL").run(&node).unwrap();
    call("ADD").env("CNI_CONTAINERID", "c2").run(&node).unwrap();
}

#[test]
fn after_a_reboot_an_old_record_holds_nothing() {
    let node = Node::new();
    let call = |verb| Call::new(verb).conf("deviceID", VHOST);
    let answer = call("ADD").run(&node).unwrap();
    node.reboot();
    check_error(
        &call("CHECK").conf("prevResult", answer).run(&node).unwrap_err(),
        100,
        "earlier boot",
    );
    call("ADD").env("CNI_CONTAINERID", "c2").run(&node).unwrap();
    assert_eq!(node.records(), 1);
}

#[test]
fn a_device_that_is_being_changed_is_busy() {
    let node = Node::new();
    let _call = node.stuck(VHOST);
    let error = Call::new("ADD").conf("deviceID", VHOST).run(&node).unwrap_err();
    check_error(&error, 11, "not tried, an earlier call");
    node.is_untouched();
}

#[test]
fn an_interface_moves_only_into_another_namespace_than_the_hosts() {
    let node = Node::new();
    for device in [VIRTIO, NETDEV] {
        let error = Call::new("ADD").conf("deviceID", device).run(&node).unwrap_err();
        check_error(&error, 4, "is the host's own");
    }
    assert_eq!(node.records(), 0);
}

#[test]
fn a_node_without_kubelet_may_turn_the_question_off() {
    let node = Node::new();
    let call = || Call::new("ADD").conf("deviceID", VHOST).args("");
    check_error(&call().run(&node).unwrap_err(), 4, "K8S_POD_UID");
    node.write("etc/cni/net.d/ringway.d/config.json", r#"{"requireAllocation": false}"#);
    let draining = Call::new("ADD").conf("deviceID", "draining").args("");
    check_error(&draining.run(&node).unwrap_err(), 11, "draining: about to be rebuilt");
    call().run(&node).unwrap();
}

/// A tenant edits its network while pods are attached: their ends are not its to prevent.
#[test]
fn del_goes_by_the_record_whatever_the_configuration_says_now() {
    let node = Node::new();
    let call = |verb| Call::new(verb).conf("deviceID", VHOST);
    for (field, value) in [
        ("vlan", json!(5000)),
        ("trunk", json!([1])),
        ("logFile", json!("/etc/x")),
        ("pciBusID", json!("0000:09:00.0")),
        ("runtimeConfig", json!({"mac": "01:00:00:00:00:00"})),
        ("mtu", json!("much")),
    ] {
        check_error_code(&call("ADD").conf(field, value.clone()).run(&node).unwrap_err());
        call("ADD").run(&node).unwrap();
        for _ in 0..2 {
            call("DEL").conf(field, value.clone()).run(&node).unwrap();
            assert_eq!(node.records(), 0, "{field}");
        }
    }
    // without a name nobody knows whose addresses they are
    call("DEL").conf("name", "").run(&node).unwrap_err();
}

fn check_error_code(error: &Value) {
    assert!([2, 6, 7].contains(&error["code"].as_u64().unwrap()), "{error}");
}

/// Removed by whoever updates the node: the device is the node's again, and the address is not forgotten.
#[test]
fn del_without_the_ipam_plugins_file_keeps_what_only_it_can_do() {
    let node = Node::new();
    let call = |verb| Call::new(verb).conf("deviceID", VHOST).conf("ipam", json!({"type": "fake"}));
    let answer = r#"{"ips":[{"address":"10.0.0.2/24"}]}"#;
    node.plugin("fake", answer, 0);
    call("ADD").run(&node).unwrap();
    fs::remove_file(node.path("bin/fake")).unwrap();
    for _ in 0..2 {
        check_error(&call("DEL").run(&node).unwrap_err(), 7, "fake is not in CNI_PATH");
        assert_eq!(node.phases(), ["detached"]);
    }
    node.plugin("fake", "", 0);
    call("DEL").run(&node).unwrap();
    assert_eq!((node.plugin_calls(), node.records()), (vec!["ADD".into(), "DEL".into()], 0));
}

#[test]
fn ipam_is_asked_for_a_vhost_device_too_and_undone_when_it_fails() {
    let node = Node::new();
    let call = |verb| Call::new(verb).conf("deviceID", VHOST).conf("ipam", json!({"type": "fake"}));
    check_error(&call("ADD").run(&node).unwrap_err(), 7, "fake is not in CNI_PATH");
    node.plugin("fake", r#"{"ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1"}]}"#, 0);
    let answer = call("ADD").run(&node).unwrap();
    assert_eq!(
        answer["ips"],
        json!([{"address": "10.0.0.2/24", "gateway": "10.0.0.1", "interface": 0}])
    );
    call("CHECK").conf("prevResult", answer).run(&node).unwrap();
    call("DEL").run(&node).unwrap();
    // DEL reaches IPAM with and without a record
    call("DEL").run(&node).unwrap();
    assert_eq!(node.plugin_calls(), ["ADD", "CHECK", "DEL", "DEL"]);

    node.plugin("fake", r#"{"code":11,"msg":"full"}"#, 1);
    check_error(&call("ADD").run(&node).unwrap_err(), 11, "full");
    assert_eq!(node.plugin_calls()[4..], ["ADD", "DEL"]);
    // its DEL failed as well: the record waits for one that does not
    assert_eq!(node.phases(), ["detached"]);
    check_error(&call("DEL").run(&node).unwrap_err(), 11, "full");
    node.plugin("fake", "", 0);
    call("DEL").run(&node).unwrap();
    assert_eq!(node.records(), 0);
}

#[test]
fn whatever_an_ipam_plugin_does_its_device_is_free_afterwards() {
    let node = Node::new();
    let call = |verb| Call::new(verb).conf("deviceID", VHOST).conf("ipam", json!({"type": "fake"}));
    for (add, code, told) in [
        ("kill -9 $$", 101, "failed without a word (signal: 9 (SIGKILL))"),
        ("exec head -c 3000000 /dev/zero", 101, "more than 1048576 bytes"),
        ("echo 'panic: at line 3'", 101, "result of IPAM plugin fake"),
        ("true", 101, "result of IPAM plugin fake"),
        ("echo '[]'", 101, "result of IPAM plugin fake"),
        ("head -c 3000000 /dev/zero; exit 1", 101, "more than 1048576 bytes"),
    ] {
        node.plugin_that("fake", &format!("[ $CNI_COMMAND = ADD ] || exit 0\n{add}"));
        check_error(&call("ADD").run(&node).unwrap_err(), code, told);
        assert_eq!(node.records(), 0, "{add}");
        Call::new("ADD").conf("deviceID", VHOST).run(&node).unwrap();
        Call::new("DEL").run(&node).unwrap();
    }
}

/// What the plugin asks for becomes its own end.
#[test]
fn a_namespace_that_goes_away_while_ipam_is_asked_gets_no_device() {
    let node = Node::new();
    let netns = node.path("netns");
    symlink("/proc/self/ns/net", &netns).unwrap();
    let script = format!(
        "[ $CNI_COMMAND = ADD ] || exit 0\nrm {}\necho '{{\"ips\":[{{\"address\":\"10.0.0.2/24\"}}]}}'",
        netns.display()
    );
    node.plugin_that("fake", &script);
    let add = Call::new("ADD").conf("deviceID", VHOST).conf("ipam", json!({"type": "fake"}));
    let error = add.env("CNI_NETNS", netns.to_str().unwrap()).run(&node).unwrap_err();
    check_error(&error, 11, "went away while its device was attached");
    assert_eq!(node.records(), 0);
    assert_eq!(node.plugin_calls(), ["ADD", "DEL"]);
    Call::new("ADD").conf("deviceID", VHOST).env("CNI_CONTAINERID", "c2").run(&node).unwrap();
}

#[test]
fn gc_keeps_what_is_listed_foreign_or_alive() {
    let node = Node::new();
    let add = |device: &str, container: &str| {
        let call = Call::new("ADD").conf("deviceID", device).env("CNI_CONTAINERID", container);
        call.run(&node).unwrap();
    };
    add(VHOST, "c1");
    add("vhost2", "c2");
    let gc = |name: &str, valid: Value| {
        let call = Call::new("GC").conf("name", name).conf("cni.dev/valid-attachments", valid);
        call.run(&node).unwrap();
        node.records()
    };
    assert_eq!(gc("default/net", json!([])), 2, "their namespace is there");
    node.reboot();
    assert_eq!(gc("another", json!([])), 2);
    assert_eq!(gc("default/net", json!([{"containerID": "c1", "ifname": "net1"}])), 1);
    assert_eq!(gc("default/net", json!([])), 0);
}

#[test]
fn gc_without_a_list_takes_the_dead_and_asks_no_ipam_plugin() {
    let node = Node::new();
    let with_ipam = |call: Call| call.conf("ipam", json!({"type": "fake"}));
    node.plugin("fake", r#"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.9/24"}]}"#, 0);
    let add = |device: &str, container: &str| {
        let call = Call::new("ADD").conf("deviceID", device).env("CNI_CONTAINERID", container);
        call.run(&node).unwrap();
    };
    add(VHOST, "c1");
    with_ipam(Call::new("GC")).run(&node).unwrap();
    assert_eq!(node.records(), 1, "its namespace is there");
    node.reboot();
    with_ipam(Call::new("GC")).run(&node).unwrap();
    assert_eq!(node.records(), 0);
    assert!(!node.path("bin/calls").exists(), "{:?}", node.plugin_calls());
}

#[test]
fn status_tells_what_an_add_would_lack() {
    let node = Node::new();
    let status = || Call::new("STATUS");
    assert_eq!(status().run(&node).unwrap(), Value::Null);
    let with_ipam = || status().conf("ipam", json!({"type": "fake"}));
    check_error(&with_ipam().run(&node).unwrap_err(), 50, "fake is not in CNI_PATH");
    // the question is newer than most plugins
    node.plugin("fake", r#"{"supportedVersions":["1.0.0"]}"#, 0);
    assert_eq!(with_ipam().run(&node).unwrap(), Value::Null);
    node.plugin("fake", r#"{"supportedVersions":["1.0.0","1.1.0"]}"#, 0);
    assert_eq!(with_ipam().run(&node).unwrap(), Value::Null);
    assert_eq!(node.plugin_calls(), ["VERSION", "VERSION", "STATUS"]);
    node.plugin("fake", r#"{"code":50,"msg":"no range is left"}"#, 1);
    check_error(&with_ipam().run(&node).unwrap_err(), 50, "no range is left");
    fs::remove_file(node.path("var/lib/ringway/pools.json")).unwrap();
    check_error(&status().run(&node).unwrap_err(), 50, "pools.json");
    check_error(
        &Call::new("ADD").conf("deviceID", VHOST).run(&node).unwrap_err(),
        11,
        "pools.json",
    );
}

#[test]
fn del_succeeds_when_everything_is_gone() {
    let node = Node::new();
    fs::remove_dir_all(node.path("var/lib/ringway")).unwrap();
    let del = || Call::new("DEL");
    del().env("CNI_NETNS", "").run(&node).unwrap();
    del().env("CNI_NETNS", "/no/such").conf("deviceID", Value::Null).run(&node).unwrap();
}

pub(crate) fn check_error(error: &Value, code: u32, told: &str) {
    assert_eq!(error["code"], code, "{error}");
    let text = error["msg"].as_str().unwrap();
    assert!(text.contains(told), "{told:?} in {error}");
}
