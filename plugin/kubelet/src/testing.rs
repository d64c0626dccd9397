//! Values that several tests start from.

use ringway_node::Resource;
use ringway_node::pools::{Attach, Device, Pools};
use serde_json::{Value, json};

use crate::look::{Node, Presence, Sighting};
use crate::offer::{self, Offer, Offers};
use crate::supply;

pub(crate) const VHOST: &str = "ringway.dev/vm-rings";
pub(crate) const VIRTIO: &str = "ringway.dev/pod-rings";

/// Function `n` of a card, with a vDPA device for `driver`.
pub(crate) fn vdpa_device(n: u32, driver: &str) -> Value {
    let address = format!("0000:01:00.{n}");
    let node = (driver == "vhost_vdpa").then(|| format!("/dev/vhost-vdpa-{n}"));
    json!({
        "id": address, "parent": "0000:01:00.0", "index": n - 1, "numaNode": n % 2,
        "state": "ready", "pciAddress": address, "pfPciAddress": "0000:01:00.0",
        "vdpa": {"name": format!("vdpa:{address}"), "mgmtdev": format!("pci/{address}"),
                 "driver": driver, "node": node},
    })
}

/// Two vhost devices (1, 2) and one virtio device (3).
pub(crate) fn pools() -> Pools {
    let json = json!({"version": 1, "node": "n", "generation": 1, "pools": [
        {"name": "vms", "resource": VHOST, "attach": "vhost-vdpa",
         "devices": [vdpa_device(1, "vhost_vdpa"), vdpa_device(2, "vhost_vdpa")]},
        {"name": "pods", "resource": VIRTIO, "attach": "virtio-vdpa",
         "devices": [vdpa_device(3, "virtio_vdpa")]},
    ]});
    Pools::parse(json.to_string().as_bytes()).unwrap()
}

/// A kernel in which all is as it should be.
pub(crate) fn fine(device: &Device) -> Sighting {
    let driver = device.vdpa.as_ref().map(|vdpa| vdpa.driver.name());
    let node = (driver == Some("vhost_vdpa"))
        .then(|| Node::There(format!("vhost-vdpa-{}", device.index + 10)));
    let nodes = node.into_iter().collect();
    let function = Some(Presence::Bound("vp-vdpa".to_owned()));
    let vdpa = driver.map(|driver| Presence::Bound(driver.to_owned()));
    Sighting { function, vdpa, nodes, ..Sighting::default() }
}

/// Function `n` of a card, itself attached, and what the kernel shows of it when it is bound to
/// vfio-pci.
pub(crate) fn function(n: u32) -> (Value, Sighting) {
    let mut device = vdpa_device(n, "vhost_vdpa");
    device.as_object_mut().unwrap().remove("vdpa");
    let function = Some(Presence::Bound("vfio-pci".to_owned()));
    let nodes = ["vfio/vfio".to_owned(), format!("vfio/{}", n + 40)].map(Node::There).into();
    (device, Sighting { function, nodes, ..Sighting::default() })
}

pub(crate) fn offers(pools: &Pools) -> Offers {
    offer::offers(&supply::of(pools), |entry| Ok(fine(&entry.device)))
}

pub(crate) fn resource(name: &str) -> Resource {
    name.parse().unwrap()
}

/// What one resource of [`pools`] offers.
pub(crate) fn offer(name: &str) -> Offer {
    offers(&pools()).remove(&resource(name)).unwrap()
}

/// The only pool of a file with one device of this kind and state.
pub(crate) fn one(attach: Attach, device: Value) -> Pools {
    let json = json!({"version": 1, "node": "n", "generation": 1, "pools": [
        {"name": "p", "resource": VHOST, "attach": attach, "devices": [device]},
    ]});
    Pools::parse(json.to_string().as_bytes()).unwrap()
}
