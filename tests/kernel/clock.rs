//! The node's clock jumps, as it does at the boot of a machine without a battery: nothing that the agent
//! decides goes by it.

use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ringway_kernel::sriov;

use crate::agent::Agent;
use crate::node::{Node, VIRTIO};

/// The clock as it was, and it goes on: so when dropped.
struct Clock {
    was: SystemTime,
    at: Instant,
}

impl Clock {
    fn now() -> Self {
        Self { was: SystemTime::now(), at: Instant::now() }
    }

    fn jump(seconds: u64) {
        let set = Command::new("date").args(["-s", &format!("@{seconds}")]).output().unwrap();
        assert!(set.status.success(), "{set:?}");
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let now = self.was + self.at.elapsed();
        Self::jump(now.duration_since(UNIX_EPOCH).unwrap().as_secs());
    }
}

#[test]
fn what_is_done_does_not_go_by_the_clock() {
    let (node, agent, _clock) = (Node::at_rest(), Agent::new(), Clock::now());
    let wish = format!(
        "[{{name: '{VIRTIO}', policy: by-hand, functionCount: 2, pools: \
         [{{name: vms, resource: ringway.dev/vms, range: 0-1, attach: vhost-vdpa}}]}}]"
    );
    // the kernel takes no time that is before its own start
    let (early, late) = (31 * 86_400, 4_102_444_800);
    for (apply, again, reset) in [(late, early, late), (early, late, early)] {
        Clock::jump(apply);
        agent.must("apply", &wish);
        let left = agent.write_state(".before.json.1f-0", "what a killed write left");
        Clock::jump(again);
        assert!(agent.must("apply", &wish).starts_with("0 steps done"));
        assert!(!left.exists(), "it is younger than it seems");
        Clock::jump(reset);
        agent.must_reset(&[]);
        assert_eq!(sriov::numvfs(&node.root, node.virtio).unwrap(), 0);
        assert_eq!(agent.leftovers(), Vec::<String>::new());
    }
}
