//! The CNI binary for long: three kinds of device, verbs in any order, kills at any write. Everything
//! follows from one seed, which is printed.

use std::process::Output;

use ringway_kernel::vdpa_bus;
use serde_json::{Value, json};

use super::cni::{Kind, World, info, wrong};
use crate::node::Node;
use crate::stand::{self, NETWORK, Plugin, Pod, SIMULATED, Stand};
use crate::tracer::{self, End, Point};

/// A pod of each: the namespace may be gone, and its container is still told of.
const PODS: [&str; 2] = ["rw-soak-a", "rw-soak-b"];
/// No verb of any kind has more writes; a kill beyond the last is none.
const LAST_WRITE: u64 = 60;
const STATUS_OF_PANIC: i32 = 101;

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn point(&mut self) -> Point {
        let write = usize::try_from(1 + self.below(LAST_WRITE)).unwrap();
        Point { write, after: self.below(2) == 1 }
    }
}

/// Who has the device, as far as that can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    Pod(usize),
    /// After a kill, or once a namespace is gone.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Add(usize),
    AddKilled(usize, Point),
    Del(usize),
    DelKilled(usize, Point),
    Check(usize),
    Gc,
    EndNamespace(usize),
}

impl Step {
    fn any(random: &mut Random) -> Self {
        let pod = usize::try_from(random.below(2)).unwrap();
        match random.below(10) {
            0..=2 => Self::Add(pod),
            3 => Self::AddKilled(pod, random.point()),
            4 | 5 => Self::Del(pod),
            6 => Self::DelKilled(pod, random.point()),
            7 => Self::Check(pod),
            8 => Self::Gc,
            _ => Self::EndNamespace(pod),
        }
    }
}

#[derive(Default)]
struct Counts {
    attached: usize,
    killed: usize,
    leaks: Vec<String>,
    wrong: Vec<String>,
    panics: Vec<String>,
}

/// One device through one series of steps.
struct Cycle<'a> {
    node: &'a Node,
    kind: &'a Kind,
    pods: [Option<Pod>; 2],
    holder: Holder,
    name: String,
    counts: &'a mut Counts,
}

impl Cycle<'_> {
    fn step(&mut self, step: Step) {
        match step {
            Step::Add(pod) => self.add(pod),
            Step::AddKilled(pod, point) => self.killed("ADD", pod, point),
            Step::Del(pod) => self.del(pod),
            Step::DelKilled(pod, point) => self.killed("DEL", pod, point),
            Step::Check(pod) => self.check(pod),
            Step::Gc => self.kind.stand.gc(NETWORK),
            Step::EndNamespace(pod) => {
                if self.pods[pod].take().is_some() && self.holder == Holder::Pod(pod) {
                    self.holder = Holder::Unknown;
                }
            }
        }
    }

    fn add(&mut self, pod: usize) {
        let Some(its) = &self.pods[pod] else { return };
        let output = self.kind.stand.try_add(its, 0, &self.kind.conf);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        match (output.status.success(), self.holder) {
            (true, Holder::Pod(other)) => {
                let text = format!("{other} has the device, and {pod} got it as well");
                self.wrong(text);
            }
            (true, _) if !self.has_its_device(its, &answer) => {
                self.wrong(format!("{pod} has got something else: {answer}"));
            }
            (true, _) => {
                self.counts.attached += 1;
                self.holder = Holder::Pod(pod);
            }
            (false, Holder::Nobody) => self.wrong(format!("free and refused: {answer}")),
            (false, _) if answer["code"] != 11 => self.wrong(format!("refused with {answer}")),
            (false, _) => {}
        }
        self.look_at(&output);
    }

    /// Whether what a pod has is the device that it asked for.
    fn has_its_device(&self, pod: &Pod, answer: &Value) -> bool {
        let (stand, interface) = (&self.kind.stand, &answer["interfaces"][0]);
        if !self.kind.moves {
            return interface["socketPath"] == format!("/dev/ringway/{}", stand.ids[0]);
        }
        let vdpa = format!("vdpa:{}", stand.ids[0]);
        let virtio = match vdpa_bus::exists(&self.node.root, &vdpa) {
            true => vdpa_bus::virtio_dir(&self.node.root, &vdpa).unwrap(),
            false => None,
        };
        let owner = match &virtio {
            Some(dir) => dir.file_name().unwrap().to_str().unwrap(),
            None => &stand.ids[0],
        };
        let links = pod.links();
        let link = links.iter().find(|link| link.name == "net1");
        link.is_some_and(|link| link.parent_name.as_deref() == Some(owner))
    }

    fn del(&mut self, pod: usize) {
        let output = self.delete(pod);
        if !output.status.success() {
            self.wrong(format!("DEL of {pod} failed: {}", stand::shown(&output)));
        }
        if self.holder == Holder::Pod(pod) {
            self.holder = Holder::Nobody;
        }
        self.look_at(&output);
    }

    fn delete(&self, pod: usize) -> Output {
        let (stand, conf) = (&self.kind.stand, &self.kind.conf);
        match &self.pods[pod] {
            Some(its) => stand.try_del(its, 0, conf),
            None => stand.try_del_without_namespace(&Pod::container_of(PODS[pod]), 0, conf),
        }
    }

    fn check(&mut self, pod: usize) {
        let (Some(its), known) = (&self.pods[pod], self.holder) else { return };
        let found = self.kind.stand.check(its, 0, &self.kind.conf);
        match (known, found) {
            (Holder::Pod(holder), Err(error)) if holder == pod => {
                self.wrong(format!("{pod} has the device, and CHECK says {error}"));
            }
            (Holder::Nobody, Ok(())) => {
                self.wrong(format!("CHECK of {pod} succeeds, it has nothing"))
            }
            _ => {}
        }
    }

    fn killed(&mut self, verb: &str, pod: usize, point: Point) {
        let Some(its) = &self.pods[pod] else { return };
        let end = tracer::run(&self.kind.args(verb, its), point);
        match (end, verb, self.holder) {
            (End::Status(STATUS_OF_PANIC), ..) => {
                self.counts.panics.push(format!("{}: {verb} of {pod}", self.name));
            }
            (End::Status(0), "ADD", Holder::Pod(other)) => {
                self.wrong(format!("{other} has the device, and {pod} got it as well"));
            }
            // what it has answered nobody kept for CHECK
            (End::Status(0), "ADD", _) => self.holder = Holder::Unknown,
            (End::Status(0), _, Holder::Pod(holder)) if holder == pod => {
                self.holder = Holder::Nobody
            }
            (End::Status(_), ..) => {}
            (End::Killed(_), _, holder) => {
                self.counts.killed += 1;
                // nobody takes a device from a pod that has it, but its own DEL
                if !matches!(holder, Holder::Pod(other) if verb == "ADD" || other != pod) {
                    self.holder = Holder::Unknown;
                }
            }
        }
    }

    /// The runtime's last words for each container; then all must be as it was.
    fn end(mut self, before: &World) {
        for pod in [0, 1] {
            self.del(pod);
        }
        self.pods = [None, None];
        if self.kind.moves {
            self.kind.stand.wait_on_host(self.node, 0);
        }
        for pod in [0, 1] {
            self.del(pod);
        }
        self.kind.stand.gc(NETWORK);
        let leaks = wrong(before, &self.kind.world(self.node), &self.kind.stand.ipam_calls());
        std::fs::write(self.kind.stand.path("ipam-calls"), "").unwrap();
        self.counts.leaks.extend(leaks.into_iter().map(|leak| format!("{}: {leak}", self.name)));
    }

    fn wrong(&mut self, what: String) {
        self.counts.wrong.push(format!("{}: {what}", self.name));
    }

    fn look_at(&mut self, output: &Output) {
        if output.status.code() == Some(STATUS_OF_PANIC) {
            self.counts.panics.push(format!("{}: {}", self.name, stand::shown(output)));
        }
    }
}

fn kinds(node: &Node) -> [(&'static str, Kind); 3] {
    let ipam = json!({"type": "plugin"});
    let igb = Stand::functions(node, node.igb, "netdev", Plugin::Answers);
    let conf = json!({"vlan": 100, "trust": "on", "mtu": 1400, "ipam": ipam,
                      "runtimeConfig": {"CNIDeviceInfoFile": info(&igb)}});
    let igb = Kind { stand: igb, conf, moves: true };
    let conf = json!({"mtu": 1400, "ipam": ipam});
    let virtio = Kind { stand: Stand::new(node, Plugin::Answers), conf, moves: true };
    let vhost = Stand::vhost(node, "02:00:00:00:00:01");
    assert_eq!(vhost.ids, [SIMULATED]);
    let conf = json!({"ipam": ipam, "runtimeConfig": {"CNIDeviceInfoFile": info(&vhost)}});
    let vhost = Kind { stand: vhost, conf, moves: false };
    [("netdev", igb), ("virtio-vdpa", virtio), ("vhost-vdpa", vhost)]
}

fn number(name: &str, default: impl FnOnce() -> u64) -> u64 {
    std::env::var(name).map_or_else(|_| default(), |text| text.parse().unwrap())
}

/// `RINGWAY_CYCLES` says how many cycles, `RINGWAY_SEED` repeats a run.
#[test]
fn verbs_in_any_order_killed_at_any_write() {
    let cycles = number("RINGWAY_CYCLES", || 10_000);
    let seed = number("RINGWAY_SEED", || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_secs()
    });
    println!("\nshown: soak: {cycles} cycles from RINGWAY_SEED={seed}");
    let node = Node::at_rest();
    let kinds = kinds(&node);
    let rest = kinds.each_ref().map(|(_, kind)| kind.world(&node));
    // xorshift stays at zero
    let (mut random, mut counts) = (Random(seed.max(1)), Counts::default());
    for number in 0..cycles {
        let which = usize::try_from(random.below(3)).unwrap();
        let (name, kind) = &kinds[which];
        let steps: Vec<_> = (0..=random.below(8)).map(|_| Step::any(&mut random)).collect();
        let mut cycle = Cycle {
            node: &node,
            kind,
            pods: PODS.map(|name| Some(Pod::new(name))),
            holder: Holder::Nobody,
            name: format!("cycle {number}, {name}, {steps:?}"),
            counts: &mut counts,
        };
        steps.into_iter().for_each(|step| cycle.step(step));
        cycle.end(&rest[which]);
        if number % 1_000 == 999 {
            println!("shown: soak: {} cycles done", number + 1);
        }
    }
    let Counts { attached, killed, leaks, wrong, panics } = &counts;
    println!(
        "shown: soak: {attached} attached, {killed} killed; {} leaks, {} wrong devices, {} panics",
        leaks.len(),
        wrong.len(),
        panics.len()
    );
    let all: Vec<_> = [leaks, wrong, panics].into_iter().flatten().map(String::as_str).collect();
    assert!(all.is_empty(), "RINGWAY_SEED={seed}:\n  {}", all.join("\n  "));
    assert!(*attached > 0 || cycles < 10, "nothing was ever attached");
}
