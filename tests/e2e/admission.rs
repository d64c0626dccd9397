//! The schema's rules, and those for agents, on a real API server: what is refused, and in which words.

use std::process::Output;

use serde_json::{Value, json};

use crate::cluster::{Cluster, kubectl, lab, pool, said, with_input};

/// A good policy, changed by each case.
fn policy(change: impl FnOnce(&mut Value)) -> Value {
    let parents = json!([{"pci": {"vendor": "1af4"}}]);
    let pools = json!([pool("rings", "0-1", "virtio-vdpa")]);
    let mut policy = crate::cluster::policy_for("admission", parents, 2, pools);
    change(&mut policy["spec"]);
    policy
}

/// A good network, changed by each case.
fn network(change: impl FnOnce(&mut Value)) -> Value {
    let mut network = json!({
        "apiVersion": "ringway.dev/v1alpha1", "kind": "DeviceNetwork",
        "metadata": {"name": "admission", "namespace": "default"},
        "spec": {"resource": "rings", "ipam": {"type": "host-local", "ranges": []}},
    });
    change(&mut network["spec"]);
    network
}

#[test]
fn what_is_right_is_taken() {
    for object in [
        policy(|_| {}),
        policy(|spec| spec["parents"] = json!([{"simulator": "vdpasim_net"}])),
        policy(|spec| spec["pools"][0]["vdpa"] = json!({"mtu": 9000, "features": "MAC,VERSION_1"})),
        policy(|spec| spec["pools"][0]["vdpa"] = json!({"features": "common"})),
        policy(|spec| spec["pools"][0]["attach"] = json!("vfio")),
        policy(|spec| spec["pools"] = json!([{"name": "a", "range": "0", "attach": "host"}])),
        policy(|spec| spec["ownership"] = json!("External")),
        policy(|spec| spec["adopt"] = json!(true)),
        policy(|spec| spec["uplink"] = json!({"eswitch": "switchdev"})),
        network(|_| {}),
        network(|spec| spec["ipam"] = Value::Null),
    ] {
        let answer = Cluster.try_apply(&object, true);
        assert!(answer.status.success(), "{object}: {}", said(&answer));
    }
}

#[test]
fn what_is_wrong_is_refused_with_the_field_and_what_is_allowed() {
    let set = |path: &'static str, value: Value| {
        policy(move |spec| {
            *spec.pointer_mut(path).unwrap_or_else(|| panic!("no {path}")) = value;
        })
    };
    let cases = [
        (set("/parents", json!([])), "spec.parents"),
        (
            set("/parents/0", json!({"simulator": "vdpasim_net", "pci": {"vendor": "1af4"}})),
            "an entry names either pci or simulator",
        ),
        (set("/parents/0", json!({})), "an entry names either pci or simulator"),
        (
            set("/parents/0/pci", json!({})),
            "at least one of vendor, device, driver, names, addresses",
        ),
        (set("/parents/0/pci/vendor", json!("1AF4")), "^[0-9a-f]{4}$"),
        (
            set("/parents/0", json!({"pci": {"addresses": ["01:00.0"]}})),
            "spec.parents[0].pci.addresses[0]",
        ),
        (set("/parents/0", json!({"simulator": "vdpasim_blk"})), "known are vdpasim_net and vduse"),
        (set("/functionCount", json!(0)), "greater than or equal to 1"),
        (set("/functionCount", json!(4096)), "less than or equal to 1024"),
        (set("/pools", json!([])), "spec.pools"),
        (set("/pools/0/range", json!("0-")), "spec.pools[0].range"),
        (set("/pools/0/attach", json!("vhost")), "\"vhost-vdpa\", \"virtio-vdpa\""),
        (set("/pools/0/resource", json!("Rings")), "spec.pools[0].resource"),
        (set("/pools/0/attach", json!("host")), "a pool serves one, but attach host"),
        (
            policy(|spec| drop(spec["pools"][0].as_object_mut().unwrap().remove("resource"))),
            "a pool serves one, but attach host",
        ),
        (
            policy(|spec| {
                spec["pools"][0]["attach"] = json!("netdev");
                spec["pools"][0]["vdpa"] = json!({"mtu": 1500});
            }),
            "attach netdev and vfio use the function itself",
        ),
        (set("/pools/0/name", json!("")), "spec.pools[0].name"),
        (
            policy(|spec| {
                spec["pools"] =
                    json!([pool("a", "0", "virtio-vdpa"), pool("a", "1", "virtio-vdpa")])
            }),
            "each needs a name of its own",
        ),
        (policy(|spec| spec["uplink"] = json!({"mtu": 10})), "greater than or equal to 68"),
        (policy(|spec| spec["uplink"] = json!({"eswitch": "bridge"})), "spec.uplink.eswitch"),
        (policy(|spec| spec["ownership"] = json!("Foreign")), "spec.ownership"),
        (
            policy(|spec| {
                spec["ownership"] = json!("External");
                spec["uplink"] = json!({"mtu": 1500});
            }),
            "ownership External changes nothing on a node",
        ),
        (
            policy(|spec| {
                spec["ownership"] = json!("External");
                spec["adopt"] = json!(true);
            }),
            "ownership External takes nothing over",
        ),
        (policy(|spec| spec["pools"][0]["vdpa"] = json!({"queuePairs": 0})), "queuePairs"),
        (policy(|spec| spec["pools"][0]["vdpa"] = json!({"features": "mac"})), "vdpa.features"),
        (
            policy(|spec| spec["pools"][0]["vdpa"] = json!({"features": "common,MAC"})),
            "vdpa.features",
        ),
        (
            policy(|spec| {
                spec["pools"] = json!([{"name": "a", "range": "0", "attach": "host",
                    "vdpa": {"features": "common"}}])
            }),
            "common is what all devices of a resource can be given",
        ),
        (
            policy(|spec| {
                spec["ownership"] = json!("External");
                spec["pools"][0]["vdpa"] = json!({"features": "common"});
            }),
            "with ownership External others make the devices",
        ),
        (policy(|spec| spec["priority"] = json!(5000)), "less than or equal to 1000"),
        (policy(|spec| spec["numVfs"] = json!(4)), "spec.numVfs"),
        (network(|spec| spec["resource"] = json!("Rings")), "spec.resource"),
        (network(|spec| spec["resource"] = Value::Null), "spec.resource"),
        (network(|spec| spec["mtu"] = json!(1)), "spec.mtu"),
        (network(|spec| spec["ipam"] = json!({"ranges": []})), "ipam"),
        (network(|spec| spec["vlan"] = json!(7)), "spec.vlan"),
    ];
    for (object, expected) in cases {
        let answer = Cluster.try_apply(&object, true);
        let text = said(&answer);
        assert!(!answer.status.success(), "taken: {object}");
        assert!(text.contains(expected), "{expected} is not in: {text}\nof {object}");
    }
}

/// As an agent whose token names this node: the API server's answer.
fn as_the_agent(object: &Value) -> Output {
    let args = [
        "create",
        "-f",
        "-",
        "--as=system:serviceaccount:ringway-system:ringway-agent",
        "--as-user-extra=authentication.kubernetes.io/node-name=node1",
    ];
    with_input(lab("kubectl").args(args), &object.to_string())
}

/// Whoever takes over one node takes over no other, and cannot even tell tales of it.
#[test]
fn an_agent_writes_and_tells_of_its_own_node_only() {
    let cluster = Cluster::at_rest();
    let devices = json!({
        "apiVersion": "ringway.dev/v1alpha1", "kind": "NodeDevices", "metadata": {"name": "node2"},
        "spec": {"parents": []},
    });
    let event = |kind: &str, name: &str| {
        json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"generateName": "admission-", "namespace": "default"},
            "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "Test",
            "action": "Test", "reportingController": "ringway.dev/agent", "reportingInstance": "test",
            "regarding": {"apiVersion": "ringway.dev/v1alpha1", "kind": kind, "name": name},
        })
    };
    for (object, words) in [
        (&devices, "the agent of node 'node1' may write NodeDevices 'node1' only"),
        (&event("NodeDevices", "node2"), "may tell of NodeDevices 'node1' only"),
        (&event("Node", "node1"), "may tell of NodeDevices 'node1' only"),
    ] {
        let output = as_the_agent(object);
        assert!(!output.status.success(), "{object}: {}", said(&output));
        assert!(said(&output).contains(words), "{words}: {}", said(&output));
    }
    let own = as_the_agent(&event("NodeDevices", "node1"));
    assert!(own.status.success(), "{}", said(&own));
    kubectl("delete events --field-selector reason=Test --namespace default");
    drop(cluster);
}
