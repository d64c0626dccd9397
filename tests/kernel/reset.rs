//! Reset: whatever the agent made of the cards, they are put back to what they were.

use std::fs::File;

use ringway_kernel::link::Links;
use ringway_kernel::pci::Address;
use ringway_kernel::{pci, sriov, vdpa_bus};

use crate::agent::{Agent, text};
use crate::node::{IGB, Node, VIRTIO, ip, modprobe};

/// What is put back of a card, and of the vDPA bus.
#[derive(Debug, PartialEq, Eq)]
struct Card {
    count: u16,
    autoprobe: bool,
    mtu: u32,
    up: bool,
    /// Drivers and overrides of its functions.
    functions: Vec<(Option<String>, Option<String>)>,
    bus_autoprobe: bool,
    vdpa: Vec<String>,
}

fn card(node: &Node, pf: Address) -> Card {
    let root = &node.root;
    let name = pci::netdevs(root, pf).unwrap().remove(0);
    let link = Links::open().unwrap().by_name(&name).unwrap();
    let function = |function: sriov::Function| {
        let driver = pci::driver(root, function.address).unwrap();
        (driver, pci::driver_override(root, function.address).unwrap())
    };
    Card {
        count: sriov::numvfs(root, pf).unwrap(),
        autoprobe: sriov::drivers_autoprobe(root, pf).unwrap(),
        mtu: link.mtu,
        up: link.up,
        functions: sriov::functions(root, pf).unwrap().into_iter().map(function).collect(),
        bus_autoprobe: vdpa_bus::drivers_autoprobe(root).unwrap(),
        vdpa: vdpa_bus::list(root).unwrap(),
    }
}

fn wish(card: &str, count: u16, kind: &str) -> String {
    let resource = if kind == "host" { "" } else { "resource: ringway.dev/a, " };
    let last = count - 1;
    format!(
        "[{{name: '{card}', policy: by-hand, functionCount: {count}, uplink: {{mtu: 1400}}, \
         pools: [{{name: a, {resource}range: 0-{last}, attach: {kind}}}]}}]"
    )
}

fn set_link(node: &Node, pf: Address, up: bool) {
    let name = pci::netdevs(&node.root, pf).unwrap().remove(0);
    let state = if up { "up" } else { "down" };
    ip(&format!("link set {name} {state}"));
}

#[test]
fn after_every_attach_kind_a_card_is_as_it_was() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let virtio = ["netdev", "vfio", "vhost-vdpa", "virtio-vdpa", "host"];
    let of_virtio = virtio.map(|kind| (VIRTIO, node.virtio, kind));
    let of_igb = ["netdev", "vfio"].map(|kind| (IGB, node.igb, kind));
    for (i, (name, pf, kind)) in of_virtio.into_iter().chain(of_igb).enumerate() {
        // a link that was up stays up, and one that was down goes down again
        set_link(&node, pf, i % 2 == 0);
        let before = card(&node, pf);
        agent.must("apply", &wish(name, 4, kind));
        assert_ne!(card(&node, pf), before, "{name} {kind}: nothing was carved");
        let said = agent.must_reset(&[]);
        assert!(said.contains(&format!("{name}: as it was before")), "{said}");
        assert_eq!(card(&node, pf), before, "{name} {kind}");
        assert_eq!(agent.must_reset(&[]), "0 steps done\n");
        assert_eq!(agent.must_reset(&["--dry-run"]), "nothing is to be put back\n");
    }
}

#[test]
fn functions_that_were_there_come_back_with_their_drivers() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    for module in ["igbvf", "vfio-pci"] {
        modprobe(module);
    }
    sriov::set_numvfs(&node.root, node.igb, 2).unwrap();
    let first = sriov::functions(&node.root, node.igb).unwrap()[0].address;
    // tied to a driver, as driverctl ties it
    ringway_kernel::vfio::bind(&node.root, first).unwrap();
    let before = card(&node, node.igb);
    assert_eq!(before.functions[0].1.as_deref(), Some("vfio-pci"));
    assert_eq!(before.functions[1].0.as_deref(), Some("igbvf"));
    for count in [2, 4] {
        agent.must("apply", &wish(IGB, count, "netdev"));
        agent.must_reset(&[]);
        assert_eq!(card(&node, node.igb), before, "after {count} functions");
    }
}

#[test]
fn one_parent_is_put_back_and_the_other_is_not() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let before = card(&node, node.igb);
    let one = |text: String| text.trim_matches(['[', ']']).to_owned();
    let other = wish(IGB, 2, "vfio").replace("ringway.dev/a", "ringway.dev/b");
    let both = [wish(VIRTIO, 2, "vhost-vdpa"), other].map(one).join(", ");
    agent.must("apply", &format!("[{both}]"));
    let (virtio, igb) = (card(&node, node.virtio), card(&node, node.igb));
    let plan = agent.must_reset(&["--parent", IGB, "--dry-run"]);
    assert!(plan.contains(IGB) && !plan.contains(VIRTIO), "{plan}");
    assert_eq!(card(&node, node.igb), igb, "a dry run changes nothing");
    agent.must_reset(&["--parent", IGB]);
    let now = card(&node, node.igb);
    assert_eq!((now.count, now.autoprobe, now.mtu), (0, before.autoprobe, before.mtu));
    assert_eq!(card(&node, node.virtio), virtio);
    agent.must_reset(&[]);
    assert_eq!(card(&node, node.igb), before);
}

#[test]
fn it_is_refused_while_a_process_has_a_device() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    agent.must("apply", &wish(VIRTIO, 2, "vhost-vdpa"));
    let carved = card(&node, node.virtio);
    let used = vdpa_bus::char_device(&node.root, "vdpa:0000:01:00.2").unwrap().unwrap();
    let user = File::options().read(true).write(true).open(used.path).unwrap();
    let output = agent.reset(&[]);
    assert!(!output.status.success());
    let holder = format!("0000:01:00.2 is in use: process {} has it open", std::process::id());
    assert!(text(&output).contains(&holder), "{}", text(&output));
    assert_eq!(card(&node, node.virtio), carved, "nothing was changed");
    drop(user);
    agent.must_reset(&[]);
    assert_eq!(card(&node, node.virtio).count, 0);
}
