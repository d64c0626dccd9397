//! Environment variables that name a container's devices, as the SR-IOV network device plugin
//! writes them, so that what reads those works with ours.

use std::collections::HashMap;

use ringway_node::pools::Attach;
use ringway_node::{DeviceId, Resource};
use serde_json::{Map, Value, json};

use crate::cdi;

/// `PCIDEVICE_<RESOURCE>`: the ids with commas between, and `PCIDEVICE_<RESOURCE>_INFO`: what
/// each is, as JSON.
///
/// That plugin replaces only dots and the slash, so a hyphen stays, which no shell can name: where
/// there is one, the same again with underscores only.
pub fn envs(resource: &Resource, attach: Attach, ids: &[DeviceId]) -> HashMap<String, String> {
    let list = ids.iter().map(DeviceId::as_str).collect::<Vec<_>>().join(",");
    let info: Map<_, _> = ids.iter().map(|id| (id.to_string(), info(attach, id))).collect();
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

fn info(attach: Attach, id: &DeviceId) -> Value {
    let generic = json!({"deviceID": id.as_str()});
    match attach {
        Attach::VhostVdpa => {
            json!({"generic": generic, "vdpa": {"mount": cdi::container_path(id)}})
        }
        Attach::VirtioVdpa => json!({"generic": generic, "vdpa": {}}),
        Attach::Netdev | Attach::Vfio | Attach::Host => json!({"generic": generic}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(resource: &str, attach: Attach, ids: &[&str], expected: &[(&str, &str)]) {
        let ids: Vec<DeviceId> = ids.iter().map(|id| id.parse().unwrap()).collect();
        let expected = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(envs(&resource.parse().unwrap(), attach, &ids), expected);
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
    }
}
