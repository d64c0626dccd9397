//! Environment variables that name a container's devices, as the SR-IOV network device plugin
//! writes them, so that what reads those works with ours.

use std::collections::HashMap;

use ringway_node::Resource;
use serde_json::{Map, Value, json};

use crate::offer::Item;
use crate::supply::Way;

/// `PCIDEVICE_<RESOURCE>`: the ids with commas between, and `PCIDEVICE_<RESOURCE>_INFO`: what
/// each is, as JSON.
///
/// That plugin replaces only dots and the slash, so a hyphen stays, which no shell can name: where
/// there is one, the same again with underscores only.
pub fn envs(resource: &Resource, items: &[&Item]) -> HashMap<String, String> {
    let ids = items.iter().map(|item| item.id().as_str());
    let list = ids.collect::<Vec<_>>().join(",");
    let info: Map<_, _> =
        items.iter().map(|item| (item.id().to_string(), Value::Object(info(item)))).collect();
    let info = Value::Object(info).to_string();

    let name = resource.as_str().to_ascii_uppercase().replace(['.', '/'], "_");
    let plain = name.replace('-', "_");
    let mut envs = HashMap::new();
    for name in [name, plain] {
        envs.insert(format!("PCIDEVICE_{name}_INFO"), info.clone());
        envs.insert(format!("PCIDEVICE_{name}"), list.clone());
    }
    envs
}

/// What an item is, by the names under which that plugin tells it.
fn info(item: &Item) -> Map<String, Value> {
    let mut info = Map::new();
    let mut tell = |name: &str, value| info.insert(name.to_owned(), value);
    tell("generic", json!({"deviceID": item.id().as_str()}));
    match item.entry.way {
        Way::Netdev => None,
        Way::VhostVdpa => {
            let mount = item.vhost_vdpa_path().map(|path| ("mount".to_owned(), path.into()));
            tell("vdpa", Value::Object(mount.into_iter().collect()))
        }
        Way::VirtioVdpa => tell("vdpa", json!({})),
        Way::Vfio => {
            let group = item.nodes.iter().find(|node| is_group(node));
            let group = group.map(|node| format!("/dev/{node}"));
            tell("vfio", json!({"mount": "/dev/vfio/vfio", "dev-mount": group}))
        }
        Way::Uio => {
            let node = item.nodes.iter().find(|node| node.starts_with("uio"));
            tell("uio", json!({"mount": node.map(|node| format!("/dev/{node}"))}))
        }
    };
    if item.entry.with.rdma {
        tell("rdma", Value::Object(rdma(item)));
    }
    if item.nodes.iter().any(|node| node == "vhost-net") {
        tell("vhost", json!({"net-mount": "/dev/vhost-net", "tun-mount": "/dev/net/tun"}));
    }
    if let Some(extra) = &item.entry.with.extra {
        tell("extra", json!(extra));
    }
    info
}

fn rdma(item: &Item) -> Map<String, Value> {
    let nodes = ["uverbs", "umad", "issm", "rdma_cm"].into_iter().filter_map(|kind| {
        let below = format!("infiniband/{kind}");
        let node = item.nodes.iter().find(|node| node.starts_with(&below))?;
        Some((kind.to_owned(), format!("/dev/{node}").into()))
    });
    let name = item.rdma_devices.first().map(|name| ("rdma_dev".to_owned(), name.clone().into()));
    nodes.chain(name).collect()
}

/// `vfio/12`: the node of an IOMMU group.
fn is_group(node: &str) -> bool {
    node.strip_prefix("vfio/").is_some_and(|number| number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supply::{Entry, NodePaths, With};
    use ringway_node::pools::{Attach, Carrier};

    fn check(resource: &str, attach: Attach, ids: &[&str], expected: &[(&str, &str)]) {
        let item = |id: &&str| {
            let device = json!({"id": id, "parent": "p", "index": 0, "state": "ready"});
            let device = serde_json::from_value(device).unwrap();
            let nodes = ["vfio/vfio", "vfio/12", "vfio/devices/vfio3"].map(str::to_owned).into();
            let (way, paths, with) = (attach.into(), NodePaths::Stable, With::default());
            let entry = Entry { device, way, carrier: Carrier::Ignore, paths, with };
            Item { nodes, ..Item::of(entry) }
        };
        let items: Vec<Item> = ids.iter().map(item).collect();
        let items: Vec<&Item> = items.iter().collect();
        let expected = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(envs(&resource.parse().unwrap(), &items), expected);
    }

    #[test]
    fn hyphens_are_kept_and_also_replaced() {
        let info = r#"{"a":{"generic":{"deviceID":"a"},"vdpa":{"mount":"/dev/ringway/a"}},"b":{"generic":{"deviceID":"b"},"vdpa":{"mount":"/dev/ringway/b"}}}"#;
        check(
            "ringway.dev/vm-rings.x",
            Attach::VhostVdpa,
            &["b", "a"],
            &[
                ("PCIDEVICE_RINGWAY_DEV_VM-RINGS_X", "b,a"),
                ("PCIDEVICE_RINGWAY_DEV_VM-RINGS_X_INFO", info),
                ("PCIDEVICE_RINGWAY_DEV_VM_RINGS_X", "b,a"),
                ("PCIDEVICE_RINGWAY_DEV_VM_RINGS_X_INFO", info),
            ],
        );
    }

    #[test]
    fn a_name_without_hyphens_is_written_once() {
        check(
            "ringway.dev/pods",
            Attach::VirtioVdpa,
            &["a"],
            &[
                ("PCIDEVICE_RINGWAY_DEV_PODS", "a"),
                (
                    "PCIDEVICE_RINGWAY_DEV_PODS_INFO",
                    r#"{"a":{"generic":{"deviceID":"a"},"vdpa":{}}}"#,
                ),
            ],
        );
        check(
            "ringway.dev/nets",
            Attach::Netdev,
            &["a"],
            &[
                ("PCIDEVICE_RINGWAY_DEV_NETS", "a"),
                ("PCIDEVICE_RINGWAY_DEV_NETS_INFO", r#"{"a":{"generic":{"deviceID":"a"}}}"#),
            ],
        );
        let info = r#"{"a":{"generic":{"deviceID":"a"},"vfio":{"dev-mount":"/dev/vfio/12","mount":"/dev/vfio/vfio"}}}"#;
        check(
            "ringway.dev/fns",
            Attach::Vfio,
            &["a"],
            &[("PCIDEVICE_RINGWAY_DEV_FNS", "a"), ("PCIDEVICE_RINGWAY_DEV_FNS_INFO", info)],
        );
    }

    #[test]
    fn what_goes_with_a_device_is_told_by_that_plugins_names() {
        let device = json!({"id": "a", "parent": "p", "index": 0, "state": "ready"});
        let device: ringway_node::pools::Device = serde_json::from_value(device).unwrap();
        let item = |way, nodes: &[&str], with: With| Item {
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
            rdma_devices: vec!["mlx5_3".to_owned(), "mlx5_4".to_owned()],
            ..Item::of(Entry {
                device: device.clone(),
                way,
                carrier: Carrier::Ignore,
                paths: NodePaths::Host,
                with,
            })
        };
        let extra = Some([("k".to_owned(), "v".to_owned())].into());
        for (item, expected) in [
            (item(Way::Uio, &["uio4"], With::default()), json!({"uio": {"mount": "/dev/uio4"}})),
            (
                item(Way::VhostVdpa, &["vhost-vdpa-7"], With::default()),
                json!({"vdpa": {"mount": "/dev/vhost-vdpa-7"}}),
            ),
            (
                item(
                    Way::Netdev,
                    &["infiniband/uverbs3", "infiniband/rdma_cm", "vhost-net", "net/tun"],
                    With { rdma: true, vhost_net: true, extra },
                ),
                json!({
                    "rdma": {"uverbs": "/dev/infiniband/uverbs3", "rdma_dev": "mlx5_3",
                             "rdma_cm": "/dev/infiniband/rdma_cm"},
                    "vhost": {"net-mount": "/dev/vhost-net", "tun-mount": "/dev/net/tun"},
                    "extra": {"k": "v"},
                }),
            ),
        ] {
            let mut expected = expected;
            expected["generic"] = json!({"deviceID": "a"});
            assert_eq!(Value::Object(info(&item)), expected);
        }
    }
}
