//! A disk that is full at any write, and files that nobody can read: nothing is changed that is not
//! on record, and all goes on once there is room.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use ringway_kernel::sriov;

use crate::agent::{Agent, text};
use crate::node::{Node, VIRTIO};

fn wish() -> String {
    format!(
        "[{{name: '{VIRTIO}', policy: by-hand, functionCount: 2, uplink: {{mtu: 1400}}, pools: \
         [{{name: vms, resource: ringway.dev/vms, range: 0-1, attach: vhost-vdpa}}]}}]"
    )
}

/// A file system of a few pages, on a directory of its own; gone when dropped.
struct Small(PathBuf);

impl Small {
    fn on(dir: PathBuf) -> Self {
        fs::create_dir_all(&dir).unwrap();
        mount(&["-t", "tmpfs", "-o", "size=64k", "none"], &dir);
        Self(dir)
    }

    /// Leaves room for as many pages.
    fn fill(&self, room: usize) {
        let mut file = fs::File::create(self.filler()).unwrap();
        let mut size = 0;
        loop {
            match file.write_all(&[0; 4096]) {
                Ok(()) => size += 4096,
                Err(error) => break assert_eq!(error.kind(), ErrorKind::StorageFull),
            }
        }
        file.set_len(size - room as u64 * 4096).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(&self.0).status().unwrap().success());
    }
}

fn mount(args: &[&str], on: &Path) {
    let status = Command::new("mount").args(args).arg(on).status().unwrap();
    assert!(status.success(), "mount {args:?}");
}

fn count(node: &Node) -> u16 {
    sriov::numvfs(&node.root, node.virtio).unwrap()
}

/// Every page more lets the agent come further; what it could not write, the next start does.
#[test]
fn a_full_disk_stops_the_agent_before_it_changes_what_it_cannot_put_back() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let disk = Small::on(agent.state());
    let mut stopped = 0;
    for room in 0.. {
        disk.fill(room);
        let output = agent.run("apply", &wish());
        if !output.status.success() {
            stopped += 1;
            assert!(text(&output).contains("No space left on device"), "{}", text(&output));
            let recorded = fs::exists(disk.0.join("before.json")).unwrap();
            assert!(recorded || count(&node) == 0, "changed and not on record");
        }
        disk.free();
        agent.must("apply", &wish());
        assert_eq!((count(&node), agent.leftovers()), (2, vec![]));
        disk.fill(0);
        let reset = agent.reset(&[]);
        disk.free();
        if !reset.status.success() {
            assert!(text(&reset).contains("No space left on device"), "{}", text(&reset));
            agent.must_reset(&[]);
        }
        assert_eq!((count(&node), agent.leftovers()), (0, vec![]));
        if output.status.success() {
            break;
        }
    }
    println!("shown: stopped by a full disk at {stopped} sizes");
    assert!(stopped >= 2, "it was full neither for before.json nor for pools.json");
}

#[test]
fn a_read_only_disk_changes_nothing() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let disk = Small::on(agent.state());
    mount(&["-o", "remount,ro"], &disk.0);
    let output = agent.run("apply", &wish());
    assert!(text(&output).contains("Read-only file system"), "{}", text(&output));
    assert_eq!(count(&node), 0);
    mount(&["-o", "remount,rw"], &disk.0);
    agent.must("apply", &wish());
    agent.must_reset(&[]);
}

/// What was is worth more than what shall be: no file is replaced by a guess.
#[test]
fn files_that_cannot_be_understood_are_named_and_kept() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    agent.must("apply", &wish());
    let before = agent.state().join("before.json");
    let whole = fs::read(&before).unwrap();
    for garbage in [&b""[..], b"{", b"\xff\0", &whole[..whole.len() / 2]] {
        for name in ["before.json", "node.json"] {
            let path = agent.write_state(name, garbage);
            let outputs = match name {
                "before.json" => vec![agent.run("apply", "[]"), agent.reset(&[])],
                _ => vec![agent.boot()],
            };
            for output in outputs {
                assert!(!output.status.success(), "{name} {garbage:?}: {}", text(&output));
                assert!(text(&output).contains(path.to_str().unwrap()), "{}", text(&output));
                assert_eq!((fs::read(&path).unwrap(), count(&node)), (garbage.to_vec(), 2));
            }
        }
        fs::write(&before, &whole).unwrap();
    }
    fs::remove_file(agent.state().join("node.json")).unwrap();
    agent.must_reset(&[]);
    assert_eq!(count(&node), 0);
}
