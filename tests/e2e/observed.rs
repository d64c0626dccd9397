//! What a node is seen to do from outside: metrics and events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{
    Cluster, NODE, PutBack, SOON, VIRTIO, get, on_node, policy, policy_for, pool,
};
use crate::pods;

/// The agent's answer to a scrape. The node need not have a program for that.
fn scrape() -> String {
    on_node(
        "bash -c 'exec 3<>/dev/tcp/127.0.0.1/9809
         printf \"GET /metrics HTTP/1.0\\r\\n\\r\\n\" >&3; cat <&3'",
    )
}

/// Events of the node's object with a reason.
fn events(cluster: &Cluster, reason: &str) -> Vec<Value> {
    let all = cluster.get("events.events.k8s.io --namespace default");
    let of_node = |e: &&Value| {
        e["regarding"]["kind"] == "NodeDevices"
            && e["regarding"]["name"] == NODE
            && e["reason"] == reason
    };
    all["items"].as_array().unwrap().iter().filter(of_node).cloned().collect()
}

/// The device plugin's, by the socket in its pod's volume: from beside it, because its whole path is
/// longer than a socket's may be.
fn scrape_plugin() -> String {
    on_node(
        "cd $(dirname /var/lib/kubelet/pods/*/volumes/kubernetes.io~empty-dir/status/plugin.sock) \
         && printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' | socat -t 10 - UNIX-CONNECT:plugin.sock",
    )
}

/// What Prometheus's own linter says of a scrape.
fn lint(scrape: &str) -> String {
    let (_, page) = scrape.split_once("\r\n\r\n").expect("a head and a page");
    on_node(&format!("/opt/bin/promlint 2>&1 <<'PAGE' && echo clean\n{page}\nPAGE"))
}

#[test]
fn metrics_tell_of_devices_steps_and_traffic() {
    let cluster = Cluster::at_rest();
    let parents = json!([{"simulator": "vdpasim_net"}]);
    cluster.apply(&policy_for("seen", parents, 1, json!([pool("sim", "0", "virtio-vdpa")])));
    cluster.condition("seen", "Ready");
    cluster.allocatable("sim", 1);
    let text = cluster.until("the simulated device is counted", SOON, || {
        let text = scrape();
        text.contains("ringway_vdpa_vendor_statistics_total{").then_some(text)
    });
    assert!(text.starts_with("HTTP/1.0 200 OK"), "{text}");
    for line in [
        "ringway_devices{resource=\"ringway.dev/sim\",state=\"ready\"} 1",
        "ringway_agent_plan_steps 0",
        "ringway_stuck_calls 0",
        "ringway_agent_collector_success{collector=\"link\"} 1",
        "ringway_agent_collector_success{collector=\"function\"} 1",
        "ringway_agent_collector_success{collector=\"vdpa\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
    for begin in [
        "ringway_agent_steps_total{step=\"create_vdpa\",result=\"done\"} ",
        &format!("ringway_parent_link_up{{parent=\"{VIRTIO}\",interface=\""),
        "ringway_vdpa_vendor_statistics_total{device=\"vdpasim_net.0\",statistic=\"rx packets\"} ",
    ] {
        assert!(text.lines().any(|found| found.starts_with(begin)), "{begin}: {text}");
    }
    assert_eq!(lint(&text), "clean\n");
    let page = scrape_plugin();
    assert!(page.starts_with("HTTP/1.0 200 OK"), "{page}");
    for begin in [
        "ringway_device_plugin_devices{resource=\"ringway.dev/sim\",state=\"healthy\"} 1",
        "ringway_device_plugin_registrations_total{resource=\"ringway.dev/sim\",result=\"done\"} ",
    ] {
        assert!(page.lines().any(|found| found.starts_with(begin)), "{begin}: {page}");
    }
    assert_eq!(lint(&page), "clean\n");
}

#[test]
fn events_tell_who_is_in_the_way_and_what_was_put_right() {
    let cluster = Cluster::at_rest();
    cluster.apply(&policy("told", 2, json!([pool("rings", "0-1", "virtio-vdpa")])));
    cluster.condition("told", "Ready");
    cluster.allocatable("rings", 2);

    let repaired = events(&cluster, "Repaired").len();
    on_node("echo vdpa:0000:01:00.2 > /sys/bus/vdpa/drivers/virtio_vdpa/unbind");
    let event = cluster.until("the repair is told", SOON * 3, || {
        let events = events(&cluster, "Repaired");
        (events.len() > repaired).then(|| events.last().cloned()).flatten()
    });
    assert!(event["note"].as_str().unwrap().contains(VIRTIO), "{event}");

    cluster.apply(&pods::network("rings", "rings"));
    cluster.apply(&pods::pod("holder", "rings", "rings"));
    pods::runs(&cluster, "holder");
    cluster.apply(&policy("told", 4, json!([pool("rings", "0-3", "virtio-vdpa")])));
    let event = cluster.until("the holder is told", SOON, || {
        let events = events(&cluster, "DeviceHeld");
        events.into_iter().find(|e| e["note"].as_str().unwrap().contains("default/holder"))
    });
    assert_eq!(event["type"], "Warning");
    pods::delete(&cluster, "holder");
    cluster.condition("told", "Ready");
}

/// What is written into NodeDevices, write by write: the agent leaves seconds between two.
struct Written {
    over: Arc<AtomicBool>,
    looks: JoinHandle<Vec<String>>,
}

impl Written {
    fn from_now(cluster: &Cluster) -> Self {
        let over = Arc::<AtomicBool>::default();
        let (is_over, mut last) = (over.clone(), cluster.node_devices());
        let looks = thread::spawn(move || {
            let mut writes = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(500));
                let now = get(&format!("nodedevices {NODE}"));
                if now["metadata"]["resourceVersion"] != last["metadata"]["resourceVersion"] {
                    writes
                        .push(format!("{} {}\nwas {}", now["spec"], now["status"], last["status"]));
                    last = now;
                }
            }
            writes
        });
        Self { over, looks }
    }

    fn since(self) -> Vec<String> {
        self.over.store(true, Ordering::Relaxed);
        self.looks.join().unwrap()
    }
}

/// As many interfaces come to pods and go as pods would start in hours: by the CNI plugin, as the runtime
/// calls it. `RINGWAY_CYCLES` says how many.
#[test]
fn interfaces_that_come_and_go_are_no_news_of_the_node() {
    let cycles = std::env::var("RINGWAY_CYCLES").map_or(10, |text| text.parse().unwrap());
    let cluster = Cluster::at_rest();
    cluster.apply(&policy("news", 1, json!([pool("news", "0", "virtio-vdpa")])));
    cluster.condition("news", "Ready");
    cluster.allocatable("news", 1);
    let device = on_node(&format!("basename $(readlink /sys/bus/pci/devices/{VIRTIO}/virtfn0)"));
    let config = "/etc/cni/net.d/ringway.d/config.json";
    on_node(&format!("mkdir -p $(dirname {config}); [ ! -e {config} ]"));
    let _config = PutBack(format!("rm -f {config}; ip netns del news 2> /dev/null || true"));
    // no kubelet gave the device to these
    on_node(&format!("echo '{{\"requireAllocation\": false}}' > {config}"));
    let written = Written::from_now(&cluster);
    on_node(&format!(
        "set -e; export CNI_PATH=/opt/cni/bin CNI_IFNAME=net1 CNI_NETNS=/run/netns/news
         conf='{{\"cniVersion\":\"1.0.0\",\"name\":\"news\",\"type\":\"ringway\",\"deviceID\":\"{}\"}}'
         for i in $(seq {cycles}); do
             export CNI_CONTAINERID=news$i
             ip netns add news
             echo $conf | CNI_COMMAND=ADD /opt/cni/bin/ringway > /dev/null
             echo $conf | CNI_COMMAND=DEL /opt/cni/bin/ringway
             ip netns del news
         done",
        device.trim(),
    ));
    // what it had to say of the last one it would say within its interval for writes
    on_node("sleep 10");
    let writes = written.since();
    println!("shown: {cycles} attachments: {} writes of NodeDevices", writes.len());
    assert!(writes.is_empty(), "{}", writes.join("\n"));
}
