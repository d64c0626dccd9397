use super::*;
use crate::error::chain;
use serde_json::{Value, json};

fn vmi(interface: Value, network: Value) -> Vec<u8> {
    json!({
        "metadata": {"name": "vm", "namespace": "default", "uid": "1"},
        "spec": {
            "domain": {"devices": {"disks": [], "interfaces": [
                {"name": "default", "masquerade": {}}, interface,
            ]}},
            "networks": [{"name": "default", "pod": {}}, network],
        },
    })
    .to_string()
    .into_bytes()
}

fn multus() -> Value {
    json!({"name": "net1", "multus": {"networkName": "default/vm-rings"}})
}

#[test]
fn interfaces_of_the_binding_are_picked() {
    let plain = json!({"name": "net1", "binding": {"name": "ringway"}});
    let found = read(&vmi(plain, multus()), "ringway").unwrap();
    let interface = Interface {
        name: "net1".into(),
        mac: None,
        pci_address: None,
        acpi_index: None,
        boot_order: None,
    };
    assert_eq!(found, Vm { name: "default/vm".into(), interfaces: vec![interface] });
}

#[test]
fn what_is_said_of_an_interface_is_kept() {
    let full = json!({
        "name": "net1", "binding": {"name": "ringway"}, "macAddress": "02-00-00-00-00-0A",
        "pciAddress": "0000:81:1f.7", "acpiIndex": 101, "bootOrder": 1, "model": "virtio",
    });
    let found = read(&vmi(full, multus()), "ringway").unwrap().interfaces.remove(0);
    assert_eq!(found.mac.unwrap().to_string(), "02:00:00:00:00:0a");
    let address = PciAddress { domain: 0, bus: 0x81, slot: 0x1f, function: 7 };
    assert_eq!(found.pci_address, Some(address));
    assert_eq!((found.acpi_index, found.boot_order), (Some(101), Some(1)));
}

#[test]
fn others_are_left_out() {
    for interface in [
        json!({"name": "net1", "binding": {"name": "passt"}}),
        json!({"name": "net1", "sriov": {}}),
        json!({"name": "net1", "binding": {"name": "ringway"}, "state": "absent"}),
        json!({"name": "net1", "binding": null}),
    ] {
        assert!(read(&vmi(interface, multus()), "ringway").unwrap().interfaces.is_empty());
    }
    let none = br#"{"metadata":{"name":"vm"},"spec":{"domain":{"devices":{"interfaces":null}}}}"#;
    assert!(read(none, "ringway").unwrap().interfaces.is_empty());
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let check = |interface: Value, network: Value, expected: &str| {
        let error = read(&vmi(interface, network), "ringway").unwrap_err();
        assert_eq!(chain(&error), format!("VM default/vm: interface {expected}"));
    };
    let ours = |key: &str, value: Value| {
        let mut interface = json!({"name": "net1", "binding": {"name": "ringway"}});
        interface[key] = value;
        interface
    };
    check(
        ours("name", "../net1".into()),
        multus(),
        "../net1: name \"../net1\": must be 1 to 200 of letters, digits, `-` and `_`",
    );
    check(
        ours("macAddress", "zz".into()),
        multus(),
        "net1: macAddress \"zz\": must be such as 02:00:00:00:00:01",
    );
    for wrong in ["81:00.1", "0000:81:20.1", "0000:81:00.8", "0000:81:00", "0000:81:00.+1"] {
        check(
            ours("pciAddress", wrong.into()),
            multus(),
            &format!("net1: pciAddress {wrong:?}: must be such as 0000:81:00.1"),
        );
    }
    check(
        ours("model", "virtio".into()),
        json!({"name": "net1", "pod": {}}),
        "net1: its network is not of kind `multus`, the only one that brings a device",
    );
    check(
        ours("model", "virtio".into()),
        json!({"name": "net2", "multus": {}}),
        "net1: spec.networks has no network of that name",
    );
    let error = chain(&read(b"[", "ringway").unwrap_err());
    assert!(error.starts_with("read the VMI as JSON: EOF"), "{error}");
}
