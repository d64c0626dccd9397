//! What functions are set to at rest, on igb: set by the agent by hand, changed behind its back, put
//! right, and given back.

use std::fs;

use ringway_kernel::link::{Link, Links, Vf, VfSetting, VfTag, VfTxRate};
use ringway_kernel::{Mac, pci, sriov};

use crate::agent::{Agent, text};
use crate::node::{IGB, Node, VIRTIO};

/// All that igb can set, and the interface's MTU.
const EVERYTHING: &str = "{mac: Stable, vlan: {id: 100, qos: 3}, maxRate: 50, spoofCheck: false, \
                          trust: true, mtu: 1400}";
/// The VLAN that somebody has set before.
const THEIRS: VfTag = VfTag { id: 7, qos: 0, service: false };

fn wish(card: &str, count: u16, attach: &str, defaults: &str) -> String {
    let last = count - 1;
    format!(
        "[{{name: '{card}', policy: by-hand, functionCount: {count}, pools: [{{name: a, resource: \
         ringway.dev/a, range: 0-{last}, attach: {attach}, defaults: {defaults}}}]}}]"
    )
}

fn uplink(node: &Node) -> Link {
    node.uplink(node.igb)
}

fn vfs(node: &Node) -> Vec<Vf> {
    node.vfs(node.igb)
}

/// What somebody does with `ip link set DEVICE vf NUMBER`.
fn by_hand(node: &Node, vf: u32, setting: VfSetting) {
    Links::open().unwrap().set_vf(uplink(node).index, vf, setting).unwrap();
}

/// The interface that igbvf has made of a function.
fn interface(node: &Node, vf: usize) -> Link {
    let address = sriov::functions(&node.root, node.igb).unwrap()[vf].address;
    let found = Links::open().unwrap().of_device(&pci::dir(&node.root, address)).unwrap();
    found.expect("an interface here")
}

/// Two functions that were there, one of them in somebody's VLAN.
fn with_two_functions() -> (Node, Agent) {
    let node = Node::at_rest();
    sriov::set_drivers_autoprobe(&node.root, node.igb, false).unwrap();
    sriov::set_numvfs(&node.root, node.igb, 2).unwrap();
    node.wait_for_carrier(node.igb);
    by_hand(&node, 0, VfSetting::Vlan(Some(THEIRS)));
    (node, Agent::new())
}

#[test]
fn they_are_set_put_right_and_given_back() {
    let (node, agent) = with_two_functions();
    let before = vfs(&node);
    assert_eq!(before[0].vlan, Some(THEIRS));
    let everything = wish(IGB, 2, "netdev", EVERYTHING);
    agent.must("apply", &everything);
    let set = vfs(&node);
    let tag = VfTag { id: 100, qos: 3, service: false };
    for (i, (now, first)) in set.iter().zip(&before).enumerate() {
        let rate = VfTxRate { min: 0, max: 50 };
        let (spoof_check, trust) = (Some(false), Some(true));
        let expected = Vf { mac: now.mac, vlan: Some(tag), rate, spoof_check, trust, ..*first };
        assert_eq!(*now, expected);
        assert!(now.mac.is_some_and(Mac::is_unicast), "{now:?}");
        let interface = interface(&node, i);
        assert_eq!((interface.mac, interface.mtu), (now.mac, 1400), "igbvf has read it");
    }
    assert_ne!(set[0].mac, set[1].mac);
    assert_eq!(agent.must("plan", &everything), "everything is as wanted\n");

    for setting in [
        VfSetting::Vlan(None),
        VfSetting::Rate(VfTxRate { min: 0, max: 20 }),
        VfSetting::SpoofCheck(true),
        VfSetting::Trust(false),
        VfSetting::Mac("02:00:00:00:09:09".parse().unwrap()),
    ] {
        by_hand(&node, 1, setting);
        let plan = agent.must("plan", &everything);
        let words = format!("of function 1 of {IGB}; disturbs");
        assert!(plan.contains(&words) && !plan.contains("function 0"), "{setting}: {plan}");
        agent.must("apply", &everything);
        assert_eq!(vfs(&node), set, "after {setting} by hand");
        assert_eq!(interface(&node, 1).mac, set[1].mac, "after {setting} by hand");
    }

    // one thing is asked for still: the rest is as it was
    agent.must("apply", &wish(IGB, 2, "netdev", "{trust: true}"));
    for (now, first) in vfs(&node).iter().zip(&before) {
        // the address may be one that igbvf has chosen meanwhile
        assert_eq!(*now, Vf { mac: now.mac, trust: Some(true), ..*first });
    }
    agent.must_reset(&[]);
    for (now, first) in vfs(&node).iter().zip(&before) {
        assert_eq!(*now, Vf { mac: now.mac, ..*first });
    }
    assert_eq!(agent.must_reset(&[]), "0 steps done\n");
}

#[test]
fn the_address_of_a_function_for_vfio_stays_when_it_is_made_anew() {
    let (node, agent) = with_two_functions();
    let stable = "{mac: Stable}";
    agent.must("apply", &wish(IGB, 2, "vfio", stable));
    let first = vfs(&node);
    assert!(first.iter().all(|vf| vf.mac.is_some()));
    agent.must("apply", &wish(IGB, 4, "vfio", stable));
    let again = vfs(&node);
    assert_eq!(again.len(), 4);
    assert_eq!((again[0].mac, again[1].mac), (first[0].mac, first[1].mac));
    // as many as there were, and the first in the VLAN that it had
    node.wait_for_carrier(node.igb);
    agent.must_reset(&[]);
    assert_eq!(vfs(&node).iter().map(|vf| vf.vlan).collect::<Vec<_>>(), [Some(THEIRS), None]);
}

#[test]
fn an_attached_function_is_the_cni_plugins() {
    let (node, agent) = with_two_functions();
    let wish = wish(IGB, 2, "netdev", "{vlan: {id: 100}, trust: true}");
    agent.must("apply", &wish);
    let id = sriov::functions(&node.root, node.igb).unwrap()[1].address;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let record = serde_json::json!({"version": 1, "phase": "attached", "containerId": "c1",
        "ifname": "net1", "bootId": boot.trim(), "device": id.to_string()});
    let record = agent.write_state("attachments/c1:net1.json", record.to_string());
    by_hand(&node, 1, VfSetting::Vlan(Some(THEIRS)));
    assert!(agent.must("apply", &wish).starts_with("0 steps done"));
    assert_eq!(vfs(&node)[1].vlan, Some(THEIRS));
    fs::remove_file(record).unwrap();
    agent.must("apply", &wish);
    assert_eq!(vfs(&node)[1].vlan.unwrap().id, 100);
}

#[test]
fn what_a_card_cannot_set_is_refused_and_nothing_changes() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let igb = "driver igb cannot set it for its functions; it can set mac, vlan";
    let virtio = "driver virtio-pci cannot set it for its functions; it can set nothing";
    for (card, defaults, field, why) in [
        (IGB, "{linkState: enable}", "defaults.linkState enable", igb),
        (IGB, "{minRate: 5}", "defaults.minRate 5", igb),
        (IGB, "{vlan: {id: 5, protocol: 802.1ad}}", "defaults.vlan.protocol 802.1ad", igb),
        (VIRTIO, "{trust: false}", "defaults.trust false", virtio),
        (VIRTIO, "{mac: Stable}", "defaults.mac Stable", virtio),
    ] {
        let output = agent.run("apply", &wish(card, 2, "netdev", defaults));
        assert!(!output.status.success());
        let said = text(&output);
        assert!(said.contains(field) && said.contains(why), "{said}");
        for pf in [node.igb, node.virtio] {
            assert_eq!(sriov::numvfs(&node.root, pf).unwrap(), 0);
        }
    }
    // the kernel says so, too: what the table has of igb is so
    sriov::set_drivers_autoprobe(&node.root, node.igb, false).unwrap();
    sriov::set_numvfs(&node.root, node.igb, 1).unwrap();
    node.wait_for_carrier(node.igb);
    let (mut links, pf) = (Links::open().unwrap(), uplink(&node).index);
    for setting in [
        VfSetting::Link(ringway_kernel::link::VfLink::Enable),
        VfSetting::Rate(VfTxRate { min: 5, max: 0 }),
        VfSetting::Vlan(Some(VfTag { id: 5, qos: 0, service: true })),
    ] {
        links.set_vf(pf, 0, setting).unwrap_err();
    }
}

#[test]
fn a_virtio_functions_interface_has_the_mtu_asked_for_and_then_its_own_again() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let mtu = || {
        let address = sriov::functions(&node.root, node.virtio).unwrap()[0].address;
        let found = Links::open().unwrap().of_device(&pci::dir(&node.root, address)).unwrap();
        found.expect("an interface here").mtu
    };
    agent.must("apply", &wish(VIRTIO, 1, "netdev", "{}"));
    let own = mtu();
    agent.must("apply", &wish(VIRTIO, 1, "netdev", "{mtu: 1280}"));
    assert_eq!(mtu(), 1280);
    agent.must("apply", &wish(VIRTIO, 1, "netdev", "{}"));
    assert_eq!(mtu(), own);
}
