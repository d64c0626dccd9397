//! The agent in a cluster: what it waits for, what it survives, and what it says of a node that
//! lacks something.

use std::process::Stdio;

use serde_json::json;

use crate::cluster::{
    Cluster, NODE, PutBack, SOON, SYSTEM, VIRTIO, kubectl, lab, on_node, policy, policy_for, pool,
    said,
};
use crate::pods;

#[test]
fn a_step_that_would_disturb_a_held_device_waits_for_its_pod_to_end() {
    let cluster = Cluster::at_rest();
    let two = policy("held", 2, json!([pool("rings", "0-1", "virtio-vdpa")]));
    cluster.apply(&two);
    cluster.condition("held", "Ready");
    cluster.allocatable("rings", 2);
    cluster.apply(&pods::network("rings", "rings"));
    cluster.apply(&pods::pod("holder", "rings", "rings"));
    pods::runs(&cluster, "holder");
    let (held, interface) = (cluster.kernel(), pods::interface("holder"));

    // another number of functions goes through none at all
    cluster.apply(&policy("held", 4, json!([pool("rings", "0-3", "virtio-vdpa")])));
    let message = cluster.waits_for("held", "holder");
    assert!(message.contains(VIRTIO), "{VIRTIO} is not in: {message}");
    let plan = cluster.node_devices()["status"]["plan"].clone();
    assert!(plan.to_string().contains("waits"), "{plan}");
    assert_eq!(cluster.kernel(), held, "the node has changed under a pod");
    assert_eq!(pods::interface("holder"), interface, "the pod's interface has changed");

    pods::delete(&cluster, "holder");
    cluster.condition("held", "Ready");
    cluster.allocatable("rings", 4);
}

/// Devices are asked for and are to be changed at the same time, again and again: whoever is given
/// one has it until the end, and whoever is not is told so before the container starts.
#[test]
fn a_device_is_never_changed_under_an_allocation() {
    // of a minute each, one for either moment
    const ROUNDS: usize = 2;
    let cluster = Cluster::at_rest();
    let rings = policy("race", 2, json!([pool("rings", "0-1", "vhost-vdpa")]));
    let others = policy("race", 2, json!([pool("others", "0-1", "virtio-vdpa")]));
    let names: Vec<_> = (0..2 * ROUNDS).map(|i| format!("racer-{i}")).collect();
    for (round, racers) in names.chunks(2).enumerate() {
        cluster.apply(&rings);
        racers.iter().for_each(|name| cluster.apply(&racer(name)));
        match round % 2 {
            // while they are given out
            0 => cluster.allocatable("rings", 2),
            // once they are
            _ => drop(ended_or(&cluster, &racers[0], "Running")),
        }
        cluster.apply(&others);
        cluster.condition("race", "Ready");
    }
    cluster.apply(&rings);
    let ends: Vec<_> = names.iter().map(|name| ended_or(&cluster, name, "")).collect();
    let given = ends.iter().filter(|end| *end == "Succeeded").count();
    println!("shown: {given} of {} allocations, {ROUNDS} changes; {ends:?}", ends.len());
    let refused = ends.iter().filter(|end| *end == "Failed UnexpectedAdmissionError").count();
    assert_eq!(given + refused, ends.len(), "a container lost its device: {ends:?}");
    assert!(given >= ROUNDS, "hardly anybody was given one: {ends:?}");
}

/// A pod that opens its device, keeps it for a while and looks whether it is still there.
fn racer(name: &str) -> serde_json::Value {
    let mut pod = pods::pod(name, "", "rings");
    pod["metadata"].as_object_mut().unwrap().remove("annotations");
    pod["spec"]["restartPolicy"] = json!("Never");
    let uses = "device=$(ls -d /dev/ringway/*) && exec 3<>$device && sleep 2 && test -c $device";
    pod["spec"]["containers"][0]["command"] = json!(["sh", "-c", uses]);
    pod
}

/// Waits until a pod has ended, or is in this phase; says how it ended, with a failure's reason.
fn ended_or(cluster: &Cluster, name: &str, phase: &str) -> String {
    cluster.until(&format!("pod {name} ends"), SOON, || {
        let status = cluster.get(&format!("pod {name}"))["status"].clone();
        let found = status["phase"].as_str().unwrap_or_default();
        let reason = status["reason"].as_str().unwrap_or_default();
        let ended = [phase, "Succeeded", "Failed"].contains(&found);
        ended.then(|| format!("{found} {reason}").trim_end().to_owned())
    })
}

#[test]
fn it_converges_after_being_killed_while_it_carves() {
    let cluster = Cluster::at_rest();
    let restarts = || kubectl(&format!("get pods -n {SYSTEM} -l {AGENT} -o jsonpath={RESTARTS}"));
    let before = restarts();
    // as soon as the first function is there: what kills waits in the node before the agent begins
    let killer = lab("ssh")
        .arg(format!(
            "timeout 60 sh -c 'until [ -e /sys/bus/pci/devices/{VIRTIO}/virtfn0 ]; do :; done' &&
             pkill -KILL -x ringway-agent"
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    cluster.apply(&policy(
        "killed",
        4,
        json!([pool("vms", "0-1", "vhost-vdpa"), pool("pods", "2-3", "virtio-vdpa"),]),
    ));
    let killed = killer.wait_with_output().unwrap();
    assert!(killed.status.success(), "it was not killed: {}", said(&killed));
    // kubelet tells of it when it looks again, which is after the agent is done
    cluster
        .until("the agent's container started anew", SOON, || (restarts() != before).then_some(()));
    cluster.condition("killed", "Ready");
    cluster.allocatable("vms", 2);
    cluster.allocatable("pods", 2);
}

#[test]
fn it_puts_the_node_right_while_the_api_server_is_out_of_reach() {
    let cluster = Cluster::at_rest();
    cluster.apply(&policy("alone", 2, json!([pool("rings", "0-1", "vhost-vdpa")])));
    cluster.condition("alone", "Ready");
    cluster.allocatable("rings", 2);
    let right = cluster.kernel();
    // one line, because nothing can be asked of the cluster in between: no way to the API server,
    // all devices gone, and an agent that starts anew; then until all is back
    on_node(&format!(
        "set -e; iptables -I OUTPUT -p tcp --dport 6443 -j REJECT --reject-with tcp-reset
         trap 'iptables -D OUTPUT -p tcp --dport 6443 -j REJECT --reject-with tcp-reset' EXIT
         pkill -STOP -x ringway-agent
         for device in $(vdpa dev show | cut -d: -f1-4); do
             echo ${{device#vdpa/}} > /sys/bus/vdpa/devices/$device/driver/unbind; vdpa dev del $device
         done
         echo 0 > /sys/bus/pci/devices/{VIRTIO}/sriov_numvfs
         pkill -KILL -x ringway-agent
         for i in $(seq 600); do
             ls /sys/bus/pci/devices/{VIRTIO}/virtfn1/vdpa:*/vhost-vdpa-* >/dev/null 2>&1 && exit 0
             sleep 0.5
         done
         exit 1"
    ));
    cluster.condition("alone", "Ready");
    cluster.allocatable("rings", 2);
    assert_eq!(cluster.kernel(), right);
}

#[test]
fn a_missing_module_is_named_with_the_package_that_holds_it() {
    let cluster = Cluster::at_rest();
    // the simulator's module, which nobody else uses
    let find = "find /lib/modules/$(uname -r) -name 'vdpa_sim_net.ko*'";
    // modules.dep still lists it: to the agent that is the same, and depmod takes minutes here
    on_node(&format!("modprobe -r vdpa_sim_net; f=$({find}) && mv $f /root/"));
    let away = PutBack(
        "for file in /root/vdpa_sim_net.ko*; do mv $file /lib/modules/$(uname -r)/extra/; done"
            .to_owned(),
    );
    let parents = json!([{"simulator": "vdpasim_net"}]);
    cluster.apply(&policy_for("module", parents, 1, json!([pool("sim", "0", "virtio-vdpa")])));
    let (reason, message) = cluster.condition("module", "Degraded");
    assert_eq!(reason, "ModuleMissing", "{message}");
    for part in ["vdpa_sim_net", "package"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    let (reason, _) = cluster.condition_of(&format!("nodedevices {NODE}"), "Degraded");
    assert_eq!(reason, "ModuleMissing");

    drop(away);
    cluster.condition("module", "Ready");
    cluster.allocatable("sim", 1);
    let devices = cluster.until("the simulated device is listed", SOON, || {
        let node = cluster.node_devices();
        let parents = node["status"]["parents"].as_array().cloned().unwrap_or_default();
        parents.into_iter().find(|p| p["name"] == "vdpasim_net")
    });
    assert_eq!(devices["functions"][0]["ready"], true, "{devices}");
}

const AGENT: &str = "app.kubernetes.io/component=agent";
const RESTARTS: &str = "{.items[*].status.containerStatuses[*].restartCount}";
