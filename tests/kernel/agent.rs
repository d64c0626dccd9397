//! The agent by hand, without a cluster: observe, plan, apply.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use ringway_kernel::{sriov, vdpa_bus};
use tempfile::TempDir;

use crate::node::{Node, VIRTIO};
use crate::stand;

/// The agent's program, and directories of its own.
pub(crate) struct Agent {
    dir: TempDir,
}

impl Agent {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// The whole command line for a verb that takes a wish.
    pub(crate) fn args(&self, verb: &str, parents: &str) -> Vec<String> {
        let wish = self.dir.path().join("wish.yaml");
        let head = "apiVersion: ringway.dev/v1alpha1\nkind: NodeDevices\nspec:\n";
        fs::write(&wish, format!("{head}  parents: {parents}\n")).unwrap();
        [self.program(), vec![verb.to_owned(), "--file".to_owned(), self.path("wish.yaml")]]
            .concat()
    }

    /// Writes a file of another of Ringway's processes; says where it is.
    pub(crate) fn write_state(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.state().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    pub(crate) fn program(&self) -> Vec<String> {
        let program = std::env::var("RINGWAY_AGENT").unwrap_or("/opt/lab/ringway-agent".into());
        let (state, run, rules) = (self.path("state"), self.path("run"), self.path("rules.d"));
        let dirs = ["--state-dir", &state, "--run-dir", &run, "--udev-rules-dir", &rules];
        [&[program.as_str()], &dirs[..]].concat().into_iter().map(str::to_owned).collect()
    }

    /// Puts back, on a machine without a kubelet.
    pub(crate) fn reset(&self, args: &[&str]) -> Output {
        let args = self.reset_args(args);
        Command::new(&args[0]).args(&args[1..]).output().unwrap()
    }

    /// The whole command line for that.
    pub(crate) fn reset_args(&self, args: &[&str]) -> Vec<String> {
        let reset = ["reset", "--kubelet-dir", &self.path("no-kubelet")].map(str::to_owned);
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        [self.program(), reset.to_vec(), args].concat()
    }

    /// What it does before kubelet starts, on a machine without one.
    pub(crate) fn boot(&self) -> Output {
        let boot = ["boot", "--kubelet-dir", &self.path("no-kubelet")].map(str::to_owned);
        let args = [self.program(), boot.to_vec()].concat();
        Command::new(&args[0]).args(&args[1..]).output().unwrap()
    }

    pub(crate) fn must_reset(&self, args: &[&str]) -> String {
        let output = self.reset(args);
        assert!(output.status.success(), "reset: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn run(&self, verb: &str, parents: &str) -> Output {
        let args = self.args(verb, parents);
        Command::new(&args[0]).args(&args[1..]).output().unwrap()
    }

    pub(crate) fn must(&self, verb: &str, parents: &str) -> String {
        let output = self.run(verb, parents);
        assert!(output.status.success(), "{verb}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// udev's rules, where there are any.
    fn rules(&self) -> Option<String> {
        fs::read_to_string(self.dir.path().join("rules.d/10-ringway.rules")).ok()
    }

    /// The devices with markers of calls that have not come back.
    pub(crate) fn stuck(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("run/stuck")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Files that a killed agent left and the next one should have removed: those that it was
    /// writing, and markers of calls that it was in.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let known = ["node.json", "before.json", "pools.json", "agent.lock", "lock", "stuck"];
        let mut left = Vec::new();
        for dir in ["state", "run", "run/stuck"] {
            let Ok(entries) = fs::read_dir(self.path(dir)) else { continue };
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let odd = names.filter(|name| !known.contains(&name.as_str()));
            left.extend(odd.map(|name| format!("{dir}/{name}")));
        }
        left
    }

    pub(crate) fn pools(&self) -> String {
        fs::read_to_string(self.dir.path().join("state/pools.json")).unwrap()
    }
}

pub(crate) fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn four(pods: &str) -> String {
    format!(
        "[{{name: '{VIRTIO}', policy: by-hand, functionCount: 4, pools: [\
         {{name: vms, resource: ringway.dev/vms, range: 0-1, attach: vhost-vdpa}}, \
         {{name: pods, resource: ringway.dev/pods, range: 2-3, attach: {pods}}}]}}]"
    )
}

fn drivers(node: &Node) -> Vec<String> {
    (1..=4)
        .map(|i| format!("vdpa:0000:01:00.{i}"))
        .map(|name| vdpa_bus::driver(&node.root, &name).unwrap().unwrap_or_default())
        .collect()
}

#[test]
fn a_card_becomes_what_a_file_says_and_then_there_is_nothing_to_do() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let plan = agent.must("plan", &four("virtio-vdpa"));
    assert!(plan.contains("set the number of functions to 4"), "{plan}");
    assert_eq!(sriov::numvfs(&node.root, node.virtio).unwrap(), 0, "a plan changes nothing");
    agent.must("apply", &four("virtio-vdpa"));
    assert_eq!(drivers(&node), ["vhost_vdpa", "vhost_vdpa", "virtio_vdpa", "virtio_vdpa"]);
    assert_eq!(agent.must("plan", &four("virtio-vdpa")), "everything is as wanted\n");
    assert!(agent.must("apply", &four("virtio-vdpa")).starts_with("0 steps done"));
    assert_eq!(agent.pools().matches("\"ready\"").count(), 4, "{}", agent.pools());
    assert_eq!(agent.rules().unwrap().matches("KERNELS==").count(), 4, "{:?}", agent.rules());
    // one pool changes, and the other's devices are not even looked at again
    let kept = vdpa_bus::char_device(&node.root, "vdpa:0000:01:00.1").unwrap();
    agent.must("apply", &four("vhost-vdpa"));
    assert_eq!(drivers(&node), ["vhost_vdpa"; 4]);
    assert_eq!(vdpa_bus::char_device(&node.root, "vdpa:0000:01:00.1").unwrap(), kept);
    // nobody wants it any more
    agent.must("apply", "[]");
    assert_eq!(agent.rules(), None);
    assert_eq!(sriov::numvfs(&node.root, node.virtio).unwrap(), 0);
    assert!(sriov::drivers_autoprobe(&node.root, node.virtio).unwrap(), "as it was before");
}

#[test]
fn simulated_devices_come_and_go_with_a_mac_of_their_own() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let wish = |count: u32| {
        format!(
            "[{{name: vdpasim_net, policy: by-hand, functionCount: {count}, pools: [\
             {{name: s, resource: ringway.dev/s, range: 0-{}, attach: virtio-vdpa, vdpa: {{mtu: 1400}}}}]}}]",
            count - 1
        )
    };
    agent.must("apply", &wish(3));
    assert_eq!(vdpa_bus::list(&node.root).unwrap().len(), 3);
    let config = node.vdpa().config("vdpasim_net.2").unwrap();
    assert!(config.mac.unwrap().is_unicast());
    assert_eq!(config.mtu, Some(1400));
    agent.must("apply", &wish(1));
    assert_eq!(vdpa_bus::list(&node.root).unwrap(), ["vdpasim_net.0"]);
    agent.must("apply", "[]");
    assert_eq!(vdpa_bus::list(&node.root).unwrap(), Vec::<String>::new());
}

#[test]
fn a_device_in_use_is_not_disturbed_and_its_user_is_named() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    agent.must("apply", &four("vhost-vdpa"));
    let used = vdpa_bus::char_device(&node.root, "vdpa:0000:01:00.4").unwrap().unwrap();
    let file = fs::File::options().read(true).write(true).open(used.path).unwrap();
    let output = agent.run("apply", &four("virtio-vdpa"));
    assert!(!output.status.success());
    let holder = format!("0000:01:00.4 is in use: process {} has it open", std::process::id());
    assert!(text(&output).contains(&holder), "{}", text(&output));
    assert_eq!(drivers(&node), ["vhost_vdpa", "vhost_vdpa", "virtio_vdpa", "vhost_vdpa"]);
    drop(file);
    agent.must("apply", &four("virtio-vdpa"));
    assert_eq!(drivers(&node)[3], "virtio_vdpa");
}

#[test]
fn a_card_with_the_nodes_address_is_off_limits() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let name = ringway_kernel::pci::netdevs(&node.root, node.virtio).unwrap().remove(0);
    let address = |verb: &str| {
        let args = ["address", verb, "10.99.0.1/24", "dev", &name];
        assert!(Command::new("ip").args(args).status().unwrap().success());
    };
    address("add");
    let output = agent.run("apply", &four("virtio-vdpa"));
    address("del");
    assert!(!output.status.success());
    let words = format!("{VIRTIO} ({name}) has the address 10.99.0.1/24");
    assert!(text(&output).contains(&words), "{}", text(&output));
    assert_eq!(sriov::numvfs(&node.root, node.virtio).unwrap(), 0);
}

#[test]
fn what_the_card_cannot_do_is_refused_and_nothing_changes() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let cases = [
        (
            four("virtio-vdpa").replace("functionCount: 4", "functionCount: 5"),
            "is more than the card's 4",
        ),
        (four("virtio-vdpa").replace("0-1", "0-2"), "share functions"),
        (four("virtio-vdpa").replace(VIRTIO, "0000:02:00.0"), "driver igb"),
        (four("virtio-vdpa").replace(VIRTIO, "0000:7f:00.0"), "no card with SR-IOV"),
        (four("virtio-vdpa, vdpa: {queuePairs: 4}"), "vdpa.queuePairs 4"),
    ];
    for (wish, words) in cases {
        let output = agent.run("apply", &wish);
        assert!(!output.status.success());
        assert!(text(&output).contains(words), "{words}: {}", text(&output));
        assert_eq!(sriov::numvfs(&node.root, node.virtio).unwrap(), 0);
    }
}

#[test]
fn somebody_elses_vdpa_device_is_left_alone() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    agent.must("apply", &four("vhost-vdpa").replace("0-1", "0"));
    // function 1 belongs to no pool: somebody uses it by hand
    let vf = sriov::functions(&node.root, node.virtio).unwrap()[1].address;
    ringway_kernel::pci::bind(&node.root, vf, "vp-vdpa").unwrap();
    let theirs = ringway_kernel::vdpa::Handle::pci(vf);
    node.vdpa().create(&ringway_kernel::vdpa::NewDevice::new("theirs", theirs)).unwrap();
    let output = agent.run("apply", &four("vhost-vdpa"));
    assert!(text(&output).contains("theirs was not made by Ringway"), "{}", text(&output));
    let output = agent.run("apply", "[]");
    assert!(text(&output).contains("theirs"), "{}", text(&output));
    assert_eq!(sriov::numvfs(&node.root, node.virtio).unwrap(), 4);
    assert!(vdpa_bus::exists(&node.root, "theirs"));
}

/// Killed before each kind of change, and while it writes its files: the next start converges.
#[test]
fn killed_at_any_kind_of_step_the_next_start_converges() {
    let node = Node::at_rest();
    let wish = four("virtio-vdpa");
    let pf = format!("/sys/bus/pci/devices/{VIRTIO}");
    let file = |path: &str| vec!["-P".to_owned(), path.to_owned()];
    let renames = "rename,renameat,renameat2";
    let points = [
        ("write", 1, file("/sys/bus/vdpa/drivers_autoprobe")),
        ("write", 1, file(&format!("{pf}/sriov_drivers_autoprobe"))),
        ("write", 1, file(&format!("{pf}/sriov_numvfs"))),
        ("write", 1, file("/sys/bus/pci/drivers_probe")),
        ("write", 1, file("/sys/bus/vdpa/drivers_probe")),
        // the counts are those of one thread: reading, resolving the family, creating a device
        ("sendto", 1, vec![]),
        ("sendto", 2, vec![]),
        ("sendto", 3, vec![]),
        (renames, 1, vec![]),
        (renames, 3, vec![]),
    ];
    for (calls, count, path) in points {
        node.rest();
        let agent = Agent::new();
        let inject = format!("inject={calls}:signal=SIGKILL:when={count}");
        let output = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null"])
            .args(path.clone())
            .args(["-e", &format!("trace={calls}"), "-e", &inject])
            .args(agent.args("apply", &wish))
            .output()
            .unwrap();
        assert!(!output.status.success(), "never came to {calls} {count} {path:?}");
        agent.must("apply", &wish);
        let wanted = ["vhost_vdpa", "vhost_vdpa", "virtio_vdpa", "virtio_vdpa"];
        assert_eq!(drivers(&node), wanted, "after {calls} {count} {path:?}");
    }
}

/// udevd itself says what it makes of the rules: of the interface of a function's vDPA device, and of
/// one that the host keeps.
#[test]
fn udev_tells_network_managers_to_stay_away() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let rules = "/run/udev/rules.d/10-ringway.rules";
    let wish = four("virtio-vdpa")
        .replace("2-3", "2")
        .replace("]}]", ", {name: own, range: '3', attach: host}]}]");
    agent.must("apply", &wish);
    fs::create_dir_all("/run/udev/rules.d").unwrap();
    fs::write(rules, agent.rules().unwrap()).unwrap();
    // it may be about to rename what has just appeared
    stand::settle();
    let properties = |function: u32| {
        let name = format!("vdpa:0000:01:00.{function}");
        let netdev = vdpa_bus::netdevs(&node.root, &name).unwrap().remove(0);
        let path = format!("/sys/class/net/{netdev}");
        let output =
            Command::new("udevadm").args(["test", "--action=add", &path]).output().unwrap();
        text(&output)
    };
    let (ours, hosts) = (properties(3), properties(4));
    fs::remove_file(rules).unwrap();
    for property in ["NM_UNMANAGED=1", "ID_NET_MANAGED_BY=ringway"] {
        assert!(ours.contains(property), "{property}: {ours}");
        assert!(!hosts.contains(property), "{property}: {hosts}");
    }
}
