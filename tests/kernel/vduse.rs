//! vDPA devices that programs of the node run.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringway_kernel::vdpa_bus;

use crate::agent::{Agent, text};
use crate::node::{Node, ip, modprobe};
use crate::program::{self, Program};
use crate::stand::until;

fn wish(attach: [&str; 2]) -> String {
    let pool = |i: usize| {
        format!("{{name: p{i}, resource: ringway.dev/p{i}, range: '{i}', attach: {}}}", attach[i])
    };
    format!(
        "[{{name: vduse, policy: by-hand, functionCount: 2, pools: [{}, {}]}}]",
        pool(0),
        pool(1)
    )
}

fn drivers(node: &Node) -> Vec<Option<String>> {
    NAMES.map(|name| vdpa_bus::driver(&node.root, name).unwrap()).into()
}

const NAMES: [&str; 2] = ["vduse.0", "vduse.1"];

/// A node without VDUSE devices, whatever a test that failed has left.
fn at_rest() -> Node {
    let node = Node::at_rest();
    modprobe("vduse");
    NAMES.iter().for_each(|name| program::forget(name));
    node
}

#[test]
fn its_devices_serve_machines_and_pods() {
    let (node, agent) = (at_rest(), Agent::new());
    let refused = agent.run("apply", &wish(["vhost-vdpa", "virtio-vdpa"]));
    assert!(!refused.status.success());
    let words = "no program has made a VDUSE device of the name vduse.0";
    assert!(text(&refused).contains(words), "{}", text(&refused));

    let running = NAMES.map(Program::new);
    agent.must("apply", &wish(["vhost-vdpa", "virtio-vdpa"]));
    assert_eq!(drivers(&node), ["vhost_vdpa", "virtio_vdpa"].map(|d| Some(d.to_owned())));
    assert_eq!(vdpa_bus::netdevs(&node.root, "vduse.1").unwrap().len(), 1);
    agent.must("apply", &wish(["virtio-vdpa", "vhost-vdpa"]));
    assert_eq!(drivers(&node), ["virtio_vdpa", "vhost_vdpa"].map(|d| Some(d.to_owned())));
    agent.must("apply", "[]");
    assert_eq!(vdpa_bus::list(&node.root).unwrap(), Vec::<String>::new());
    drop(running);
}

/// The agent is stopped by nothing, whoever does not answer: it gives up on the call, names the
/// device, and leaves a marker by which the next one knows.
#[test]
fn a_program_that_does_not_answer_holds_up_its_device_and_nothing_else() {
    let (node, agent) = (at_rest(), Agent::new());
    let running = NAMES.map(Program::new);
    running[1].hears(false);
    let begun = Instant::now();
    let applied = start(&agent, &wish(["vhost-vdpa", "virtio-vdpa"]));
    until("is the other device made", || drivers(&node)[0].is_some());
    until("sleeps the call", || !agent.stuck().is_empty());
    // the rest of the node goes on
    for line in ["link add rw-slow type dummy", "link set rw-slow up", "link del rw-slow"] {
        ip(line);
    }
    let output = applied.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", begun.elapsed());
    let said = text(&output);
    let words = "bind vdpa device vduse.1: no answer from the kernel";
    assert!(said.contains(words), "{words}: {said}");
    // With its process the call has ended: the silence of a program can be interrupted. The kernel
    // calls the device bound then, and there is nothing behind it (`virtio_vdpa_reset` has no way to
    // fail), until it is taken down and made anew.
    running[1].hears(true);
    agent.must("apply", "[]");
    agent.must("apply", &wish(["vhost-vdpa", "virtio-vdpa"]));
    assert_eq!(drivers(&node), ["vhost_vdpa", "virtio_vdpa"].map(|d| Some(d.to_owned())));
    assert_eq!(vdpa_bus::netdevs(&node.root, "vduse.1").unwrap().len(), 1);
    agent.must("apply", "[]");
    assert_eq!(agent.stuck(), Vec::<String>::new());
    drop(running);
}

fn start(agent: &Agent, wish: &str) -> Child {
    let args = agent.args("apply", wish);
    let mut command = Command::new(&args[0]);
    command.args(&args[1..]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}
