//! A node of files, and a call of the binary on it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ringway_kernel::stuck::Marker;
use ringway_kernel::testing::Tree;
use serde_json::{Value, json};

/// A function whose vDPA device is bound to vhost_vdpa.
pub(crate) const VHOST: &str = "0000:01:00.1";
/// A function on vfio-pci.
pub(crate) const VFIO: &str = "0000:01:00.4";
/// And a vDPA device bound to virtio_vdpa.
pub(crate) const VIRTIO: &str = "0000:01:00.2";

/// And one with an interface of its own.
pub(crate) const NETDEV: &str = "0000:01:00.5";

pub(crate) const UID: &str = "9a0c2c1e-0000-4000-8000-000000000001";
const TREE: &str = "
    0000:01:00.0 virtio-pci pf totalvfs=7
    0000:01:00.1 vf-of=0000:01:00.0 vp-vdpa vdpa=vvhost vhost=0
    0000:01:00.2 vf-of=0000:01:00.0 vp-vdpa vdpa=vvirtio virtio=3
    0000:01:00.3 vf-of=0000:01:00.0 vp-vdpa
    0000:01:00.4 vf-of=0000:01:00.0 vfio-pci iommu=8 vfio=0
    0000:01:00.5 vf-of=0000:01:00.0 virtio-pci net=rwtest5
    0000:01:00.6 vf-of=0000:01:00.0 vfio-pci iommu=9 vfio=1
    0000:01:00.7 vf-of=0000:01:00.0 uio_pci_generic
    0000:03:00.1 igbvf net=rwtest6
    vdpasim_net sim vdpa=vunbound
    vdpasim_net sim vdpa=vswapped vhost=1
    vdpasim_net sim vdpa=vhost2 vhost=2
";

pub(crate) struct Node {
    tree: Tree,
}

impl Node {
    pub(crate) fn new() -> Self {
        let node = Self { tree: Tree::new(TREE) };
        node.write("proc/sys/kernel/random/boot_id", "11111111-0000-4000-8000-000000000000\n");
        node.write("var/lib/ringway/pools.json", &pools().to_string());
        let ids: Vec<Value> = pools()["pools"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|pool| pool["devices"].as_array().unwrap())
            .map(|device| device["id"].clone())
            .collect();
        let entries: Vec<_> = ["vms", "pods", "nets", "functions"]
            .map(|resource| {
                json!({"PodUID": UID, "ContainerName": "c", "AllocResp": "",
                       "ResourceName": format!("ringway.dev/{resource}"), "DeviceIDs": {"0": ids}})
            })
            .to_vec();
        let checkpoint = json!({"Data": {"PodDeviceEntries": entries}, "Checksum": 1});
        let path = "var/lib/kubelet/device-plugins/kubelet_internal_checkpoint";
        node.write(path, &checkpoint.to_string());
        node
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.tree.path(relative)
    }

    pub(crate) fn write(&self, relative: &str, content: &str) {
        self.tree.write(relative, content);
    }

    pub(crate) fn reboot(&self) {
        self.write("proc/sys/kernel/random/boot_id", "22222222-0000-4000-8000-000000000000\n");
    }

    /// Changes what pools.json tells of a device.
    pub(crate) fn change_device(&self, id: &str, change: impl FnOnce(&mut Value)) {
        let name = "var/lib/ringway/pools.json";
        let mut pools: Value = serde_json::from_str(&self.tree.read(name)).unwrap();
        let devices = pools["pools"].as_array_mut().unwrap().iter_mut();
        let mut devices = devices.flat_map(|pool| pool["devices"].as_array_mut().unwrap());
        change(devices.find(|device| device["id"] == id).unwrap());
        self.write(name, &pools.to_string());
    }

    /// Gives a function to another driver.
    pub(crate) fn rebind(&self, function: &str, driver: &str) {
        let link = format!("sys/devices/pci0000:00/{function}/driver");
        self.tree.link(&link, &format!("sys/bus/pci/drivers/{driver}"));
    }

    /// A function is gone from its bus.
    pub(crate) fn unplug(&self, function: &str) {
        fs::remove_file(self.path(&format!("sys/bus/pci/devices/{function}"))).unwrap();
        fs::remove_dir_all(self.path(&format!("sys/devices/pci0000:00/{function}"))).unwrap();
    }

    /// The only record.
    pub(crate) fn record(&self) -> Value {
        let dir = self.path("var/lib/ringway/attachments");
        let path = fs::read_dir(dir).unwrap().next().unwrap().unwrap().path();
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    /// A command of the host's: `Ok` or `Err` by its status, with what it printed.
    pub(crate) fn host(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new(env!("CARGO_BIN_EXE_ringway"))
            .env_clear()
            .env("RINGWAY_ROOT", self.path(""))
            .args(args)
            .output()
            .unwrap();
        let [stdout, stderr] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        if output.status.success() { Ok(stdout) } else { Err(stdout + &stderr) }
    }

    /// A kernel call on a device that is out for as long as the marker lives.
    pub(crate) fn stuck(&self, device: &str) -> Marker {
        let dir = self.path("run/ringway/stuck");
        Marker::place(&self.tree.root(), &dir, device, "unbind").unwrap()
    }

    /// An IPAM plugin that always answers the same.
    pub(crate) fn plugin(&self, name: &str, answer: &str, status: u8) {
        self.plugin_that(name, &format!("echo '{answer}'\nexit {status}"));
    }

    /// An IPAM plugin that does this once its call is noted.
    pub(crate) fn plugin_that(&self, name: &str, script: &str) {
        let script = format!(
            "#!/bin/sh\ncat > /dev/null\necho $CNI_COMMAND >> \"${{0%/*}}/calls\"\n{script}\n"
        );
        self.write(&format!("bin/{name}"), &script);
        let path = self.path(&format!("bin/{name}"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn plugin_calls(&self) -> Vec<String> {
        self.tree.read("bin/calls").lines().map(str::to_owned).collect()
    }

    pub(crate) fn records(&self) -> usize {
        self.phases().len()
    }

    pub(crate) fn phases(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("var/lib/ringway/attachments")) else {
            return Vec::new();
        };
        let phase = |entry: std::io::Result<fs::DirEntry>| {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            let record: Value = serde_json::from_slice(&bytes).unwrap();
            record["phase"].as_str().unwrap().to_owned()
        };
        entries.map(phase).collect()
    }

    /// Nothing was written where an attachment leaves its traces.
    pub(crate) fn is_untouched(&self) {
        for path in ["var/lib/ringway/attachments", "var/run/k8s.cni.cncf.io", "var/log/ringway"] {
            assert!(!self.path(path).exists(), "{path}");
        }
    }
}

fn pools() -> Value {
    let ready = |id: &str, vdpa: &str, driver: &str, node: Option<u32>| {
        let mut device = json!({"id": id, "parent": "vdpasim_net", "index": 0, "state": "ready",
            "mac": "52:54:00:00:00:01", "mtu": 1500,
            "vdpa": {"name": vdpa, "mgmtdev": "vdpasim_net", "driver": driver}});
        if let Some(minor) = node {
            device["vdpa"]["node"] = format!("/dev/vhost-vdpa-{minor}").into();
        }
        device
    };
    let on = |mut device: Value| {
        device["pciAddress"] = device["id"].clone();
        device["parent"] = "0000:01:00.0".into();
        device["pfPciAddress"] = "0000:01:00.0".into();
        device
    };
    let offering = |mut device: Value| {
        device["queuePairs"] = 4.into();
        device["features"] = json!(["MAC", "MTU", "MQ"]);
        device
    };
    let out = |id: &str, state: &str, reason: &str| json!({"id": id, "parent": "vdpasim_net", "index": 9, "state": state, "reason": reason});
    let function = |id: &str, index: u32| {
        json!({"id": id, "parent": "0000:01:00.0", "index": index, "state": "ready",
               "pciAddress": id, "pfPciAddress": "0000:01:00.0"})
    };
    let mut pf = on(ready("0000:01:00.0", "vvirtio", "virtio_vdpa", None));
    pf["pfPciAddress"] = Value::Null;
    json!({"version": 1, "node": "n", "generation": 1, "pools": [
        {"name": "vms", "resource": "ringway.dev/vms", "attach": "vhost-vdpa", "devices": [
            offering(on(ready(VHOST, "vvhost", "vhost_vdpa", Some(0)))),
            ready("vhost2", "vhost2", "vhost_vdpa", Some(2)),
            out("draining", "draining", "about to be rebuilt"),
            out("failed", "failed", "no such function")]},
        {"name": "pods", "resource": "ringway.dev/pods", "attach": "virtio-vdpa", "devices": [
            on(ready(VIRTIO, "vvirtio", "virtio_vdpa", None)),
            pf,
            // its vDPA device was made on another function
            on(ready("0000:01:00.3", "vvirtio", "virtio_vdpa", None)),
            ready("unbound", "vunbound", "virtio_vdpa", None),
            ready("swapped", "vswapped", "virtio_vdpa", None),
            ready("absent", "vabsent", "virtio_vdpa", None)]},
        {"name": "nets", "resource": "ringway.dev/nets", "attach": "netdev", "devices": [
            {"id": "mlx5_core.sf.4", "parent": "x", "index": 0, "state": "ready"},
            {"id": "functionless", "parent": "x", "index": 1, "state": "ready"},
            function(NETDEV, 4), function("0000:01:00.6", 5), function("0000:03:00.1", 0),
            function("0000:01:01.0", 8)]},
        {"name": "functions", "resource": "ringway.dev/functions", "attach": "vfio", "devices": [
            function(VFIO, 3), function("0000:01:00.7", 6)]}]})
}

/// A call with everything right, to be made wrong.
pub(crate) struct Call {
    env: Vec<(String, String)>,
    conf: Value,
    input: Option<String>,
}

impl Call {
    pub(crate) fn new(verb: &str) -> Self {
        let args = format!("K8S_POD_NAMESPACE=default;K8S_POD_NAME=p;K8S_POD_UID={UID}");
        let env = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_IFNAME", "net1"),
            // some namespace: nothing is moved into it
            ("CNI_NETNS", "/proc/self/ns/net"),
            ("CNI_ARGS", &args),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let conf = json!({"cniVersion": "1.1.0", "name": "default/net", "type": "ringway"});
        Self { env, conf, input: None }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn args(self, value: &str) -> Self {
        self.env("CNI_ARGS", value)
    }

    pub(crate) fn conf(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.conf[field] = value.into();
        self
    }

    pub(crate) fn input(mut self, text: &str) -> Self {
        self.input = Some(text.to_owned());
        self
    }

    /// The object that is printed: `Ok` or `Err` by the exit status. Null for none.
    pub(crate) fn run(self, node: &Node) -> Result<Value, Value> {
        let input = self.input.unwrap_or_else(|| self.conf.to_string());
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringway"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("RINGWAY_ROOT", node.path(""))
            .env("CNI_PATH", node.path("bin"))
            .envs(self.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // a call that fails early reads nothing
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let answer = match output.stdout.as_slice() {
            [] => Value::Null,
            json => serde_json::from_slice(json).unwrap(),
        };
        match output.status.code() {
            Some(0) => Ok(answer),
            Some(1) => Err(answer),
            code => panic!("status {code:?}: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}
