//! vDPA devices that programs of the node run.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ringway_kernel::vdpa_bus;

use crate::agent::{Agent, text};
use crate::node::Node;
use crate::program::Program;

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
    ["vduse.0", "vduse.1"].map(|name| vdpa_bus::driver(&node.root, name).unwrap()).into()
}

fn programs() -> [Program; 2] {
    assert!(Command::new("modprobe").arg("vduse").status().unwrap().success());
    ["vduse.0", "vduse.1"].map(Program::new)
}

/// Far longer than the agent waits for a call.
fn until(what: &str, so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(100);
    while !so() {
        assert!(Instant::now() < deadline, "never {what}");
        thread::yield_now();
    }
}

#[test]
fn its_devices_serve_machines_and_pods() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let refused = agent.run("apply", &wish(["vhost-vdpa", "virtio-vdpa"]));
    assert!(!refused.status.success());
    let words = "no program has made a VDUSE device of the name vduse.0";
    assert!(text(&refused).contains(words), "{}", text(&refused));

    let running = programs();
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
    let (node, agent) = (Node::at_rest(), Agent::new());
    let running = programs();
    running[1].hears(false);
    let begun = Instant::now();
    let applied = start(&agent, &wish(["vhost-vdpa", "virtio-vdpa"]));
    until("is the other device made", || drivers(&node)[0].is_some());
    until("sleeps the call", || !agent.stuck().is_empty());
    // the rest of the node goes on
    for line in ["link add rw-slow type dummy", "link set rw-slow up", "link del rw-slow"] {
        assert!(Command::new("ip").args(line.split(' ')).status().unwrap().success(), "ip {line}");
    }
    let output = applied.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", begun.elapsed());
    let said = text(&output);
    let words = "bind vdpa device vduse.1: no answer from the kernel";
    assert!(said.contains(words), "{words}: {said}");
    // the end of its process has ended the call: a program's silence can be interrupted
    let next = agent.run("apply", &wish(["vhost-vdpa", "virtio-vdpa"]));
    assert!(!next.status.success() && text(&next).contains(words), "{}", text(&next));

    running[1].hears(true);
    agent.must("apply", &wish(["vhost-vdpa", "virtio-vdpa"]));
    assert_eq!(drivers(&node), ["vhost_vdpa", "virtio_vdpa"].map(|d| Some(d.to_owned())));
    agent.must("apply", "[]");
    assert_eq!(agent.stuck(), Vec::<String>::new());
    drop(running);
}

fn start(agent: &Agent, wish: &str) -> Child {
    let args = agent.args("apply", wish);
    let mut command = Command::new(&args[0]);
    command.args(&args[1..]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}
