//! The CNI binary on functions as they are: the interface of one, set up through its PF, and one on
//! vfio-pci or on a UIO driver.

use ringway_kernel::link::{Link, Links, Vf, VfSetting, VfTag, VfTxRate};
use ringway_kernel::{Mac, pci, vfio};
use serde_json::{Value, json};

use crate::node::Node;
use crate::stand::{Plugin, Pod, Stand};

const MAC: &str = "02:00:00:00:77:01";
const TAG: VfTag = VfTag { id: 100, qos: 3, service: false };

/// All that igb sets, and what an interface takes by itself.
fn everything() -> Value {
    json!({"vlan": 100, "vlanQoS": 3, "max_tx_rate": 50, "spoofchk": "off", "trust": "on",
           "mtu": 1400, "runtimeConfig": {"mac": MAC}})
}

fn as_asked(before: Vf) -> Vf {
    Vf {
        mac: Some(mac()),
        vlan: Some(TAG),
        rate: VfTxRate { min: 0, max: 50 },
        spoof_check: Some(false),
        trust: Some(true),
        ..before
    }
}

fn mac() -> Mac {
    MAC.parse().unwrap()
}

/// What a pod changes of an interface. The address that it was made with is told anew when igbvf
/// resets.
fn shown(links: &[Link]) -> Vec<(String, Option<Mac>, u32, bool)> {
    links.iter().map(|link| (link.name.clone(), link.mac, link.mtu, link.up)).collect()
}

#[test]
fn an_igb_function_is_a_pods_as_asked_and_then_as_before() {
    let node = Node::at_rest();
    let stand = Stand::functions(&node, node.igb, "netdev", Plugin::Installed);
    let (links, vfs) = (stand.netdevs(&node), node.vfs(node.igb));
    let pod = Pod::new("rw-a");
    for round in 0..2 {
        let result = stand.add(&pod, 0, &everything());
        let interface = &result["interfaces"][0];
        assert_eq!((&interface["mac"], &interface["mtu"]), (&json!(MAC), &json!(1400)), "{round}");
        assert_eq!(interface["pciID"], stand.ids[0].as_str());
        let link = pod.link("net1");
        assert_eq!((link.mac, link.mtu, link.up), (Some(mac()), 1400, true));
        assert_eq!(node.vfs(node.igb), [as_asked(vfs[0]), vfs[1]]);
        stand.check(&pod, 0, &everything()).unwrap();
        assert!(stand.host(&["list"]).contains("alive"));
        assert!(stand.host(&["why", &stand.ids[0]]).contains("VLAN 100 (802.1q, qos 3)"));
        stand.del(&pod, 0, &everything());
        stand.del(&pod, 0, &everything());
        assert_eq!(shown(&stand.netdevs(&node)), shown(&links));
        assert_eq!(node.vfs(node.igb), vfs, "{round}");
        assert_eq!(stand.records(), 0);
    }
}

#[test]
fn check_sees_what_somebody_set_through_the_pf() {
    let node = Node::at_rest();
    let stand = Stand::functions(&node, node.igb, "netdev", Plugin::Installed);
    let pod = Pod::new("rw-a");
    stand.add(&pod, 0, &everything());
    for (setting, told) in [
        (VfSetting::Vlan(Some(VfTag { id: 7, qos: 0, service: false })), "VLAN 7"),
        (VfSetting::SpoofCheck(true), "spoof check on"),
        (VfSetting::Trust(false), "trust off"),
        (VfSetting::Rate(VfTxRate { min: 0, max: 20 }), "20 Mbit/s"),
    ] {
        let set = |setting| {
            let uplink = node.uplink(node.igb).index;
            Links::open().unwrap().set_vf(uplink, 0, setting).unwrap();
        };
        let mine = as_asked(node.vfs(node.igb)[0]).now(setting).unwrap();
        set(setting);
        stand.check_tells(&pod, 0, &everything(), told);
        set(mine);
        stand.check(&pod, 0, &everything()).unwrap();
    }
    stand.del(&pod, 0, &everything());
}

#[test]
fn what_igb_refuses_is_named_and_what_was_set_before_it_is_undone() {
    let node = Node::at_rest();
    let stand = Stand::functions(&node, node.igb, "netdev", Plugin::Installed);
    let (links, vfs) = (stand.netdevs(&node), node.vfs(node.igb));
    let pod = Pod::new("rw-a");
    for (conf, field) in [
        (json!({"vlan": 100, "link_state": "enable"}), "link_state"),
        (json!({"trust": "on", "vlan": 100, "vlanProto": "802.1ad"}), "vlan"),
        (json!({"vlan": 100, "min_tx_rate": 5}), "min_tx_rate"),
    ] {
        let error = stand.add_fails(&pod, 0, &conf);
        assert_eq!(error["code"], 7, "{error}");
        let text = error["msg"].as_str().unwrap();
        assert!(text.contains(&format!("field {field}")), "{text}");
        assert_eq!(node.vfs(node.igb), vfs, "{conf}");
        assert_eq!(shown(&stand.netdevs(&node)), shown(&links));
        assert_eq!(stand.records(), 0);
    }
}

#[test]
fn del_after_the_namespace_is_gone_puts_the_pfs_part_back_too() {
    let node = Node::at_rest();
    let stand = Stand::functions(&node, node.igb, "netdev", Plugin::Installed);
    let (links, vfs) = (stand.netdevs(&node), node.vfs(node.igb));
    let pod = Pod::new("rw-a");
    stand.add(&pod, 0, &everything());
    let target = pod.target();
    drop(pod);
    stand.del_without_namespace(&target, 0, &everything());
    assert_eq!(shown(&stand.netdevs(&node)), shown(&links));
    assert_eq!(node.vfs(node.igb), vfs);
    assert_eq!(stand.records(), 0);
}

/// Where no DEL ever comes: of two pods one is gone, and the other's device is not touched.
#[test]
fn what_a_pod_has_left_is_collected_with_its_addresses() {
    let node = Node::at_rest();
    let stand = Stand::functions(&node, node.igb, "netdev", Plugin::Answers);
    let (links, vfs) = (stand.netdevs(&node), node.vfs(node.igb));
    let (gone, lives) = (Pod::new("rw-a"), Pod::new("rw-b"));
    let mut conf = everything();
    conf["ipam"] = json!({"type": "plugin"});
    stand.add(&gone, 0, &conf);
    stand.add(&lives, 1, &json!({}));
    let bin = stand.path("bin");
    let collect = || {
        let path = format!("--cni-path={}", bin.display());
        stand.host(&["collect", "--grace", "0", &path])
    };
    assert_eq!(collect(), "", "both live");
    drop(gone);
    stand.wait_on_host(&node, 0);
    let said = collect();
    assert!(said.starts_with(&format!("undone: {} of ", stand.ids[0])), "{said}");
    assert_eq!(node.vfs(node.igb), vfs);
    assert_eq!(stand.ipam_calls(), ["ADD", "DEL"]);
    assert_eq!((stand.records(), collect().as_str()), (1, ""));
    lives.link("net1");
    stand.del(&lives, 1, &json!({}));
    assert_eq!(shown(&stand.netdevs(&node)), shown(&links));
}

#[test]
fn an_add_that_was_killed_leaves_nothing_to_the_next_pod() {
    let node = Node::at_rest();
    let stand = Stand::functions(&node, node.igb, "netdev", Plugin::KillsItsCaller);
    let (links, vfs) = (stand.netdevs(&node), node.vfs(node.igb));
    let (first, second) = (Pod::new("rw-a"), Pod::new("rw-b"));
    let mut conf = everything();
    conf["ipam"] = json!({"type": "plugin"});
    stand.add_is_killed(&first, 0, &conf);
    assert_eq!(node.vfs(node.igb)[0], as_asked(vfs[0]));
    stand.use_plugin(Plugin::Answers);
    stand.add(&second, 0, &json!({}));
    assert_eq!(node.vfs(node.igb), vfs, "what the first one asked for is undone");
    assert_eq!(second.link("net1").mac, links[0].mac);
    stand.del(&second, 0, &json!({}));
    assert_eq!(shown(&stand.netdevs(&node)), shown(&links));
}

#[test]
fn del_of_a_function_that_is_gone_succeeds() {
    let node = Node::at_rest();
    let stand = Stand::functions(&node, node.igb, "netdev", Plugin::Installed);
    let pod = Pod::new("rw-a");
    stand.add(&pod, 0, &everything());
    node.rest();
    stand.del(&pod, 0, &everything());
    assert_eq!(stand.records(), 0);
}

#[test]
fn a_function_on_vfio_stays_where_it_is_and_its_pf_sets_it() {
    stays_where_it_is("vfio", vfio::DRIVER);
}

#[test]
fn so_does_one_on_uio() {
    stays_where_it_is("uio", "uio_pci_generic");
}

fn stays_where_it_is(attach: &str, driver: &str) {
    let node = Node::at_rest();
    let stand = Stand::functions(&node, node.igb, attach, Plugin::Installed);
    let vfs = node.vfs(node.igb);
    let pod = Pod::new("rw-a");
    let conf = json!({"vlan": 100, "vlanQoS": 3, "max_tx_rate": 50, "spoofchk": "off",
                      "trust": "on", "runtimeConfig": {"mac": MAC}});
    let result = stand.add(&pod, 0, &conf);
    assert_eq!(
        result["interfaces"],
        json!([{"name": "net1", "sandbox": pod.path(), "mac": MAC, "pciID": stand.ids[0]}])
    );
    assert!(pod.links().iter().all(|link| link.loopback), "{:?}", pod.links());
    assert_eq!(node.vfs(node.igb), [as_asked(vfs[0]), vfs[1]]);
    stand.check(&pod, 0, &conf).unwrap();
    let address = stand.ids[0].parse().unwrap();
    assert_eq!(pci::driver(&node.root, address).unwrap().as_deref(), Some(driver));
    stand.del(&pod, 0, &conf);
    assert_eq!(node.vfs(node.igb), vfs);
    let error = stand.add_fails(&pod, 0, &json!({"mtu": 1400}));
    assert_eq!(error["code"], 7, "{error}");
    assert_eq!(stand.records(), 0);
}

/// An address that the network did not ask for, and that ADD has told.
#[test]
fn check_sees_that_the_pf_has_another_address_of_a_function_on_vfio() {
    const AT_REST: &str = "02:00:00:00:78:01";
    let node = Node::at_rest();
    let stand = Stand::functions(&node, node.igb, "vfio", Plugin::Installed);
    let set = |mac: &str| {
        let uplink = node.uplink(node.igb).index;
        Links::open().unwrap().set_vf(uplink, 0, VfSetting::Mac(mac.parse().unwrap())).unwrap();
    };
    set(AT_REST);
    let pod = Pod::new("rw-a");
    let result = stand.add(&pod, 0, &json!({}));
    assert_eq!(result["interfaces"][0]["mac"], AT_REST);
    stand.check(&pod, 0, &json!({})).unwrap();
    set(MAC);
    stand.check_tells(&pod, 0, &json!({}), &format!("found {MAC}, expected {AT_REST}"));
    set(AT_REST);
    stand.check(&pod, 0, &json!({})).unwrap();
    stand.del(&pod, 0, &json!({}));
    assert_eq!(stand.records(), 0);
}

#[test]
fn a_virtio_functions_interface_takes_mac_and_mtu_and_its_pf_sets_nothing() {
    let node = Node::at_rest();
    let stand = Stand::functions(&node, node.virtio, "netdev", Plugin::Installed);
    let links = stand.netdevs(&node);
    let pod = Pod::new("rw-a");
    let conf = json!({"vlan": 0, "mtu": 1400, "runtimeConfig": {"mac": MAC}});
    stand.add(&pod, 0, &conf);
    let link = pod.link("net1");
    assert_eq!((link.mac, link.mtu), (Some(mac()), 1400));
    stand.check(&pod, 0, &conf).unwrap();
    stand.del(&pod, 0, &conf);
    assert_eq!(shown(&stand.netdevs(&node)), shown(&links));
    let error = stand.add_fails(&pod, 0, &json!({"vlan": 100}));
    assert_eq!(error["code"], 7, "{error}");
    assert!(error["msg"].as_str().unwrap().contains("field vlan asks for VLAN 100"), "{error}");
    assert_eq!(shown(&stand.netdevs(&node)), shown(&links));
}
