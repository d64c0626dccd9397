//! Functions and vDPA devices that others made on the virtio card: used as they are, or taken over.

use std::fs::File;

use ringway_kernel::vdpa::{Handle, NewDevice};
use ringway_kernel::vdpa_bus::{self, Driver};
use ringway_kernel::{pci, sriov};

use crate::agent::{Agent, text};
use crate::node::{Node, VIRTIO};

/// Two functions, the first with a vDPA device on vhost_vdpa.
fn theirs(node: &Node) {
    let root = &node.root;
    sriov::set_drivers_autoprobe(root, node.virtio, false).unwrap();
    vdpa_bus::set_drivers_autoprobe(root, false).unwrap();
    sriov::set_numvfs(root, node.virtio, 2).unwrap();
    let vf = sriov::functions(root, node.virtio).unwrap()[0].address;
    pci::bind(root, vf, "vp-vdpa").unwrap();
    node.vdpa().create(&NewDevice::new("theirs", Handle::pci(vf))).unwrap();
    vdpa_bus::bind(root, "theirs", Driver::VhostVdpa).unwrap();
}

fn wish(field: &str, range: &str) -> String {
    format!(
        "[{{name: '{VIRTIO}', policy: by-hand, functionCount: 2, {field}, pools: [\
         {{name: vms, resource: ringway.dev/vms, range: '{range}', attach: vhost-vdpa}}]}}]"
    )
}

/// Everything that could have been changed.
fn state(node: &Node) -> impl PartialEq + std::fmt::Debug + use<> {
    let root = &node.root;
    let functions = sriov::functions(root, node.virtio).unwrap();
    let drivers: Vec<_> =
        functions.iter().map(|function| pci::driver(root, function.address).unwrap()).collect();
    let bus = vdpa_bus::drivers_autoprobe(root).unwrap();
    (drivers, vdpa_bus::list(root).unwrap(), vdpa_bus::driver(root, "theirs").unwrap(), bus)
}

#[test]
fn what_others_made_is_offered_and_nothing_is_changed() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    theirs(&node);
    let before = state(&node);
    agent.must("apply", &wish("ownership: External", "0"));
    assert_eq!(agent.pools().matches("\"ready\"").count(), 1, "{}", agent.pools());
    assert!(agent.pools().contains("\"theirs\""), "{}", agent.pools());
    let output = agent.run("apply", &wish("ownership: External", "0-1"));
    let words = "function 1 of 0000:01:00.0: it is not what pool vms asks for";
    assert!(!output.status.success() && text(&output).contains(words), "{}", text(&output));
    assert_eq!(agent.pools().matches("\"ready\"").count(), 1, "{}", agent.pools());
    agent.must("apply", "[]");
    assert_eq!(agent.must_reset(&[]), "0 steps done\n");
    assert_eq!(state(&node), before);
}

#[test]
fn a_device_is_taken_over_while_it_is_open_and_left_as_it_was_found() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    theirs(&node);
    let found = vdpa_bus::char_device(&node.root, "theirs").unwrap().unwrap();
    let user = File::options().read(true).write(true).open(&found.path).unwrap();
    let output = agent.run("apply", &wish("adopt: false", "0"));
    assert!(text(&output).contains("theirs was not made by Ringway"), "{}", text(&output));
    let said = agent.must("apply", &wish("adopt: true", "0"));
    assert!(said.starts_with("1 steps done"), "{said}");
    assert_eq!(vdpa_bus::char_device(&node.root, "theirs").unwrap(), Some(found));
    assert_eq!(agent.pools().matches("\"ready\"").count(), 1, "{}", agent.pools());
    let before = state(&node);
    agent.must_reset(&[]);
    assert_eq!(state(&node), before);
    drop(user);
    // it is somebody else's again
    let output = agent.run("apply", &wish("adopt: false", "0"));
    assert!(text(&output).contains("theirs was not made by Ringway"), "{}", text(&output));
}
