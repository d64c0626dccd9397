//! A node in a temporary directory: a sysfs, `pools.json`, and the plugin's process.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output};

use ringway_kernel::testing::Tree;
use ringway_node::DeviceId;
use ringway_node::lock::{Lock, Locks};
use serde_json::{Value, json};

use crate::eventually;
use crate::fake_kubelet::Kubelet;

pub(crate) const VMS: &str = "ringway.dev/vm-rings";
pub(crate) const PODS: &str = "ringway.dev/pod-rings";

const CARD: &str = "
    0000:01:00.0 virtio-pci pf totalvfs=4
    0000:01:00.1 vf-of=0000:01:00.0 vp-vdpa vdpa=vdpa:0000:01:00.1 vhost=0
    0000:01:00.2 vf-of=0000:01:00.0 vp-vdpa vdpa=vdpa:0000:01:00.2 vhost=1
    0000:01:00.3 vf-of=0000:01:00.0 vp-vdpa vdpa=vdpa:0000:01:00.3 virtio=3
    0000:01:00.4 vf-of=0000:01:00.0 virtio-pci net=eth4
    0000:01:00.5 vf-of=0000:01:00.0 vfio-pci iommu=12 vfio=0
";

/// The node, whose pools are two vhost devices (`.1`, `.2`) and one virtio device (`.3`).
pub(crate) struct Node {
    tree: Tree,
    pools: Value,
}

impl Node {
    pub(crate) fn new() -> Self {
        let tree = Tree::new(CARD);
        // The vhost nodes are the host's /dev/null: making others needs root.
        for minor in [0, 1] {
            let node = tree.path(&format!("dev/vhost-vdpa-{minor}"));
            std::fs::remove_file(&node).unwrap();
            symlink("/dev/null", node).unwrap();
            let function = minor + 1;
            tree.write(
                &format!("sys/bus/vdpa/devices/vdpa:0000:01:00.{function}/vhost-vdpa-{minor}/dev"),
                "1:3\n",
            );
        }
        let vhost = |n| device(n, "vhost_vdpa");
        let pools = json!({"version": 1, "node": "n", "generation": 1, "pools": [
            {"name": "vms", "resource": VMS, "attach": "vhost-vdpa",
             "devices": [vhost(1), vhost(2)]},
            {"name": "pods", "resource": PODS, "attach": "virtio-vdpa",
             "devices": [device(3, "virtio_vdpa")]},
        ]});
        let node = Self { tree, pools };
        std::fs::create_dir_all(node.path("state")).unwrap();
        node.write_pools();
        node
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.tree.path(relative)
    }

    /// Starts a kubelet in this node's place for it.
    pub(crate) fn kubelet(&self) -> Kubelet {
        Kubelet::start(&self.path("kubelet/device-plugins"))
    }

    /// Starts the plugin's binary, which looks at sysfs all the time: no event tells of what changes
    /// in a temporary one.
    pub(crate) fn plugin(&self, instance: &str) -> Plugin {
        self.plugin_with(instance, &[])
    }

    /// The same with these flags.
    pub(crate) fn plugin_with(&self, instance: &str, flags: &[&str]) -> Plugin {
        let mut command = self.command();
        command.arg("--pools").arg(self.path("state/pools.json")).args(flags);
        self.start(command, instance)
    }

    /// Starts it as on a node, where it looks when something happens: what it recovers from it was
    /// told of.
    pub(crate) fn patient_plugin(&self, instance: &str) -> Plugin {
        let mut command = self.command();
        command.arg("--pools").arg(self.path("state/pools.json"));
        self.start_with(command, instance, "0")
    }

    /// Starts it for the time until another one serves.
    pub(crate) fn plugin_until_replaced(&self, instance: &str) -> Plugin {
        let mut command = self.command();
        command.arg("--pools").arg(self.path("state/pools.json")).arg("--until-replaced");
        self.start(command, instance)
    }

    /// Starts it with the SR-IOV network device plugin's configuration and these flags.
    pub(crate) fn plugin_with_config(&self, instance: &str, flags: &[&str]) -> Plugin {
        let mut command = self.command();
        command.arg("--sriovdp-config").arg(self.path("state/config.json")).args(flags);
        self.start(command, instance)
    }

    /// Writes that configuration.
    pub(crate) fn write_config(&self, config: &str) {
        let path = self.path("state/config.json");
        ringway_node::atomic::write(&path, config.as_bytes(), 0o644).unwrap();
    }

    /// What would be advertised.
    pub(crate) fn check(&self, flags: &[&str]) -> Output {
        let mut command = self.command();
        command.arg("--pools").arg(self.path("state/pools.json"));
        command.arg("check").args(flags).output().unwrap()
    }

    fn start(&self, command: Command, instance: &str) -> Plugin {
        self.start_with(command, instance, "0.1")
    }

    fn start_with(&self, mut command: Command, instance: &str, interval: &str) -> Plugin {
        let log = self.path(&format!("plugin-{instance}.log"));
        let child = command
            .args(["--instance", instance, "--health-interval", interval])
            .arg("--status-socket")
            .arg(self.path(&format!("status-{instance}.sock")))
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Plugin { child, log }
    }

    /// Asks a plugin how it is: whether it is well, and what it says.
    pub(crate) fn probe(&self, instance: &str, question: &str) -> (bool, String) {
        let mut command = self.command();
        let socket = self.path(&format!("status-{instance}.sock"));
        let output = command.args(["probe", question, "--status-socket"]).arg(socket).output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    }

    /// What a plugin counts.
    pub(crate) fn metrics(&self, instance: &str) -> String {
        use std::io::{Read, Write};
        let socket = self.path(&format!("status-{instance}.sock"));
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// Publishes once, without a kubelet.
    pub(crate) fn publish(&self) -> ExitStatus {
        let mut command = self.command();
        command.arg("--pools").arg(self.path("state/pools.json"));
        command.arg("publish").status().unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway-device-plugin"));
        command
            .args(["--hook", "/opt/cni/bin/ringway"])
            .arg("--kubelet-dir")
            .arg(self.path("kubelet"))
            .arg("--cdi-dir")
            .arg(self.path("cdi"))
            .arg("--devinfo-dir")
            .arg(self.path("devinfo"))
            .arg("--lock-dir")
            .arg(self.path("lock"))
            .arg("--sys")
            .arg(self.path("sys"))
            .arg("--dev")
            .arg(self.path("dev"));
        command
    }

    /// Changes `pools.json` as the agent does.
    pub(crate) fn change_pools(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.pools["pools"]);
        self.write_pools();
    }

    /// Adds a pool with an interface (`.4`) and one with a function for vfio (`.5`), whose nodes are
    /// the host's `/dev/null`.
    pub(crate) fn offer_functions(&mut self) {
        self.make_vfio_nodes();
        let function = |n| {
            let mut function = device(n, "");
            function.as_object_mut().unwrap().remove("vdpa");
            function
        };
        let pool = |name: &str, attach: &str, n| {
            json!({"name": name, "resource": format!("ringway.dev/{name}"), "attach": attach,
                   "devices": [function(n)]})
        };
        let more = [pool("nets", "netdev", 4), pool("functions", "vfio", 5)];
        self.change_pools(|pools| pools.as_array_mut().unwrap().extend(more));
    }

    /// A subfunction of the card, with an RDMA device whose node is the host's `/dev/null`.
    pub(crate) fn make_subfunction(&self, name: &str, number: u32) {
        let dir = format!("sys/devices/pci0000:00/0000:01:00.0/{name}");
        self.tree.link(&format!("sys/bus/auxiliary/devices/{name}"), &dir);
        self.tree.link(&format!("{dir}/driver"), "sys/bus/auxiliary/drivers/mlx5_core.sf");
        self.tree.write(&format!("{dir}/sfnum"), &format!("{number}\n"));
        self.tree.write(&format!("{dir}/infiniband/mlx5_4/uevent"), "");
        self.tree.write(&format!("{dir}/infiniband_verbs/uverbs4/dev"), "1:3\n");
        self.tree.write("dev/infiniband/uverbs4", "");
        std::fs::remove_file(self.path("dev/infiniband/uverbs4")).unwrap();
        std::os::unix::fs::symlink("/dev/null", self.path("dev/infiniband/uverbs4")).unwrap();
    }

    /// Makes the nodes of the function for vfio (`.5`) the host's `/dev/null`.
    pub(crate) fn make_vfio_nodes(&self) {
        for (node, sys) in [("12", "vfio/12"), ("vfio", "misc/vfio")] {
            let path = self.path(&format!("dev/vfio/{node}"));
            std::fs::remove_file(&path).unwrap();
            symlink("/dev/null", path).unwrap();
            self.tree.write(&format!("sys/class/{sys}/dev"), "1:3\n");
        }
    }

    /// Puts text into `pools.json`.
    pub(crate) fn break_pools(&self, text: &str) {
        self.put_pools(text);
    }

    /// Puts what it was before back.
    pub(crate) fn write_pools(&self) {
        self.put_pools(&self.pools.to_string());
    }

    fn put_pools(&self, text: &str) {
        let path = self.path("state/pools.json");
        ringway_node::atomic::write(&path, text.as_bytes(), 0o644).unwrap();
    }

    /// Gives the card an interface with a carrier (`1`) or without one (`0`).
    pub(crate) fn set_uplink(&self, carrier: &str) {
        let device = "sys/devices/pci0000:00/0000:01:00.0/virtio0/net/p0";
        self.tree.link("sys/class/net/p0", device);
        // the other order would show an interface that is up and has none, for a moment
        self.tree.write(&format!("{device}/carrier"), &format!("{carrier}\n"));
        self.tree.write(&format!("{device}/operstate"), "up\n");
    }

    /// Unbinds the vDPA device of function `n` from its bus driver, as far as sysfs shows it.
    pub(crate) fn unbind(&self, n: u32) {
        std::fs::remove_file(self.path(&vdpa_driver(n))).unwrap();
    }

    /// Binds it again.
    pub(crate) fn bind(&self, n: u32, driver: &str) {
        self.tree.link(&vdpa_driver(n), &format!("sys/bus/vdpa/drivers/{driver}"));
    }

    /// Takes a device's lock, as the agent does while it changes it.
    pub(crate) fn lock(&self, id: &str) -> Lock {
        let id: DeviceId = id.parse().unwrap();
        Locks::at(&self.path("lock")).try_lock(&id).unwrap().unwrap()
    }

    /// Whether somebody has a device's lock.
    pub(crate) fn is_locked(&self, id: &str) -> bool {
        let id: DeviceId = id.parse().unwrap();
        Locks::at(&self.path("lock")).try_lock(&id).unwrap().is_none()
    }

    /// Whether a file has been as it is for long enough for the plugin to keep what it made of it.
    pub(crate) fn is_settled(&self, relative: &str) -> bool {
        let changed = self.path(relative).metadata().unwrap().modified().unwrap();
        changed.elapsed().is_ok_and(|age| age > std::time::Duration::from_secs(1))
    }

    /// A JSON file of this node.
    pub(crate) fn json(&self, relative: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.path(relative)).unwrap()).unwrap()
    }
}

/// The driver link's place in the tree itself, not by way of the bus.
fn vdpa_driver(n: u32) -> String {
    format!("sys/devices/pci0000:00/0000:01:00.{n}/vdpa:0000:01:00.{n}/driver")
}

fn device(n: u32, driver: &str) -> Value {
    let address = format!("0000:01:00.{n}");
    let node = (driver == "vhost_vdpa").then(|| format!("/dev/vhost-vdpa-{}", n - 1));
    json!({
        "id": address, "parent": "0000:01:00.0", "index": n - 1, "state": "ready",
        "pciAddress": address, "pfPciAddress": "0000:01:00.0",
        "vdpa": {"name": format!("vdpa:{address}"), "mgmtdev": format!("pci/{address}"),
                 "driver": driver, "node": node},
    })
}

/// The plugin's process, ended with the test; its log is shown if the test fails.
pub(crate) struct Plugin {
    child: Child,
    log: PathBuf,
}

impl Plugin {
    /// Asks it to leave.
    pub(crate) fn ask_to_leave(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Asks it to leave, and waits until it has.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.ask_to_leave();
        self.ended().await
    }

    /// Whether it has not ended.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        eventually("exit", || self.child.try_wait().unwrap()).await
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // Gone already is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}
