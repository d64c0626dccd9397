use super::*;
use crate::error::chain;
use crate::look::Presence;
use crate::offer::offers;
use crate::supply;
use crate::testing::{self, VHOST, VIRTIO, offer, resource};
use ringway_node::pools::Attach;

fn ids(ids: &[&str]) -> Vec<DeviceId> {
    ids.iter().map(|id| id.parse().unwrap()).collect()
}

fn request(containers: &[&[&str]]) -> dp::AllocateRequest {
    let container = |ids: &&[&str]| dp::ContainerAllocateRequest {
        devices_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
    };
    dp::AllocateRequest { container_requests: containers.iter().map(container).collect() }
}

#[test]
fn a_vhost_device_comes_by_cdi() {
    let wanted = ids(&["0000:01:00.2", "0000:01:00.1"]);
    let answer = answer(&resource(VHOST), Some(&offer(VHOST)), &wanted).unwrap();
    let names: Vec<_> = answer.cdi_devices.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(names, ["ringway.dev/vm-rings=0000:01:00.2", "ringway.dev/vm-rings=0000:01:00.1"]);
    assert_eq!(answer.envs["PCIDEVICE_RINGWAY_DEV_VM-RINGS"], "0000:01:00.2,0000:01:00.1");
    assert!(answer.envs["PCIDEVICE_RINGWAY_DEV_VM_RINGS_INFO"].contains("/dev/ringway/0000:01"));
    assert!(answer.devices.is_empty() && answer.mounts.is_empty());
    assert!(answer.annotations.is_empty());
}

#[test]
fn a_device_without_a_node_comes_by_name_only() {
    let answer = answer(&resource(VIRTIO), Some(&offer(VIRTIO)), &ids(&["0000:01:00.3"])).unwrap();
    assert!(answer.cdi_devices.is_empty() && answer.devices.is_empty());
    assert_eq!(answer.envs["PCIDEVICE_RINGWAY_DEV_POD_RINGS"], "0000:01:00.3");
}

#[test]
fn a_function_for_vfio_comes_by_cdi_and_an_interface_by_name_only() {
    let answer_of = |attach, driver: &str| {
        let (device, mut sighting) = testing::function(1);
        sighting.function = Some(Presence::Bound(driver.to_owned()));
        let mut offers =
            offers(&supply::of(&testing::one(attach, device)), |_| Ok(sighting.clone()));
        let offer = offers.remove(&resource(VHOST));
        answer(&resource(VHOST), offer.as_ref(), &ids(&["0000:01:00.1"])).unwrap()
    };
    let vfio = answer_of(Attach::Vfio, "vfio-pci");
    assert_eq!(vfio.cdi_devices[0].name, "ringway.dev/vm-rings=0000:01:00.1");
    let info = &vfio.envs["PCIDEVICE_RINGWAY_DEV_VM_RINGS_INFO"];
    assert!(info.contains(r#""dev-mount":"/dev/vfio/41","mount":"/dev/vfio/vfio""#), "{info}");
    let netdev = answer_of(Attach::Netdev, "igbvf");
    assert!(netdev.cdi_devices.is_empty() && netdev.devices.is_empty());
    assert_eq!(netdev.envs["PCIDEVICE_RINGWAY_DEV_VM_RINGS"], "0000:01:00.1");
}

#[test]
fn refusals_name_device_and_reason() {
    let mut broken = offer(VHOST);
    broken.items[0].unusable = Some(Unusable::Draining("mtu changes".to_owned()));
    for (offer, id, text) in [
        (
            Some(&broken),
            "0000:01:00.1",
            "allocate ringway.dev/vm-rings: device 0000:01:00.1 cannot be used: \
             draining: mtu changes",
        ),
        (
            Some(&broken),
            "0000:01:00.3",
            "allocate ringway.dev/vm-rings: device 0000:01:00.3 is not in its pools",
        ),
        (
            None,
            "0000:01:00.1",
            "allocate ringway.dev/vm-rings: device 0000:01:00.1 is not in its pools",
        ),
    ] {
        let refusal = answer(&resource(VHOST), offer, &ids(&[id])).unwrap_err();
        assert_eq!(chain(&refusal), text);
    }
    assert!(answer(&resource(VHOST), Some(&broken), &ids(&["0000:01:00.2"])).is_ok());
}

#[test]
fn requests_are_checked_before_anything_is_locked() {
    let resource = resource(VHOST);
    let good = requested(&resource, &request(&[&["a"], &[], &["b", "c"]])).unwrap();
    assert_eq!(good, [ids(&["a"]), ids(&[]), ids(&["b", "c"])]);
    for (containers, text) in [
        (&[&["../x"][..]][..], "allocate ringway.dev/vm-rings: \"../x\" is not a device id"),
        (&[&["a"][..], &["a"]], "allocate ringway.dev/vm-rings: device a is asked for twice"),
    ] {
        let refusal = requested(&resource, &request(containers)).unwrap_err();
        assert!(chain(&refusal).starts_with(text), "{}", chain(&refusal));
    }
}

#[test]
fn without_cdi_the_nodes_are_named_each_once() {
    let mut offer = offer(VHOST);
    offer.delivery = Delivery::Nodes;
    for item in &mut offer.items {
        item.entry.paths = crate::supply::NodePaths::Host;
        item.nodes.push("vhost-net".to_owned());
    }
    let wanted = ids(&["0000:01:00.2", "0000:01:00.1"]);
    let answer = answer(&resource(VHOST), Some(&offer), &wanted).unwrap();
    let nodes: Vec<_> = answer
        .devices
        .iter()
        .map(|node| (node.container_path.as_str(), node.host_path.as_str(), &*node.permissions))
        .collect();
    let node = |path| (path, path, "rw");
    assert_eq!(
        nodes,
        [node("/dev/vhost-vdpa-11"), node("/dev/vhost-net"), node("/dev/vhost-vdpa-10")]
    );
    assert!(answer.cdi_devices.is_empty());
    let info = &answer.envs["PCIDEVICE_RINGWAY_DEV_VM-RINGS_INFO"];
    assert!(info.contains(r#""vdpa":{"mount":"/dev/vhost-vdpa-11"}"#), "{info}");
}
