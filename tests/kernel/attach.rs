//! Every attach kind on real functions, made by the agent by hand, and from each to each other.

use std::fs::File;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ringway_kernel::pci::Address;
use ringway_kernel::vdpa_bus::{self, Driver};
use ringway_kernel::{module, pci, sriov, vfio};

use crate::agent::{Agent, text};
use crate::node::{IGB, Node, VIRTIO, ip, modprobe};
use crate::stand::{Pod, settle};

const KINDS: [&str; 5] = ["netdev", "vfio", "vhost-vdpa", "virtio-vdpa", "host"];
const LONGEST: Duration = Duration::from_secs(120);

fn pool(name: &str, range: &str, attach: &str) -> String {
    let resource = match attach {
        "host" => String::new(),
        _ => format!("resource: ringway.dev/{name}, "),
    };
    format!("{{name: {name}, {resource}range: {range}, attach: {attach}}}")
}

fn wish(card: &str, count: u16, pools: &[String]) -> String {
    let pools = pools.join(", ");
    format!("[{{name: '{card}', policy: by-hand, functionCount: {count}, pools: [{pools}]}}]")
}

/// The addresses of a card's functions.
fn functions(node: &Node, pf: Address) -> Vec<Address> {
    sriov::functions(&node.root, pf).unwrap().into_iter().map(|f| f.address).collect()
}

/// The driver of a function, and the bus driver of the vDPA device on it.
fn drivers(node: &Node, vf: Address) -> (String, Option<String>) {
    let driver = pci::driver(&node.root, vf).unwrap().unwrap_or_default();
    let name = format!("vdpa:{vf}");
    let on_it = vdpa_bus::exists(&node.root, &name)
        .then(|| vdpa_bus::driver(&node.root, &name).unwrap().unwrap_or_default());
    (driver, on_it)
}

/// Looks that a function is what an attach kind says, with the driver that its interface has.
fn is_so(node: &Node, vf: Address, attach: &str, own: &str) {
    let root = &node.root;
    let vdpa = |driver: Driver| ("vp-vdpa".to_owned(), Some(driver.name().to_owned()));
    let name = format!("vdpa:{vf}");
    match attach {
        "netdev" => {
            assert_eq!(drivers(node, vf), (own.to_owned(), None), "{vf}");
            assert_eq!(pci::netdevs(root, vf).unwrap().len(), 1, "{vf}");
            assert_eq!(pci::driver_override(root, vf).unwrap(), None, "{vf}");
        }
        "vfio" => {
            assert_eq!(drivers(node, vf), (vfio::DRIVER.to_owned(), None), "{vf}");
            assert!(vfio::of(root, vf).unwrap().unwrap().group.path.exists(), "{vf}");
        }
        "vhost-vdpa" => {
            assert_eq!(drivers(node, vf), vdpa(Driver::VhostVdpa), "{vf}");
            assert!(vdpa_bus::char_device(root, &name).unwrap().is_some(), "{vf}");
        }
        "virtio-vdpa" | "host" => {
            assert_eq!(drivers(node, vf), vdpa(Driver::VirtioVdpa), "{vf}");
            assert_eq!(vdpa_bus::netdevs(root, &name).unwrap().len(), 1, "{vf}");
        }
        other => panic!("no attach kind {other}"),
    }
}

fn unload(module: &str) {
    let loaded = std::path::Path::new("/sys/module").join(module).exists();
    if loaded {
        assert!(Command::new("rmmod").arg(module).status().unwrap().success(), "rmmod {module}");
    }
}

#[test]
fn igb_functions_become_interfaces_and_functions_for_vfio() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    for module in ["igbvf", "vfio_pci", "vfio_iommu_type1"] {
        unload(module);
    }
    let pools = |first: &str, second: &str| {
        wish(IGB, 4, &[pool("first", "0-1", first), pool("second", "2-3", second)])
    };
    agent.must("apply", &pools("netdev", "vfio"));
    for module in ["igbvf", "vfio_pci", "vfio_iommu_type1"] {
        assert!(module::is_loaded(&node.root, module), "{module}");
    }
    let kinds = ["netdev", "netdev", "vfio", "vfio"];
    for (vf, kind) in functions(&node, node.igb).into_iter().zip(kinds) {
        is_so(&node, vf, kind, "igbvf");
    }
    assert_eq!(agent.pools().matches("\"ready\"").count(), 4, "{}", agent.pools());
    assert_eq!(agent.must("plan", &pools("netdev", "vfio")), "everything is as wanted\n");
    // the other way round
    agent.must("apply", &pools("vfio", "netdev"));
    for (vf, kind) in functions(&node, node.igb).into_iter().zip(kinds.into_iter().rev()) {
        is_so(&node, vf, kind, "igbvf");
    }
    // no pool has the last two any more
    agent.must("apply", &wish(IGB, 4, &[pool("first", "0-1", "vfio")]));
    for vf in &functions(&node, node.igb)[2..] {
        assert_eq!(drivers(&node, *vf), (String::new(), None));
    }
    agent.must("apply", "[]");
    assert_eq!(sriov::numvfs(&node.root, node.igb).unwrap(), 0);
}

#[test]
fn what_a_card_cannot_do_is_refused_and_nothing_changes() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    for (wish, words) in [
        (wish(IGB, 1, &[pool("a", "0", "host")]), "attach host: it can do netdev, vfio"),
        (wish("vdpasim_net", 1, &[pool("a", "0", "vfio")]), "are no PCI functions"),
        (
            wish(VIRTIO, 1, &[pool("a", "0", "netdev, vdpa: {features: MAC}")]),
            "makes no vDPA device",
        ),
        (wish(VIRTIO, 1, &["{name: a, range: 0, attach: vfio}".to_owned()]), "serves one"),
    ] {
        let output = agent.run("apply", &wish);
        assert!(!output.status.success(), "{words}");
        assert!(text(&output).contains(words), "{words}: {}", text(&output));
        for pf in [node.virtio, node.igb] {
            assert_eq!(sriov::numvfs(&node.root, pf).unwrap(), 0);
        }
    }
}

/// Function 0 goes through all twenty changes of kind while a user has function 1 open.
#[test]
fn from_each_kind_to_each_other_beside_a_neighbour_in_use() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let wish = |kind: &str| {
        wish(VIRTIO, 2, &[pool("changing", "0", kind), pool("used", "1", "vhost-vdpa")])
    };
    let mut path = Vec::new();
    for (i, kind) in KINDS.iter().enumerate() {
        path.extend(KINDS[i + 1..].iter().flat_map(|other| [kind, other]));
    }
    path.push(&KINDS[0]);
    let mut changes: Vec<_> = path.windows(2).map(|pair| (pair[0], pair[1])).collect();
    changes.sort();
    changes.dedup();
    assert_eq!(changes.len(), 20, "each change once");

    agent.must("apply", &wish(path[0]));
    let [vf, neighbour] = functions(&node, node.virtio)[..] else { panic!("two functions") };
    let name = format!("vdpa:{neighbour}");
    let used = vdpa_bus::char_device(&node.root, &name).unwrap().unwrap();
    let user = File::options().read(true).write(true).open(&used.path).unwrap();
    for kind in path {
        agent.must("apply", &wish(kind));
        is_so(&node, vf, kind, "virtio-pci");
        assert_eq!(agent.must("plan", &wish(kind)), "everything is as wanted\n", "{kind}");
        let offered = if *kind == "host" { 1 } else { 2 };
        assert_eq!(agent.pools().matches("\"ready\"").count(), offered, "{}", agent.pools());
        assert_eq!(vdpa_bus::char_device(&node.root, &name).unwrap().as_ref(), Some(&used));
    }
    drop(user);
}

#[test]
fn the_host_keeps_an_interface_and_uses_it() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let wish = |kind: &str| wish(VIRTIO, 2, &[pool("ours", "0-1", kind)]);
    agent.must("apply", &wish("host"));
    let vf = functions(&node, node.virtio)[0];
    is_so(&node, vf, "host", "");
    assert!(!agent.pools().contains(&vf.to_string()), "{}", agent.pools());
    settle();
    let name = vdpa_bus::netdevs(&node.root, &format!("vdpa:{vf}")).unwrap().remove(0);
    ip(&format!("address add 10.99.0.1/24 dev {name}"));
    assert_eq!(agent.must("plan", &wish("host")), "everything is as wanted\n");
    for other in ["virtio-vdpa", "vfio"] {
        let output = agent.run("apply", &wish(other));
        assert!(!output.status.success());
        let words = format!("its interface {name} has the address 10.99.0.1/24 and is left to the");
        assert!(text(&output).contains(&words), "{}", text(&output));
        is_so(&node, vf, "host", "");
        agent.must("apply", &wish("host"));
    }
    ip(&format!("address del 10.99.0.1/24 dev {name}"));
    agent.must("apply", &wish("vfio"));
    is_so(&node, vf, "vfio", "");
}

#[test]
fn a_user_of_vfio_is_respected_and_named() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let wish = |kind: &str| wish(IGB, 2, &[pool("functions", "0-1", kind)]);
    agent.must("apply", &wish("vfio"));
    let [held, free] = functions(&node, node.igb)[..] else { panic!("two functions") };
    let group = vfio::of(&node.root, held).unwrap().unwrap().group.path;
    let user = File::options().read(true).write(true).open(group).unwrap();
    let output = agent.run("apply", &wish("netdev"));
    assert!(!output.status.success());
    let holder = format!("{held} is in use: process {} has it open", std::process::id());
    assert!(text(&output).contains(&holder), "{}", text(&output));
    is_so(&node, held, "vfio", "igbvf");
    is_so(&node, free, "netdev", "igbvf");
    // nor does their number change
    let output = agent.run("apply", "[]");
    assert!(text(&output).contains(&holder), "{}", text(&output));
    assert_eq!(sriov::numvfs(&node.root, node.igb).unwrap(), 2);
    drop(user);
    agent.must("apply", &wish("netdev"));
    is_so(&node, held, "netdev", "igbvf");
}

#[test]
fn an_interface_in_a_pod_is_ready_and_respected() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    for (card, pf, own) in [(VIRTIO, node.virtio, "virtio-pci"), (IGB, node.igb, "igbvf")] {
        let wish = |kind: &str| wish(card, 1, &[pool("nets", "0", kind)]);
        agent.must("apply", &wish("netdev"));
        let before = agent.pools();
        let vf = functions(&node, pf)[0];
        settle();
        let pod = Pod::new("rw-a");
        let name = pci::netdevs(&node.root, vf).unwrap().remove(0);
        ip(&format!("link set {name} netns rw-a"));
        assert!(agent.must("apply", &wish("netdev")).starts_with("0 steps done"));
        assert_eq!(agent.pools(), before, "what it has at rest is known");
        let output = agent.run("apply", &wish("vfio"));
        let words = format!("{vf} is in use: its interface is in another network namespace");
        assert!(text(&output).contains(&words), "{}", text(&output));
        assert_eq!(drivers(&node, vf), (own.to_owned(), None));
        drop(pod);
        let start = Instant::now();
        while pci::netdevs(&node.root, vf).unwrap().is_empty() {
            assert!(start.elapsed() < LONGEST, "the interface did not come back");
            thread::sleep(Duration::from_millis(10));
        }
        agent.must("apply", &wish("vfio"));
        is_so(&node, vf, "vfio", own);
        agent.must("apply", "[]");
    }
}

#[test]
fn functions_that_were_there_get_their_drivers_back() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let (root, pf) = (&node.root, node.igb);
    modprobe("igbvf");
    sriov::set_numvfs(root, pf, 2).unwrap();
    let found = functions(&node, pf);
    for vf in &found {
        is_so(&node, *vf, "netdev", "igbvf");
    }
    agent.must("apply", &wish(IGB, 2, &[pool("functions", "0", "vfio")]));
    is_so(&node, found[0], "vfio", "igbvf");
    is_so(&node, found[1], "netdev", "igbvf");
    agent.must("apply", "[]");
    assert_eq!(sriov::numvfs(root, pf).unwrap(), 2);
    for vf in &found {
        is_so(&node, *vf, "netdev", "igbvf");
    }
}
