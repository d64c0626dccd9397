//! A virtual function of the virtio card as a vDPA device: SR-IOV, vp_vdpa and the vDPA bus.

use ringway_kernel::pci::{self, Address};
use ringway_kernel::vdpa::{Handle, NewDevice};
use ringway_kernel::vdpa_bus::{self, Driver};
use ringway_kernel::{sriov, vdpa};

use crate::node::Node;

fn carve(node: &Node) -> (Address, vdpa::ManagementDevice) {
    let (root, pf) = (&node.root, node.virtio);
    sriov::set_drivers_autoprobe(root, pf, false).unwrap();
    vdpa_bus::set_drivers_autoprobe(root, false).unwrap();
    sriov::set_numvfs(root, pf, 2).unwrap();
    let vf = sriov::functions(root, pf).unwrap()[0].address;
    pci::bind(root, vf, "vp-vdpa").unwrap();
    let device = node.vdpa().management_device(&Handle::pci(vf)).unwrap();
    (vf, device)
}

fn name(vf: Address) -> String {
    format!("vdpa:{vf}")
}

#[test]
fn the_device_becomes_a_netdev_below_its_function() {
    let node = Node::at_rest();
    let (vf, management) = carve(&node);
    node.vdpa().create(&NewDevice::new(name(vf), management.handle)).unwrap();
    vdpa_bus::bind(&node.root, &name(vf), Driver::VirtioVdpa).unwrap();
    assert_eq!(vdpa_bus::netdevs(&node.root, &name(vf)).unwrap().len(), 1);
    let config = node.vdpa().config(&name(vf)).unwrap();
    assert_eq!(config.mac.map(|m| m.to_string()).as_deref(), Some("52:54:01:00:00:01"));
}

#[test]
fn the_char_device_opens_behind_the_iommu() {
    let node = Node::at_rest();
    let (vf, management) = carve(&node);
    node.vdpa().create(&NewDevice::new(name(vf), management.handle)).unwrap();
    vdpa_bus::bind(&node.root, &name(vf), Driver::VhostVdpa).unwrap();
    let chardev = vdpa_bus::char_device(&node.root, &name(vf)).unwrap().unwrap();
    std::fs::File::options().read(true).write(true).open(chardev.path).unwrap();
}

#[test]
fn it_offers_exactly_the_features_asked_for() {
    let node = Node::at_rest();
    let (vf, management) = carve(&node);
    let wanted = "MAC,STATUS,VERSION_1,ACCESS_PLATFORM".parse().unwrap();
    assert!(management.features.unwrap().contains(wanted));
    let device =
        NewDevice { features: Some(wanted), ..NewDevice::new(name(vf), management.handle) };
    node.vdpa().create(&device).unwrap();
    assert_eq!(node.vdpa().config(&name(vf)).unwrap().features, Some(wanted));
}

#[test]
fn a_mac_is_more_than_it_can_set() {
    let node = Node::at_rest();
    let (vf, management) = carve(&node);
    let mac = Some("02:00:00:00:00:01".parse().unwrap());
    let device = NewDevice { mac, ..NewDevice::new(name(vf), management.handle) };
    let error = node.vdpa().create(&device).unwrap_err();
    assert!(error.to_string().contains("not supported"), "{error:#}");
}
