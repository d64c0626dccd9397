//! Environment variables that name a container's devices, as the SR-IOV network device plugin
//! writes them, so that what reads those works with ours.

use std::collections::HashMap;

use ringway_node::Resource;
use ringway_node::pools::Attach;
use serde_json::{Map, Value, json};

use crate::cdi;
use crate::offer::Item;

/// `PCIDEVICE_<RESOURCE>`: the ids with commas between, and `PCIDEVICE_<RESOURCE>_INFO`: what
/// each is, as JSON.
///
/// That plugin replaces only dots and the slash, so a hyphen stays, which no shell can name: where
/// there is one, the same again with underscores only.
pub fn envs(resource: &Resource, attach: Attach, items: &[&Item]) -> HashMap<String, String> {
    let ids = items.iter().map(|item| item.device.id.as_str());
    let list = ids.collect::<Vec<_>>().join(",");
    let info: Map<_, _> =
        items.iter().map(|item| (item.device.id.to_string(), info(attach, item))).collect();
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

fn info(attach: Attach, item: &Item) -> Value {
    let id = &item.device.id;
    let generic = json!({"deviceID": id.as_str()});
    match attach {
        Attach::VhostVdpa => {
            json!({"generic": generic, "vdpa": {"mount": cdi::container_path(id)}})
        }
        Attach::VirtioVdpa => json!({"generic": generic, "vdpa": {}}),
        Attach::Netdev => json!({"generic": generic}),
        Attach::Vfio => {
            let group = item.nodes.iter().find(|node| is_group(node));
            let group = group.map(|node| format!("/dev/{node}"));
            json!({"generic": generic, "vfio": {"mount": "/dev/vfio/vfio", "dev-mount": group}})
        }
    }
}

/// `vfio/12`: the node of an IOMMU group.
fn is_group(node: &str) -> bool {
    node.strip_prefix("vfio/").is_some_and(|number| number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(resource: &str, attach: Attach, ids: &[&str], expected: &[(&str, &str)]) {
        let item = |id: &&str| {
            let device = json!({"id": id, "parent": "p", "index": 0, "state": "ready"});
            let device = serde_json::from_value(device).unwrap();
            let nodes = ["vfio/vfio", "vfio/12", "vfio/devices/vfio3"].map(str::to_owned).into();
            Item { device, nodes, unusable: None }
        };
        let items: Vec<Item> = ids.iter().map(item).collect();
        let items: Vec<&Item> = items.iter().collect();
        let expected = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(envs(&resource.parse().unwrap(), attach, &items), expected);
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
}
