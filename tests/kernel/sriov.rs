//! SR-IOV through sysfs, on virtio and on igb.

use ringway_kernel::error::errno;
use ringway_kernel::{pci, sriov};

use crate::node::Node;

#[test]
fn functions_appear_in_order_and_without_a_driver() {
    let node = Node::at_rest();
    let (root, pf) = (&node.root, node.virtio);
    assert_eq!(sriov::totalvfs(root, pf).unwrap(), Some(4));
    sriov::set_drivers_autoprobe(root, pf, false).unwrap();
    sriov::set_numvfs(root, pf, 4).unwrap();
    let functions = sriov::functions(root, pf).unwrap();
    let found: Vec<_> = functions.iter().map(|f| (f.index, f.address.to_string())).collect();
    let wanted: Vec<_> = (0..4).map(|i| (i, format!("0000:01:00.{}", i + 1))).collect();
    assert_eq!(found, wanted);
    for function in functions {
        assert_eq!(sriov::physfn(root, function.address).unwrap(), Some(pf));
        assert_eq!(pci::driver(root, function.address).unwrap(), None);
        assert!(pci::iommu_group(root, function.address).unwrap().is_some());
    }
}

#[test]
fn another_count_goes_through_zero() {
    let node = Node::at_rest();
    let (root, pf) = (&node.root, node.igb);
    for count in [2, 5, 5, 1] {
        sriov::set_numvfs(root, pf, count).unwrap();
        assert_eq!(sriov::numvfs(root, pf).unwrap(), count);
        assert_eq!(sriov::functions(root, pf).unwrap().len(), usize::from(count));
    }
}

#[test]
fn more_functions_than_the_card_has_are_refused() {
    let node = Node::at_rest();
    let error = sriov::set_numvfs(&node.root, node.virtio, 5).unwrap_err();
    assert_eq!(error.errno(), Some(errno::ERANGE), "{error:#}");
    assert_eq!(sriov::numvfs(&node.root, node.virtio).unwrap(), 0);
}

#[test]
fn a_function_is_bound_to_the_driver_asked_for_and_back() {
    let node = Node::at_rest();
    let (root, pf) = (&node.root, node.virtio);
    sriov::set_drivers_autoprobe(root, pf, false).unwrap();
    sriov::set_numvfs(root, pf, 1).unwrap();
    let vf = sriov::functions(root, pf).unwrap()[0].address;
    for driver in ["virtio-pci", "vp-vdpa", "virtio-pci"] {
        pci::bind(root, vf, driver).unwrap();
        assert_eq!(pci::driver(root, vf).unwrap().as_deref(), Some(driver));
    }
    pci::unbind(root, vf).unwrap();
    pci::set_driver_override(root, vf, None).unwrap();
    assert_eq!(pci::driver_override(root, vf).unwrap(), None);
}

#[test]
fn the_modules_name_in_place_of_the_drivers_is_noticed() {
    let node = Node::at_rest();
    let (root, pf) = (&node.root, node.virtio);
    sriov::set_drivers_autoprobe(root, pf, false).unwrap();
    sriov::set_numvfs(root, pf, 1).unwrap();
    let vf = sriov::functions(root, pf).unwrap()[0].address;
    let error = pci::bind(root, vf, "vp_vdpa").unwrap_err();
    assert!(error.to_string().contains("found none, expected vp_vdpa"), "{error}");
}
