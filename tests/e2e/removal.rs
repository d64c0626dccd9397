//! A node put back by hand, at boot, and when the chart is removed.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::cluster::{
    Cluster, NODE, PutBack, SOON, SYSTEM, VIRTIO, kubectl, lab, on_node, policy, pool, said,
};
use crate::pods;

/// The node's cards, but for whether a cable seems to be there this instant.
fn inventory() -> Value {
    let text = on_node("/opt/lab/ringway-agent observe -o json");
    let inventory: Value = serde_json::from_str(&text).unwrap();
    let mut parents = inventory["parents"].clone();
    for parent in parents.as_array_mut().unwrap() {
        for netdev in parent["netdevs"].as_array_mut().unwrap() {
            netdev.as_object_mut().unwrap().remove("carrier");
        }
    }
    parents
}

/// The node without its agent; with one again when dropped.
struct WithoutAgent;

impl WithoutAgent {
    fn new(cluster: &Cluster) -> Self {
        Self::select(r#"{"lab/nowhere":"true"}"#);
        cluster.until("the agent is gone", SOON, || {
            let pods = kubectl(&format!("get pods -n {SYSTEM} -l {AGENT} -o name"));
            pods.is_empty().then_some(())
        });
        Self
    }

    fn select(more: &str) {
        let patch = format!(r#"{{"spec":{{"template":{{"spec":{{"nodeSelector":{more}}}}}}}}}"#);
        let name = format!("-n {SYSTEM} daemonset ringway-agent --type=merge -p");
        let line = format!("patch {name} {patch}");
        kubectl(&line);
    }
}

impl Drop for WithoutAgent {
    fn drop(&mut self) {
        Self::select(r#"{"lab/nowhere":null}"#);
    }
}

#[test]
fn a_node_is_put_back_by_hand() {
    let cluster = Cluster::at_rest();
    let before = inventory();
    cluster.apply(&policy("rings", 4, json!([pool("rings", "0-3", "virtio-vdpa")])));
    cluster.allocatable("rings", 4);
    let carved = inventory();
    let refused = on_node("/opt/lab/ringway-agent reset 2>&1 || true");
    assert!(refused.contains("another ringway-agent works on this node"), "{refused}");
    assert_eq!(inventory(), carved);

    let away = WithoutAgent::new(&cluster);
    let said = on_node("/opt/lab/ringway-agent reset");
    assert!(said.contains(&format!("{VIRTIO}: as it was before")), "{said}");
    assert_eq!(inventory(), before);
    assert!(on_node("/opt/lab/ringway-agent reset").contains("0 steps done"));
    cluster.allocatable("rings", 0);
    kubectl("delete devicepolicy rings");
    drop(away);
}

/// The lab's node cannot be started anew, so what the unit finds then is made: no kubelet, no
/// functions, and a `/run` that knows of no allocation.
#[test]
fn the_unit_carves_before_kubelet_starts() {
    let cluster = Cluster::at_rest();
    cluster.apply(&policy("rings", 2, json!([pool("rings", "0-1", "vhost-vdpa")])));
    cluster.condition("rings", "Ready");
    cluster.allocatable("rings", 2);
    let right = cluster.kernel();
    let away = WithoutAgent::new(&cluster);
    let kubelet = PutBack("systemctl start kubelet".to_owned());
    let with_kubelet = on_node(
        "systemctl daemon-reload; systemctl is-enabled ringway.service; \
         /opt/ringway/bin/ringway-agent boot 2>&1 || true",
    );
    assert!(with_kubelet.contains("enabled"), "{with_kubelet}");
    assert!(with_kubelet.contains("kubelet runs"), "{with_kubelet}");
    let said = on_node(&format!(
        "set -e; systemctl stop kubelet
         for device in $(vdpa dev show | cut -d: -f1-4); do
             echo ${{device#vdpa/}} > /sys/bus/vdpa/devices/$device/driver/unbind; vdpa dev del $device
         done
         echo 0 > /sys/bus/pci/devices/{VIRTIO}/sriov_numvfs
         rm -rf /run/ringway/lock/* /var/run/cdi/ringway.dev-*
         systemctl restart ringway.service
         systemctl is-active ringway.service
         ls /var/run/cdi"
    ));
    assert!(said.contains("active") && said.contains("ringway.dev-rings.json"), "{said}");
    assert_eq!(cluster.kernel(), right);
    drop(kubelet);
    drop(away);
    cluster.condition("rings", "Ready");
    cluster.allocatable("rings", 2);
}

#[test]
fn the_chart_is_not_removed_while_a_pod_has_a_device_and_then_leaves_nothing() {
    let cluster = Cluster::at_rest();
    let before = inventory();
    cluster.apply(&policy("rings", 2, json!([pool("rings", "0-1", "virtio-vdpa")])));
    cluster.allocatable("rings", 2);
    cluster.apply(&pods::network("rings", "rings"));
    cluster.apply(&pods::pod("holder", "rings", "rings"));
    pods::runs(&cluster, "holder");
    let (carved, interface) = (cluster.kernel(), pods::interface("holder"));
    let installed = Installed::now();

    let refused = Installed::uninstall();
    assert!(!refused.status.success(), "{}", said(&refused));
    let log = kubectl(&format!("logs -n {SYSTEM} job/ringway-remove"));
    assert!(log.contains("pod default/holder on node node1 has ringway.dev/rings"), "{log}");
    assert_eq!((cluster.kernel(), pods::interface("holder")), (carved, interface));
    assert_eq!(kubectl("get devicepolicies -o name").trim(), "devicepolicy.ringway.dev/rings");

    pods::delete(&cluster, "holder");
    let removed = Installed::uninstall();
    let log = || kubectl(&format!("logs -n {SYSTEM} job/ringway-remove"));
    assert!(removed.status.success(), "{}: {}", said(&removed), log());
    assert_eq!(inventory(), before);
    assert_eq!(on_node(LEFT), "", "files are left on the host");
    assert_eq!(kubectl("get nodedevices -o name"), "");
    drop(installed);
}

/// Whatever of ours would be on the host.
const LEFT: &str = "ls -d /opt/cni/bin/ringway /opt/ringway/bin/* /etc/systemd/system/ringway.service \
    /etc/systemd/system/ringway-* \
    /etc/systemd/system/timers.target.wants/ringway* \
    /etc/systemd/system/multi-user.target.wants/ringway* /var/lib/ringway/*.json \
    /var/run/cdi/ringway.dev-* /var/run/k8s.cni.cncf.io/devinfo/dp/ringway.dev-* 2>/dev/null || true";
const AGENT: &str = "app.kubernetes.io/component=agent";

/// The chart as it is installed; so again when dropped.
struct Installed {
    values: String,
}

impl Installed {
    fn now() -> Self {
        let output = helm(&["get", "values", "ringway", "-n", SYSTEM, "-o", "json"]);
        assert!(output.status.success(), "{}", said(&output));
        Self { values: String::from_utf8(output.stdout).unwrap() }
    }

    fn uninstall() -> Output {
        helm(&["uninstall", "ringway", "-n", SYSTEM, "--wait", "--timeout=300s"])
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/ringway");
        let values = std::env::temp_dir().join(format!("ringway-{}.json", std::process::id()));
        std::fs::write(&values, &self.values).unwrap();
        let (chart, file) = (chart.display().to_string(), values.display().to_string());
        let args = ["upgrade", "--install", "ringway", &chart, "-n", SYSTEM, "--wait", "-f", &file];
        let output = helm(&args);
        std::fs::remove_file(values).unwrap();
        assert!(output.status.success(), "{}", said(&output));
        Cluster.until("the agent has answered", SOON, || {
            let name = kubectl(&format!("get nodedevices {NODE} --ignore-not-found -o name"));
            (!name.is_empty()).then_some(())
        });
    }
}

fn helm(args: &[&str]) -> Output {
    let mut command: Command = lab("helm");
    command.args(args).output().unwrap()
}
