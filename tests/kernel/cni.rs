//! The CNI binary on real devices: two namespaces with a virtio-vdpa netdev each.

use std::fs;
use std::io::Read as _;
use std::sync::Barrier;
use std::thread;

use ringway_kernel::link::Links;
use ringway_kernel::netns::Netns;
use ringway_kernel::vdpa_bus::Driver;
use serde_json::{Value, json};

use crate::node::Node;
use crate::stand::{self, Plugin, Pod, Stand};

const STATIC_A: &str = "10.88.7.1/24";
const STATIC_B: &str = "10.88.7.2/24";

fn addressed(address: &str) -> Value {
    json!({"type": "static", "addresses": [{"address": address}]})
}

#[test]
fn two_namespaces_ping_each_other_and_del_restores() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let before = stand.netdevs(&node);
    let pods = [Pod::new("rw-a"), Pod::new("rw-b")];
    for (i, (pod, address)) in pods.iter().zip([STATIC_A, STATIC_B]).enumerate() {
        let result = stand.add(pod, i, &json!({"ipam": addressed(address)}));
        assert_eq!(result["cniVersion"], "1.1.0");
        let interface = &result["interfaces"][0];
        assert_eq!(interface["name"], "net1");
        assert_eq!(interface["sandbox"], pod.path().to_str().unwrap());
        assert_eq!(interface["pciID"], stand.ids[i].as_str());
        assert_eq!(interface["mac"].as_str(), before[i].mac.map(|m| m.to_string()).as_deref());
        assert_eq!(interface["mtu"], before[i].mtu);
        assert_eq!(result["ips"][0]["address"], address);
        assert_eq!(result["ips"][0]["interface"], 0);
    }
    assert_eq!(stand.on_host(&node), 0, "both netdevs are in their pods");
    pods[0].ping("10.88.7.2");
    pods[1].ping("10.88.7.1");
    for (i, (pod, address)) in pods.iter().zip([STATIC_A, STATIC_B]).enumerate() {
        stand.del(pod, i, &json!({"ipam": addressed(address)}));
        stand.del(pod, i, &json!({"ipam": addressed(address)}));
        assert!(pod.links().iter().all(|link| link.loopback), "{:?}", pod.links());
    }
    assert_eq!(stand.netdevs(&node), before);
    assert_eq!(stand.records(), 0);
}

#[test]
fn mac_and_mtu_are_as_asked_for_and_then_as_before() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let before = stand.netdevs(&node);
    let pods = [Pod::new("rw-a"), Pod::new("rw-b")];
    let mac = "02:00:00:00:77:01";
    let shaped = json!({"ipam": addressed(STATIC_A), "mtu": 1400, "runtimeConfig": {"mac": mac}});
    let result = stand.add(&pods[0], 0, &shaped);
    stand.add(&pods[1], 1, &json!({"ipam": addressed(STATIC_B)}));
    assert_eq!(result["interfaces"][0]["mac"], mac);
    assert_eq!(result["interfaces"][0]["mtu"], 1400);
    let link = pods[0].link("net1");
    assert_eq!((link.mac.unwrap().to_string().as_str(), link.mtu), (mac, 1400));
    // the device takes frames to the new address
    pods[1].ping("10.88.7.1");
    stand.del(&pods[0], 0, &shaped);
    stand.del(&pods[1], 1, &json!({}));
    assert_eq!(stand.netdevs(&node), before);
}

#[test]
fn a_mac_that_the_device_cannot_take_is_refused_and_nothing_remains() {
    let node = Node::at_rest();
    let features = "MAC,STATUS,VERSION_1,ACCESS_PLATFORM".parse().unwrap();
    let stand = Stand::offering(&node, Plugin::Installed, Some(features));
    let before = stand.netdevs(&node);
    let pod = Pod::new("rw-a");
    let mac = "02:00:00:00:77:01";
    let error = stand.add_fails(&pod, 0, &json!({"runtimeConfig": {"mac": mac}}));
    assert_eq!(error["code"], 7, "{error}");
    let text = error["msg"].as_str().unwrap();
    let has = before[0].mac.unwrap().to_string();
    assert!(text.contains(mac) && text.contains(&has), "{text}");
    assert_eq!(stand.netdevs(&node), before);
    assert_eq!(stand.records(), 0);
}

#[test]
fn an_mtu_beyond_the_device_is_refused_and_nothing_remains() {
    let node = Node::at_rest();
    let stand = Stand::simulated(&node);
    let before = stand.netdevs(&node);
    let pod = Pod::new("rw-a");
    let error = stand.add_fails(&pod, 0, &json!({"mtu": 1600}));
    assert_eq!(error["code"], 7, "{error}");
    let text = error["msg"].as_str().unwrap();
    assert!(text.contains("1600") && text.contains("1500"), "{text}");
    assert_eq!(stand.netdevs(&node), before);
    assert_eq!(stand.records(), 0);
}

#[test]
fn del_after_the_namespace_is_gone_restores_what_the_kernel_brought_back() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let before = stand.netdevs(&node);
    let pod = Pod::new("rw-a");
    let shaped = json!({"ipam": addressed(STATIC_A), "mtu": 1400});
    stand.add(&pod, 0, &shaped);
    let target = pod.target();
    drop(pod);
    // at once: the kernel may still be at it
    stand.del_without_namespace(&target, 0, &shaped);
    assert_eq!(stand.netdevs(&node), before);
    assert_eq!(stand.records(), 0);
}

#[test]
fn an_add_that_was_killed_is_undone_by_the_next_of_another_pod() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::KillsItsCaller);
    let before = stand.netdevs(&node);
    let (first, second) = (Pod::new("rw-a"), Pod::new("rw-b"));
    let shaped = json!({"ipam": {"type": "plugin"}, "mtu": 1400});
    stand.add_is_killed(&first, 0, &shaped);
    assert_eq!(first.link("net1").mtu, 1400, "it was killed with the netdev in the pod");
    assert_eq!(stand.phases(), ["attaching"]);

    stand.use_plugin(Plugin::Answers);
    let result = stand.add(&second, 0, &json!({"ipam": {"type": "plugin"}}));
    assert_eq!(result["interfaces"][0]["mtu"], before[0].mtu, "the first one's MTU is undone");
    assert!(first.links().iter().all(|link| link.loopback));
    assert_eq!(second.link("net1").mtu, before[0].mtu);
    assert_eq!(stand.phases(), ["attached"]);
    // the first one's runtime still sends its DEL: it must not disturb the second
    stand.del(&first, 0, &shaped);
    assert_eq!(second.link("net1").mtu, before[0].mtu);
    stand.del(&second, 0, &shaped);
    assert_eq!(stand.netdevs(&node), before);
}

#[test]
fn an_add_that_was_killed_is_undone_by_its_del() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::KillsItsCaller);
    let before = stand.netdevs(&node);
    let pod = Pod::new("rw-a");
    let conf = json!({"ipam": {"type": "plugin"}, "mtu": 1400});
    stand.add_is_killed(&pod, 0, &conf);
    stand.use_plugin(Plugin::Answers);
    stand.del(&pod, 0, &conf);
    assert_eq!(stand.netdevs(&node), before);
    assert_eq!(stand.records(), 0);
}

#[test]
fn a_failing_ipam_plugin_leaves_the_device_as_it_was() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::FailsAdd);
    let before = stand.netdevs(&node);
    let pod = Pod::new("rw-a");
    let error = stand.add_fails(&pod, 0, &json!({"ipam": {"type": "plugin"}, "mtu": 1400}));
    assert_eq!(error["code"], 101, "{error}");
    assert!(error["msg"].as_str().unwrap().contains("no room"), "{error}");
    assert_eq!(stand.netdevs(&node), before);
    assert_eq!(stand.records(), 0);
}

/// It takes the minute that a plugin has.
#[test]
fn an_ipam_plugin_that_hangs_is_ended_and_the_device_is_as_it_was() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Hangs);
    let before = stand.netdevs(&node);
    let pod = Pod::new("rw-a");
    let error = stand.add_fails(&pod, 0, &json!({"ipam": {"type": "plugin"}, "mtu": 1400}));
    assert_eq!(error["code"], 11, "{error}");
    assert!(error["msg"].as_str().unwrap().contains("no answer within 60 s, killed"), "{error}");
    let processes = fs::read_to_string(stand.path("ipam-processes")).unwrap();
    for id in processes.split_whitespace() {
        stand::until(&format!("IPAM's process {id} has ended"), || {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        });
    }
    assert_eq!(stand.ipam_calls(), ["ADD", "DEL"]);
    assert_eq!(stand.netdevs(&node), before);
    assert_eq!(stand.records(), 0);
}

/// Twenty times; whoever loses is told by whom.
#[test]
fn of_two_containers_that_want_one_device_one_gets_it() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let before = stand.netdevs(&node);
    let mut won = [0, 0];
    for round in 0..20 {
        let pods = [Pod::new("rw-a"), Pod::new("rw-b")];
        let start = Barrier::new(2);
        let add = |pod| {
            start.wait();
            stand.try_add(pod, 0, &json!({"mtu": 1400}))
        };
        let ends = thread::scope(|scope| {
            let started = [&pods[0], &pods[1]].map(|pod| scope.spawn(|| add(pod)));
            started.map(|thread| thread.join().unwrap())
        });
        let winners: Vec<_> = (0..2).filter(|i| ends[*i].status.success()).collect();
        let [winner] = winners[..] else {
            panic!("{round}: {winners:?} won: {}{}", stand::shown(&ends[0]), stand::shown(&ends[1]))
        };
        won[winner] += 1;
        let loser = 1 - winner;
        let error: Value = serde_json::from_slice(&ends[loser].stdout).unwrap();
        assert_eq!(error["code"], 11, "{round}: {error}");
        let holder = format!("{}:net1", pods[winner].container());
        assert!(error["msg"].as_str().unwrap().contains(&holder), "{round}: {error}");
        assert_eq!(pods[winner].link("net1").mtu, 1400, "{round}");
        assert!(pods[loser].links().iter().all(|link| link.loopback), "{round}");
        // in whatever order the runtime comes to it
        for i in [round % 2, (round + 1) % 2] {
            stand.del(&pods[i], 0, &json!({}));
        }
        assert_eq!(stand.netdevs(&node), before, "{round}");
        assert_eq!((stand.records(), stand.files()), (0, Vec::new()), "{round}");
    }
    println!("shown: 20 races, won {} and {} times", won[0], won[1]);
}

/// As when a node comes back and all its pods start.
#[test]
fn sixty_four_at_once_get_a_device_each_and_give_it_back() {
    const MANY: u8 = 64;
    let node = Node::at_rest();
    let stand = Stand::many(&node, MANY);
    let before = stand.netdevs(&node);
    let pods: Vec<_> = (0..MANY).map(|n| Pod::new(&format!("rw-{n}"))).collect();
    let conf = |n: usize| json!({"ipam": addressed(&format!("fd88:{n:x}::1/64")), "mtu": 1400});
    let all = |work: &(dyn Fn(usize) + Sync)| {
        let start = Barrier::new(pods.len());
        thread::scope(|scope| {
            for n in 0..pods.len() {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    work(n);
                });
            }
        });
    };
    all(&|n| drop(stand.add(&pods[n], n, &conf(n))));
    for (n, pod) in pods.iter().enumerate() {
        let link = pod.link("net1");
        assert_eq!((link.mac, link.mtu), (before[n].mac, 1400), "{n}");
    }
    assert_eq!((stand.on_host(&node), stand.records()), (0, pods.len()));
    all(&|n| stand.del(&pods[n], n, &conf(n)));
    assert_eq!(stand.netdevs(&node), before);
    assert_eq!((stand.records(), stand.files()), (0, Vec::new()));
}

#[test]
fn a_namespace_that_goes_away_in_the_middle_of_add_leaves_the_device_as_before() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::RemovesTheNamespace);
    let before = stand.netdevs(&node);
    let conf = json!({"ipam": {"type": "plugin"}, "mtu": 1400});
    let pod = Pod::new("rw-a");
    let error = stand.add_fails(&pod, 0, &conf);
    assert_eq!(error["code"], 11, "{error}");
    assert!(error["msg"].as_str().unwrap().contains("/run/netns/rw-a went away"), "{error}");
    assert_eq!(stand.netdevs(&node), before);
    assert_eq!(stand.records(), 0);
    assert_eq!(stand.ipam_calls(), ["ADD", "DEL"]);
    // the runtime's own end of it
    stand.del_without_namespace(&pod.target(), 0, &conf);
    let other = Pod::new("rw-b");
    stand.add(&other, 0, &json!({}));
    stand.del(&other, 0, &json!({}));
    assert_eq!(stand.netdevs(&node), before);
}

#[test]
fn a_name_that_is_taken_in_the_pod_is_told_and_nothing_moves() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let before = stand.netdevs(&node);
    let pod = Pod::new("rw-a");
    stand.add(&pod, 0, &json!({}));
    let again = pod.as_another_container();
    let error = stand.add_fails(&again, 1, &json!({}));
    assert_eq!(error["code"], 4, "{error}");
    assert!(error["msg"].as_str().unwrap().contains("net1"), "{error}");
    assert_eq!(stand.netdev(&node, 1).as_ref(), Some(&before[1]));
    stand.del(&pod, 0, &json!({}));
}

#[test]
fn a_device_in_use_is_busy_for_others_and_its_holder_is_named() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let (first, second) = (Pod::new("rw-a"), Pod::new("rw-b"));
    stand.add(&first, 0, &json!({}));
    let error = stand.add_fails(&second, 0, &json!({}));
    assert_eq!(error["code"], 11, "{error}");
    let text = error["msg"].as_str().unwrap();
    assert!(text.contains(first.container()) && text.contains("rw-a"), "{text}");
    assert_eq!(first.link("net1").name, "net1");
    stand.del(&first, 0, &json!({}));
    stand.add(&second, 0, &json!({}));
    stand.del(&second, 0, &json!({}));
}

#[test]
fn a_netdev_that_a_pod_gave_away_stops_the_next_add_until_it_is_back() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let before = stand.netdevs(&node);
    let (pod, elsewhere) = (Pod::new("rw-a"), Pod::new("rw-b"));
    let shaped = json!({"mtu": 1400});
    stand.add(&pod, 0, &shaped);
    pod.ip("link set net1 netns rw-b");
    // the pod is let go, and the record remembers
    stand.del(&pod, 0, &shaped);
    assert_eq!(stand.phases(), ["away"]);
    let error = stand.add_fails(&pod, 0, &json!({}));
    assert_eq!(error["code"], 11, "{error}");
    assert!(error["msg"].as_str().unwrap().contains("has not come back"), "{error}");

    drop(elsewhere);
    stand.wait_on_host(&node, 0);
    let result = stand.add(&pod, 0, &json!({}));
    assert_eq!(result["interfaces"][0]["mtu"], before[0].mtu);
    stand.del(&pod, 0, &json!({}));
    assert_eq!(stand.netdevs(&node), before);
}

#[test]
fn check_sees_what_changed() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let pod = Pod::new("rw-a");
    let conf = json!({"ipam": addressed(STATIC_A), "mtu": 1500});
    let error = stand.check(&pod, 0, &conf).unwrap_err();
    assert_eq!(error["code"], 100, "{error}");
    stand.add(&pod, 0, &conf);
    stand.check(&pod, 0, &conf).unwrap();
    for (break_it, told, mend_it) in [
        ("link set net1 mtu 1300", "1300", "link set net1 mtu 1500"),
        ("link set net1 name net9", "net9", "link set net9 name net1"),
        ("address del 10.88.7.1/24 dev net1", "10.88.7.1/24", "address add 10.88.7.1/24 dev net1"),
    ] {
        pod.ip(break_it);
        stand.check_tells(&pod, 0, &conf, told);
        pod.ip(mend_it);
        stand.check(&pod, 0, &conf).unwrap();
    }
    stand.del(&pod, 0, &conf);

    // Apart, because routes go with the last address.
    let mut ipam = addressed(STATIC_A);
    ipam["routes"] = json!([{"dst": "10.89.0.0/16", "gw": "10.88.7.9"}]);
    let conf = json!({"ipam": ipam});
    stand.add(&pod, 0, &conf);
    stand.check(&pod, 0, &conf).unwrap();
    for (break_it, told) in [
        ("route change 10.89.0.0/16 via 10.88.7.8", "found one by 10.88.7.8"),
        ("route del 10.89.0.0/16", "found none"),
    ] {
        pod.ip(break_it);
        let told = format!("route to 10.89.0.0/16 of interface net1: {told}");
        stand.check_tells(&pod, 0, &conf, &told);
    }
    pod.ip("route add 10.89.0.0/16 via 10.88.7.9");
    stand.check(&pod, 0, &conf).unwrap();
    stand.del(&pod, 0, &conf);
}

#[test]
fn check_sees_a_vhost_device_with_another_address_or_mtu() {
    const MAC: &str = "02:00:00:00:00:01";
    let node = Node::at_rest();
    let stand = Stand::vhost(&node, MAC);
    let pod = Pod::new("rw-a");
    let result = stand.add(&pod, 0, &json!({}));
    assert_eq!(
        (&result["interfaces"][0]["mac"], &result["interfaces"][0]["mtu"]),
        (&json!(MAC), &json!(1500))
    );
    stand.check(&pod, 0, &json!({})).unwrap();
    for (mac, mtu, told) in [
        (
            "02:00:00:00:00:09",
            1500,
            "MAC of vDPA device sim0: found 02:00:00:00:00:09, expected 02:00:00:00:00:01",
        ),
        (MAC, 1400, "MTU of vDPA device sim0: found 1400, expected 1500"),
    ] {
        stand::simulate(&node, mac, mtu, Driver::VhostVdpa);
        stand.check_tells(&pod, 0, &json!({}), told);
        stand::simulate(&node, MAC, 1500, Driver::VhostVdpa);
        stand.check(&pod, 0, &json!({})).unwrap();
    }
    stand.del(&pod, 0, &json!({}));
    assert_eq!(stand.records(), 0);
}

/// Somebody made the device anew under its name, and the interface of it looks the same.
#[test]
fn check_sees_the_interface_of_another_device_by_its_permanent_address() {
    let node = Node::at_rest();
    let stand = Stand::simulated(&node);
    let pod = Pod::new("rw-a");
    let mac = stand.add(&pod, 0, &json!({}))["interfaces"][0]["mac"].as_str().unwrap().to_owned();
    stand.check(&pod, 0, &json!({})).unwrap();
    stand::simulate(&node, "02:00:00:00:00:09", 1500, Driver::VirtioVdpa);
    stand::settle();
    let link = stand.netdev(&node, 0).unwrap();
    stand::on_host(&format!("link set {} down", link.name));
    stand::on_host(&format!("link set {} address {mac}", link.name));
    stand::on_host(&format!("link set {} netns rw-a name net1", link.name));
    pod.ip("link set net1 up");
    let told = "permanent MAC of interface net1: found 02:00:00:00:00:09";
    stand.check_tells(&pod, 0, &json!({}), told);
    stand.del(&pod, 0, &json!({}));
    assert_eq!(stand.records(), 0);
}

/// Whoever had an address before, neighbours send to the pod that has it now: they are told when it
/// gets it, though the carrier of a function comes later than it is set up.
#[test]
fn neighbours_are_told_who_has_an_address() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let [a, b] = [Pod::new("rw-a"), Pod::new("rw-b")];
    let conf = |n: u32| {
        let addresses = json!([{"address": format!("10.88.7.{n}/24")},
                               {"address": format!("fd88::{n}/64")}]);
        json!({"ipam": {"type": "static", "addresses": addresses}})
    };
    stand.add(&a, 0, &conf(1));
    // to learn from what nobody has asked for, and to have something to forget
    a.exec("sysctl -q -w net.ipv4.conf.net1.arp_accept=1");
    for address in ["10.88.7.2", "fd88::2"] {
        a.ip(&format!("neigh replace {address} lladdr 02:00:00:00:00:99 nud stale dev net1"));
    }
    let mac = stand.add(&b, 1, &conf(2))["interfaces"][0]["mac"].as_str().unwrap().to_owned();
    for address in ["10.88.7.2", "fd88::2"] {
        stand::until(&format!("rw-a knows who has {address}"), || {
            a.exec(&format!("ip neigh show {address} dev net1")).contains(&mac)
        });
    }
    stand.del(&b, 1, &conf(2));
    stand.del(&a, 0, &conf(1));
}

#[test]
fn an_address_is_usable_at_once_or_another_host_has_it() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let before = stand.netdevs(&node);
    let [a, b] = [Pod::new("rw-a"), Pod::new("rw-b")];
    for address in ["fd88::1/64", "10.88.7.1/24"] {
        let conf = json!({"ipam": addressed(address)});
        stand.add(&a, 0, &conf);
        assert_eq!(a.exec("ip -6 -o addr show dev net1 scope global tentative"), "");
        let error = stand.add_fails(&b, 1, &conf);
        assert_eq!(error["code"], 11, "{error}");
        let told = format!("address {}", address.split('/').next().unwrap());
        assert!(error["msg"].as_str().unwrap().contains(&told), "{error}");
        assert!(b.links().iter().all(|link| link.loopback), "{:?}", b.links());
        assert_eq!((stand.records(), stand.netdev(&node, 1)), (1, Some(before[1].clone())));
        stand.del(&a, 0, &conf);
        // It was its neighbour that was in the way.
        stand.add(&b, 1, &conf);
        stand.del(&b, 1, &conf);
    }
}

#[test]
fn gc_takes_only_what_is_unlisted_and_without_a_namespace() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let before = stand.netdevs(&node);
    let (dead, live) = (Pod::new("rw-a"), Pod::new("rw-b"));
    stand.add(&dead, 0, &json!({}));
    stand.add(&live, 1, &json!({}));
    drop(dead);
    stand.gc("another-network");
    assert_eq!(stand.records(), 2);
    stand.gc(stand::NETWORK);
    assert_eq!(stand.phases(), ["attached"]);
    assert_eq!(live.link("net1").name, "net1");
    assert_eq!(stand.netdev(&node, 0).unwrap(), before[0]);
    stand.del(&live, 1, &json!({}));
}

#[test]
fn a_simulated_device_is_attached_though_its_netdev_hangs_elsewhere() {
    let node = Node::at_rest();
    let stand = Stand::simulated(&node);
    let before = stand.netdevs(&node);
    let pod = Pod::new("rw-a");
    let conf = json!({"ipam": addressed("fd88:7::1/64")});
    stand.add(&pod, 0, &conf);
    assert_eq!(pod.link("net1").parent_bus.as_deref(), Some("virtio"));
    let addresses = Netns::open(pod.path()).unwrap().run(|| Links::open()?.addresses()).unwrap();
    assert!(addresses.iter().any(|a| a.prefix.to_string() == "fd88:7::1/64"), "{addresses:?}");
    stand.del(&pod, 0, &conf);
    assert_eq!(stand.netdevs(&node), before);
}

#[test]
fn the_binary_installs_itself() {
    let dir = tempfile::tempdir().unwrap();
    let binary = stand::binary();
    let status = std::process::Command::new(&binary)
        .args(["install", "--to"])
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(fs::read(dir.path().join("ringway")).unwrap(), fs::read(&binary).unwrap());
}

#[test]
fn the_hook_lifts_the_limit_of_locked_memory() {
    let mut container = std::process::Command::new("sh")
        .args(["-c", "ulimit -l 64 && echo && exec sleep 600"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // the limit is set once the line is there
    let mut line = [0];
    container.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    let limit = || {
        let limits = fs::read_to_string(format!("/proc/{}/limits", container.id())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max locked memory")).unwrap();
        line.split_whitespace().skip(3).take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = limit();
    let state = json!({"ociVersion": "1.2.0", "id": "c1", "status": "creating",
                       "pid": container.id(), "bundle": "/b"});
    let hooked = stand::with_input(&["hook", "memlock"], &state.to_string());
    let after = limit();
    container.kill().unwrap();
    container.wait().unwrap();
    assert!(hooked.status.success(), "{hooked:?}");
    assert_eq!(before, ["65536", "65536"]);
    assert_eq!(after, ["unlimited", "unlimited"]);
}
