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
/// And one to virtio_vdpa.
pub(crate) const VIRTIO: &str = "0000:01:00.2";

const UID: &str = "9a0c2c1e-0000-4000-8000-000000000001";
const TREE: &str = "
    0000:01:00.0 virtio-pci pf totalvfs=4 net=eth1
    0000:01:00.1 vf-of=0000:01:00.0 vp-vdpa vdpa=vvhost vhost=0
    0000:01:00.2 vf-of=0000:01:00.0 vp-vdpa vdpa=vvirtio virtio=3
    0000:01:00.3 vf-of=0000:01:00.0 vp-vdpa
    0000:01:00.4 vf-of=0000:01:00.0 vfio-pci iommu=8 vfio=0
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

    /// A kernel call on a device that is out for as long as the marker lives.
    pub(crate) fn stuck(&self, device: &str) -> Marker {
        let dir = self.path("run/ringway/stuck");
        Marker::place(&self.tree.root(), &dir, device, "unbind").unwrap()
    }

    /// An IPAM plugin that always answers the same.
    pub(crate) fn plugin(&self, name: &str, answer: &str, status: u8) {
        let script = format!(
            "#!/bin/sh\ncat > /dev/null\necho $CNI_COMMAND >> \"${{0%/*}}/calls\"\n\
             echo '{answer}'\nexit {status}\n"
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
    let out = |id: &str, state: &str, reason: &str| json!({"id": id, "parent": "vdpasim_net", "index": 9, "state": state, "reason": reason});
    let mut pf = on(ready("0000:01:00.0", "vvirtio", "virtio_vdpa", None));
    pf["pfPciAddress"] = Value::Null;
    json!({"version": 1, "node": "n", "generation": 1, "pools": [
        {"name": "vms", "resource": "ringway.dev/vms", "attach": "vhost-vdpa", "devices": [
            on(ready(VHOST, "vvhost", "vhost_vdpa", Some(0))),
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
            {"id": "netdev", "parent": "x", "index": 0, "state": "ready"}]},
        {"name": "functions", "resource": "ringway.dev/functions", "attach": "vfio", "devices": [
            {"id": "0000:01:00.4", "parent": "0000:01:00.0", "index": 3, "state": "ready",
             "pciAddress": "0000:01:00.4", "pfPciAddress": "0000:01:00.0"}]}]})
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
