use super::*;
use crate::testing::Tree;

const CARD: &str = "
    0000:01:00.0 igb pf totalvfs=7
    0000:01:10.2 vf-of=0000:01:00.0 index=10
    0000:01:10.0 vf-of=0000:01:00.0 index=2
    0000:02:00.0 e1000e
";

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

#[test]
fn reads_a_physical_function() {
    let tree = Tree::new(CARD);
    let (root, pf) = (tree.root(), address("0000:01:00.0"));
    assert_eq!(totalvfs(&root, pf).unwrap(), Some(7));
    assert_eq!(numvfs(&root, pf).unwrap(), 2);
    assert!(drivers_autoprobe(&root, pf).unwrap());
    set_drivers_autoprobe(&root, pf, false).unwrap();
    assert!(!drivers_autoprobe(&root, pf).unwrap());
}

#[test]
fn functions_are_in_order_of_index_not_of_name() {
    let tree = Tree::new(CARD);
    let (root, pf) = (tree.root(), address("0000:01:00.0"));
    let (second, tenth) = (address("0000:01:10.0"), address("0000:01:10.2"));
    assert_eq!(
        functions(&root, pf).unwrap(),
        [Function { index: 2, address: second }, Function { index: 10, address: tenth }]
    );
    assert_eq!(physfn(&root, second).unwrap(), Some(pf));
    assert_eq!(physfn(&root, pf).unwrap(), None);
}

#[test]
fn the_index_of_a_vf_is_found_where_it_should_be_and_elsewhere() {
    let tree = Tree::new(CARD);
    let (root, pf) = (tree.root(), address("0000:01:00.0"));
    let check = || {
        for (vf, index) in
            [("0000:01:10.0", Some(2)), ("0000:01:10.2", Some(10)), ("0000:01:10.4", None)]
        {
            assert_eq!(index_of(&root, pf, address(vf)).unwrap(), index, "{vf}");
        }
    };
    check();
    // by these the first would be at 10.0 and the second at 10.2, and neither is there
    tree.write("sys/devices/pci0000:00/0000:01:00.0/sriov_offset", "128\n");
    tree.write("sys/devices/pci0000:00/0000:01:00.0/sriov_stride", "2\n");
    check();
    let layout = Layout { offset: 128, stride: 2 };
    for index in 0..8 {
        let vf = layout.address(pf, index).unwrap();
        assert_eq!(layout.index(pf, vf), Some(index));
    }
    assert_eq!(layout.index(pf, address("0000:01:10.1")), None);
    assert_eq!(layout.index(pf, pf), None);
    assert_eq!(layout.index(pf, address("0001:01:10.0")), None);
}

#[test]
fn a_plain_function_has_no_vfs() {
    let tree = Tree::new(CARD);
    let plain = address("0000:02:00.0");
    assert_eq!(totalvfs(&tree.root(), plain).unwrap(), None);
    assert!(functions(&tree.root(), plain).unwrap().is_empty());
    assert!(set_numvfs(&tree.root(), plain, 1).unwrap_err().is_missing());
}

#[test]
fn the_number_is_written_and_read_again() {
    let tree = Tree::new(CARD);
    let (root, pf) = (tree.root(), address("0000:01:00.0"));
    let path = "sys/bus/pci/devices/0000:01:00.0/sriov_numvfs";
    set_numvfs(&root, pf, 4).unwrap();
    assert_eq!(tree.read(path), "4");
    set_numvfs(&root, pf, 0).unwrap();
    assert_eq!(tree.read(path), "0");
}

#[test]
fn functions_to_be_have_their_addresses_already() {
    let tree = Tree::new(CARD);
    let (root, pf) = (tree.root(), address("0000:01:00.0"));
    assert_eq!(layout(&root, pf).unwrap(), None);
    let dir = "sys/devices/pci0000:00/0000:01:00.0";
    tree.write(&format!("{dir}/sriov_offset"), "128\n");
    tree.write(&format!("{dir}/sriov_stride"), "2\n");
    let found = layout(&root, pf).unwrap().unwrap();
    for (index, expected) in [(0, "0000:01:10.0"), (1, "0000:01:10.2"), (64, "0000:02:00.0")] {
        assert_eq!(found.address(pf, index), Some(address(expected)));
    }
    assert_eq!(found.address(address("0000:ff:00.0"), 64), None);
    assert_eq!(found.address(pf, u32::MAX), None);
}
