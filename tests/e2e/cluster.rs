//! The cluster at rest: where each test begins, and what it leaves behind. Everything goes through
//! `cargo lab kubectl` and `cargo lab ssh`, so that a person can do the same by hand.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The lab's only node.
pub(crate) const NODE: &str = "node1";
/// The virtio card with four virtual functions (tests/lab/src/vm.rs).
pub(crate) const VIRTIO: &str = "0000:01:00.0";
/// The igb card: no vDPA.
pub(crate) const IGB: &str = "0000:02:00.0";
/// Where the product is installed.
pub(crate) const SYSTEM: &str = "ringway-system";

/// What may take long on a fast machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// A cluster at rest; so again when dropped.
pub(crate) struct Cluster;

impl Cluster {
    pub(crate) fn at_rest() -> Self {
        let cluster = Self;
        cluster.rest();
        cluster
    }

    fn rest(&self) {
        kubectl("delete deployments,replicasets,pods --all --namespace default --wait=true");
        kubectl("delete devicenetworks --all --namespace default --ignore-not-found");
        kubectl("delete devicepolicies --all --ignore-not-found");
        self.until("the node is as it was", SOON, || {
            // just installed, the agent may not have written it yet
            let text = kubectl(&format!("get nodedevices {NODE} --ignore-not-found -o json"));
            let node: Value = serde_json::from_str(&text).ok()?;
            let carved = node["status"]["parents"].as_array().is_none_or(|parents| {
                parents.iter().any(|parent| parent["functionCount"].as_u64() != Some(0))
            });
            let idle = condition(&node, "Ready").0 == "True";
            let asked = node["spec"]["parents"].as_array().is_some_and(|p| !p.is_empty());
            // the status is of the newest spec
            let answered = node["status"]["observedGeneration"] == node["metadata"]["generation"];
            (!carved && idle && !asked && answered).then_some(())
        });
    }

    pub(crate) fn apply(&self, object: &Value) {
        apply(object);
    }

    /// Applies, or asks whether the API server would take it.
    pub(crate) fn try_apply(&self, object: &Value, dry_run: bool) -> Output {
        try_apply(object, dry_run)
    }

    pub(crate) fn get(&self, line: &str) -> Value {
        get(line)
    }

    pub(crate) fn node_devices(&self) -> Value {
        self.get(&format!("nodedevices {NODE}"))
    }

    /// What the node's kernel has of the virtio card: drivers of functions and of vDPA devices.
    pub(crate) fn kernel(&self) -> String {
        on_node(&format!(
            "cd /sys/bus/pci/devices/{VIRTIO} && cat sriov_numvfs sriov_drivers_autoprobe && \
             for f in virtfn*; do [ -e $f ] && readlink $f $f/driver $f/vdpa:*/driver; done; \
             cat /sys/bus/pci/devices/{IGB}/sriov_numvfs; ls /sys/bus/vdpa/devices 2>/dev/null || true"
        ))
    }

    /// Waits until a policy's condition is true, and gives its reason and message.
    pub(crate) fn condition(&self, policy: &str, kind: &str) -> (String, String) {
        self.condition_of(&format!("devicepolicy {policy}"), kind)
    }

    /// The same for any object, in kubectl's words.
    pub(crate) fn condition_of(&self, object: &str, kind: &str) -> (String, String) {
        self.until(&format!("{object} is {kind}"), SOON, || self.says(object, kind))
    }

    /// Waits until a policy says that it waits for this pod, and gives the whole message. Before
    /// that it may say for a while that a device is draining: kubelet is asked first.
    pub(crate) fn waits_for(&self, policy: &str, pod: &str) -> String {
        self.until(&format!("{policy} waits for {pod}"), SOON, || {
            let (reason, message) =
                self.says(&format!("devicepolicy {policy}"), "AwaitingDisruption")?;
            (reason == "DeviceHeld" && message.contains(pod)).then_some(message)
        })
    }

    /// Reason and message of a condition that holds.
    fn says(&self, object: &str, kind: &str) -> Option<(String, String)> {
        let found = self.get(object);
        let (status, reason, message) = condition(&found, kind);
        // what is said of an older generation is history
        let observed = &found["status"]["observedGeneration"];
        let newest = observed.is_null() || *observed == found["metadata"]["generation"];
        (status == "True" && newest).then_some((reason, message))
    }

    /// Waits until the node offers so many of a resource.
    pub(crate) fn allocatable(&self, resource: &str, count: u64) {
        self.until(&format!("{count} of {resource} can be asked for"), SOON, || {
            let node = self.get(&format!("node {NODE}"));
            let offered = node["status"]["allocatable"][format!("ringway.dev/{resource}")].clone();
            (offered.as_str().unwrap_or("0") == count.to_string()).then_some(())
        });
    }

    /// Waits for a state; at the deadline it shows what a person would look at.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        mut state: impl FnMut() -> Option<T>,
    ) -> T {
        let limit = limit.mul_f64(pace());
        let deadline = Instant::now() + limit;
        loop {
            if let Some(value) = state() {
                return value;
            }
            assert!(Instant::now() < deadline, "{what}: not so within {limit:?}\n{}", picture());
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.rest();
        }
    }
}

/// A shell line in the node that puts something back, whatever becomes of the test.
pub(crate) struct PutBack(pub(crate) String);

impl Drop for PutBack {
    fn drop(&mut self) {
        on_node(&self.0);
    }
}

/// Applies an object, beside whoever has the cluster.
pub(crate) fn apply(object: &Value) {
    let output = try_apply(object, false);
    assert!(output.status.success(), "apply {object}: {}", said(&output));
}

fn try_apply(object: &Value, dry_run: bool) -> Output {
    let mut args = vec!["apply", "--server-side", "--force-conflicts", "-f", "-"];
    if dry_run {
        args.push("--dry-run=server");
    }
    with_input(lab("kubectl").args(args), &object.to_string())
}

/// An object, in kubectl's words.
pub(crate) fn get(line: &str) -> Value {
    let text = kubectl(&format!("get {line} -o json"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("get {line}: {e}: {text}"))
}

/// Status, reason and message of an object's condition; empty where it has none.
pub(crate) fn condition(object: &Value, kind: &str) -> (String, String, String) {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|c| c["type"] == kind));
    let text = |field: &str| found.and_then(|c| c[field].as_str()).unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// A policy for the virtio card.
pub(crate) fn policy(name: &str, count: u32, pools: Value) -> Value {
    policy_for(name, json!([{"pci": {"addresses": [VIRTIO]}}]), count, pools)
}

pub(crate) fn policy_for(name: &str, parents: Value, count: u32, pools: Value) -> Value {
    json!({
        "apiVersion": "ringway.dev/v1alpha1", "kind": "DevicePolicy", "metadata": {"name": name},
        "spec": {"parents": parents, "functionCount": count, "pools": pools},
    })
}

/// A pool named after its resource.
pub(crate) fn pool(resource: &str, range: &str, attach: &str) -> Value {
    json!({"name": resource, "resource": resource, "range": range, "attach": attach})
}

/// Runs kubectl and gives its output.
pub(crate) fn kubectl(line: &str) -> String {
    output(lab("kubectl").args(line.split(' ')))
}

/// Runs a shell line in the node and gives its output.
pub(crate) fn on_node(line: &str) -> String {
    output(lab("ssh").arg(line))
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

pub(crate) fn with_input(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// `cargo lab VERB` of the lab that runs this.
pub(crate) fn lab(verb: &str) -> Command {
    let lab = std::env::var_os("RINGWAY_LAB")
        .expect("RINGWAY_LAB is set by `cargo lab test`, which runs these tests");
    let mut command = Command::new(lab);
    command.arg(verb);
    command
}

fn pace() -> f64 {
    std::env::var("RINGWAY_PACE").ok().and_then(|pace| pace.parse().ok()).unwrap_or(1.0)
}

fn picture() -> String {
    [
        "get pods -A -o wide",
        "get devicepolicies,nodedevices -o wide",
        "get nodedevices -o yaml",
        "get events -A --sort-by=.lastTimestamp",
    ]
    .map(|line| said(&lab("kubectl").args(line.split(' ')).output().unwrap()))
    .join("\n")
}
