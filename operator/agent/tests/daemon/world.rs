//! A node with a card of two functions, on each a vDPA device of ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringway_agent::args::Run;
use ringway_agent::cluster::Cluster;
use ringway_agent::files::Files;
use ringway_agent::host::Host;
use ringway_agent::serve::serve;
use ringway_fake_api_server::ApiServer;
use ringway_kernel::testing::Tree;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The object of the node.
pub(crate) const OBJECT: &str = "nodedevices/a";
/// Seconds between two looks at the node.
pub(crate) const RESYNC: Duration = Duration::from_secs(30);

const CARD: &str = "
    0000:01:00.0 virtio-pci pf totalvfs=2
    0000:01:00.1 vf-of=0000:01:00.0 vp-vdpa vdpa=vdpa:0000:01:00.1 virtio=0
    0000:01:00.2 vf-of=0000:01:00.0 vp-vdpa vdpa=vdpa:0000:01:00.2 virtio=1
";

/// One daemon at a time in a process: another's look at the node makes the vdpa family unknown.
static ALONE: Mutex<()> = Mutex::new(());

/// The node, its files and its cluster.
pub(crate) struct World {
    pub(crate) tree: Tree,
    pub(crate) server: ApiServer,
    dir: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(CARD)
    }

    /// Asked for what the card is already, and answered that it is so.
    pub(crate) async fn as_wanted() -> Self {
        let world = Self::new();
        world.ask();
        world.start();
        until_answered(&world.server, "AsWanted").await;
        world
    }

    /// With other devices.
    pub(crate) fn with(devices: &str) -> Self {
        let world = Self {
            tree: Tree::new(devices),
            server: ApiServer::default(),
            dir: tempfile::tempdir().unwrap(),
            _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
        };
        for module in ["vdpa", "vhost_vdpa", "virtio_vdpa", "vp_vdpa"] {
            world.tree.write(&format!("sys/module/{module}/initstate"), "live\n");
        }
        world.tree.write("sys/bus/vdpa/drivers_autoprobe", "0\n");
        let ours = json!({"vdpa": ["vdpa:0000:01:00.1", "vdpa:0000:01:00.2"]});
        world.write("before.json", &ours);
        world.server.put(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}));
        world
    }

    /// Asks for what the card is already.
    pub(crate) fn ask(&self) {
        self.server.put(json!({
            "apiVersion": "ringway.dev/v1alpha1", "kind": "NodeDevices",
            "metadata": {"name": "a"}, "spec": wish(),
        }));
    }

    /// As if that had been asked for before the agent was started.
    pub(crate) fn remember(&self) {
        self.write("node.json", &json!({"generation": 1, "spec": wish()}));
    }

    fn write(&self, name: &str, value: &Value) {
        fs::create_dir_all(self.state()).unwrap();
        fs::write(self.state().join(name), value.to_string()).unwrap();
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// Where udev would read rules.
    pub(crate) fn rules(&self) -> PathBuf {
        self.dir.path().join("rules.d")
    }

    pub(crate) fn run(&self) -> Run {
        let kubelet_dir = self.dir.path().join("kubelet");
        let (resync, host_files) = (RESYNC, Vec::new());
        let status_socket = Some(self.status_socket());
        let node_name = "a".into();
        Run { node_name, kubelet_dir, resync, metrics_address: None, status_socket, host_files }
    }

    /// Starts the daemon, which goes on until the test ends.
    pub(crate) fn start(&self) -> JoinHandle<anyhow::Result<()>> {
        self.start_with(mpsc::channel(1).1)
    }

    /// The same with somebody who tells it of changes, as the kernel would.
    pub(crate) fn start_told(&self) -> mpsc::Sender<()> {
        let (sender, changes) = mpsc::channel(1);
        self.start_with(changes);
        sender
    }

    fn start_with(&self, changes: mpsc::Receiver<()>) -> JoinHandle<anyhow::Result<()>> {
        let stuck = self.run_dir().join("stuck");
        let attachments = self.dir.path().join("state/attachments");
        let host = Host { root: self.tree.root(), stuck, attachments };
        let files = Files::below("a", &self.state(), &self.run_dir(), &self.rules()).unwrap();
        let (run, cluster) = (self.run(), Cluster::of(self.server.client()));
        tokio::spawn(async move {
            serve(host, files, &run, &cluster, changes, std::future::pending()).await
        })
    }

    /// Starts the program, out of reach of any cluster.
    pub(crate) fn spawn(&self, more: &[&str]) -> Child {
        let path = |path: &Path| path.display().to_string();
        Command::new(env!("CARGO_BIN_EXE_ringway-agent"))
            .args(["run", "--node-name", "a", "--sys", &path(&self.tree.path("sys"))])
            .args(["--state-dir", &path(&self.state()), "--run-dir", &path(&self.run_dir())])
            .args(["--udev-rules-dir", &path(&self.rules())])
            .args(["--kubelet-dir", &path(&self.run().kubelet_dir)])
            .args(more)
            .env("KUBECONFIG", "/nonexistent")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub(crate) fn status_socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    /// Whether the daemon says that it is ready, and what the probe says.
    pub(crate) async fn probe(&self) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway-agent"));
        command.args(["probe", "--status-socket"]).arg(self.status_socket());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    }

    /// The states of devices in `pools.json`, in order.
    pub(crate) fn offered(&self) -> Vec<String> {
        let Ok(text) = fs::read_to_string(self.state().join("pools.json")) else { return vec![] };
        let pools: Value = serde_json::from_str(&text).unwrap();
        let devices = pools["pools"][0]["devices"].as_array().unwrap().iter();
        devices.map(|device| device["state"].as_str().unwrap().to_owned()).collect()
    }
}

fn wish() -> Value {
    let pool = json!({
        "name": "vms", "resource": "ringway.dev/vms", "range": "0-1", "attach": "virtio-vdpa",
    });
    let parent = json!({
        "name": "0000:01:00.0", "policy": "edge", "functionCount": 2, "pools": [pool],
    });
    json!({"parents": [parent]})
}

/// How the object's newest spec is answered: reason and message of `Ready`; empty where it is not.
pub(crate) fn answer(server: &ApiServer) -> (String, String) {
    let object = server.get(OBJECT).unwrap_or_default();
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let newest = |c: &&Value| c["observedGeneration"] == object["metadata"]["generation"];
    let ready = conditions.iter().filter(newest).find(|condition| condition["type"] == "Ready");
    let text = |field| ready.map_or(String::new(), |c| c[field].as_str().unwrap().to_owned());
    (text("reason"), text("message"))
}

/// Until the newest spec is answered so.
pub(crate) async fn until_answered(server: &ApiServer, reason: &str) {
    server.until(answer, |(found, _)| found == reason).await;
}

/// How often the status was written.
pub(crate) fn said(server: &ApiServer) -> usize {
    server.writes().iter().filter(|write| *write == "PATCH nodedevices/a/status").count()
}

/// Until it is so; a minute is more than anything here takes.
pub(crate) fn until(mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(60), "not so within a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
}
