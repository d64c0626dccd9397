//! The CNI binary killed before or after any of its writes: after a DEL, or a GC once the namespace is
//! gone, everything is as it was before the ADD.

use std::fs;
use std::path::Path;

use ringway_kernel::devlink::VfPort;
use ringway_kernel::link::{Links, Vf, VfTxRate};
use serde_json::{Value, json};

use super::{Table, points};
use crate::node::{Node, make_eswitch};
use crate::stand::{Plugin, Pod, Stand};
use crate::tracer::{self, End, Point};

/// How a device is attached, and what its network asks for.
pub(super) struct Kind {
    pub(super) stand: Stand,
    pub(super) conf: Value,
    /// Whether an interface moves into the pod.
    pub(super) moves: bool,
}

/// All that an attachment changes, and may leave.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct World {
    links: Vec<(String, u32, bool)>,
    vfs: Vec<Vf>,
    ports: Vec<(VfPort, VfTxRate)>,
    files: Vec<String>,
    records: usize,
}

impl Kind {
    pub(super) fn world(&self, node: &Node) -> World {
        let links = match self.moves {
            true => self.stand.netdevs(node),
            false => Vec::new(),
        };
        // addresses are in the PF's settings; an interface's own is told anew when its driver resets
        let links = links.into_iter().map(|link| (link.name, link.mtu, link.up)).collect();
        let (vfs, files) = (node.vfs(node.igb), self.stand.files());
        let ports = node.ports(node.igb);
        World { links, vfs, ports, files, records: self.stand.records() }
    }

    /// The command line of a verb, for somebody who only starts programs.
    pub(super) fn args(&self, verb: &str, pod: &Pod) -> Vec<String> {
        let (target, path) = (pod.target(), pod.path());
        let (command, conf) =
            self.stand.invocation(verb, &target, Some(Path::new(&path)), 0, &self.conf);
        let file = self.stand.path("conf.json");
        fs::write(&file, conf).unwrap();
        let text = |os: &std::ffi::OsStr| os.to_str().unwrap().to_owned();
        let env = command
            .get_envs()
            .filter_map(|(name, value)| Some(format!("{}={}", text(name), text(value?))));
        let mut args = vec!["env".to_owned()];
        args.extend(env);
        args.extend(["sh", "-c", "exec \"$0\" < \"$1\""].map(str::to_owned));
        args.extend([text(command.get_program()), file.display().to_string()]);
        args
    }

    /// Undoes it all: by DEL, or by GC once the namespace is gone.
    fn undo(&self, node: &Node, pod: Pod, by_gc: bool) {
        if !by_gc {
            return self.stand.del(&pod, 0, &self.conf);
        }
        drop(pod);
        if self.moves {
            self.stand.wait_on_host(node, 0);
        }
        self.stand.gc(crate::stand::NETWORK);
    }
}

pub(super) fn wrong(before: &World, now: &World, calls: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    if now != before {
        wrong.push(format!("was {before:?}, is {now:?}"));
    }
    let given = calls.iter().rposition(|call| call == "ADD");
    let taken = calls.iter().rposition(|call| call == "DEL");
    if given > taken {
        wrong.push(format!("an address was given and never taken back: {calls:?}"));
    }
    wrong
}

fn killed_anywhere(what: &str, node: &Node, kind: &Kind, least: usize) {
    let before = kind.world(node);
    let pod = Pod::new("rw-kill");
    let adds = tracer::writes(&kind.args("ADD", &pod));
    let dels = tracer::writes(&kind.args("DEL", &pod));
    drop(pod);
    assert_eq!(kind.world(node), before);
    println!("\nshown: {what}: ADD takes {adds} writes, DEL {dels}");

    let mut table = Table::default();
    for (i, point) in points().take_while(|point| point.write <= adds).enumerate() {
        let pod = Pod::new("rw-kill");
        let end = tracer::run(&kind.args("ADD", &pod), point);
        kind.undo(node, pod, i % 2 == 1);
        row(&mut table, &format!("{what}: ADD"), point, &end, kind, node, &before);
    }
    for (i, point) in points().take_while(|point| point.write <= dels).enumerate() {
        let pod = Pod::new("rw-kill");
        kind.stand.add(&pod, 0, &kind.conf);
        let end = tracer::run(&kind.args("DEL", &pod), point);
        kind.undo(node, pod, i % 2 == 1);
        row(&mut table, &format!("{what}: DEL"), point, &end, kind, node, &before);
    }
    table.end(what, least);
}

fn row(
    table: &mut Table,
    what: &str,
    point: Point,
    end: &End,
    kind: &Kind,
    node: &Node,
    before: &World,
) {
    let wrong = wrong(before, &kind.world(node), &kind.stand.ipam_calls());
    match end {
        End::Killed(call) => table.row(what, point, call, &wrong),
        // one way through has fewer writes than another
        End::Status(_) => assert_eq!(wrong, Vec::<String>::new(), "{what} {point:?}"),
    }
}

/// A device-info file, as Multus names one.
pub(super) fn info(stand: &Stand) -> Value {
    json!(stand.path("var/run/k8s.cni.cncf.io/devinfo/cni/of-a-pod.json"))
}

#[test]
fn an_interface_of_igb() {
    let node = Node::at_rest();
    let stand = Stand::functions(&node, node.igb, "netdev", Plugin::Answers);
    let conf = json!({"vlan": 100, "vlanQoS": 3, "max_tx_rate": 50, "spoofchk": "off",
                      "trust": "on", "mtu": 1400, "ipam": {"type": "plugin"},
                      "runtimeConfig": {"CNIDeviceInfoFile": info(&stand)}});
    killed_anywhere("netdev", &node, &Kind { stand, conf, moves: true }, 40);
}

#[test]
fn an_interface_in_switchdev_mode() {
    let node = Node::at_rest();
    let stand = Stand::functions(&node, node.igb, "netdev", Plugin::Answers);
    make_eswitch(2);
    let conf = json!({"max_tx_rate": 50, "mtu": 1400, "ipam": {"type": "plugin"},
                      "runtimeConfig": {"mac": "02:00:00:00:77:01"}});
    killed_anywhere("switchdev", &node, &Kind { stand, conf, moves: true }, 30);
}

#[test]
fn a_subfunction() {
    let node = Node::at_rest();
    let stand = Stand::subfunctions(&node, Plugin::Answers);
    let conf = json!({"mtu": 1400, "ipam": {"type": "plugin"},
                      "runtimeConfig": {"mac": "02:00:00:00:77:01"}});
    killed_anywhere("subfunction", &node, &Kind { stand, conf, moves: true }, 30);
}

#[test]
fn a_function_on_vfio() {
    let node = Node::at_rest();
    let stand = Stand::functions(&node, node.igb, "vfio", Plugin::Installed);
    let conf = json!({"vlan": 100, "trust": "on"});
    killed_anywhere("vfio", &node, &Kind { stand, conf, moves: false }, 20);
}

#[test]
fn a_device_on_vhost_vdpa() {
    let node = Node::at_rest();
    let stand = Stand::vhost(&node, "02:00:00:00:00:01");
    let conf = json!({"ipam": {"type": "plugin"},
                      "runtimeConfig": {"CNIDeviceInfoFile": info(&stand)}});
    killed_anywhere("vhost-vdpa", &node, &Kind { stand, conf, moves: false }, 20);
}

#[test]
fn an_interface_by_vdpa() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Answers);
    let conf = json!({"ipam": {"type": "plugin"}});
    killed_anywhere("virtio-vdpa", &node, &Kind { stand, conf, moves: true }, 30);
    let links = Links::open().unwrap().list().unwrap();
    assert!(links.iter().all(|link| !link.name.starts_with("net1")));
}
