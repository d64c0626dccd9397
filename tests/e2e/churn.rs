//! The device plugin's ties with kubelet break while pods come and go: each is mended, and how long that
//! took is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::{Cluster, SOON, SYSTEM, apply, get, kubectl, on_node, policy, pool};
use crate::kubelet::{Kubelet, LISTED};
use crate::pods;

const RESOURCE: &str = "churned";

/// Pods, one after the other, until it is dropped.
struct Churn {
    over: Arc<AtomicBool>,
    fates: Arc<Mutex<Fates>>,
    pods: Option<JoinHandle<()>>,
}

/// What became of the pods.
#[derive(Debug, Default, Clone)]
struct Fates {
    ran: usize,
    /// What kubelet said of those that it refused.
    refused: Vec<String>,
}

impl Churn {
    /// Carves what they ask for, and returns when the first have run.
    fn begin(cluster: &Cluster) -> Self {
        cluster.apply(&policy("churn", 4, json!([pool(RESOURCE, "0-3", "virtio-vdpa")])));
        cluster.allocatable(RESOURCE, 4);
        cluster.apply(&pods::network(RESOURCE, RESOURCE));
        cluster.condition_of(&format!("devicenetwork {RESOURCE}"), "Ready");
        let (over, fates) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Fates>>::default());
        let (is_over, told) = (over.clone(), fates.clone());
        let pods = thread::spawn(move || {
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let fate = one(&format!("churn-{number}"), &is_over);
                let mut told = told.lock().unwrap();
                match fate {
                    Some(Ok(())) => told.ran += 1,
                    Some(Err(why)) => told.refused.push(why),
                    None => {}
                }
            }
        });
        let churn = Self { over, fates, pods: Some(pods) };
        churn.goes_on(cluster);
        churn
    }

    fn fates(&self) -> Fates {
        self.fates.lock().unwrap().clone()
    }

    /// Waits until one more has run that began after now: the one that is on its way does not count.
    fn goes_on(&self, cluster: &Cluster) {
        let before = self.fates();
        let over = before.ran + before.refused.len() + 2;
        cluster.until("pods go on", 4 * SOON, || {
            let now = self.fates();
            (now.ran > before.ran && now.ran + now.refused.len() >= over).then_some(())
        });
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.pods.take().map(JoinHandle::join);
        assert!(thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

/// Starts a pod, looks what becomes of it, and takes it away. `None` if nobody wants to know any more.
fn one(name: &str, is_over: &AtomicBool) -> Option<Result<(), String>> {
    apply(&pods::pod(name, RESOURCE, RESOURCE));
    let fate = loop {
        let pod = get(&format!("pod {name}"));
        let status = &pod["status"];
        match status["phase"].as_str() {
            Some("Running") => break Some(Ok(())),
            Some("Failed") => {
                break Some(Err(format!("{} {}", status["reason"], status["message"])));
            }
            _ if is_over.load(Ordering::Relaxed) => break None,
            _ => thread::sleep(Duration::from_millis(200)),
        }
    };
    kubectl(&format!("delete pod {name} --wait=false"));
    fate
}

/// What happens, by whom, and whether kubelet may refuse a pod that it admits meanwhile: it does without
/// the plugin's list (devicesToAllocate, pkg/kubelet/cm/devicemanager/manager.go).
const BREAKS: [(&str, &str, bool); 3] = [
    ("its socket is removed", "rm /var/lib/kubelet/device-plugins/ringway-churned-*.sock", false),
    ("kubelet restarts", "systemctl restart kubelet", true),
    ("the plugin is killed", "pkill -KILL -x ringway-device-", true),
];

#[test]
fn while_pods_come_and_go_each_break_is_mended() {
    let cluster = Cluster::at_rest();
    let churn = Churn::begin(&cluster);
    for (what, line, may_refuse) in BREAKS {
        let before = churn.fates();
        let kubelet = Kubelet::from_now();
        on_node(line);
        let after = cluster
            .until("kubelet has the list again", 3 * SOON, || kubelet.first(LISTED, RESOURCE));
        churn.goes_on(&cluster);
        let now = churn.fates();
        println!(
            "shown: {what}: kubelet has the list after {after:.2} s; {} pods ran meanwhile, {} were refused",
            now.ran - before.ran,
            now.refused.len() - before.refused.len(),
        );
        let refused = &now.refused[before.refused.len()..];
        assert!(may_refuse || refused.is_empty(), "{what}: {refused:?}");
        assert!(refused.iter().all(|why| why.contains("UnexpectedAdmissionError")), "{refused:?}");
    }
    drop(churn);
}

/// Two instances overlap, and each has streams to kubelet.
#[test]
fn while_pods_come_and_go_an_update_refuses_none() {
    let cluster = Cluster::at_rest();
    let churn = Churn::begin(&cluster);
    let written = || cluster.node_devices()["metadata"]["resourceVersion"].clone();
    let (begun, before) = (Instant::now(), written());
    kubectl(&format!("rollout restart -n {SYSTEM} daemonset/ringway-device-plugin"));
    kubectl(&format!("rollout status -n {SYSTEM} daemonset/ringway-device-plugin"));
    let through = begun.elapsed();
    churn.goes_on(&cluster);
    let Fates { ran, refused } = churn.fates();
    println!(
        "shown: an update of {:.0} s: {ran} pods ran, none was refused",
        through.as_secs_f64()
    );
    assert_eq!(refused, Vec::<String>::new());
    assert_eq!(written(), before, "pods that come and go are no news of the node");
}
