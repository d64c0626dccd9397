use super::*;
use serde_json::{Value, json};

fn sample() -> Value {
    json!({"version":1,"node":"node1","generation":3,"pools":[
        {"name":"vms","resource":"ringway.dev/vm-rings","attach":"vhost-vdpa","devices":[
            {"id":"0000:01:00.1","parent":"0000:01:00.0","index":0,"numaNode":0,"state":"ready",
             "mac":"52:54:00:00:00:01","mtu":1500,"queuePairs":1,"features":["MAC","MTU"],
             "vdpa":{"name":"vdpa:0000:01:00.1","mgmtdev":"pci/0000:01:00.1",
                     "driver":"vhost_vdpa","node":"/dev/vhost-vdpa-0"},
             "pciAddress":"0000:01:00.1","pfPciAddress":"0000:01:00.0"}]},
        {"name":"pods","resource":"ringway.dev/pod-rings","attach":"virtio-vdpa","devices":[
            {"id":"vdpa0","parent":"vdpasim_net","index":0,"state":"failed",
             "reason":"no such device"}]}]})
}

fn parse(value: &Value) -> Result<Pools, Error> {
    Pools::parse(value.to_string().as_bytes())
}

/// The sample with one field set to another value (null: taken out).
fn with(pointer: &str, value: Value) -> Value {
    let mut sample = sample();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = sample.pointer_mut(parent).unwrap();
    match value {
        Value::Null => drop(parent.as_object_mut().unwrap().remove(field)),
        value => parent[field] = value,
    }
    sample
}

#[test]
fn the_documented_file_is_read_and_written_back_the_same() {
    let pools = parse(&sample()).unwrap();
    assert_eq!(serde_json::to_value(&pools).unwrap(), sample());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pools.json");
    pools.write(&path).unwrap();
    assert_eq!(Pools::read(&path).unwrap(), pools);
}

#[test]
fn a_device_is_on_a_function_of_either_bus_or_on_none() {
    let function = |device: Value| {
        let device: Device = serde_json::from_value(device).unwrap();
        device.function().map(|address| (address.bus(), address.to_string()))
    };
    let device = |id: &str| json!({"id": id, "parent": "p", "index": 0, "state": "ready"});
    let pci = sample()["pools"][0]["devices"][0].clone();
    assert_eq!(function(pci), Some(("pci", "0000:01:00.1".to_owned())));
    let sf = Some(("auxiliary", "mlx5_core.sf.4".to_owned()));
    assert_eq!(function(device("mlx5_core.sf.4")), sf);
    assert_eq!(function(device("vdpa0")), None);
    let vdpa = json!({"name": "vdpa0", "mgmtdev": "auxiliary/mlx5_core.sf.4",
        "driver": "vhost_vdpa", "node": "/dev/vhost-vdpa-0"});
    let mut on_sf = device("mlx5_core.sf.4");
    on_sf["vdpa"] = vdpa.clone();
    assert_eq!(function(on_sf), sf);
    let mut simulated = device("a.sf.1");
    simulated["vdpa"] = vdpa;
    simulated["vdpa"]["name"] = json!("a.sf.1");
    assert_eq!(function(simulated), None, "a simulator's device may be called anything");
}

#[test]
fn an_allocation_is_written_unless_it_is_the_usual() {
    let spread = parse(&with("/pools/0/allocation", json!("Spread"))).unwrap();
    assert_eq!(serde_json::to_value(&spread).unwrap(), sample());
    let packed = with("/pools/0/allocation", json!("Pack"));
    let pools = parse(&packed).unwrap();
    assert_eq!(
        (pools.pools[0].allocation, pools.pools[1].allocation),
        (Allocation::Pack, Allocation::Spread)
    );
    assert_eq!(serde_json::to_value(&pools).unwrap(), packed);
}

#[test]
fn what_a_carrier_means_is_written_unless_it_is_the_usual() {
    let ignored = parse(&with("/pools/0/carrier", json!("Ignore"))).unwrap();
    assert_eq!(serde_json::to_value(&ignored).unwrap(), sample());
    let required = with("/pools/0/carrier", json!("Require"));
    let pools = parse(&required).unwrap();
    assert_eq!(
        (pools.pools[0].carrier, pools.pools[1].carrier),
        (Carrier::Require, Carrier::Ignore)
    );
    assert_eq!(serde_json::to_value(&pools).unwrap(), required);
}

#[test]
fn unknown_fields_and_near_versions_are_accepted() {
    for (pointer, value) in [
        ("/version", json!(0)),
        ("/version", json!(2)),
        ("/limits", json!({"a": 1})),
        ("/pools/0/new", json!(7)),
        ("/pools/0/devices/0/new", json!([])),
        ("/pools/0/devices/0/vdpa/new", json!("x")),
    ] {
        parse(&with(pointer, value)).unwrap();
    }
}

#[test]
fn a_far_version_is_told_before_anything_else() {
    let error = Pools::parse(br#"{"version":3,"pools":"quite different"}"#).unwrap_err();
    assert!(error.to_string().contains("version 3 is more than one away from 1"), "{error}");
}

/// The chain of messages as an edge prints it.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

#[test]
fn a_wrong_value_is_named_with_its_field() {
    const D: &str = "/pools/0/devices/0";
    let cases = [
        ("/pools/0/attach", json!("magic"), "field pools[0].attach", "magic"),
        ("/pools/0/attach", json!("host"), "field pools[0].attach", "host"),
        ("/pools/0/allocation", json!("Random"), "field pools[0].allocation", "Random"),
        ("/pools/0/carrier", json!("Maybe"), "field pools[0].carrier", "Maybe"),
        ("/pools/0/limits", json!({"vlans": "9-3"}), "field pools[0].limits.vlans", "\"9-3\" ends"),
        ("/pools/0/resource", json!("a/b"), "field pools[0].resource", "\"a/b\""),
        ("/pools/0/name", json!(""), "field pools[0].name", "\"\""),
        ("/pools/1/resource", json!("ringway.dev/vm-rings"), "pools[1].attach", "virtio-vdpa"),
        ("/pools/1/devices/0/id", json!("0000:01:00.1"), "pools[1].devices[0].id", "listed once"),
        ("/pools/1/devices/0/reason", json!(""), "pools[1].devices[0].reason", "\"\""),
        ("/pools/1/devices/0/reason", Value::Null, "pools[1].devices[0].reason", "null"),
        (&format!("{D}/id"), json!("../x"), "field pools[0].devices[0].id", "../x"),
        (&format!("{D}/parent"), json!("a/b"), "pools[0].devices[0].parent", "a/b"),
        (&format!("{D}/index"), json!(-1), "pools[0].devices[0].index", "-1"),
        (&format!("{D}/numaNode"), json!(-1), "pools[0].devices[0].numaNode", "-1"),
        (&format!("{D}/state"), json!("gone"), "pools[0].devices[0].state", "gone"),
        (&format!("{D}/state"), Value::Null, "pools[0].devices[0]", "state"),
        (&format!("{D}/mac"), json!("zz"), "pools[0].devices[0].mac", "zz"),
        (&format!("{D}/mac"), json!("01:00:5e:00:00:01"), "pools[0].devices[0].mac", "01:00:5e"),
        (&format!("{D}/mtu"), json!(67), "pools[0].devices[0].mtu", "67"),
        (&format!("{D}/queuePairs"), json!(0), "pools[0].devices[0].queuePairs", "0"),
        (&format!("{D}/pciAddress"), json!("1:0"), "pools[0].devices[0].pciAddress", "1:0"),
        (&format!("{D}/vdpa"), Value::Null, "pools[0].devices[0].vdpa.driver", "null"),
        (&format!("{D}/vdpa/name"), json!(".."), "pools[0].devices[0].vdpa.name", ".."),
        (&format!("{D}/vdpa/driver"), json!("x"), "pools[0].devices[0].vdpa.driver", "x"),
        (&format!("{D}/vdpa/driver"), json!("virtio_vdpa"), "vdpa.driver", "vhost_vdpa when"),
        (&format!("{D}/vdpa/node"), Value::Null, "pools[0].devices[0].vdpa.node", "null"),
        (&format!("{D}/vdpa/node"), json!("/dev/sda"), "vdpa.node", "/dev/sda"),
        (&format!("{D}/vdpa/node"), json!("/dev/vhost-vdpa-../sda"), "vdpa.node", "sda"),
        (&format!("{D}/vdpa/node"), json!("/tmp/vhost-vdpa-0"), "vdpa.node", "/tmp"),
    ];
    for (pointer, value, field, told) in cases {
        let error = chain(&parse(&with(pointer, value.clone())).unwrap_err());
        assert!(error.contains(field) && error.contains(told), "{pointer} = {value}: {error}");
    }
}

#[test]
fn a_value_that_makes_no_sense_is_told_with_its_line() {
    let mut pools = with("/pools/1/devices/0/reason", json!(""));
    pools["more"] = json!({"devices": [7]});
    let text = serde_json::to_string_pretty(&pools).unwrap();
    let line = 1 + text.lines().position(|line| line.contains("\"reason\"")).unwrap();
    let error = chain(&Pools::parse(text.as_bytes()).unwrap_err());
    let end = format!("every state but ready has a reason (line {line})");
    assert!(error.ends_with(&end), "{error}");
}

#[test]
fn a_ready_function_for_vfio_has_an_address() {
    let vfio = with("/pools/0/attach", json!("vfio"));
    parse(&vfio).unwrap();
    let mut without = vfio;
    without["pools"][0]["devices"][0].as_object_mut().unwrap().remove("pciAddress");
    let error = chain(&parse(&without).unwrap_err());
    assert!(error.contains("field pools[0].devices[0].pciAddress is null"), "{error}");
}

#[test]
fn broken_json_is_told_with_its_place() {
    for bad in ["", "{", "[]", "{}", r#"{"version":1,"node":"n","generation":1,"pools":[]} x"#] {
        let error = chain(&Pools::parse(bad.as_bytes()).unwrap_err());
        assert!(error.starts_with("parse pools file: ") && error.contains("line"), "{error}");
    }
}

#[test]
fn what_a_reader_would_refuse_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pools.json");
    let mut pools = parse(&sample()).unwrap();
    pools.pools[1].devices[0].reason = None;
    assert!(matches!(pools.write(&path), Err(Error::Rule { .. })));
    assert!(!path.exists());
}

#[test]
fn devices_are_found_with_their_pool() {
    let pools = parse(&sample()).unwrap();
    let (pool, device) = pools.find(&"vdpa0".parse().unwrap()).unwrap();
    assert_eq!((pool.name.as_str(), device.state), ("pods", State::Failed));
    assert!(pools.find(&"vdpa1".parse().unwrap()).is_none());
}

/// The seeds of the fuzz target (tests/fuzz), changed at random: an error that says something, or pools
/// that are read the same when written.
#[test]
fn no_pools_file_ends_the_process() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/corpus/pools");
    let mut read = 0;
    for bytes in ringway_kernel::testing::Mutations::of(Path::new(seeds)).take(20_000) {
        match Pools::parse(&bytes) {
            Ok(pools) => {
                read += 1;
                let written = serde_json::to_vec(&pools).unwrap();
                assert_eq!(Pools::parse(&written).unwrap(), pools);
            }
            Err(error) => assert!(!chain(&error).is_empty()),
        }
    }
    assert!(read > 500, "only {read} were pools");
}
