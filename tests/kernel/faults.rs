//! Killed before or after any of its writes, the agent's next start ends where an undisturbed one
//! does; a device in use stays as it is, and so does what is not Ringway's. A ring of its own:
//! `cargo lab test faults`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};

use ringway_kernel::inventory::{self, VdpaDevice, VirtualFunction};
use ringway_kernel::vdpa::{Handle, NewDevice};
use ringway_kernel::{pci, vdpa_bus};

use crate::agent::{Agent, text};
use crate::node::{IGB, Node, VIRTIO};
use crate::tracer::{self, End, Point};

mod cni;
mod soak;

/// Somebody else's vDPA device, on a management device that Ringway is not asked to use.
const FOREIGN: &str = "theirs";

/// What is wanted of both cards: every attach kind, and an MTU.
fn first() -> String {
    wish(1400, ["0-1:vhost-vdpa", "2:virtio-vdpa", "3:host"], ["0:netdev", "1:vfio"])
}

/// The same cards with every function but the first used in another way.
fn second() -> String {
    wish(1300, ["0:vhost-vdpa", "1-2:vfio", "3:netdev"], ["0:vfio", "1:netdev"])
}

fn wish<const N: usize, const M: usize>(mtu: u32, virtio: [&str; N], igb: [&str; M]) -> String {
    let pool = |text: &str| {
        let (range, attach) = text.split_once(':').unwrap();
        let resource =
            if attach == "host" { "" } else { &format!("resource: ringway.dev/r-{attach}, ") };
        format!("{{name: p{range}, {resource}range: '{range}', attach: {attach}}}")
    };
    let card = |name: &str, count: u32, pools: &[&str]| {
        let pools = pools.iter().map(|text| pool(text)).collect::<Vec<_>>().join(", ");
        format!(
            "{{name: '{name}', policy: by-hand, functionCount: {count}, uplink: {{mtu: {mtu}}}, \
             pools: [{pools}]}}"
        )
    };
    format!("[{}, {}]", card(VIRTIO, 4, &virtio), card(IGB, 2, &igb))
}

/// All that a wish says of the cards, and what is not ours, as lines.
fn shape(node: &Node) -> String {
    let root = &node.root;
    let found = inventory::observe(root, std::path::Path::new("/nonexistent")).unwrap();
    let mut shape = format!("bus autoprobe {}\n", vdpa_bus::drivers_autoprobe(root).unwrap());
    for parent in found.parents.iter().filter(|p| [node.virtio, node.igb].contains(&p.address)) {
        let netdev = &parent.netdevs[0];
        let (address, autoprobe) = (parent.address, parent.drivers_autoprobe);
        writeln!(shape, "{address} mtu {} up {} autoprobe {autoprobe}", netdev.mtu, netdev.up)
            .unwrap();
        for function in &parent.functions {
            writeln!(shape, "  {}", function_shape(node, function)).unwrap();
        }
    }
    for device in found.simulators.iter().flat_map(|simulator| &simulator.vdpa) {
        writeln!(shape, "{}", vdpa_shape(device)).unwrap();
    }
    shape
}

fn function_shape(node: &Node, function: &VirtualFunction) -> String {
    let only = pci::driver_override(&node.root, function.address).unwrap();
    let vdpa: Vec<_> = function.vdpa.iter().map(vdpa_shape).collect();
    format!(
        "{} driver {:?} only {only:?} interfaces {} vfio {} vdpa {vdpa:?}",
        function.address,
        function.driver,
        function.netdevs.len(),
        function.vfio.is_some(),
    )
}

fn vdpa_shape(device: &VdpaDevice) -> String {
    let VdpaDevice { name, driver, mac, mtu, netdevs, .. } = device;
    format!("{name} {driver:?} {mac:?} {mtu:?} interfaces {}", netdevs.len())
}

/// How a series of kills went.
#[derive(Default)]
struct Table {
    points: usize,
    /// How often at each kind of call.
    calls: BTreeMap<String, usize>,
    lost: Vec<String>,
}

impl Table {
    /// Takes one point into account.
    fn row(&mut self, what: &str, point: Point, call: &str, wrong: &[String]) {
        self.points += 1;
        *self.calls.entry(kind(call).to_owned()).or_default() += 1;
        if !wrong.is_empty() {
            let side = if point.after { "after" } else { "before" };
            let wrong = wrong.join("\n    ");
            self.lost.push(format!("{what}, write {} {side} {call}:\n    {wrong}", point.write));
        }
    }

    fn end(&self, what: &str, least: usize) {
        let recovered = self.points - self.lost.len();
        let of = match every() {
            1 => "each".to_owned(),
            step => format!("one in {}", step | 1),
        };
        println!("\nshown: {what}: killed at {} points ({of}), {recovered} recovered", self.points);
        for (call, times) in &self.calls {
            println!("shown:   {times} times at {call}");
        }
        assert!(self.lost.is_empty(), "not recovered:\n  {}", self.lost.join("\n  "));
        let least = least / (every() | 1);
        assert!(self.points >= least, "{} points: was anything killed?", self.points);
    }
}

/// A call without what it is about.
fn kind(call: &str) -> &str {
    match call.rsplit_once(' ') {
        Some((what, _)) if !call.contains("netlink") => what,
        _ => call,
    }
}

/// Each point, or one of as many as `RINGWAY_EVERY` says.
fn points() -> impl Iterator<Item = Point> {
    let all = (1..).flat_map(|write| [false, true].map(|after| Point { write, after }));
    // an odd step, so that both sides are among them
    all.step_by(every() | 1)
}

fn every() -> usize {
    std::env::var("RINGWAY_EVERY").map_or(1, |text| text.parse().unwrap())
}

/// What is not as it should be, after the agent was started once more.
fn wrong(node: &Node, agent: &Agent, next: &std::process::Output, wanted: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if !next.status.success() {
        wrong.push(text(next));
    }
    let found = shape(node);
    if found != wanted {
        wrong.push(format!("wanted\n{wanted}is\n{found}"));
    }
    wrong.extend(agent.leftovers().into_iter().map(|file| format!("left behind: {file}")));
    wrong
}

fn foreign(node: &Node) {
    vdpa_bus::set_drivers_autoprobe(&node.root, false).unwrap();
    node.vdpa().create(&NewDevice::new(FOREIGN, Handle::without_bus("vdpasim_net"))).unwrap();
    vdpa_bus::set_drivers_autoprobe(&node.root, true).unwrap();
}

#[test]
fn while_it_carves_and_while_it_puts_back() {
    let node = Node::at_rest();
    foreign(&node);
    let rest = shape(&node);
    let agent = Agent::new();
    let carves = tracer::writes(&agent.args("apply", &first()));
    let carved = shape(&node);
    let puts_back = tracer::writes(&agent.reset_args(&[]));
    assert_eq!(shape(&node), rest);
    println!("\nshown: to carve takes {carves} writes, to put back {puts_back}");

    let mut table = Table::default();
    for point in points() {
        let agent = Agent::new();
        let carves = tracer::run(&agent.args("apply", &first()), point);
        let next = agent.run("apply", &first());
        if let End::Killed(call) = &carves {
            table.row("carve", point, call, &wrong(&node, &agent, &next, &carved));
        }
        let puts_back = tracer::run(&agent.reset_args(&[]), point);
        let next = agent.reset(&[]);
        if let End::Killed(call) = &puts_back {
            table.row("put back", point, call, &wrong(&node, &agent, &next, &rest));
        }
        if let (End::Status(carved), End::Status(back)) = (carves, puts_back) {
            assert_eq!((carved, back), (0, 0));
            break;
        }
    }
    table.end("carve and put back", 200);
}

#[test]
fn while_it_changes_how_functions_are_used_beside_one_in_use() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    foreign(&node);
    let wishes = [first(), second()];
    let shapes = [0, 1].map(|i: usize| {
        agent.must("apply", &wishes[i]);
        shape(&node)
    });
    agent.must("apply", &wishes[0]);
    let used = vdpa_bus::char_device(&node.root, "vdpa:0000:01:00.1").unwrap().unwrap();
    let user = File::options().read(true).write(true).open(&used.path).unwrap();

    let (mut table, mut over) = (Table::default(), 0);
    for (i, point) in points().enumerate() {
        let to = (i + 1) % 2;
        let changes = tracer::run(&agent.args("apply", &wishes[to]), point);
        let next = agent.run("apply", &wishes[to]);
        let End::Killed(call) = changes else {
            // one way there are fewer writes than the other
            over += 1;
            if over == 2 {
                break;
            }
            continue;
        };
        over = 0;
        let mut wrong = wrong(&node, &agent, &next, &shapes[to]);
        let now = vdpa_bus::char_device(&node.root, "vdpa:0000:01:00.1").unwrap();
        if now.as_ref() != Some(&used) {
            wrong.push(format!("the device in use was {used:?}, and is {now:?}"));
        }
        table.row("change", point, &call, &wrong);
    }
    drop(user);
    agent.must_reset(&[]);
    table.end("change of attach kinds", 100);
    assert!(fs::exists(format!("/sys/bus/vdpa/devices/{FOREIGN}")).unwrap());
}
