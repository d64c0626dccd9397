//! The binary as runtimes call it: through libcni, by the CNI project's own `cnitool`, alone and with
//! that project's plugins behind it; and with its `dhcp`, which asks on the pod's own interface.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::node::Node;
use crate::stand::{self, NETWORK, Plugin, Pod, Stand, shown};

const VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const CNITOOL: &str = "/opt/bin/cnitool";

/// libcni with one list of plugins, and the pod that it attaches.
struct Runtime<'a> {
    stand: &'a Stand,
    pod: &'a Pod,
    lists: TempDir,
}

impl<'a> Runtime<'a> {
    /// The first device with an address and a route, and these plugins behind it.
    fn new(stand: &'a Stand, pod: &'a Pod, version: &Value, behind: &[Value]) -> Self {
        let ipam = json!({"type": "host-local", "dataDir": stand.path("ipam"),
            "ranges": [[{"subnet": "10.88.7.0/24", "gateway": "10.88.7.1"}]],
            "routes": [{"dst": "10.89.0.0/16"}]});
        let (_, own) = stand.invocation("ADD", "", None, 0, &json!({"ipam": ipam}));
        let mut plugins: Vec<Value> = vec![serde_json::from_str(&own).unwrap()];
        plugins.extend_from_slice(behind);
        for plugin in &mut plugins {
            // libcni gives each the list's
            let plugin = plugin.as_object_mut().unwrap();
            plugin.retain(|key, _| !["cniVersion", "name"].contains(&key.as_str()));
        }
        let key = if version.is_array() { "cniVersions" } else { "cniVersion" };
        let list = json!({key: version, "name": NETWORK, "plugins": plugins});
        let lists = tempfile::tempdir().unwrap();
        fs::write(lists.path().join("rings.conflist"), list.to_string()).unwrap();
        Self { stand, pod, lists }
    }

    fn run(&self, verb: &str) -> Output {
        let (ours, _) = self.stand.invocation("ADD", "", None, 0, &json!({}));
        let mut tool = Command::new(CNITOOL);
        for (name, value) in ours.get_envs() {
            tool.env(name, value.unwrap());
        }
        let mut path = OsString::from(stand::binary().parent().unwrap());
        let plugins = ours.get_envs().find(|(name, _)| *name == "CNI_PATH").unwrap().1.unwrap();
        path.push(":");
        path.push(plugins);
        tool.env("CNI_PATH", path).env("NETCONFPATH", self.lists.path());
        tool.args([Path::new(verb), Path::new(NETWORK), &self.pod.path()]);
        tool.output().unwrap()
    }

    fn does(&self, verb: &str) -> String {
        let output = self.run(verb);
        assert!(output.status.success(), "{verb}: {}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The tool passes on what the plugin says.
    fn refuses(&self, verb: &str, words: &str) {
        let output = self.run(verb);
        assert!(!output.status.success(), "{verb}: {}", shown(&output));
        assert!(shown(&output).contains(words), "{verb}: {}", shown(&output));
    }

    fn add(&self) -> Value {
        serde_json::from_str(&self.does("add")).unwrap()
    }
}

/// The first device's interface is in the pod no more, and all is as before.
fn at_rest(stand: &Stand, pod: &Pod) {
    assert!(pod.links().iter().all(|link| link.loopback), "{:?}", pod.links());
    assert_eq!(stand.records(), 0);
    let addresses = fs::read_dir(stand.path("ipam").join(NETWORK)).unwrap();
    let names = addresses.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let given: Vec<_> = names.filter(|name| name.starts_with("10.")).collect();
    assert_eq!(given, [""; 0], "addresses are still given out");
}

#[test]
fn every_version_by_every_verb() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let before = stand.netdevs(&node);
    println!(
        "shown: version  ADD  ADD again  CHECK    CHECK of a change  DEL  DEL again  GC    STATUS"
    );
    for version in VERSIONS {
        let pod = Pod::new("rw-a");
        let runtime = Runtime::new(&stand, &pod, &json!(version), &[]);
        runtime.does("status");
        let result = runtime.add();
        assert_eq!(result["cniVersion"], version, "{result}");
        assert_eq!(result["interfaces"][0]["name"], "net1", "{result}");
        assert_eq!(result["interfaces"][0]["sandbox"], pod.path().to_str().unwrap(), "{result}");
        let family = if version < "1.0.0" { json!("4") } else { Value::Null };
        assert_eq!(result["ips"][0]["version"], family, "{result}");
        let address = result["ips"][0]["address"].as_str().unwrap().to_owned();
        assert!(pod.exec("ip -o addr show dev net1").contains(&address), "{address}");
        let pci = if version < "1.1.0" { Value::Null } else { json!(stand.ids[0]) };
        assert_eq!(result["interfaces"][0]["pciID"], pci, "{result}");
        runtime.refuses("add", "is attached as");
        // libcni itself knows CHECK from 0.4.0 on, and GC and STATUS from 1.1.0 on
        let knows_check = version >= "0.4.0";
        if knows_check {
            runtime.does("check");
            pod.ip(&format!("address del {address} dev net1"));
            runtime.refuses("check", &address);
        } else {
            runtime.refuses("check", "does not support the CHECK");
        }
        runtime.does("del");
        at_rest(&stand, &pod);
        runtime.does("del");
        at_rest(&stand, &pod);
        assert_eq!(stand.netdevs(&node), before);
        // What a pod left whose DEL never came, in another one's life.
        runtime.add();
        drop(pod);
        let pod = Pod::new("rw-a");
        stand.wait_on_host(&node, 0);
        let runtime = Runtime::new(&stand, &pod, &json!(version), &[]);
        let knows_gc = version >= "1.1.0";
        runtime.does(if knows_gc { "gc" } else { "del" });
        at_rest(&stand, &pod);
        assert_eq!(stand.netdevs(&node), before);
        let pools = stand.path("var/lib/ringway/pools.json");
        let aside = stand.path("pools.json");
        fs::rename(&pools, &aside).unwrap();
        if knows_gc {
            runtime.refuses("status", "pools.json");
        } else {
            runtime.does("status");
        }
        fs::rename(&aside, &pools).unwrap();
        let (check, of_change) =
            if knows_check { ("ok", "refused, named") } else { ("libcni's", "libcni's") };
        let gc = if knows_gc { "ok" } else { "none" };
        println!(
            "shown: {version:7}  ok   refused    {check:8} {of_change:18} ok   ok         {gc:4}  ok"
        );
    }
}

/// A list that offers several versions: libcni takes the highest that it knows.
#[test]
fn of_several_versions_the_highest_is_spoken() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let pod = Pod::new("rw-a");
    let runtime = Runtime::new(&stand, &pod, &json!(["0.4.0", "1.1.0", "1.0.0"]), &[]);
    assert_eq!(runtime.add()["cniVersion"], "1.1.0");
    runtime.does("check");
    runtime.does("del");
    at_rest(&stand, &pod);
}

/// Plugins behind ours may change what it made: CHECK allows it, and DEL finds its way back.
#[test]
fn what_plugins_behind_it_change_is_theirs() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let before = stand.netdevs(&node);
    let tuning = json!({"type": "tuning", "mac": "02:00:00:00:00:0f", "mtu": 1400,
                        "sysctl": {"net.ipv4.conf.IFNAME.forwarding": "1"}});
    let sbr = json!({"type": "sbr"});
    for version in VERSIONS {
        let pod = Pod::new("rw-a");
        let behind = [tuning.clone(), sbr.clone()];
        let runtime = Runtime::new(&stand, &pod, &json!(version), &behind);
        let result = runtime.add();
        assert_eq!(result["interfaces"][0]["mac"], "02:00:00:00:00:0f", "{result}");
        let link = pod.link("net1");
        assert_eq!((link.mac.unwrap().to_string().as_str(), link.mtu), ("02:00:00:00:00:0f", 1400));
        assert_eq!(pod.exec("ip route show 10.89.0.0/16"), "", "sbr has moved it");
        if version >= "0.4.0" {
            runtime.does("check");
        }
        runtime.does("del");
        at_rest(&stand, &pod);
        assert_eq!(stand.netdevs(&node), before, "{version}");
    }
}

/// It limits the host's end of a veth, and a function has none: its rate is the card's
/// (`max_tx_rate`).
#[test]
fn a_chain_that_bandwidth_refuses_leaves_nothing() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let before = stand.netdevs(&node);
    let pod = Pod::new("rw-a");
    for version in VERSIONS {
        let idle = Runtime::new(&stand, &pod, &json!(version), &[json!({"type": "bandwidth"})]);
        idle.add();
        idle.does("del");
        at_rest(&stand, &pod);
        let limits = json!({"type": "bandwidth", "ingressRate": 1_000_000, "ingressBurst": 1_000_000,
                            "egressRate": 1_000_000, "egressBurst": 1_000_000});
        let limited = Runtime::new(&stand, &pod, &json!(version), &[limits]);
        limited.refuses("add", "has no veth peer");
        limited.does("del");
        at_rest(&stand, &pod);
        assert_eq!(stand.netdevs(&node), before);
    }
}

/// A program in the background, until it is dropped.
struct Daemon(Child);

impl Daemon {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the server is told is seen on its interface: the plugin sends the release from 0.0.0.0 to the
/// server's own address, which a server's kernel takes for a martian (ip_route_input_slow,
/// net/ipv4/route.c).
#[test]
fn an_address_by_dhcp_is_given_and_given_back() {
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let before = stand.netdevs(&node);
    let [server, pod] = [Pod::new("rw-a"), Pod::new("rw-b")];
    let fixed = json!({"type": "static", "addresses": [{"address": "10.88.8.1/24"}]});
    let of_server = json!({"ipam": fixed});
    stand.add(&server, 0, &of_server);
    let leases = stand.path("leases");
    let lease_file = format!("--dhcp-leasefile={}", leases.display());
    let _dnsmasq =
        Daemon::start(Command::new("ip").args(["netns", "exec", "rw-a", "dnsmasq"]).args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--pid-file=",
            "--user=root",
            "--port=0",
            "--interface=net1",
            "--no-ping",
            "--dhcp-range=10.88.8.10,10.88.8.20,1h",
            "--dhcp-option=option:router,10.88.8.1",
            &lease_file,
        ]));
    let seen = stand.path("seen");
    let said = || fs::read_to_string(&seen).unwrap();
    let mut tcpdump = Command::new("ip");
    tcpdump.args(["netns", "exec", "rw-a", "tcpdump", "-nvvli", "net1", "udp", "port", "67"]);
    let out = fs::File::create(&seen).unwrap();
    tcpdump.stdout(out.try_clone().unwrap()).stderr(out);
    let _tcpdump = Daemon::start(&mut tcpdump);
    stand::until("tcpdump listens", || said().contains("listening on"));
    let socket = stand.path("dhcp.sock");
    let mut daemon = Command::new("/opt/cni/bin/dhcp");
    let _dhcp = Daemon::start(daemon.args(["daemon", "-socketpath"]).arg(&socket));
    stand::until("the daemon listens", || socket.exists());
    let conf = json!({"ipam": {"type": "dhcp", "daemonSocketPath": socket}});
    let result = stand.add(&pod, 1, &conf);
    let ip = &result["ips"][0];
    assert!(ip["address"].as_str().unwrap().starts_with("10.88.8.1"), "{result}");
    assert_eq!(ip["gateway"], "10.88.8.1", "{result}");
    assert_eq!(fs::read_to_string(&leases).unwrap().lines().count(), 1);
    pod.ping("10.88.8.1");
    stand.check(&pod, 1, &conf).unwrap();
    stand.del(&pod, 1, &conf);
    stand::until("the server is told", || said().contains("Release"));
    stand.del(&pod, 1, &conf);
    stand.del(&server, 0, &of_server);
    assert_eq!(stand.netdevs(&node), before);
    assert_eq!(stand.records(), 0);
}
