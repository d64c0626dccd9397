//! Probes and metrics.

use serde_json::json;

use crate::eventually;
use crate::node::{Node, PODS, VMS};

async fn ready(node: &Node, instance: &str) {
    eventually("ready", || node.probe(instance, "ready").0.then_some(())).await;
}

#[tokio::test]
async fn an_instance_is_ready_when_kubelet_knows_all_that_it_offers() {
    let node = Node::new();
    let (well, why) = node.probe("a", "live");
    assert!(!well && why.contains("status-a.sock"), "{why}");
    let _plugin = node.patient_plugin("a");
    eventually("live", || node.probe("a", "live").0.then_some(())).await;
    let words = "kubelet does not know ringway.dev/pod-rings yet";
    eventually("reason", || node.probe("a", "ready").1.contains(words).then_some(())).await;
    let kubelet = node.kubelet();
    ready(&node, "a").await;
    assert_eq!((kubelet.registrations(VMS), kubelet.registrations(PODS)), (1, 1));
    let (_, why) = node.probe("none", "ready");
    assert!(why.contains("status-none.sock"), "{why}");
}

#[tokio::test]
async fn what_cannot_be_read_is_not_ready_and_what_is_absent_is_nothing_to_offer() {
    let node = Node::new();
    node.break_pools("{}");
    let _kubelet = node.kubelet();
    let _plugin = node.patient_plugin("a");
    let words = "what to offer could not be read yet";
    eventually("reason", || node.probe("a", "ready").1.contains(words).then_some(())).await;
    std::fs::remove_file(node.path("state/pools.json")).unwrap();
    ready(&node, "a").await;
    node.write_pools();
    let lines = "source_good 1";
    eventually("pools", || node.metrics("a").contains(lines).then_some(())).await;
    // what was good stays in force
    node.break_pools("{}");
    eventually("complaint", || node.metrics("a").contains("source_good 0").then_some(())).await;
    ready(&node, "a").await;
}

#[tokio::test]
async fn what_happens_is_counted() {
    let mut node = Node::new();
    let kubelet = node.kubelet();
    let _plugin = node.plugin("a");
    kubelet.healthy(VMS, &["0000:01:00.1", "0000:01:00.2"]).await;
    kubelet.allocate(VMS, &["0000:01:00.1"]).await.unwrap();
    kubelet.allocate(VMS, &["0000:01:00.7"]).await.unwrap_err();
    node.change_pools(|pools| {
        pools[0]["devices"][1]["state"] = json!("draining");
        pools[0]["devices"][1]["reason"] = json!("mtu changes");
    });
    kubelet.list(VMS, |list| list.iter().map(|(_, healthy)| *healthy).eq([true, false])).await;
    kubelet.allocate(VMS, &["0000:01:00.2"]).await.unwrap_err();
    let of = |name: &str, label: &str, number: u32| {
        format!("ringway_device_plugin_{name}{{resource=\"{VMS}\"{label}}} {number}")
    };
    let lines = [
        of("devices", ",state=\"healthy\"", 1),
        of("devices", ",state=\"draining\"", 1),
        of("device_changes_total", ",state=\"draining\"", 1),
        of("allocations_total", "", 1),
        of("refusals_total", ",reason=\"unknown\"", 1),
        of("refusals_total", ",reason=\"draining\"", 1),
        of("registrations_total", ",result=\"done\"", 1),
        of("streams", "", 1),
    ];
    let text = node.metrics("a");
    for line in &lines {
        assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
    }
    assert!(text.contains("ringway_device_plugin_stream_age_seconds{"), "{text}");
}
