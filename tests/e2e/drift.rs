//! What somebody changes by hand is put right when it changes, and network managers stay away.

use serde_json::json;

use crate::cluster::{Cluster, PutBack, SOON, VIRTIO, on_node, policy, pool};

/// Does something in the node, and waits there until it is undone: how long that took, in seconds.
/// The agent's resync is thirty, and this is done four times: no resync is that lucky.
fn undone_after(change: &str, so: &str) -> f64 {
    let text = on_node(&format!(
        "set -e; {change}; begun=$(date +%s%N)
         for i in $(seq 1200); do {so} && break; sleep 0.05; done
         {so}; echo took $(( ($(date +%s%N) - begun) / 1000000 ))"
    ));
    let took = text.lines().find_map(|line| line.strip_prefix("took ")).unwrap();
    took.trim().parse::<f64>().unwrap() / 1000.0
}

fn ready(functions: &str, attach: &str) -> Cluster {
    let cluster = Cluster::at_rest();
    cluster.apply(&policy("drift", 2, json!([pool("rings", functions, attach)])));
    cluster.condition("drift", "Ready");
    cluster.allocatable("rings", 2);
    cluster
}

#[test]
fn what_is_unbound_or_deleted_by_hand_comes_back_at_once() {
    let cluster = ready("0-1", "vhost-vdpa");
    let right = cluster.kernel();
    let device = "vdpa:0000:01:00.1";
    let vdpa = format!("/sys/bus/vdpa/devices/{device}");
    let unbind = format!("echo {device} > {vdpa}/driver/unbind");
    let bound = format!("[ \"$(basename $(readlink {vdpa}/driver || echo none))\" = vhost_vdpa ]");
    let function = "echo 0000:01:00.1 > /sys/bus/pci/devices/0000:01:00.1/driver/unbind";
    let delete = format!("{unbind}; vdpa dev del {device}");
    let took: Vec<f64> = [&unbind, &delete, &unbind, function]
        .into_iter()
        .map(|change| {
            // kubelet has to know the device again before it is disturbed again
            let took = undone_after(change, &bound);
            cluster.allocatable("rings", 2);
            took
        })
        .collect();
    println!("repaired after {took:?} s");
    // a free device drains before its driver is changed, and this node is emulated
    assert!(took.iter().sum::<f64>() < 40.0, "{took:?}");
    cluster.condition("drift", "Ready");
    assert_eq!(cluster.kernel(), right);
}

#[test]
fn an_uplink_is_set_up_again_at_once() {
    let cluster = ready("0-1", "vhost-vdpa");
    let uplink = format!("$(ls /sys/bus/pci/devices/{VIRTIO}/virtio*/net | head -1)");
    let took: Vec<f64> = (0..4)
        .map(|_| {
            undone_after(
                &format!("ip link set {uplink} down"),
                &format!("ip link show {uplink} | head -1 | grep -q '[<,]UP[,>]'"),
            )
        })
        .collect();
    println!("up again after {took:?} s");
    assert!(took.iter().sum::<f64>() < 40.0, "{took:?}");
    drop(cluster);
}

/// The node's udev has the agent's rules, and the interface of a function what they say.
#[test]
fn network_managers_are_told_to_stay_away() {
    let cluster = ready("0-1", "virtio-vdpa");
    let netdev = "$(ls /sys/bus/pci/devices/0000:01:00.1/virtio*/net | head -1)";
    let info = format!("udevadm info --query=property --path=/sys/class/net/{netdev}");
    cluster.until("udev says it of the interface", SOON, || {
        let properties = on_node(&info);
        let said = |property: &&str| properties.lines().any(|line| line == *property);
        ["NM_UNMANAGED=1", "ID_NET_MANAGED_BY=ringway"].iter().all(said).then_some(())
    });
    drop(cluster);
    // Cluster::at_rest waited until nothing is wanted
    let left = on_node("ls /run/udev/rules.d 2>/dev/null || true");
    assert!(!left.contains("ringway"), "{left}");
}

/// NetworkManager for the cards alone; the node's own network is the lab's.
const NETWORK_MANAGER: &str = "\
cat > /etc/NetworkManager/conf.d/lab.conf << END
[keyfile]
unmanaged-devices=mac:52:54:00:00:00:11;interface-name:cni0;interface-name:veth*
END
systemctl start NetworkManager";

#[test]
fn network_manager_leaves_functions_to_pods_and_takes_what_the_host_keeps() {
    let cluster = Cluster::at_rest();
    let stopped = PutBack(
        "systemctl stop NetworkManager; rm -f /etc/NetworkManager/conf.d/lab.conf".to_owned(),
    );
    on_node(NETWORK_MANAGER);
    let own = json!({"name": "own", "range": "1", "attach": "host"});
    cluster.apply(&policy("managed", 2, json!([pool("rings", "0", "virtio-vdpa"), own])));
    cluster.condition("managed", "Ready");
    let netdev = |function: u32| {
        let path = format!("/sys/bus/pci/devices/0000:01:00.{function}/virtio*/net");
        on_node(&format!("ls {path}")).trim().to_owned()
    };
    let state = |netdev: &str| on_node(&format!("nmcli -g GENERAL.STATE device show {netdev}"));
    // who asks before udev has named them is told of interfaces that are no more
    on_node("udevadm settle --timeout=60");
    let (rings, own) = (netdev(1), netdev(2));
    cluster.until("it has taken what the host keeps", SOON, || {
        (!state(&own).contains("unmanaged")).then_some(())
    });
    assert!(state(&rings).contains("unmanaged"), "{rings}: {}", state(&rings));
    // not for a moment: what it does to an interface starts with a change of this state
    let log = on_node(
        "journalctl --no-pager _SYSTEMD_INVOCATION_ID=$(systemctl show --value \
         --property=InvocationID NetworkManager)",
    );
    let taken = |netdev: &str| {
        let change = format!("device ({netdev}): state change: unmanaged ->");
        log.lines().filter(|line| line.contains(&change)).count()
    };
    assert_eq!((taken(&rings), taken(&own)), (0, 1), "{log}");
    drop(stopped);
}
