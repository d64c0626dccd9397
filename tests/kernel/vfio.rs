//! Functions as they are: on their own network driver, and on vfio-pci.

use std::fs::File;
use std::path::Path;

use ringway_kernel::error::errno;
use ringway_kernel::{pci, sriov, vfio};

use crate::node::{Node, ip, modprobe};
use crate::stand::{Pod, settle};

/// Functions of a card that no driver has.
fn carve(node: &Node, pf: pci::Address, count: u16) -> Vec<pci::Address> {
    let root = &node.root;
    sriov::set_drivers_autoprobe(root, pf, false).unwrap();
    sriov::set_numvfs(root, pf, count).unwrap();
    sriov::functions(root, pf).unwrap().into_iter().map(|function| function.address).collect()
}

#[test]
fn every_function_has_an_iommu_group_to_itself() {
    let node = Node::at_rest();
    for pf in [node.virtio, node.igb] {
        assert!(pci::iommu_group(&node.root, pf).unwrap().is_some(), "{pf}");
        for vf in carve(&node, pf, 3) {
            assert!(pci::iommu_group(&node.root, vf).unwrap().is_some(), "{vf}");
            assert_eq!(pci::iommu_sharers(&node.root, vf).unwrap(), [], "{vf}");
        }
    }
}

#[test]
fn vfio_gives_one_user_the_group_of_a_function() {
    let node = Node::at_rest();
    modprobe("vfio-pci");
    for pf in [node.virtio, node.igb] {
        let vf = carve(&node, pf, 1)[0];
        assert_eq!(vfio::of(&node.root, vf).unwrap(), None);
        vfio::bind(&node.root, vf).unwrap();
        assert_eq!(pci::driver(&node.root, vf).unwrap().as_deref(), Some(vfio::DRIVER));
        let found = vfio::of(&node.root, vf).unwrap().unwrap();
        assert!(found.nodes().all(|node| node.path.exists()), "{found:?}");
        assert_eq!(found.cdev.is_some(), Path::new("/dev/vfio/devices").exists(), "{found:?}");
        assert_eq!(found.shared[0].path, Path::new("/dev/vfio/vfio"));
        let open = || File::options().read(true).write(true).open(&found.group.path);
        let first = open().unwrap();
        assert_eq!(open().unwrap_err().raw_os_error(), Some(errno::EBUSY));
        drop(first);
        open().unwrap();
    }
}

/// With the PF's autoprobe off a VF is offered to no driver, unless one is set for it.
#[test]
fn a_network_driver_comes_by_an_override_and_stays_without() {
    let node = Node::at_rest();
    let root = &node.root;
    modprobe("igbvf");
    for (pf, driver) in [(node.virtio, "virtio-pci"), (node.igb, "igbvf")] {
        let vf = carve(&node, pf, 1)[0];
        pci::probe(root, vf).unwrap();
        assert_eq!(pci::driver(root, vf).unwrap(), None, "{vf}");
        pci::bind_unpinned(root, vf, driver).unwrap();
        assert_eq!(pci::driver(root, vf).unwrap().as_deref(), Some(driver));
        assert_eq!(pci::driver_override(root, vf).unwrap(), None);
        assert_eq!(pci::netdevs(root, vf).unwrap().len(), 1, "{vf}");
        let virtio = pci::virtio_driver(root, vf).unwrap();
        assert_eq!(virtio.as_deref(), (pf == node.virtio).then_some("virtio_net"));
        pci::release(root, vf, None, None).unwrap();
        assert_eq!(pci::driver(root, vf).unwrap(), None);
        assert_eq!(pci::netdevs(root, vf).unwrap(), Vec::<String>::new());
    }
}

#[test]
fn an_interface_in_another_namespace_is_out_of_sight_and_its_drivers_are_not() {
    let node = Node::at_rest();
    let root = &node.root;
    modprobe("igbvf");
    for (pf, driver) in [(node.virtio, "virtio-pci"), (node.igb, "igbvf")] {
        let vf = carve(&node, pf, 1)[0];
        pci::bind_unpinned(root, vf, driver).unwrap();
        let virtio = pci::virtio_driver(root, vf).unwrap();
        settle();
        let pod = Pod::new("rw-a");
        let name = pci::netdevs(root, vf).unwrap().remove(0);
        ip(&format!("link set {name} netns rw-a"));
        assert_eq!(pci::netdevs(root, vf).unwrap(), Vec::<String>::new());
        assert_eq!(pci::driver(root, vf).unwrap().as_deref(), Some(driver));
        assert_eq!(pci::virtio_driver(root, vf).unwrap(), virtio);
        assert!(pod.links().iter().any(|link| link.name == name), "{:?}", pod.links());
    }
}

#[test]
fn a_function_goes_from_vfio_to_its_own_driver_and_back() {
    let node = Node::at_rest();
    let root = &node.root;
    modprobe("vfio-pci");
    modprobe("igbvf");
    for (pf, driver) in [(node.virtio, "virtio-pci"), (node.igb, "igbvf")] {
        let [vf, other] = carve(&node, pf, 2)[..] else { panic!("two functions") };
        pci::bind_unpinned(root, other, driver).unwrap();
        for _ in 0..2 {
            vfio::bind(root, vf).unwrap();
            assert!(vfio::of(root, vf).unwrap().is_some());
            pci::release(root, vf, Some(driver), None).unwrap();
            assert_eq!(vfio::of(root, vf).unwrap(), None);
            assert_eq!(pci::netdevs(root, vf).unwrap().len(), 1);
        }
        assert_eq!(pci::driver(root, other).unwrap().as_deref(), Some(driver));
    }
}
