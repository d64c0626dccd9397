use super::*;
use crate::testing::Tree;

const CARD: &str = "
    0000:01:00.0 virtio-pci pf totalvfs=4 net=eth1
    0000:01:00.1 vf-of=0000:01:00.0 vp-vdpa vdpa=vdpa:0000:01:00.1 virtio=5 vnet=eth5
    0000:01:00.2 vf-of=0000:01:00.0 vp-vdpa vdpa=vdpa:0000:01:00.2 vhost=12
    0000:01:00.3 vf-of=0000:01:00.0 vp-vdpa vdpa=vdpa:0000:01:00.3
    vdpasim_net sim vdpa=sim0 virtio=6 vnet=eth6
    vdpasim_net sim vdpa=sim1 vhost=0
";
const NETDEV: &str = "vdpa:0000:01:00.1";
const CHAR: &str = "vdpa:0000:01:00.2";
const UNBOUND: &str = "vdpa:0000:01:00.3";

#[test]
fn reads_the_bus() {
    let tree = Tree::new(CARD);
    let root = tree.root();
    assert_eq!(list(&root).unwrap(), ["sim0", "sim1", NETDEV, CHAR, UNBOUND]);
    let check = |name, expected: Option<&str>| {
        assert_eq!(driver(&root, name).unwrap().as_deref(), expected, "{name}");
    };
    check(NETDEV, Some("virtio_vdpa"));
    check(CHAR, Some("vhost_vdpa"));
    check(UNBOUND, None);
    let on = |name: &str, n: u32| (name.to_owned(), format!("0000:01:00.{n}").parse().unwrap());
    assert_eq!(functions(&root).unwrap(), [on(NETDEV, 1), on(CHAR, 2), on(UNBOUND, 3)]);
    assert!(exists(&root, "sim0"));
    assert!(!exists(&root, "sim2"));
    assert!(list(&Root::new("/nowhere")).unwrap().is_empty());
}

#[test]
fn autoprobe_and_override() {
    let tree = Tree::new(CARD);
    let root = tree.root();
    assert!(drivers_autoprobe(&root).unwrap());
    set_drivers_autoprobe(&root, false).unwrap();
    assert!(!drivers_autoprobe(&root).unwrap());

    assert_eq!(driver_override(&root, CHAR).unwrap(), None);
    set_driver_override(&root, CHAR, Some(Driver::VirtioVdpa)).unwrap();
    assert_eq!(driver_override(&root, CHAR).unwrap().as_deref(), Some("virtio_vdpa"));
    set_driver_override(&root, CHAR, None).unwrap();
    assert_eq!(driver_override(&root, CHAR).unwrap(), None);
}

#[test]
fn bind_notices_that_nothing_was_bound() {
    let tree = Tree::new(CARD);
    let root = tree.root();
    let error = bind(&root, UNBOUND, Driver::VhostVdpa).unwrap_err();
    assert_eq!(
        error.to_string(),
        "driver of vdpa device vdpa:0000:01:00.3: found none, expected vhost_vdpa"
    );
    assert_eq!(tree.read("sys/bus/vdpa/drivers_probe"), UNBOUND);
    bind(&root, CHAR, Driver::VhostVdpa).unwrap();
    unbind(&root, CHAR).unwrap();
    assert_eq!(tree.read("sys/bus/vdpa/drivers/vhost_vdpa/unbind"), CHAR);
    unbind(&root, UNBOUND).unwrap();
}

#[test]
fn character_devices() {
    let tree = Tree::new(CARD);
    let found = char_device(&tree.root(), CHAR).unwrap().unwrap();
    assert_eq!(found.path, tree.path("dev/vhost-vdpa-12"));
    assert_eq!((found.major, found.minor), (511, 12));
    assert_eq!(char_device(&tree.root(), NETDEV).unwrap(), None);
    tree.write("sys/devices/pci0000:00/0000:01:00.2/vdpa:0000:01:00.2/vhost-vdpa-12/dev", "x");
    assert!(char_device(&tree.root(), CHAR).is_err());
}

#[test]
fn netdevs_are_found_where_the_driver_puts_them() {
    let tree = Tree::new(CARD);
    let root = tree.root();
    let check = |name, expected: &[&str]| {
        assert_eq!(netdevs(&root, name).unwrap(), expected, "{name}");
    };
    check(NETDEV, &["eth5"]); // below the PCI function
    check("sim0", &["eth6"]); // below the vDPA device
    check(CHAR, &[]);
    check(UNBOUND, &[]);
    assert!(virtio_dir(&root, NETDEV).unwrap().unwrap().ends_with("0000:01:00.1/virtio5"));
}

#[test]
fn several_virtio_devices_are_ambiguous() {
    let tree = Tree::new(CARD);
    tree.write("sys/devices/pci0000:00/0000:01:00.1/virtio9/uevent", "");
    let error = virtio_dir(&tree.root(), NETDEV).unwrap_err().to_string();
    assert!(error.contains("found virtio5, virtio9 below"), "{error}");
}

#[test]
fn subfunctions_share_their_pfs_directory() {
    let tree = Tree::new("0000:01:00.0 mlx5_core pf totalvfs=4");
    let pf = "sys/devices/pci0000:00/0000:01:00.0";
    // One netdev is there, but it may belong to either of two devices.
    tree.write(&format!("{pf}/virtio3/net/eth3/uevent"), "");
    for (number, name) in [(2, "vdpa0"), (3, "vdpa1")] {
        let dir = format!("{pf}/mlx5_core.sf.{number}/{name}");
        tree.link(&format!("{dir}/driver"), "sys/bus/vdpa/drivers/virtio_vdpa");
        tree.link(&format!("sys/bus/vdpa/devices/{name}"), &dir);
    }
    let error = virtio_dir(&tree.root(), "vdpa0").unwrap_err().to_string();
    assert!(error.ends_with("one, but vdpa0, vdpa1 share that place"), "{error}");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let root = Root::new("/nowhere");
    for name in ["", ".", ".."] {
        assert!(dir(&root, name).is_err(), "{name:?}");
    }
    assert!(dir(&root, "../../x").unwrap().ends_with("devices/..!..!x"));
}
