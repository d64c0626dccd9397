//! Who holds a device, as kubelet's device manager wrote it down
//! (`pkg/kubelet/cm/devicemanager/checkpoint`): at admission, so before any sandbox is made.

use std::{collections::BTreeMap, path::Path};

use ringway_node::{DeviceId, Resource, atomic};
use serde::Deserialize;

use crate::error::{Code, Error, Result};

/// 110 pods with a dozen resources each have less than 1 MiB.
const LONGEST: u64 = 32 << 20;

/// The path below kubelet's directory.
pub const FILE: &str = "device-plugins/kubelet_internal_checkpoint";

#[derive(Deserialize)]
struct Checkpoint {
    #[serde(rename = "Data")]
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    // Go writes null for an empty slice.
    #[serde(rename = "PodDeviceEntries")]
    entries: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "PodUID")]
    pod: String,
    #[serde(rename = "ResourceName")]
    resource: String,
    // By NUMA node.
    #[serde(rename = "DeviceIDs")]
    devices: Option<BTreeMap<String, Option<Vec<String>>>>,
}

/// Whether a pod holds a device of a resource.
pub fn holds(path: &Path, pod_uid: &str, resource: &Resource, id: &DeviceId) -> Result<bool> {
    Ok(holders(path, resource, id)?.iter().any(|holder| holder == pod_uid))
}

/// The UIDs of the pods that hold a device of a resource: one, unless kubelet is mistaken.
pub fn holders(path: &Path, resource: &Resource, id: &DeviceId) -> Result<Vec<String>> {
    let bytes = atomic::read(path, LONGEST).map_err(|error| {
        let code = if error.is_not_found() { Code::TryAgain } else { Code::Io };
        Error::because(code, "kubelet's device checkpoint")(error)
    })?;
    let checkpoint: Checkpoint = serde_json::from_slice(&bytes).map_err(Error::because(
        Code::Decode,
        format!("parse kubelet's device checkpoint {}", path.display()),
    ))?;
    let entries = checkpoint.data.entries.unwrap_or_default().into_iter();
    let has = |entry: &Entry| {
        let mut lists = entry.devices.iter().flat_map(BTreeMap::values).flatten();
        entry.resource == resource.as_str()
            && lists.any(|list| list.iter().any(|device| device == id.as_str()))
    };
    Ok(entries.filter(has).map(|entry| entry.pod).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = r#"{"Data":{"PodDeviceEntries":[
        {"PodUID":"u1","ContainerName":"c","ResourceName":"ringway.dev/rings",
         "DeviceIDs":{"-1":["0000:01:00.1","0000:01:00.2"]},"AllocResp":"EgA="},
        {"PodUID":"u2","ContainerName":"c","ResourceName":"other.io/rings",
         "DeviceIDs":{"0":["0000:01:00.3"],"1":null},"AllocResp":""}],
        "RegisteredDevices":{"ringway.dev/rings":["0000:01:00.1"]}},"Checksum":123}"#;

    fn file(content: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        std::fs::write(&path, content).unwrap();
        (dir, path)
    }

    #[test]
    fn pod_resource_and_device_must_all_agree() {
        let (_dir, path) = file(REAL);
        let check = |pod: &str, id: &str, expected: bool| {
            let resource = "ringway.dev/rings".parse().unwrap();
            assert_eq!(holds(&path, pod, &resource, &id.parse().unwrap()).unwrap(), expected);
        };
        check("u1", "0000:01:00.1", true);
        check("u1", "0000:01:00.2", true);
        check("u1", "0000:01:00.3", false);
        check("u2", "0000:01:00.1", false);
        check("u2", "0000:01:00.3", false);
    }

    #[test]
    fn an_empty_one_holds_nothing_and_others_are_errors() {
        let holds = |content: &str| {
            let (_dir, path) = file(content);
            super::holds(&path, "u1", &"ringway.dev/rings".parse().unwrap(), &"a".parse().unwrap())
        };
        assert!(!holds(r#"{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}}}"#).unwrap());
        assert_eq!(holds("{}").unwrap_err().code(), Code::Decode);
        assert_eq!(holds("").unwrap_err().code(), Code::Decode);
        let resource = "ringway.dev/rings".parse().unwrap();
        let absent = super::holds(Path::new("/no/file"), "u", &resource, &"a".parse().unwrap());
        assert_eq!(absent.unwrap_err().code(), Code::TryAgain);
    }
}
