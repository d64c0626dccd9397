//! The CNI binary on functions of a card in switchdev mode. No emulated card has one: the eswitch, its
//! ports and representors are the lab's own module's (tests/lab/assets/labswitch.c), whose ports hand an
//! address on to igb, and keep rates to themselves.

use ringway_kernel::Mac;
use ringway_kernel::devlink::{Devlink, Handle, RateChange, VfPort};
use ringway_kernel::link::{Vf, VfTxRate};
use serde_json::{Value, json};

use crate::node::{Node, make_eswitch, without_eswitch};
use crate::stand::{Plugin, Pod, Stand};

const MAC: &str = "02:00:00:00:77:01";
const ANOTHER: &str = "02:00:00:00:77:02";

fn conf() -> Value {
    json!({"max_tx_rate": 50, "runtimeConfig": {"mac": MAC}})
}

fn mac(text: &str) -> Mac {
    text.parse().unwrap()
}

/// All that an attachment can change of two functions.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    ports: Vec<(VfPort, VfTxRate)>,
    vfs: Vec<Vf>,
    links: Vec<(String, Option<Mac>, u32, bool)>,
}

/// Two functions as interfaces, their ports and representors there.
fn switched(node: &Node, plugin: Plugin) -> (Stand, Told) {
    let stand = Stand::functions(node, node.igb, "netdev", plugin);
    make_eswitch(2);
    let told = told(node, &stand);
    assert_eq!(told.ports.len(), 2);
    (stand, told)
}

fn told(node: &Node, stand: &Stand) -> Told {
    let links = stand.netdevs(node).into_iter();
    let links = links.map(|link| (link.name, link.mac, link.mtu, link.up)).collect();
    Told { ports: node.ports(node.igb), vfs: node.vfs(node.igb), links }
}

#[test]
fn a_port_says_which_function_it_stands_for_and_sets_it() {
    let node = Node::at_rest();
    let (_stand, before) = switched(&node, Plugin::Installed);
    let (devlink, device) = (Devlink::require().unwrap(), Handle::pci(node.igb));
    for (number, (port, rates)) in before.ports.iter().enumerate() {
        assert_eq!((port.pf, usize::from(port.vf)), (0, number));
        assert!(port.netdev.is_some(), "{port:?}");
        assert_eq!(*rates, VfTxRate::default());
    }
    let index = before.ports[1].0.index;
    devlink.set_function_mac(&device, index, mac(MAC)).unwrap();
    assert_eq!(node.ports(node.igb)[1].0.mac, Some(mac(MAC)));
    assert_eq!(node.vfs(node.igb)[1].mac, Some(mac(MAC)), "it hands it on");
    let error = devlink.set_function_mac(&device, index, mac("01:00:00:00:00:01")).unwrap_err();
    assert!(error.to_string().contains("Non-unicast"), "{error}");
    let change = RateChange { min: None, max: Some(40) };
    devlink.set_rates(&device, index, change).unwrap();
    assert_eq!(node.ports(node.igb)[1].1, VfTxRate { min: 0, max: 40 });
    let share = RateChange { min: Some(1), max: None };
    let error = devlink.set_rates(&device, index, share).unwrap_err();
    assert!(error.to_string().contains("TX share"), "{error}");
    let error = devlink.set_function_mac(&device, 99, mac(MAC)).unwrap_err();
    assert!(error.to_string().contains("no such port"), "{error}");
    assert_eq!(devlink.rates(&device, 99).unwrap(), None);
}

#[test]
fn address_and_rate_are_the_ports_and_then_as_before() {
    let node = Node::at_rest();
    let (stand, before) = switched(&node, Plugin::Installed);
    let pod = Pod::new("rw-a");
    for round in 0..2 {
        let result = stand.add(&pod, 0, &conf());
        assert_eq!(result["interfaces"][0]["mac"], MAC, "{round}");
        assert_eq!(pod.link("net1").mac, Some(mac(MAC)));
        let (port, rates) = node.ports(node.igb)[0];
        assert_eq!((port.mac, rates), (Some(mac(MAC)), VfTxRate { min: 0, max: 50 }));
        assert_eq!(node.vfs(node.igb)[0].rate, before.vfs[0].rate, "the PF was not asked");
        stand.check(&pod, 0, &conf()).unwrap();
        assert!(stand.host(&["why", &stand.ids[0]]).contains("rates 0 to 50 Mbit/s"));
        stand.del(&pod, 0, &conf());
        stand.del(&pod, 0, &conf());
        assert_eq!(told(&node, &stand), before, "{round}");
        assert_eq!(stand.records(), 0);
    }
}

#[test]
fn check_sees_what_somebody_set_at_the_port() {
    let node = Node::at_rest();
    let stand = Stand::functions(&node, node.igb, "vfio", Plugin::Installed);
    make_eswitch(2);
    let before = node.ports(node.igb);
    let pod = Pod::new("rw-a");
    let result = stand.add(&pod, 0, &conf());
    assert_eq!(result["interfaces"][0]["mac"], MAC);
    let (devlink, device) = (Devlink::require().unwrap(), Handle::pci(node.igb));
    let index = before[0].0.index;
    let set_mac = |text| devlink.set_function_mac(&device, index, mac(text)).unwrap();
    let set_rate = |max| {
        let change = RateChange { min: None, max: Some(max) };
        devlink.set_rates(&device, index, change).unwrap();
    };
    set_mac(ANOTHER);
    stand.check_tells(&pod, 0, &conf(), &format!("found {ANOTHER}, expected {MAC}"));
    set_mac(MAC);
    set_rate(20);
    stand.check_tells(&pod, 0, &conf(), "found rates 0 to 20 Mbit/s");
    set_rate(50);
    stand.check(&pod, 0, &conf()).unwrap();
    stand.del(&pod, 0, &conf());
    assert_eq!(node.ports(node.igb), before);
    assert_eq!(stand.records(), 0);
}

/// igb would take it all: in switchdev mode it is not asked.
#[test]
fn what_is_the_representors_is_refused_unless_it_is_so() {
    let node = Node::at_rest();
    let (stand, before) = switched(&node, Plugin::Installed);
    let pod = Pod::new("rw-a");
    for (conf, field) in [
        (json!({"vlan": 100, "runtimeConfig": {"mac": MAC}}), "vlan"),
        (json!({"max_tx_rate": 50, "trust": "on"}), "trust"),
        (json!({"spoofchk": "off"}), "spoofchk"),
    ] {
        let error = stand.add_fails(&pod, 0, &conf);
        assert_eq!(error["code"], 7, "{error}");
        let text = error["msg"].as_str().unwrap();
        assert!(text.contains(&format!("field {field} asks for")), "{text}");
        assert!(text.contains("in switchdev mode"), "{text}");
        assert_eq!(told(&node, &stand), before, "{conf}");
        assert_eq!(stand.records(), 0);
    }
    let as_it_is = json!({"vlan": 0, "trust": "off", "spoofchk": "on"});
    stand.add(&pod, 0, &as_it_is);
    stand.check(&pod, 0, &as_it_is).unwrap();
    stand.del(&pod, 0, &as_it_is);
    assert_eq!(told(&node, &stand), before);
}

#[test]
fn what_the_port_refuses_is_named_and_the_address_is_put_back() {
    let node = Node::at_rest();
    let (stand, before) = switched(&node, Plugin::Installed);
    let pod = Pod::new("rw-a");
    let error = stand.add_fails(
        &pod,
        0,
        &json!({"min_tx_rate": 5, "max_tx_rate": 50, "runtimeConfig": {"mac": MAC}}),
    );
    assert_eq!(error["code"], 7, "{error}");
    let text = error["msg"].as_str().unwrap();
    assert!(text.contains("field min_tx_rate") && text.contains("TX share"), "{text}");
    assert_eq!(told(&node, &stand), before);
    assert_eq!(stand.records(), 0);
}

#[test]
fn an_add_that_was_killed_leaves_the_port_to_the_next_pod_as_it_was() {
    let node = Node::at_rest();
    let (stand, before) = switched(&node, Plugin::KillsItsCaller);
    let (first, second) = (Pod::new("rw-a"), Pod::new("rw-b"));
    let mut killed = conf();
    killed["ipam"] = json!({"type": "plugin"});
    stand.add_is_killed(&first, 0, &killed);
    assert_eq!(node.ports(node.igb)[0].0.mac, Some(mac(MAC)));
    stand.use_plugin(Plugin::Answers);
    stand.add(&second, 0, &json!({}));
    assert_eq!(node.ports(node.igb), before.ports);
    stand.del(&second, 0, &json!({}));
    assert_eq!(told(&node, &stand), before);
}

/// The record says what was there, and DEL finds the way that there is now: without ports the PF.
#[test]
fn a_pod_that_outlives_the_mode_gives_the_address_back_through_the_pf() {
    let node = Node::at_rest();
    let (stand, before) = switched(&node, Plugin::Installed);
    let pod = Pod::new("rw-a");
    stand.add(&pod, 0, &conf());
    without_eswitch();
    assert_eq!(node.vfs(node.igb)[0].mac, Some(mac(MAC)));
    stand.del(&pod, 0, &conf());
    assert_eq!(node.vfs(node.igb), before.vfs);
    assert_eq!(stand.records(), 0);
}
