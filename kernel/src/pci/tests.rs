use super::*;
use crate::testing::Tree;

const CARD: &str = "
    0000:01:00.0 virtio-pci pf totalvfs=4 numa=0 net=eth1 iommu=7
    0000:01:00.1 vf-of=0000:01:00.0 device=0x1234 class=0x028000
    0000:00:1f.2 ahci class=0x010601
";

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

#[test]
fn reads_what_a_function_is() {
    let tree = Tree::new(CARD);
    let root = tree.root();
    let (pf, vf) = (address("0000:01:00.0"), address("0000:01:00.1"));
    assert_eq!(list(&root).unwrap(), [address("0000:00:1f.2"), pf, vf]);
    assert_eq!(ids(&root, pf).unwrap(), Ids { vendor: 0x1af4, device: 0x1041, class: 0x02_0000 });
    assert!(ids(&root, vf).unwrap().is_network());
    assert!(!ids(&root, address("0000:00:1f.2")).unwrap().is_network());
    assert_eq!(numa_node(&root, pf).unwrap(), Some(0));
    assert_eq!(numa_node(&root, vf).unwrap(), None);
    assert_eq!(driver(&root, pf).unwrap().as_deref(), Some("virtio-pci"));
    assert_eq!(driver(&root, vf).unwrap(), None);
    assert_eq!(iommu_group(&root, pf).unwrap(), Some(7));
    assert_eq!(iommu_group(&root, vf).unwrap(), None);
    assert_eq!(netdevs(&root, pf).unwrap(), ["eth1"]);
    assert_eq!(driver_override(&root, vf).unwrap(), None);
}

#[test]
fn an_alias_is_read_whole_or_not_at_all() {
    // As Linux 6.12 has it for an emulated 82576.
    let igb = "pci:v00008086d000010C9sv00008086sd0000A03Cbc02sc00i00";
    let ids = Ids { vendor: 0x8086, device: 0x10c9, class: 0x02_0000 };
    assert_eq!(parse_modalias(igb), Some(ids));
    for length in 0..igb.len() {
        assert_eq!(parse_modalias(&igb[..length]), None, "{length} bytes");
    }
    for wrong in [
        "pci:v0001808Ad000010C9sv00008086sd0000A03Cbc02sc00i00",
        "pci:v00008086d000010C9sv00008086sd0000A03Cbc02sc00i0000",
        "pci:v00008086d000010C9sv00008086sd0000A03Cbc02sc00i+1",
        "usb:v1D6Bp0002d0612dc09dsc00dp00ic09isc00ip00in00",
    ] {
        assert_eq!(parse_modalias(wrong), None, "{wrong}");
    }
}

#[test]
fn missing_function_is_missing() {
    let tree = Tree::new(CARD);
    let gone = address("0000:09:00.0");
    assert!(!exists(&tree.root(), gone));
    assert!(ids(&tree.root(), gone).unwrap_err().is_missing());
    assert!(list(&Root::new("/nowhere")).unwrap().is_empty());
}

#[test]
fn override_is_set_and_cleared_with_a_newline() {
    let tree = Tree::new(CARD);
    let vf = address("0000:01:00.1");
    set_driver_override(&tree.root(), vf, Some("vp-vdpa")).unwrap();
    assert_eq!(driver_override(&tree.root(), vf).unwrap().as_deref(), Some("vp-vdpa"));
    set_driver_override(&tree.root(), vf, None).unwrap();
    assert_eq!(tree.read("sys/bus/pci/devices/0000:01:00.1/driver_override"), "\n");
    assert_eq!(driver_override(&tree.root(), vf).unwrap(), None);
}

#[test]
fn bind_unbinds_probes_and_verifies() {
    let tree = Tree::new(CARD);
    let (root, pf) = (tree.root(), address("0000:01:00.0"));
    // The tree does not act on a write, which is what a wrong driver name looks like.
    let error = bind(&root, pf, "vp_vdpa").unwrap_err();
    assert_eq!(
        error.to_string(),
        "driver of PCI function 0000:01:00.0: found virtio-pci, expected vp_vdpa"
    );
    assert_eq!(tree.read("sys/bus/pci/drivers/virtio-pci/unbind"), "0000:01:00.0");
    assert_eq!(tree.read("sys/bus/pci/drivers_probe"), "0000:01:00.0");
    bind(&root, pf, "virtio-pci").unwrap();
}

#[test]
fn an_unpinned_driver_is_bound_by_an_override_that_then_goes() {
    let tree = Tree::new(CARD);
    let (root, pf) = (tree.root(), address("0000:01:00.0"));
    bind_unpinned(&root, pf, "virtio-pci").unwrap();
    assert_eq!(driver_override(&root, pf).unwrap(), None);
    // a driver that does not come leaves no override either
    assert!(release(&root, pf, Some("igbvf"), None).is_err());
    assert_eq!(driver_override(&root, pf).unwrap(), None);
    let error = release(&root, pf, None, None).unwrap_err().to_string();
    assert!(error.ends_with("found virtio-pci, expected none"), "{error}");
    release(&root, address("0000:01:00.1"), None, None).unwrap();
}

#[test]
fn what_was_tied_to_a_driver_is_so_again() {
    let tree = Tree::new(CARD);
    let (root, pf, free) = (tree.root(), address("0000:01:00.0"), address("0000:01:00.1"));
    for only in ["virtio-pci", "vfio-pci"] {
        release(&root, pf, Some("virtio-pci"), Some(only)).unwrap();
        assert_eq!(driver_override(&root, pf).unwrap().as_deref(), Some(only));
    }
    release(&root, free, None, Some("vfio-pci")).unwrap();
    assert_eq!(driver_override(&root, free).unwrap().as_deref(), Some("vfio-pci"));
}

#[test]
fn a_group_is_shared_by_functions_and_not_by_bridges() {
    let tree = Tree::new(
        "
        0000:00:1c.0 pcieport iommu=7 class=0x060400
        0000:01:00.0 igb pf totalvfs=7 iommu=7
        0000:01:10.0 vf-of=0000:01:00.0 igbvf iommu=7
        0000:01:10.2 vf-of=0000:01:00.0 igbvf iommu=8
        ",
    );
    let sharers = |of: &str| iommu_sharers(&tree.root(), address(of)).unwrap();
    assert_eq!(sharers("0000:01:10.0"), [address("0000:01:00.0")]);
    assert_eq!(sharers("0000:01:10.2"), []);
    assert_eq!(sharers("0000:00:1c.0").len(), 2);
}

#[test]
fn a_virtio_function_has_a_driver_of_virtio_too() {
    let tree = Tree::new(CARD);
    let pf = address("0000:01:00.0");
    assert_eq!(virtio_driver(&tree.root(), pf).unwrap().as_deref(), Some("virtio_net"));
    std::fs::remove_file(tree.path("sys/devices/pci0000:00/0000:01:00.0/virtio0/driver")).unwrap();
    assert_eq!(virtio_driver(&tree.root(), pf).unwrap(), None);
}

#[test]
fn only_virtio_pci_makes_the_virtio_device_of_a_function() {
    let tree = Tree::new(
        "0000:01:00.0 virtio-pci pf totalvfs=2 net=eth1
         0000:01:00.1 vf-of=0000:01:00.0 vp-vdpa vdpa=v1 virtio=3
         0000:01:00.2 vf-of=0000:01:00.0",
    );
    let name = |address: &str| {
        let dir = virtio_dir(&tree.root(), address.parse().unwrap()).unwrap();
        dir.map(|dir| dir.file_name().unwrap().to_string_lossy().into_owned())
    };
    assert_eq!(name("0000:01:00.0").as_deref(), Some("virtio0"));
    assert_eq!((name("0000:01:00.1"), name("0000:01:00.2")), (None, None));
}

#[test]
fn unbind_of_an_unbound_function_does_nothing() {
    let tree = Tree::new(CARD);
    unbind(&tree.root(), address("0000:01:00.1")).unwrap();
    verify_driver(&tree.root(), address("0000:01:00.1"), None).unwrap();
}
