//! The vdpa family and bus on the kernel's simulator, which can do what vp_vdpa cannot.

use ringway_kernel::error::errno;
use ringway_kernel::features::Features;
use ringway_kernel::vdpa::{self, Handle, NewDevice};
use ringway_kernel::vdpa_bus::{self, Driver};

use crate::node::Node;

fn simulated(name: &str) -> NewDevice {
    NewDevice::new(name, Handle::without_bus("vdpasim_net"))
}

#[test]
fn the_management_device_says_what_it_can_do() {
    let node = Node::at_rest();
    let found = node.vdpa().management_device(&Handle::without_bus("vdpasim_net")).unwrap();
    assert!(found.classes.net());
    assert_eq!(found.max_virtqueues, Some(3));
    let features = found.features.unwrap();
    for name in ["MAC", "MTU", "VERSION_1", "ACCESS_PLATFORM"] {
        assert!(features.names().iter().any(|n| n == name), "{name} in {:?}", features.names());
    }
    assert!(node.vdpa().management_devices().unwrap().contains(&found));
}

#[test]
fn mac_and_mtu_are_as_asked_for() {
    let node = Node::at_rest();
    let mac = "02:00:00:00:00:42".parse().unwrap();
    let wanted = NewDevice { mac: Some(mac), mtu: Some(1400), ..simulated("sim0") };
    node.vdpa().create(&wanted).unwrap();
    let device = node.vdpa().device("sim0").unwrap();
    assert_eq!(device.device_id, vdpa::NET);
    assert_eq!(device.management_device, wanted.management_device);
    let config = node.vdpa().config("sim0").unwrap();
    assert_eq!((config.mac, config.mtu), (Some(mac), Some(1400)));
    node.vdpa().delete("sim0").unwrap();
    let gone = node.vdpa().device("sim0").unwrap_err();
    assert!(gone.is_missing(), "{gone:#}");
}

#[test]
fn the_mac_can_be_changed_afterwards() {
    let node = Node::at_rest();
    node.vdpa().create(&simulated("sim0")).unwrap();
    let mac = "02:00:00:00:00:43".parse().unwrap();
    node.vdpa().set_mac("sim0", mac).unwrap();
    assert_eq!(node.vdpa().config("sim0").unwrap().mac, Some(mac));
}

#[test]
fn what_it_cannot_do_is_refused_in_words() {
    let node = Node::at_rest();
    let cases = [
        (NewDevice { queue_pairs: Some(2), ..simulated("sim0") }, errno::EOPNOTSUPP),
        (NewDevice { mtu: Some(67), ..simulated("sim0") }, errno::ERANGE),
        (NewDevice::new("sim0", Handle::without_bus("nonesuch")), errno::ENODEV),
    ];
    for (wanted, expected) in cases {
        let error = node.vdpa().create(&wanted).unwrap_err();
        assert_eq!(error.errno(), Some(expected), "{error:#}");
        assert!(error.to_string().contains("sim0"), "{error:#}");
    }
    assert_eq!(vdpa_bus::list(&node.root).unwrap(), Vec::<String>::new());
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let node = Node::at_rest();
    node.vdpa().create(&simulated("sim0")).unwrap();
    let error = node.vdpa().create(&simulated("sim0")).unwrap_err();
    assert_eq!(error.errno(), Some(errno::EEXIST), "{error:#}");
}

#[test]
fn one_device_is_a_char_device_and_another_a_netdev() {
    let node = Node::at_rest();
    let root = &node.root;
    vdpa_bus::set_drivers_autoprobe(root, false).unwrap();
    for (name, driver) in [("sim0", Driver::VhostVdpa), ("sim1", Driver::VirtioVdpa)] {
        node.vdpa().create(&simulated(name)).unwrap();
        assert_eq!(vdpa_bus::driver(root, name).unwrap(), None, "autoprobe is off");
        vdpa_bus::bind(root, name, driver).unwrap();
    }
    let chardev = vdpa_bus::char_device(root, "sim0").unwrap().unwrap();
    assert!(chardev.path.exists(), "{}", chardev.path.display());
    let netdevs = vdpa_bus::netdevs(root, "sim1").unwrap();
    assert_eq!(netdevs.len(), 1, "{netdevs:?}");
    // and the other way round
    vdpa_bus::bind(root, "sim0", Driver::VirtioVdpa).unwrap();
    assert_eq!(vdpa_bus::char_device(root, "sim0").unwrap(), None);
}

#[test]
fn features_outside_the_simulators_are_refused() {
    let node = Node::at_rest();
    let all = Features(u64::MAX);
    let error =
        node.vdpa().create(&NewDevice { features: Some(all), ..simulated("sim0") }).unwrap_err();
    assert_eq!(error.errno(), Some(errno::EINVAL), "{error:#}");
}

/// What a driver counts is told by queue, once a virtio driver has negotiated with the device.
#[test]
fn traffic_is_counted_by_queue_while_a_driver_runs_the_device() {
    let node = Node::at_rest();
    let vdpa = node.vdpa();
    vdpa_bus::set_drivers_autoprobe(&node.root, false).unwrap();
    vdpa.create(&simulated("sim0")).unwrap();
    assert_eq!(vdpa.vendor_stats("sim0", 0).unwrap(), [], "no driver runs it");
    vdpa_bus::bind(&node.root, "sim0", Driver::VirtioVdpa).unwrap();
    for (queue, name) in [(0, "rx packets"), (1, "tx packets")] {
        let stats = vdpa.vendor_stats("sim0", queue).unwrap();
        assert!(stats.iter().any(|(found, _)| found == name), "{name}: {stats:?}");
    }
    let gone = vdpa.vendor_stats("sim1", 0).unwrap_err();
    assert!(gone.is_missing(), "{gone:#}");
}
