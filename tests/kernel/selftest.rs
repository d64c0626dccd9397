//! The agent's own test of a card, on cards that it is known to work on.

use std::process::Command;

use ringway_kernel::sriov;

use crate::agent::{Agent, text};
use crate::node::{IGB, Node, VIRTIO};

#[test]
fn both_cards_pass_it_and_are_as_they_were() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    // all attach kinds of the one, with a change between each two; the other's functions have no vDPA
    for (card, checks) in [(VIRTIO, 5 * 3 + 4 * 2), (IGB, 2 * 3 + 2)] {
        let args =
            [agent.program(), vec!["selftest".into(), "--parent".into(), card.into()]].concat();
        let output = Command::new(&args[0]).args(&args[1..]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let report = String::from_utf8(output.stdout).unwrap();
        assert!(report.contains(&format!("{checks} of {checks} checks passed")), "{report}");
        for line in report.lines() {
            println!("\nshown: {line}");
        }
    }
    for pf in [node.virtio, node.igb] {
        assert_eq!(sriov::numvfs(&node.root, pf).unwrap(), 0);
    }
    assert_eq!(agent.leftovers(), Vec::<String>::new());
}
