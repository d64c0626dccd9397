//! What KubeVirt's virt-controller does for a pod with Multus networks, and the lab does in its
//! place: from Multus' `k8s.v1.cni.cncf.io/network-status` it makes `kubevirt.io/network-info`,
//! which the hook reads (`pkg/network/pod/annotations/generator.go` of KubeVirt).

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::place::hex;

/// The annotation that Multus writes.
pub(crate) const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
/// The annotation that the hook reads.
pub(crate) const NETWORK_INFO: &str = "kubevirt.io/network-info";

/// An interface as Multus reports it.
#[derive(Debug, Deserialize)]
struct Status {
    #[serde(default)]
    interface: String,
    mac: Option<String>,
    mtu: Option<u32>,
    #[serde(rename = "device-info")]
    device_info: Option<Value>,
}

#[derive(Debug, Serialize)]
struct Info<'a> {
    interfaces: Vec<Interface<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Interface<'a> {
    network: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_info: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
}

/// The value of [`NETWORK_INFO`] for a VMI's `networks`, from that of [`NETWORK_STATUS`]; `None`
/// while Multus has attached none of them.
pub(crate) fn network_info(network_status: &str, networks: &[&str]) -> Result<Option<String>> {
    let statuses: Vec<Status> =
        serde_json::from_str(network_status).context("read Multus' network-status")?;
    let mut by_name: std::collections::BTreeMap<_, _> =
        statuses.into_iter().map(|status| (status.interface.clone(), status)).collect();
    let interfaces: Vec<_> = networks
        .iter()
        .filter_map(|network| {
            let Status { mac, mtu, device_info, .. } = by_name.remove(&pod_interface(network))?;
            Some(Interface { network, device_info, mac, mtu })
        })
        .collect();
    if interfaces.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::to_string(&Info { interfaces })?))
}

/// The name that KubeVirt gives a network's interface in the pod
/// (`namescheme.GenerateHashedInterfaceName`).
pub(crate) fn pod_interface(network: &str) -> String {
    format!("pod{}", &hex(&Sha256::digest(network.as_bytes()))[..11])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As Multus writes it: the default network first, in lines.
    const STATUS: &str = r#"[{
        "name": "pod", "interface": "eth0", "ips": ["10.77.1.5"], "mac": "0a:58:0a:4d:01:05",
        "default": true, "dns": {}, "gateway": ["<nil>"]
    },{
        "name": "default/vm-rings", "interface": "pod9047bdbd45f", "mac": "52:54:01:00:00:01",
        "mtu": 1500, "dns": {},
        "device-info": {"type": "vdpa", "version": "1.1.0", "vdpa": {
            "parent-device": "vdpa:0000:01:00.1", "driver": "vhost",
            "path": "/dev/ringway/0000:01:00.1", "pci-address": "0000:01:00.1"}}
    }]"#;

    #[track_caller]
    fn check(status: &str, networks: &[&str], expected: Option<Value>) {
        let found = network_info(status, networks).unwrap();
        let found = found.map(|text| serde_json::from_str::<Value>(&text).unwrap());
        assert_eq!(found, expected);
    }

    #[test]
    fn a_network_is_found_by_its_interface() {
        let device = serde_json::from_str::<Value>(STATUS).unwrap()[1]["device-info"].take();
        let entry = json!({"network": "rings", "deviceInfo": device,
                           "mac": "52:54:01:00:00:01", "mtu": 1500});
        check(STATUS, &["rings"], Some(json!({"interfaces": [entry]})));
        check(STATUS, &["other", "rings"], Some(json!({"interfaces": [entry]})));
    }

    #[test]
    fn what_multus_does_not_say_is_left_out() {
        let bare = r#"[{"name": "a", "interface": "pod9047bdbd45f"}, {"name": "b"}]"#;
        check(bare, &["rings"], Some(json!({"interfaces": [{"network": "rings"}]})));
    }

    #[test]
    fn nothing_is_attached_yet() {
        check(STATUS, &["other"], None);
        check("[]", &["rings"], None);
        assert!(network_info("", &["rings"]).is_err());
    }

    /// The pod's annotation names the interface that is looked for.
    #[test]
    fn the_pod_asks_for_that_interface() {
        let pod = include_str!("../assets/vm-pod.yaml");
        assert!(pod.contains(&format!("\"interface\":\"{}\"", pod_interface("rings"))));
        for annotation in [NETWORK_INFO, "k8s.v1.cni.cncf.io/networks"] {
            assert!(pod.contains(annotation), "{annotation}");
        }
        assert_eq!(NETWORK_STATUS, "k8s.v1.cni.cncf.io/network-status");
    }
}
