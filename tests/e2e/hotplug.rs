//! A card is pulled out of its slot and comes back, or another one in its place.

use std::process::Output;

use serde_json::json;

use crate::cluster::{Cluster, IGB, SOON, kubectl, lab, on_node, policy_for, pool, said};
use crate::pods;

/// The igb card as the lab plugs it (tests/lab/src/vm.rs), with the MAC of its choice.
struct Card {
    mac: &'static str,
}

const OWN: Card = Card { mac: "52:54:02:00:00:00" };
const OTHER: Card = Card { mac: "52:54:02:00:00:77" };

fn monitor(line: &str) -> Output {
    let output = lab("monitor").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "{line}: {}", said(&output));
    output
}

/// Out of its slot: the guest is asked, and lets go after five seconds.
fn pull(cluster: &Cluster) {
    monitor("device_del igb");
    cluster.until("the card is gone", SOON, || {
        let left = on_node(&format!("ls /sys/bus/pci/devices | grep {IGB} || true"));
        left.is_empty().then_some(())
    });
    // QEMU has to let go, too, before it takes another of that name
    cluster.until("the slot is free", SOON, || {
        let devices = String::from_utf8(monitor("info qtree").stdout).unwrap();
        (!devices.contains("id \"igb\"")).then_some(())
    });
}

impl Card {
    fn plug(&self) {
        monitor(&format!("device_add igb,id=igb,bus=slot2,netdev=igb,mac={}", self.mac));
    }
}

/// The lab's own card in its slot, whatever becomes of the test.
struct OwnCard<'a>(&'a Cluster);

impl Drop for OwnCard<'_> {
    fn drop(&mut self) {
        let devices = String::from_utf8(monitor("info qtree").stdout).unwrap();
        if devices.contains("id \"igb\"") {
            pull(self.0);
        }
        OWN.plug();
    }
}

#[test]
fn it_is_missed_and_carved_again_when_it_is_back() {
    let cluster = Cluster::at_rest();
    let own = OwnCard(&cluster);
    let parents = json!([{"pci": {"vendor": "8086", "device": "10c9"}}]);
    let netdevs = json!([pool("functions", "0-1", "netdev")]);
    cluster.apply(&policy_for("pulled", parents, 2, netdevs));
    cluster.condition("pulled", "Ready");
    cluster.allocatable("functions", 2);

    pull(&cluster);
    cluster.allocatable("functions", 0);
    OWN.plug();
    cluster.allocatable("functions", 2);
    cluster.condition("pulled", "Ready");

    pull(&cluster);
    cluster.allocatable("functions", 0);
    OTHER.plug();
    // the policy asks for such cards, whichever they are
    cluster.allocatable("functions", 2);
    cluster.condition("pulled", "Ready");
    drop(own);
}

/// Nobody can keep it: the pod lives on without, and whoever comes next is not in its way.
#[test]
fn pulled_while_in_use_it_is_carved_when_it_is_back_and_its_pod_ends() {
    let cluster = Cluster::at_rest();
    let own = OwnCard(&cluster);
    let parents = json!([{"pci": {"addresses": [IGB]}}]);
    let netdevs = json!([pool("functions", "0-1", "netdev")]);
    cluster.apply(&policy_for("pulled", parents, 2, netdevs));
    cluster.condition("pulled", "Ready");
    cluster.allocatable("functions", 2);
    cluster.apply(&pods::network("functions", "functions"));
    cluster.apply(&pods::pod("user", "functions", "functions"));
    pods::runs(&cluster, "user");

    pull(&cluster);
    cluster.allocatable("functions", 0);
    let links = kubectl("exec user -- ls /sys/class/net");
    assert!(!links.contains("net1"), "{links}");
    OWN.plug();
    cluster.condition("pulled", "Ready");
    cluster.allocatable("functions", 2);
    cluster.apply(&pods::pod("next", "functions", "functions"));
    pods::runs(&cluster, "next");
    let mac = pods::mac("next");
    pods::delete(&cluster, "user");
    assert_eq!(pods::mac("next"), mac, "the end of the first has touched the second's");
    pods::delete(&cluster, "next");
    assert_eq!(on_node("ls /var/lib/ringway/attachments"), "");
    drop(own);
}
