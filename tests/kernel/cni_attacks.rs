//! Networks that tenants write, and what root refuses of them: each is code 7, and nothing has changed.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;

use ringway_kernel::pci;
use serde_json::{Value, json};

use crate::node::Node;
use crate::stand::{Plugin, Pod, Stand};

/// Two functions of the igb card as interfaces; nothing may be asked for beyond what they are.
fn stand(node: &Node) -> Stand {
    let stand = Stand::functions(node, node.igb, "netdev", Plugin::Installed);
    stand.limit(&json!({}));
    stand
}

/// Everything that an attack could change.
fn world(node: &Node, stand: &Stand) -> String {
    let links = ringway_kernel::link::Links::open().unwrap().list().unwrap();
    let links: Vec<_> =
        links.iter().map(|link| (&link.name, link.mac, link.mtu, link.up)).collect();
    format!("{links:?} {:?} {} {:?}", node.vfs(node.igb), stand.records(), stand.files())
}

fn refused(node: &Node, stand: &Stand, conf: &Value, words: &str) {
    let pod = Pod::new("rw-evil");
    let before = world(node, stand);
    let error = stand.add_fails(&pod, 0, conf);
    assert_eq!(error["code"], 7, "{conf}: {error}");
    let text = error.to_string();
    assert!(text.contains(words), "{conf}: {words} is not in {text}");
    assert_eq!(world(node, stand), before, "{conf} has changed something");
    println!("shown: refused: {conf}");
}

#[test]
fn a_device_that_is_not_the_pods() {
    let node = Node::at_rest();
    let stand = stand(&node);
    let (pf, nic) = (node.igb.to_string(), nodes_own_nic(&node));
    for (id, words) in [
        (pf.as_str(), "is in no pool"),
        (nic.as_str(), "is in no pool"),
        ("eth0", "is in no pool"),
        ("../../../etc/passwd", "deviceID"),
        ("0000:02:10.0/../0000:02:00.0", "deviceID"),
        ("", "deviceID"),
    ] {
        refused(&node, &stand, &json!({"deviceID": id}), words);
    }
    refused(&node, &stand, &json!({"deviceID": null}), "deviceID is missing");
    // another pod's, by kubelet's word
    stand.give_to_another_pod(0);
    refused(&node, &stand, &json!({}), "is not held by pod");
}

/// The interface that the lab's control plane is reached by.
fn nodes_own_nic(node: &Node) -> String {
    let addresses = pci::list(&node.root).unwrap().into_iter();
    let mut nics = addresses.filter(|address| {
        let netdevs = pci::netdevs(&node.root, *address).unwrap_or_default();
        ![node.virtio, node.igb].contains(address) && !netdevs.is_empty()
    });
    nics.next().expect("the node has a NIC").to_string()
}

#[test]
fn a_pf_even_where_a_pool_lists_it() {
    let node = Node::at_rest();
    let stand = stand(&node);
    stand.list_instead(0, &node.igb.to_string());
    refused(&node, &stand, &json!({"deviceID": node.igb.to_string()}), "is a PF");
}

#[test]
fn another_tenants_vlan_and_what_takes_from_neighbours() {
    let node = Node::at_rest();
    let stand = stand(&node);
    for (conf, field) in [
        (json!({"vlan": 100}), "vlan"),
        (json!({"trust": "on"}), "trust"),
        (json!({"spoofchk": "off"}), "spoofchk"),
        (json!({"min_tx_rate": 10, "max_tx_rate": 100}), "min_tx_rate"),
    ] {
        refused(&node, &stand, &conf, &format!("field {field}"));
    }
    stand.limit(&json!({"vlans": "200-299", "maxRate": 50}));
    refused(&node, &stand, &json!({"vlan": 100}), "allows 200-299");
    refused(&node, &stand, &json!({"max_tx_rate": 51}), "max_tx_rate");
    // and what is allowed is granted
    let pod = Pod::new("rw-good");
    let conf = json!({"vlan": 200, "max_tx_rate": 50, "spoofchk": "on", "trust": "off"});
    let before = world(&node, &stand);
    stand.add(&pod, 0, &conf);
    stand.del(&pod, 0, &conf);
    drop(pod);
    stand.netdevs(&node);
    assert_eq!(world(&node, &stand), before);
}

#[test]
fn a_pool_of_another_namespace() {
    let node = Node::at_rest();
    let stand = stand(&node);
    stand.limit(&json!({"namespaces": ["kube-system"]}));
    refused(&node, &stand, &json!({}), "is for pods of kube-system");
}

#[test]
fn files_that_are_not_for_tenants() {
    let node = Node::at_rest();
    let stand = stand(&node);
    for name in ["/etc/cron.d/evil", "../../etc/evil", "..", ".hidden", "a/b", "a\nb"] {
        refused(&node, &stand, &json!({"logFile": name}), "logFile");
    }
    let info = |path: &str| json!({"runtimeConfig": {"CNIDeviceInfoFile": path}});
    let dir = "/var/run/k8s.cni.cncf.io/devinfo/cni";
    for path in
        ["/etc/evil".to_owned(), format!("{dir}/../dp/evil"), format!("{dir}/a/../../../evil")]
    {
        refused(&node, &stand, &info(&path), "CNIDeviceInfoFile");
    }
    // a link in the way of either leads nowhere
    let target = stand.path("target");
    fs::write(&target, "kept").unwrap();
    stand.link("var/run/k8s.cni.cncf.io/devinfo/cni/evil", &target);
    stand.link("var/log/ringway/evil.log", &target);
    let pod = Pod::new("rw-link");
    let mut conf = info(&format!("{dir}/evil"));
    conf["logFile"] = json!("evil.log");
    stand.try_add(&pod, 0, &conf);
    stand.del(&pod, 0, &conf);
    assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
}

/// Each directory that is written to, swapped while the device is attached.
#[test]
fn a_link_swapped_in_for_a_directory_between_two_calls() {
    let node = Node::at_rest();
    let stand = stand(&node);
    let info = stand.path("var/run/k8s.cni.cncf.io/devinfo/cni/of-a-pod");
    let conf = json!({"runtimeConfig": {"CNIDeviceInfoFile": info}});
    let before = world(&node, &stand);
    for (dir, keeps) in [
        ("var/log/ringway", false),
        ("var/run/k8s.cni.cncf.io/devinfo/cni", true),
        ("var/lib/ringway/attachments", true),
    ] {
        let pod = Pod::new("rw-evil");
        stand.add(&pod, 0, &conf);
        let (aside, target) = (stand.path("aside"), stand.path("target"));
        fs::create_dir_all(&target).unwrap();
        fs::rename(stand.path(dir), &aside).unwrap();
        symlink(&target, stand.path(dir)).unwrap();
        let del = stand.try_del(&pod, 0, &conf);
        assert_eq!(del.status.success(), !keeps, "{dir}: {}", crate::stand::shown(&del));
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "{dir}");
        fs::remove_file(stand.path(dir)).unwrap();
        fs::rename(&aside, stand.path(dir)).unwrap();
        stand.del(&pod, 0, &conf);
        drop(pod);
        stand.netdevs(&node);
        assert_eq!(world(&node, &stand), before, "{dir}");
        println!("shown: refused: {dir} as a link");
    }
}

/// Kubelet's word moves on only when the other pod has ended; until then, and whatever state its end is
/// in, the device is not ours.
#[test]
fn another_pods_device_while_that_pod_goes_away() {
    let node = Node::at_rest();
    let stand = stand(&node);
    let before = world(&node, &stand);
    for round in 0..10 {
        let (victim, evil) = (Pod::new("rw-victim"), Pod::new("rw-evil"));
        stand.add(&victim, 0, &json!({}));
        stand.give_to_another_pod(0);
        let tried = thread::scope(|scope| {
            let end = scope.spawn(|| {
                if round % 2 == 0 {
                    stand.del(&victim, 0, &json!({}));
                }
                crate::stand::on_host("netns del rw-victim");
            });
            let mut tried = 0;
            loop {
                // once more after all of it
                let last = end.is_finished();
                let error = stand.add_fails(&evil, 0, &json!({}));
                assert_eq!(error["code"], 7, "{round}: {error}");
                assert!(error["msg"].as_str().unwrap().contains("is not held by pod"), "{error}");
                tried += 1;
                if last {
                    return tried;
                }
            }
        });
        assert!(evil.links().iter().all(|link| link.loopback), "{:?}", evil.links());
        println!("shown: refused {tried} times while its pod went away");
        stand.del(&evil, 0, &json!({}));
        stand.wait_on_host(&node, 0);
        stand.del_without_namespace(victim.container(), 0, &json!({}));
        stand.give_back(0);
        stand.netdevs(&node);
        drop(evil);
        assert_eq!(world(&node, &stand), before, "{round}");
    }
}
