//! The agent needs each of the capabilities that the chart gives it, and no other.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Output};

use ringway_kernel::vdpa_bus;

use crate::agent::{Agent, text};
use crate::node::{Node, VIRTIO};

const CHART: &str = include_str!("../../charts/ringway/templates/agent/daemonset.yaml");
/// A user as virtual machines' processes are run by.
const USER: &str = "107";

/// What the chart gives, as setpriv calls it.
fn given() -> Vec<String> {
    let lines = CHART.lines().map(str::trim);
    let list = lines.skip_while(|line| *line != "add:").skip(1);
    let list = list.take_while(|line| ["-", "#", "{{"].iter().any(|head| line.starts_with(head)));
    list.filter_map(|line| line.strip_prefix("- ")).map(str::to_lowercase).collect()
}

/// Runs the agent as its container does: root without other capabilities than these.
fn run(args: &[String], capabilities: &[String]) -> Output {
    let list = capabilities.iter().fold("-all".to_owned(), |list, name| format!("{list},+{name}"));
    Command::new("setpriv")
        .args(["--no-new-privs", "--inh-caps=-all", &format!("--bounding-set={list}")])
        .args(args)
        .output()
        .unwrap()
}

/// Each list that lacks one, with what it lacks.
fn without_one(all: &[String]) -> impl Iterator<Item = (&String, Vec<String>)> {
    all.iter().map(|one| (one, all.iter().filter(|other| *other != one).cloned().collect()))
}

fn wish() -> String {
    let pool = |name: &str, range: &str, attach: &str| {
        format!("{{name: {name}, resource: ringway.dev/{name}, range: {range}, attach: {attach}}}")
    };
    let card = [pool("vms", "0-1", "vhost-vdpa"), pool("pods", "2", "virtio-vdpa")].join(", ");
    format!(
        "[{{name: '{VIRTIO}', policy: by-hand, functionCount: 4, uplink: {{mtu: 1400}}, \
         pools: [{card}, {}]}}, {{name: vdpasim_net, policy: by-hand, functionCount: 1, \
         pools: [{}]}}]",
        pool("dpdk", "3", "vfio"),
        pool("s", "0", "virtio-vdpa"),
    )
}

/// A vDPA device that a process of another user has open.
struct User(Child);

impl User {
    fn of(path: &str) -> Self {
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            USER,
            "--regid",
            USER,
            "--clear-groups",
            "tail",
            "-f",
            "/dev/null",
        ]);
        let device = File::options().read(true).write(true).open(path).unwrap();
        Self(command.stdin(device).spawn().unwrap())
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn each_that_the_chart_gives_is_needed_and_no_other() {
    let node = Node::at_rest();
    let all = given();
    assert_eq!(all.len(), 4, "{all:?}");
    let unload = || assert!(Command::new("rmmod").arg("vdpa_sim_net").status().unwrap().success());

    unload();
    let agent = Agent::new();
    let output = run(&agent.args("apply", &wish()), &all);
    assert!(output.status.success(), "with {all:?}: {}", text(&output));
    let device = vdpa_bus::char_device(&node.root, "vdpa:0000:01:00.1").unwrap().unwrap();
    let user = User::of(device.path.to_str().unwrap());
    let who = format!("process {} has it open", user.0.id());
    let observe = [agent.program(), vec!["observe".to_owned()]].concat();
    let seen = |capabilities: &[String]| text(&run(&observe, capabilities)).contains(&who);
    assert!(seen(&all), "{}", text(&run(&observe, &all)));
    let blind: Vec<_> = without_one(&all).filter(|(_, rest)| !seen(rest)).map(|(n, _)| n).collect();
    drop(user);
    agent.must_reset(&[]);

    let mut needed = Vec::new();
    for (name, rest) in without_one(&all) {
        unload();
        let agent = Agent::new();
        let output = run(&agent.args("apply", &wish()), &rest);
        let failed = text(&output);
        let step = failed.lines().find(|line| line.contains("failed: "));
        if let Some(step) = step.filter(|_| !output.status.success()) {
            println!("\nshown: without {name}: {}", step.trim());
            needed.push(name);
        } else if blind.contains(&name) {
            println!("\nshown: without {name}: observe does not tell that {who}");
            needed.push(name);
        }
        agent.must("apply", &wish());
        agent.must_reset(&[]);
    }
    assert_eq!(needed, all.iter().collect::<Vec<_>>(), "not needed: take it from the chart");
}
