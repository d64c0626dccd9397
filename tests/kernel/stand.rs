//! What the CNI's tests and figures stand on: devices, pods, and the binary started as a runtime
//! starts it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use ringway_kernel::features::Features;
use ringway_kernel::link::{Link, Links};
use ringway_kernel::vdpa::{Handle, NewDevice};
use ringway_kernel::vdpa_bus::{self, Driver};
use ringway_kernel::{bus, pci, sriov, vfio};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::node::{Node, make_subfunctions};

mod pod;

pub use pod::Pod;

/// The network's name in every configuration.
pub const NETWORK: &str = "rings";

const POOLS: &str = "var/lib/ringway/pools.json";
const CHECKPOINT: &str = "var/lib/kubelet/device-plugins/kubelet_internal_checkpoint";
const POD_UID: &str = "3f1c5f0e-0000-4000-8000-000000000001";
/// SIGKILL.
const KILL: i32 = 9;

/// What `ipam.type: plugin` does; `static` is always there.
pub enum Plugin {
    Installed,
    Answers,
    FailsAdd,
    KillsItsCaller,
    /// Starts another process and waits for it, for ever.
    Hangs,
    RemovesTheNamespace,
}

/// Devices, and a root directory of the binary's own with the real `/sys`, `/proc` and `/dev`.
pub struct Stand {
    root: TempDir,
    pub ids: Vec<String>,
    /// Of functions as they are, none.
    vdpa: Vec<String>,
    /// What the last ADD of each container answered.
    answers: Mutex<BTreeMap<String, Value>>,
}

pub fn binary() -> PathBuf {
    std::env::var_os("RINGWAY_CNI").map_or_else(|| "/opt/lab/ringway".into(), PathBuf::from)
}

/// A command of the host's, with something on its standard input.
pub fn with_input(args: &[&str], input: &str) -> Output {
    let mut command = Command::new(binary());
    command.args(args).env_remove("CNI_COMMAND");
    talk(&mut command, input)
}

/// Runs a program to its end, with something on its standard input.
pub fn talk(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("start {}: {e}", command.get_program().display()));
    match child.stdin.take().unwrap().write_all(input.as_bytes()) {
        // a program that reads nothing may be gone by now
        Err(e) if e.kind() == ErrorKind::BrokenPipe => {}
        written => written.unwrap(),
    }
    child.wait_with_output().unwrap()
}

impl Stand {
    /// Two virtual functions of the virtio card, each a virtio-vdpa netdev.
    pub fn new(node: &Node, plugin: Plugin) -> Self {
        Self::offering(node, plugin, None)
    }

    /// The same, with devices that offer just these features.
    pub fn offering(node: &Node, plugin: Plugin, features: Option<Features>) -> Self {
        let (root, pf) = (&node.root, node.virtio);
        sriov::set_drivers_autoprobe(root, pf, false).unwrap();
        vdpa_bus::set_drivers_autoprobe(root, false).unwrap();
        sriov::set_numvfs(root, pf, 2).unwrap();
        let functions = sriov::functions(root, pf).unwrap();
        let ids: Vec<_> = functions.iter().map(|f| f.address.to_string()).collect();
        let vdpa: Vec<_> = ids.iter().map(|id| format!("vdpa:{id}")).collect();
        for (function, vdpa) in functions.iter().zip(&vdpa) {
            pci::bind(root, function.address, "vp-vdpa").unwrap();
            let device =
                NewDevice { features, ..NewDevice::new(vdpa, Handle::pci(function.address)) };
            node.vdpa().create(&device).unwrap();
            vdpa_bus::bind(root, vdpa, Driver::VirtioVdpa).unwrap();
        }
        let devices = (0..ids.len()).map(|i| {
            json!({"id": ids[i], "parent": pf.to_string(), "index": i, "state": "ready",
                   "pciAddress": ids[i], "pfPciAddress": pf.to_string(),
                   "vdpa": {"name": vdpa[i], "mgmtdev": format!("pci/{}", ids[i]),
                            "driver": "virtio_vdpa"}})
        });
        let devices = devices.collect();
        Self::with(ids, vdpa, "virtio-vdpa", devices, plugin)
    }

    /// Two functions of a card as they are: each with an interface of its own (`netdev`), on
    /// vfio-pci (`vfio`), or on uio_pci_generic (`uio`).
    pub fn functions(node: &Node, pf: pci::Address, attach: &str, plugin: Plugin) -> Self {
        let root = &node.root;
        for module in ["igbvf", "vfio-pci", "uio_pci_generic"] {
            run("modprobe", &[module]);
        }
        sriov::set_drivers_autoprobe(root, pf, false).unwrap();
        sriov::set_numvfs(root, pf, 2).unwrap();
        // igbvf talks to the PF's driver, which listens while its interface is up
        if pf == node.igb {
            node.wait_for_carrier(pf);
        }
        let functions = sriov::functions(root, pf).unwrap();
        for function in &functions {
            match attach {
                "vfio" => vfio::bind(root, function.address).unwrap(),
                "uio" => pci::bind(root, function.address, "uio_pci_generic").unwrap(),
                _ if pf == node.igb => pci::bind_unpinned(root, function.address, "igbvf").unwrap(),
                _ => pci::bind_unpinned(root, function.address, "virtio-pci").unwrap(),
            }
        }
        let ids: Vec<_> = functions.iter().map(|f| f.address.to_string()).collect();
        let devices = ids.iter().enumerate().map(|(i, id)| {
            json!({"id": id, "parent": pf.to_string(), "index": i, "state": "ready",
                   "pciAddress": id, "pfPciAddress": pf.to_string()})
        });
        let devices = devices.collect();
        Self::with(ids, Vec::new(), attach, devices, plugin)
    }

    /// Two subfunctions of the igb card, 88 and 89, each an interface.
    pub fn subfunctions(node: &Node, plugin: Plugin) -> Self {
        make_subfunctions("88,89");
        let pf = node.igb.to_string();
        let ids = ["labsf.sf.0", "labsf.sf.1"].map(str::to_owned).to_vec();
        let devices = ids.iter().zip([88, 89]).map(|(id, number)| {
            json!({"id": id, "parent": pf, "index": number, "state": "ready", "pfPciAddress": pf})
        });
        let devices = devices.collect();
        Self::with(ids, Vec::new(), "netdev", devices, plugin)
    }

    /// One device of the simulator, which takes an MTU of 1500 at most.
    pub fn simulated(node: &Node) -> Self {
        vdpa_bus::set_drivers_autoprobe(&node.root, false).unwrap();
        simulate(node, "02:00:00:00:00:01", 1500, Driver::VirtioVdpa);
        let entry = json!({"id": SIMULATED, "parent": "vdpasim_net", "index": 0, "state": "ready",
            "vdpa": {"name": SIMULATED, "mgmtdev": "vdpasim_net", "driver": "virtio_vdpa"}});
        Self::with(
            vec![SIMULATED.into()],
            vec![SIMULATED.into()],
            "virtio-vdpa",
            vec![entry],
            Plugin::Installed,
        )
    }

    /// Many devices of the simulator, each a virtio-vdpa netdev.
    pub fn many(node: &Node, count: u8) -> Self {
        vdpa_bus::set_drivers_autoprobe(&node.root, false).unwrap();
        let ids: Vec<String> = (0..count).map(|n| format!("sim{n}")).collect();
        let entries = ids.iter().zip(0..count).map(|(id, n)| {
            make_simulated(node, id, &format!("02:00:00:00:01:{n:02x}"), 1500, Driver::VirtioVdpa);
            json!({"id": id, "parent": "vdpasim_net", "index": n, "state": "ready",
                   "vdpa": {"name": id, "mgmtdev": "vdpasim_net", "driver": "virtio_vdpa"}})
        });
        let entries = entries.collect();
        Self::with(ids.clone(), ids, "virtio-vdpa", entries, Plugin::Installed)
    }

    /// One device of the simulator on vhost_vdpa, with this address and an MTU of 1500.
    pub fn vhost(node: &Node, mac: &str) -> Self {
        vdpa_bus::set_drivers_autoprobe(&node.root, false).unwrap();
        simulate(node, mac, 1500, Driver::VhostVdpa);
        let path = vdpa_bus::char_device(&node.root, SIMULATED).unwrap().unwrap().path;
        let entry = json!({"id": SIMULATED, "parent": "vdpasim_net", "index": 0, "state": "ready",
            "mac": mac, "mtu": 1500,
            "vdpa": {"name": SIMULATED, "mgmtdev": "vdpasim_net", "driver": "vhost_vdpa",
                     "node": path.display().to_string()}});
        let ids = vec![SIMULATED.to_owned()];
        Self::with(ids.clone(), ids, "vhost-vdpa", vec![entry], Plugin::Answers)
    }

    fn with(
        ids: Vec<String>,
        vdpa: Vec<String>,
        attach: &str,
        devices: Vec<Value>,
        plugin: Plugin,
    ) -> Self {
        let root = tempfile::tempdir().unwrap();
        for tree in ["sys", "proc", "dev"] {
            symlink(Path::new("/").join(tree), root.path().join(tree)).unwrap();
        }
        let stand = Self { root, ids, vdpa, answers: Mutex::default() };
        let pools = json!({"version": 1, "node": "node1", "generation": 1, "pools": [
            {"name": "pods", "resource": "ringway.dev/pod-rings", "attach": attach,
             "limits": {"vlans": "100", "trust": true, "spoofCheck": false, "maxRate": 50},
             "devices": devices}]});
        stand.write(POOLS, &pools.to_string());
        let checkpoint = json!({"Data": {"PodDeviceEntries": [
            {"PodUID": POD_UID, "ContainerName": "c", "ResourceName": "ringway.dev/pod-rings",
             "DeviceIDs": {"-1": stand.ids}, "AllocResp": ""}]}, "Checksum": 1});
        stand.write(CHECKPOINT, &checkpoint.to_string());
        stand.use_plugin(plugin);
        // udev names what has just appeared
        settle();
        stand
    }

    pub fn use_plugin(&self, plugin: Plugin) {
        let add = match plugin {
            Plugin::Installed => return,
            Plugin::Answers => {
                r#"echo '{"cniVersion":"1.0.0","ips":[{"address":"10.88.7.9/24"}]}'"#
            }
            Plugin::FailsAdd => r#"echo '{"code":102,"msg":"no room"}'; exit 1"#,
            Plugin::KillsItsCaller => "kill -9 $PPID",
            Plugin::Hangs => &format!(
                "sleep 100000 & echo $! $$ > {}; wait",
                self.path("ipam-processes").display()
            ),
            Plugin::RemovesTheNamespace => {
                r#"ip netns del ${CNI_NETNS##*/}; echo '{"ips":[{"address":"10.88.7.9/24"}]}'"#
            }
        };
        let script = format!(
            "#!/bin/sh\ncat > /dev/null\necho $CNI_COMMAND >> {}\n\
                 [ $CNI_COMMAND = ADD ] || exit 0\n{add}\n",
            self.path("ipam-calls").display()
        );
        self.write("bin/plugin", &script);
        let path = self.root.path().join("bin/plugin");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes these the limits of what networks may ask for.
    pub fn limit(&self, limits: &Value) {
        self.change(POOLS, |pools| pools["pools"][0]["limits"] = limits.clone());
    }

    /// Lists something else in a device's place.
    pub fn list_instead(&self, device: usize, id: &str) {
        self.change(POOLS, |pools| {
            let listed = &mut pools["pools"][0]["devices"][device];
            (listed["id"], listed["pciAddress"]) = (json!(id), json!(id));
        });
        self.change(CHECKPOINT, |checkpoint| {
            checkpoint["Data"]["PodDeviceEntries"][0]["DeviceIDs"]["-1"][device] = json!(id);
        });
    }

    /// Kubelet has given a device to somebody else.
    pub fn give_to_another_pod(&self, device: usize) {
        self.change(CHECKPOINT, |checkpoint| {
            let entries = checkpoint["Data"]["PodDeviceEntries"].as_array_mut().unwrap();
            let mut other = entries[0].clone();
            other["PodUID"] = json!("another");
            other["DeviceIDs"]["-1"] = json!([self.ids[device]]);
            entries[0]["DeviceIDs"]["-1"].as_array_mut().unwrap().remove(device);
            entries.push(other);
        });
    }

    /// And gives it to our pod again.
    pub fn give_back(&self, device: usize) {
        self.change(CHECKPOINT, |checkpoint| {
            let entries = checkpoint["Data"]["PodDeviceEntries"].as_array_mut().unwrap();
            entries.truncate(1);
            let ours = entries[0]["DeviceIDs"]["-1"].as_array_mut().unwrap();
            ours.insert(device, json!(self.ids[device]));
        });
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut value = serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap();
        change(&mut value);
        self.write(name, &value.to_string());
    }

    /// A path of the node that the binary is shown.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Makes a link that leads elsewhere.
    pub fn link(&self, name: &str, target: &Path) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// What the binary may have written, its log and locks not counted.
    pub fn files(&self) -> Vec<String> {
        let dirs = ["etc", "var/lib/ringway/attachments", "var/run/k8s.cni.cncf.io/devinfo/cni"];
        let mut found = Vec::new();
        for dir in dirs {
            let Ok(entries) = fs::read_dir(self.path(dir)) else { continue };
            let names = entries.map(|entry| entry.unwrap().path().display().to_string());
            found.extend(names);
        }
        found.sort();
        found
    }

    /// What the IPAM plugin was called for.
    pub fn ipam_calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("ipam-calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// Whatever comes of it.
    pub fn try_add(&self, pod: &Pod, device: usize, conf: &Value) -> Output {
        let output = self.call("ADD", &pod.target(), Some(&pod.path()), device, conf);
        if let (true, Ok(answer)) =
            (output.status.success(), serde_json::from_slice(&output.stdout))
        {
            self.answers.lock().unwrap().insert(pod.target(), answer);
        }
        output
    }

    pub fn add(&self, pod: &Pod, device: usize, conf: &Value) -> Value {
        let output = self.try_add(pod, device, conf);
        assert!(output.status.success(), "{}", shown(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub fn add_fails(&self, pod: &Pod, device: usize, conf: &Value) -> Value {
        let output = self.try_add(pod, device, conf);
        assert!(!output.status.success(), "{}", shown(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub fn add_is_killed(&self, pod: &Pod, device: usize, conf: &Value) {
        let output = self.call("ADD", &pod.target(), Some(&pod.path()), device, conf);
        assert_eq!(output.status.signal(), Some(KILL), "{}", shown(&output));
    }

    /// Whatever comes of it.
    pub fn try_del(&self, pod: &Pod, device: usize, conf: &Value) -> Output {
        self.call("DEL", &pod.target(), Some(&pod.path()), device, conf)
    }

    pub fn del(&self, pod: &Pod, device: usize, conf: &Value) {
        let output = self.try_del(pod, device, conf);
        assert!(output.status.success(), "{}", shown(&output));
    }

    /// Whatever comes of it.
    pub fn try_del_without_namespace(
        &self,
        container: &str,
        device: usize,
        conf: &Value,
    ) -> Output {
        self.call("DEL", container, None, device, conf)
    }

    pub fn del_without_namespace(&self, container: &str, device: usize, conf: &Value) {
        let output = self.try_del_without_namespace(container, device, conf);
        assert!(output.status.success(), "{}", shown(&output));
    }

    /// CHECK says that something differs, in these words among others.
    pub fn check_tells(&self, pod: &Pod, device: usize, conf: &Value, told: &str) {
        let error = self.check(pod, device, conf).unwrap_err();
        assert_eq!(error["code"], 100, "{error}");
        assert!(error["msg"].as_str().unwrap().contains(told), "{error}");
    }

    pub fn check(&self, pod: &Pod, device: usize, conf: &Value) -> Result<(), Value> {
        let mut conf = conf.clone();
        // as a runtime keeps it
        let kept = self.answers.lock().unwrap().get(&pod.target()).cloned();
        conf["prevResult"] = kept.unwrap_or_default();
        let output = self.call("CHECK", &pod.target(), Some(&pod.path()), device, &conf);
        match output.status.success() {
            true => Ok(()),
            false => Err(serde_json::from_slice(&output.stdout).unwrap()),
        }
    }

    pub fn gc(&self, network: &str) {
        let conf = json!({"name": network, "cni.dev/valid-attachments": []});
        let output = self.call("GC", "", None, 0, &conf);
        assert!(output.status.success(), "{}", shown(&output));
    }

    fn call(
        &self,
        verb: &str,
        container: &str,
        netns: Option<&Path>,
        device: usize,
        change: &Value,
    ) -> Output {
        let (mut command, conf) = self.invocation(verb, container, netns, device, change);
        talk(&mut command, &conf)
    }

    /// The binary as a runtime would start it, and what the runtime would write to it. `change`
    /// adds keys to the network's configuration; null takes one out.
    pub fn invocation(
        &self,
        verb: &str,
        container: &str,
        netns: Option<&Path>,
        device: usize,
        change: &Value,
    ) -> (Command, String) {
        let mut conf = json!({"cniVersion": "1.1.0", "name": NETWORK, "type": "ringway",
                              "deviceID": self.ids[device], "logFile": "test.log"});
        let keys = conf.as_object_mut().unwrap();
        for (key, value) in change.as_object().unwrap() {
            match value {
                Value::Null => keys.remove(key),
                value => keys.insert(key.clone(), value.clone()),
            };
        }
        let path = format!("{}:/opt/cni/bin", self.root.path().join("bin").display());
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=p;K8S_POD_UID={POD_UID}"
        );
        let mut command = Command::new(binary());
        command
            .env("RINGWAY_ROOT", self.root.path())
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", container)
            .env("CNI_IFNAME", "net1")
            .env("CNI_NETNS", netns.unwrap_or(Path::new("")))
            .env("CNI_ARGS", args)
            .env("CNI_PATH", path);
        (command, conf.to_string())
    }

    /// The netdev of a device if it is on the host.
    pub fn netdev(&self, node: &Node, device: usize) -> Option<Link> {
        let dir = match self.vdpa.get(device) {
            Some(vdpa) => vdpa_bus::virtio_dir(&node.root, vdpa).unwrap()?,
            None => self.ids[device].parse::<bus::Address>().unwrap().dir(&node.root),
        };
        let link = Links::open().unwrap().of_device(&dir).unwrap()?;
        // a move may change the number
        Some(Link { index: 0, ..link })
    }

    /// All netdevs, once udev has done with them.
    pub fn netdevs(&self, node: &Node) -> Vec<Link> {
        settle();
        (0..self.ids.len()).map(|i| self.netdev(node, i).expect("a netdev on the host")).collect()
    }

    /// Waits for the kernel to bring back what a dead namespace held.
    pub fn wait_on_host(&self, node: &Node, device: usize) {
        let start = Instant::now();
        while self.netdev(node, device).is_none() {
            assert!(start.elapsed() < Duration::from_secs(120), "the netdev did not come back");
            thread::sleep(Duration::from_millis(10));
        }
        // udev gives it its name again
        settle();
    }

    pub fn on_host(&self, node: &Node) -> usize {
        (0..self.ids.len()).filter(|i| self.netdev(node, *i).is_some()).count()
    }

    pub fn records(&self) -> usize {
        self.phases().len()
    }

    /// The phases of all records.
    pub fn phases(&self) -> Vec<String> {
        let dir = self.root.path().join("var/lib/ringway/attachments");
        let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
        let phase = |entry: std::io::Result<fs::DirEntry>| {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            let record: Value = serde_json::from_slice(&bytes).unwrap();
            record["phase"].as_str().unwrap().to_owned()
        };
        entries.map(phase).collect()
    }

    /// A command of the host's on this root.
    pub fn host(&self, args: &[&str]) -> String {
        let mut command = Command::new(binary());
        command.args(args).env_remove("CNI_COMMAND").env("RINGWAY_ROOT", self.root.path());
        let output = talk(&mut command, "");
        assert!(output.status.success(), "{}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn write(&self, relative: &str, content: &str) {
        let path = self.root.path().join(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// The simulator's device of [`Stand::simulated`] and [`Stand::vhost`].
pub const SIMULATED: &str = "sim0";

/// Makes it, in the place of the one that there is, and binds a driver to it.
pub fn simulate(node: &Node, mac: &str, mtu: u16, driver: Driver) {
    if vdpa_bus::exists(&node.root, SIMULATED) {
        vdpa_bus::unbind(&node.root, SIMULATED).unwrap();
        node.vdpa().delete(SIMULATED).unwrap();
    }
    make_simulated(node, SIMULATED, mac, mtu, driver);
}

fn make_simulated(node: &Node, name: &str, mac: &str, mtu: u16, driver: Driver) {
    let device = NewDevice {
        mac: Some(mac.parse().unwrap()),
        mtu: Some(mtu),
        ..NewDevice::new(name, Handle::without_bus("vdpasim_net"))
    };
    node.vdpa().create(&device).unwrap();
    vdpa_bus::bind(&node.root, name, driver).unwrap();
}

/// Waits until something is so; far longer than the agent waits for a call.
pub fn until(what: &str, so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(100);
    while !so() {
        assert!(Instant::now() < deadline, "never {what}");
        thread::yield_now();
    }
}

/// `ip` on the host.
pub fn on_host(line: &str) {
    run("ip", &line.split(' ').collect::<Vec<_>>());
}

/// Waits until udev has done with what has come and gone.
pub fn settle() {
    run("udevadm", &["settle", "--timeout=60"]);
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", shown(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A program's end and words, for a person.
pub fn shown(output: &Output) -> String {
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b));
    format!("{}\n{stdout}{stderr}", output.status)
}
