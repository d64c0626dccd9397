//! Starts, restarts and ends.

use std::process::Command;

use crate::eventually;
use crate::fake_kubelet::Kubelet;
use crate::node::{Node, PODS, VMS};

const BOTH: [&str; 2] = ["0000:01:00.1", "0000:01:00.2"];

async fn registered(kubelet: &Kubelet, resource: &str, times: usize) {
    let is_so = || (kubelet.registrations(resource) == times).then_some(());
    eventually(&format!("registration {times} of {resource}"), is_so).await;
}

#[tokio::test]
async fn a_kubelet_that_restarts_is_told_again() {
    let node = Node::new();
    let kubelet = node.kubelet();
    let _plugin = node.patient_plugin("a");
    kubelet.healthy(VMS, &BOTH).await;
    for _ in 0..2 {
        kubelet_restarts(&node).await;
    }
    drop(kubelet);
}

async fn kubelet_restarts(node: &Node) {
    let kubelet = node.kubelet();
    kubelet.healthy(VMS, &BOTH).await;
    kubelet.healthy(PODS, &["0000:01:00.3"]).await;
    kubelet.allocate(VMS, &["0000:01:00.1"]).await.unwrap();
    kubelet.stop();
}

#[tokio::test]
async fn a_new_kubelet_socket_is_enough_to_be_told_again() {
    let node = Node::new();
    let old = node.kubelet();
    let _plugin = node.patient_plugin("a");
    old.healthy(VMS, &BOTH).await;
    let new = Kubelet::replace(&node.path("kubelet/device-plugins"));
    new.healthy(VMS, &BOTH).await;
    assert_eq!((old.registrations(VMS), old.ended(VMS)), (1, 0), "the same server goes on");
}

#[tokio::test]
async fn kubelet_may_come_later_than_the_plugin() {
    let node = Node::new();
    let plugin = node.patient_plugin("a");
    eventually("complaint", || plugin.log().contains("waiting for kubelet").then_some(())).await;
    let kubelet = node.kubelet();
    kubelet.healthy(VMS, &BOTH).await;
}

#[tokio::test]
async fn the_agent_may_come_later_than_the_plugin() {
    let node = Node::new();
    let foreign = node.path("cdi/ringway.dev-vm-rings.json");
    std::fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    std::fs::write(&foreign, "of an earlier run").unwrap();
    std::fs::remove_file(node.path("state/pools.json")).unwrap();
    let kubelet = node.kubelet();
    let plugin = node.patient_plugin("a");
    eventually("complaint", || plugin.log().contains("pools.json").then_some(())).await;
    assert!(foreign.exists(), "not known is not empty");
    node.write_pools();
    kubelet.healthy(VMS, &BOTH).await;
}

#[tokio::test]
async fn a_removed_socket_is_made_anew() {
    let node = Node::new();
    let kubelet = node.kubelet();
    let _plugin = node.patient_plugin("a");
    kubelet.healthy(VMS, &BOTH).await;
    kubelet.healthy(PODS, &["0000:01:00.3"]).await;
    std::fs::remove_file(node.path("kubelet/device-plugins/ringway-vm-rings-a.sock")).unwrap();
    registered(&kubelet, VMS, 2).await;
    kubelet.allocate(VMS, &["0000:01:00.1"]).await.unwrap();
    assert_eq!(kubelet.registrations(PODS), 1);
}

#[tokio::test]
async fn a_stream_that_kubelet_lost_is_offered_again() {
    let node = Node::new();
    let kubelet = node.kubelet();
    let _plugin = node.patient_plugin("a");
    kubelet.healthy(VMS, &BOTH).await;
    kubelet.drop_stream(VMS);
    registered(&kubelet, VMS, 2).await;
    kubelet.list(VMS, |list| list.len() == 2).await;
}

#[tokio::test]
async fn two_instances_do_not_fight_and_the_one_that_stays_takes_over() {
    let node = Node::new();
    let kubelet = node.kubelet();
    let _old = node.plugin("old");
    kubelet.healthy(VMS, &BOTH).await;
    let mut new = node.plugin("new");
    registered(&kubelet, VMS, 2).await;
    // Changes of health are the clock: many looks long, the old one has no stream.
    for _ in 0..5 {
        let seen = kubelet.lists(VMS).len();
        node.unbind(1);
        eventually("unhealthy", || (kubelet.lists(VMS).len() > seen).then_some(())).await;
        node.bind(1, "vhost_vdpa");
        kubelet.healthy(VMS, &BOTH).await;
    }
    assert_eq!(kubelet.registrations(VMS), 2);
    assert!(new.terminate().await.success());
    registered(&kubelet, VMS, 3).await;
    kubelet.allocate(VMS, &["0000:01:00.1"]).await.unwrap();
}

#[tokio::test]
async fn one_for_the_machines_start_ends_when_another_serves_and_no_sooner() {
    let node = Node::new();
    let kubelet = node.kubelet();
    let mut old = node.plugin_until_replaced("old");
    kubelet.healthy(VMS, &BOTH).await;
    kubelet.drop_stream(VMS);
    // that kubelet lost it does not mean that another serves
    registered(&kubelet, VMS, 2).await;
    assert!(old.runs());
    let _new = node.plugin("new");
    assert!(old.ended().await.success());
    // the stream that was dropped is none that ended
    kubelet.connected_after(VMS, 1).await;
    assert_eq!(kubelet.endpoint(VMS), "ringway-vm-rings-new.sock");
    kubelet.healthy(VMS, &BOTH).await;
    kubelet.allocate(VMS, &["0000:01:00.1"]).await.unwrap();
}

#[tokio::test]
async fn of_two_instances_the_newer_one_is_told_when_kubelet_loses_it() {
    let node = Node::new();
    let kubelet = node.kubelet();
    let _old = node.patient_plugin("old");
    kubelet.healthy(VMS, &BOTH).await;
    let new = node.patient_plugin("new");
    registered(&kubelet, VMS, 2).await;
    kubelet.watched(VMS).await;
    kubelet.drop_stream(VMS);
    registered(&kubelet, VMS, 3).await;
    assert_eq!(kubelet.endpoint(VMS), "ringway-vm-rings-new.sock");
    kubelet.watched(VMS).await;
    drop(new); // SIGKILL, which leaves the socket
    registered(&kubelet, VMS, 4).await;
    assert_eq!(kubelet.endpoint(VMS), "ringway-vm-rings-old.sock");
    kubelet.allocate(VMS, &["0000:01:00.1"]).await.unwrap();
}

/// As a DaemonSet with `maxSurge: 1` does it.
#[tokio::test]
async fn while_instances_overlap_nothing_is_taken_away() {
    let node = Node::new();
    let kubelet = node.kubelet();
    let mut running = node.patient_plugin("0");
    kubelet.healthy(VMS, &BOTH).await;
    kubelet.healthy(PODS, &["0000:01:00.3"]).await;
    for next in 1..4 {
        let name = next.to_string();
        let successor = node.patient_plugin(&name);
        for resource in [VMS, PODS] {
            let serves =
                || kubelet.endpoint(resource).ends_with(&format!("-{name}.sock")).then_some(());
            eventually(&format!("{name} serves {resource}"), serves).await;
        }
        assert!(running.terminate().await.success());
        assert!(running.log().contains("handed over"));
        running = successor;
        kubelet.allocate(VMS, &["0000:01:00.1"]).await.unwrap();
        for resource in [VMS, PODS] {
            kubelet.connected_after(resource, 2 * next - 1).await;
            // of this instance there are two, one to be known by when it ends
            registered(&kubelet, resource, 2 * next + 1).await;
        }
    }
    assert_eq!((kubelet.disconnects(VMS), kubelet.disconnects(PODS)), (0, 0));
    for (resource, ids) in [(VMS, &BOTH[..]), (PODS, &["0000:01:00.3"])] {
        let all: Vec<_> = ids.iter().map(|id| ((*id).to_owned(), true)).collect();
        assert!(kubelet.lists(resource).iter().all(|list| *list == all));
    }
}

/// Kubelet keeps the stream of the first of two registrations, and it says nothing of the second.
#[tokio::test]
async fn a_stream_from_before_does_not_hide_that_kubelet_let_go() {
    let node = Node::new();
    let kubelet = node.kubelet();
    let mut first = node.patient_plugin("0");
    kubelet.healthy(VMS, &BOTH).await;
    let _plugin = node.patient_plugin("1");
    registered(&kubelet, VMS, 2).await;
    assert!(first.terminate().await.success());
    registered(&kubelet, VMS, 3).await;
    kubelet.watched(VMS).await;
    kubelet.drop_stream(VMS);
    registered(&kubelet, VMS, 4).await;
}

#[tokio::test]
async fn two_streams_at_once_are_both_served() {
    let mut node = Node::new();
    let kubelet = node.kubelet();
    let _plugin = node.patient_plugin("a");
    kubelet.healthy(VMS, &BOTH).await;
    let mut second = kubelet.watch_beside(VMS).await;
    assert_eq!(second.message().await.unwrap().unwrap().devices.len(), 2);
    node.change_pools(|pools| drop(pools[0]["devices"].as_array_mut().unwrap().remove(1)));
    kubelet.healthy(VMS, &BOTH[..1]).await;
    assert_eq!(second.message().await.unwrap().unwrap().devices.len(), 1);
    assert_eq!(kubelet.registrations(VMS), 1);
    // whose stream it was cannot be told
    drop(second);
    registered(&kubelet, VMS, 2).await;
    node.change_pools(|pools| drop(pools[0]["devices"].as_array_mut().unwrap().remove(0)));
    kubelet.healthy(VMS, &[]).await;
    assert_eq!(kubelet.ended(VMS), 0);
}

#[tokio::test]
async fn a_killed_instance_leaves_no_socket_for_long() {
    let node = Node::new();
    let kubelet = node.kubelet();
    let killed = node.patient_plugin("killed");
    kubelet.healthy(VMS, &BOTH).await;
    drop(killed); // SIGKILL
    let socket =
        |instance| node.path(&format!("kubelet/device-plugins/ringway-vm-rings-{instance}.sock"));
    assert!(socket("killed").exists());
    let _plugin = node.patient_plugin("a");
    registered(&kubelet, VMS, 2).await;
    eventually("removal", || (!socket("killed").exists()).then_some(())).await;
    assert!(socket("a").exists());
}

#[tokio::test]
async fn on_sigterm_it_leaves_without_an_empty_list() {
    let node = Node::new();
    let kubelet = node.kubelet();
    let mut plugin = node.patient_plugin("a");
    kubelet.healthy(VMS, &BOTH).await;
    kubelet.healthy(PODS, &["0000:01:00.3"]).await;
    assert!(plugin.terminate().await.success());
    for resource in [VMS, PODS] {
        eventually("end of the stream", || (kubelet.ended(resource) == 1).then_some(())).await;
        assert_eq!(kubelet.lists(resource).len(), 1, "nothing after the first list");
    }
    assert!(!node.path("kubelet/device-plugins/ringway-vm-rings-a.sock").exists());
    assert!(node.path("cdi/ringway.dev-vm-rings.json").exists(), "pods still need it");
    let info = node.path("devinfo/dp/ringway.dev-vm-rings-0000:01:00.1-device.json");
    assert!(info.exists(), "pods still need it");
}

#[tokio::test]
async fn an_allocation_under_way_is_answered_before_it_leaves() {
    let node = Node::new();
    let kubelet = node.kubelet();
    let mut plugin = node.patient_plugin("a");
    kubelet.healthy(VMS, &BOTH).await;
    let held = node.lock("0000:01:00.2");
    let asking = kubelet.allocate(VMS, &BOTH);
    let leaving = async {
        // It has the first lock, so it waits for the second.
        eventually("allocation", || node.is_locked("0000:01:00.1").then_some(())).await;
        plugin.ask_to_leave();
        eventually("leaving", || plugin.log().contains("leaving").then_some(())).await;
        drop(held);
    };
    let (answer, ()) = tokio::join!(asking, leaving);
    assert_eq!(answer.unwrap().cdi_devices.len(), 2);
    assert!(plugin.terminate().await.success());
}

#[test]
fn version_and_help_are_told() {
    let run = |arg| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_ringway-device-plugin")).arg(arg).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run("--version"), format!("ringway-device-plugin {}\n", env!("CARGO_PKG_VERSION")));
    let help = run("--help");
    for flag in ["--kubelet-dir", "--pools", "--cdi-dir", "--devinfo-dir", "--lock-dir", "--hook"] {
        assert!(help.contains(flag), "{flag}");
    }
}
