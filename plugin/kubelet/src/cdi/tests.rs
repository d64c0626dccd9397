use super::*;
use crate::offer::offers as offers_of;
use crate::supply;
use crate::testing::{VHOST, VIRTIO, function, offer, offers, one, resource, vdpa_device};
use ringway_node::pools::Attach;
use serde_json::{Value, json};

fn json(spec: &Spec) -> Value {
    serde_json::from_slice(&spec.to_json()).unwrap()
}

#[test]
fn nodes_get_stable_paths_and_the_hook_is_there_once() {
    let hook = Path::new("/opt/cni/bin/ringway");
    let spec = spec(&resource(VHOST), &offer(VHOST), Some(hook)).unwrap();
    let device = |id: &str, node: &str| {
        json!({"name": id, "containerEdits": {"deviceNodes": [{
            "path": format!("/dev/ringway/{id}"), "hostPath": format!("/dev/{node}"),
            "fileMode": 438, "permissions": "rw",
        }]}})
    };
    assert_eq!(
        json(&spec),
        json!({
            "cdiVersion": "0.6.0",
            "kind": "ringway.dev/vm-rings",
            "devices": [
                device("0000:01:00.1", "vhost-vdpa-10"),
                device("0000:01:00.2", "vhost-vdpa-11"),
            ],
            "containerEdits": {"hooks": [{
                "hookName": "createRuntime", "path": "/opt/cni/bin/ringway",
                "args": ["ringway", "hook", "memlock"], "timeout": 10,
            }]},
        })
    );
}

#[test]
fn without_a_hook_there_are_no_edits_of_the_whole_spec() {
    let spec = spec(&resource(VHOST), &offer(VHOST), None).unwrap();
    assert_eq!(json(&spec).get("containerEdits"), None);
}

#[test]
fn devices_without_nodes_have_no_spec() {
    assert_eq!(spec(&resource(VIRTIO), &offer(VIRTIO), Some(Path::new("/x"))), None);
}

#[test]
fn a_draining_device_stays_for_the_pod_that_holds_it() {
    let mut device = vdpa_device(1, "vhost_vdpa");
    device["state"] = "draining".into();
    device["reason"] = "why".into();
    let offers = offers(&one(Attach::VhostVdpa, device));
    assert!(spec(&resource(VHOST), &offers[&resource(VHOST)], None).is_some());
}

#[test]
fn a_device_without_its_node_is_left_out() {
    let mut offer = offer(VHOST);
    offer.items[0].nodes.clear();
    let spec = spec(&resource(VHOST), &offer, None).unwrap();
    assert_eq!(json(&spec)["devices"].as_array().unwrap().len(), 1);
}

#[test]
fn nodes_of_vfio_keep_their_paths() {
    let (device, sighting) = function(1);
    let offers = offers_of(&supply::of(&one(Attach::Vfio, device)), |_| Ok(sighting.clone()));
    let hook = Path::new("/opt/cni/bin/ringway");
    let spec = json(&spec(&resource(VHOST), &offers[&resource(VHOST)], Some(hook)).unwrap());
    let node =
        |path: &str| json!({"path": path, "hostPath": path, "fileMode": 438, "permissions": "rw"});
    assert_eq!(
        spec["devices"],
        json!([{"name": "0000:01:00.1", "containerEdits": {
            "deviceNodes": [node("/dev/vfio/vfio"), node("/dev/vfio/41")]}}])
    );
    assert_eq!(spec["containerEdits"]["hooks"][0]["args"][2], "memlock");
}

#[test]
fn names() {
    let id = "0000:01:00.1".parse().unwrap();
    for (name, qualified, file) in [
        ("vm-rings", "ringway.dev/vm-rings=0000:01:00.1", "ringway.dev-vm-rings.json"),
        ("100g", "ringway.dev/r-100g=0000:01:00.1", "ringway.dev-100g.json"),
        // one letter ends containerd
        ("a", "ringway.dev/r-a=0000:01:00.1", "ringway.dev-a.json"),
    ] {
        let resource = resource(&format!("ringway.dev/{name}"));
        assert_eq!(qualified_name(&resource, &id), qualified);
        assert_eq!(file_name(&resource), file);
    }
    let resource = Resource::of("3com.com", "fast_nics").unwrap();
    assert_eq!(qualified_name(&resource, &id), "r-3com.com/fast_nics=0000:01:00.1");
    assert_eq!(file_name(&resource), "ringway-sriovdp-3com.com-fast_nics.json");
}
