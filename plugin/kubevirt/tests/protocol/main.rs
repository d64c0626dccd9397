//! The hook's binary against KubeVirt's part of the protocol, over a Unix socket in a temporary
//! directory. Nothing here needs root or a device.

#![allow(clippy::unwrap_used, reason = "what fails in a test ends the test")]

mod manager;
mod sidecar;

use std::path::Path;

use manager::Manager;
use serde_json::{Value, json};
use sidecar::Sidecar;
use tonic::Code;

const DOMAIN: &str = "<domain type='kvm'>\n  <devices>\n    <disk/>\n  </devices>\n</domain>\n";
const PLACEHOLDERS: &str = "<interface type=\"ethernet\"><target dev=\"placeholder-0\" \
    managed=\"no\"></target></interface><interface type=\"ethernet\"><target \
    dev=\"placeholder-1\" managed=\"no\"></target></interface>";
const DEVICE: &str = "/dev/ringway/0000:01:00.1";

fn vmi(mac: Option<&str>) -> String {
    json!({
        "metadata": {"name": "vm", "namespace": "default"},
        "spec": {
            "domain": {"devices": {"interfaces": [
                {"name": "default", "masquerade": {}},
                {"name": "rings", "binding": {"name": "ringway"}, "macAddress": mac},
            ]}},
            "networks": [
                {"name": "default", "pod": {}},
                {"name": "rings", "multus": {"networkName": "default/vm-rings"}},
            ],
        },
    })
    .to_string()
}

fn network_info(device_info: &Value) -> String {
    let entry = json!({"network": "rings", "deviceInfo": device_info, "mac": "52:54:01:00:00:01"});
    json!({"interfaces": [entry]}).to_string()
}

fn vdpa() -> Value {
    json!({"type": "vdpa", "version": "1.1.0", "vdpa": {"driver": "vhost", "path": DEVICE}})
}

/// What virt-launcher does for one start: with placeholders, without, and with libvirt's addresses.
#[tokio::test]
async fn three_calls_over_its_own_output() {
    let sidecar = Sidecar::start(&["--device-info-timeout=20"], None);
    let manager = Manager::collect(&sidecar.hooks, "ringway.sock").await;
    assert_eq!(manager.version, "v1alpha3");
    assert_eq!(manager.hook_points, ["OnDefineDomain", "Shutdown"]);

    // network-info comes only now, after the first call has begun
    let first = DOMAIN.replace("</devices>", &format!("{PLACEHOLDERS}</devices>"));
    let vmi = vmi(None);
    let asking = manager.define(&first, &vmi);
    let writing = async {
        std::fs::write(&sidecar.network_info, "").unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        std::fs::write(&sidecar.network_info, network_info(&vdpa())).unwrap();
    };
    let (answer, ()) = tokio::join!(asking, writing);
    let answer = answer.unwrap();
    let ours = "<interface type=\"vdpa\"><mac address=\"52:54:01:00:00:01\"/>\
        <source dev=\"/var/run/kubevirt-hooks/hook-sidecar-0/vdpa-rings\"/>\
        <model type=\"virtio\"/><alias name=\"ua-rings\"/></interface>";
    assert_eq!(answer, first.replace("</devices>", &format!("{ours}</devices>")));
    let link = sidecar.hooks.join("vdpa-rings");
    assert_eq!(std::fs::read_link(link).unwrap(), Path::new(DEVICE));

    let second = answer.replace(PLACEHOLDERS, "");
    assert_eq!(manager.define(&second, &vmi).await.unwrap(), second);

    let address = "<address type='pci' bus='0x02'/>";
    let third = second
        .replace("<alias name=\"ua-rings\"/>", &format!("{address}<alias name=\"ua-rings\"/>"));
    let expected = second
        .replace("<alias name=\"ua-rings\"/>", &format!("<alias name=\"ua-rings\"/>{address}"));
    assert_eq!(manager.define(&third, &vmi).await.unwrap(), expected);
}

#[tokio::test]
async fn a_refusal_names_vm_interface_and_what_is_allowed() {
    let sidecar = Sidecar::start(&["--device-info-timeout=0.2"], None);
    let manager = Manager::collect(&sidecar.hooks, "ringway.sock").await;
    let file = sidecar.network_info.display().to_string();
    for (info, mac, code, expected) in [
        (None, None, Code::FailedPrecondition, "there is no such file: register the binding with"),
        (
            Some(String::new()),
            None,
            Code::FailedPrecondition,
            "does not name network rings: Multus",
        ),
        (
            Some(network_info(&Value::Null)),
            None,
            Code::FailedPrecondition,
            "network rings has no device-info: its NetworkAttachmentDefinition needs",
        ),
        (
            Some(network_info(&vdpa())),
            Some("52:54:01:00:00:02"),
            Code::FailedPrecondition,
            "macAddress 52:54:01:00:00:02 is not the device's, 52:54:01:00:00:01",
        ),
        (
            Some(network_info(&vdpa())),
            Some("zz"),
            Code::InvalidArgument,
            "macAddress \"zz\": must be",
        ),
    ] {
        if let Some(info) = info {
            std::fs::write(&sidecar.network_info, info).unwrap();
        }
        let status = manager.define(DOMAIN, &vmi(mac)).await.unwrap_err();
        let text = status.message();
        assert_eq!(status.code(), code, "{text}");
        assert!(text.starts_with("VM default/vm: interface rings: "), "{text}");
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("network-info") || text.contains(&file), "{text}");
    }
    let status = manager.define("<network/>", &vmi(None)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().ends_with("the XML is a <network>, not a <domain>"), "{status:?}");
}

/// A VM of another binding, and the names that KubeVirt gives by environment.
#[tokio::test]
async fn the_environment_names_binding_and_container() {
    let sidecar = Sidecar::start(&[], Some(("fast", "hook-sidecar-3")));
    let manager = Manager::collect(&sidecar.hooks, "fast.sock").await;
    assert_eq!(manager.define(DOMAIN, &vmi(None)).await.unwrap(), DOMAIN);
    std::fs::write(&sidecar.network_info, network_info(&vdpa())).unwrap();
    let ours = vmi(None).replace("\"ringway\"", "\"fast\"");
    let answer = manager.define(DOMAIN, &ours).await.unwrap();
    assert!(answer.contains("\"/var/run/kubevirt-hooks/hook-sidecar-3/vdpa-rings\""), "{answer}");
}

#[tokio::test]
async fn it_leaves_with_the_vm_and_takes_its_socket_along() {
    let mut sidecar = Sidecar::start(&[], None);
    let manager = Manager::collect(&sidecar.hooks, "ringway.sock").await;
    manager.shutdown().await.unwrap();
    assert_eq!(sidecar.exit().await, Some(0));
    assert!(!sidecar.hooks.join("ringway.sock").exists());
}

/// Also while a call waits for a device that never comes.
#[tokio::test]
async fn it_leaves_on_sigterm() {
    let mut sidecar = Sidecar::start(&["--device-info-timeout=55"], None);
    let manager = Manager::collect(&sidecar.hooks, "ringway.sock").await;
    let vmi = vmi(None);
    let asking = manager.define(DOMAIN, &vmi);
    let leaving = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        sidecar.terminate();
        sidecar.exit().await
    };
    let (answer, exit) = tokio::join!(asking, leaving);
    assert!(answer.is_err());
    assert_eq!(exit, Some(0));
    assert!(!sidecar.hooks.join("ringway.sock").exists());
}

#[tokio::test]
async fn a_socket_left_by_one_that_was_killed_is_replaced() {
    let mut sidecar = Sidecar::start(&[], None);
    Manager::collect(&sidecar.hooks, "ringway.sock").await;
    sidecar.kill();
    assert!(sidecar.hooks.join("ringway.sock").exists());
    sidecar.restart(&[], None);
    Manager::collect(&sidecar.hooks, "ringway.sock").await;
}

#[tokio::test]
async fn a_socket_that_cannot_be_is_an_error() {
    let mut sidecar = Sidecar::start(&[], None);
    Manager::collect(&sidecar.hooks, "ringway.sock").await;
    sidecar.kill();
    let socket = sidecar.hooks.join("ringway.sock");
    std::fs::remove_file(&socket).unwrap();
    // what is no socket is not ours to remove
    std::fs::write(&socket, "").unwrap();
    sidecar.restart(&[], None);
    assert_eq!(sidecar.exit().await, Some(1));
    assert!(socket.is_file());
}
