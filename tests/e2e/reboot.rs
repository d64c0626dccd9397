//! The node starts anew, or kubelet alone does, while pods have devices.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Cluster, SOON, kubectl, lab, on_node, policy, pool};
use crate::{kubelet, pods};

/// A machine's start, its cluster's and the pods'.
const REBOOT: Duration = Duration::from_secs(180);

/// One pod with a device, made again whenever it ends.
fn deployment(name: &str) -> Value {
    let mut pod = pods::pod("unnamed", "rings", "rings");
    let meta = pod["metadata"].as_object_mut().unwrap();
    meta.remove("name");
    meta.insert("labels".into(), json!({"app": name}));
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": pod["metadata"], "spec": pod["spec"]},
        },
    })
}

/// Waits until its pod is ready, in another container than that one, and gives the container: what
/// the API server still says of the time before a reboot is history.
fn ready(cluster: &Cluster, selector: &str, other_than: &str) -> String {
    cluster.until(&format!("{selector} is ready"), REBOOT, || {
        let pods = cluster.get(&format!("pods -l {selector}"));
        let containers = pods["items"].as_array().unwrap().iter().filter_map(|pod| {
            let container = &pod["status"]["containerStatuses"][0];
            let id = container["containerID"].as_str()?.to_owned();
            (container["ready"] == true && id != other_than).then_some(id)
        });
        containers.into_iter().next()
    })
}

fn ping(from: &str, to: &str) {
    let said = kubectl(&format!("exec {from} -- ping -c 5 -W 10 {}", pods::address(to)));
    assert!(said.contains(" 0% packet loss"), "{from} to {to}: {said}");
}

fn reboot(cluster: &Cluster) {
    let boot_id = "cat /proc/sys/kernel/random/boot_id";
    let before = on_node(boot_id);
    // whether ssh comes to its end before the node does is nobody's concern
    lab("ssh").arg("systemctl reboot").output().unwrap();
    cluster.until("the node has started anew", REBOOT, || {
        let output = lab("ssh").arg(boot_id).output().unwrap();
        let now = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success() && now != before).then_some(())
    });
}

/// When a unit came to this, in microseconds since the machine's start.
fn moment(unit: &str, what: &str) -> u64 {
    let text = on_node(&format!("systemctl show --value --property={what}Monotonic {unit}"));
    text.trim().parse().unwrap()
}

/// Three pods with devices before a reboot: a bare one, and those of two Deployments.
const APPS: [&str; 3] = ["bare", "web-a", "web-b"];

struct Before {
    cluster: Cluster,
    /// Their containers.
    containers: [String; 3],
    kernel: String,
}

impl Before {
    fn new() -> Self {
        let cluster = Cluster::at_rest();
        cluster.apply(&policy("rings", 4, json!([pool("rings", "0-3", "virtio-vdpa")])));
        cluster.allocatable("rings", 4);
        cluster.apply(&pods::network("rings", "rings"));
        let mut bare = pods::pod("bare", "rings", "rings");
        bare["metadata"]["labels"] = json!({"app": "bare"});
        cluster.apply(&bare);
        for name in ["web-a", "web-b"] {
            cluster.apply(&deployment(name));
        }
        let containers = APPS.map(|name| ready(&cluster, &format!("app={name}"), ""));
        ping("deploy/web-a", "deploy/web-b");
        let kernel = cluster.kernel();
        Self { cluster, containers, kernel }
    }

    /// Carves before kubelet starts, whatever hands out then; both Deployments are back.
    fn reboot(&self) {
        let cluster = &self.cluster;
        reboot(cluster);
        cluster.until("ringway.service has done its work", REBOOT, || {
            (moment("ringway.service", "ExecMainExitTimestamp") > 0).then_some(())
        });
        assert_eq!(
            cluster.kernel(),
            self.kernel,
            "{}",
            on_node("journalctl -b -u ringway.service")
        );
        cluster.until("kubelet runs", REBOOT, || {
            (moment("kubelet.service", "ActiveEnterTimestamp") > 0).then_some(())
        });
        let carved_at = moment("ringway.service", "ExecMainExitTimestamp");
        let kubelet_at = moment("kubelet.service", "ExecMainStartTimestamp");
        assert!(carved_at < kubelet_at, "carved at {carved_at}, kubelet at {kubelet_at}");
        for (name, before) in APPS.into_iter().zip(&self.containers).skip(1) {
            ready(cluster, &format!("app={name}"), before);
        }
        ping("deploy/web-a", "deploy/web-b");
        ping("deploy/web-b", "deploy/web-a");
        cluster.condition("rings", "Ready");
    }
}

/// The unit serves from before kubelet, and leaves when the device plugin's pod serves. Whether
/// kubelet has its list before it looks at the pods that it finds on the node is kubelet's: both begin
/// with the moment that its socket is there. So a bare pod has its own device again, or has failed.
#[test]
fn pods_have_devices_after_a_reboot_and_the_unit_leaves() {
    let before = Before::new();
    let mac = pods::mac("bare");
    before.reboot();
    let (cluster, container) = (&before.cluster, &before.containers[0]);
    let end = cluster.until("the bare pod runs again or has failed", REBOOT, || {
        let status = cluster.get("pod bare")["status"].clone();
        let now = &status["containerStatuses"][0];
        if now["ready"] == true && now["containerID"] != container.as_str() {
            return Some(None);
        }
        (status["phase"] == "Failed").then(|| Some(status["reason"].clone()))
    });
    let list = kubelet::first_list("rings");
    println!(
        "\nshown: the bare pod after a reboot: {end:?}; kubelet had the list {list:.3} s after it listened"
    );
    match end {
        None => assert_eq!(pods::mac("bare"), mac, "another device"),
        Some(reason) => assert_eq!(reason, "UnexpectedAdmissionError"),
    }
    cluster.until("the unit has left", SOON, || {
        let unit = on_node("systemctl show -p ActiveState,Result ringway-device-plugin");
        let left =
            ["ActiveState=inactive", "Result=success"].iter().all(|part| unit.contains(part));
        left.then_some(())
    });
}

/// Kubelet refuses for good what it cannot give a device at once.
#[test]
fn without_the_unit_that_hands_out_bare_pods_fail_and_others_are_made_anew() {
    let before = Before::new();
    // the agent's pod enables it again when it starts
    on_node("systemctl disable ringway-device-plugin.service");
    before.reboot();
    let bare = before.cluster.get("pod bare")["status"].clone();
    println!("\nshown: a bare pod: {} {} {}", bare["phase"], bare["reason"], bare["message"]);
    let end = (bare["phase"].as_str(), bare["reason"].as_str());
    assert_eq!(end, (Some("Failed"), Some("UnexpectedAdmissionError")), "{bare}");
}
