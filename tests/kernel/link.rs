//! Links of real devices across namespaces.

use std::process::Command;

use ringway_kernel::error::errno;
use ringway_kernel::link::{Counters, Links, Vf, VfSetting, VfTag, VfTxRate};
use ringway_kernel::netns::Netns;
use ringway_kernel::vdpa::{Handle, NewDevice};
use ringway_kernel::vdpa_bus::{self, Driver};
use ringway_kernel::{pci, sriov};

use crate::node::Node;

struct Namespace(&'static str);

impl Namespace {
    fn new(name: &'static str) -> Self {
        // one that a killed run left
        let _ = Command::new("ip").args(["netns", "del", name]).output();
        let status = Command::new("ip").args(["netns", "add", name]).status().unwrap();
        assert!(status.success(), "ip netns add {name}");
        Self(name)
    }

    fn open(&self) -> Netns {
        Netns::open(format!("/run/netns/{}", self.0)).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", self.0]).output();
    }
}

fn simulated(node: &Node) -> std::path::PathBuf {
    vdpa_bus::set_drivers_autoprobe(&node.root, false).unwrap();
    // a simulated device has no MAC of its own, and a link without one cannot be set up
    let mac = Some("02:00:00:00:00:01".parse().unwrap());
    let device = NewDevice { mac, ..NewDevice::new("sim0", Handle::without_bus("vdpasim_net")) };
    node.vdpa().create(&device).unwrap();
    vdpa_bus::bind(&node.root, "sim0", Driver::VirtioVdpa).unwrap();
    // udev names what has just appeared
    let settled = Command::new("udevadm").args(["settle", "--timeout=60"]).status().unwrap();
    assert!(settled.success(), "udevadm settle");
    vdpa_bus::virtio_dir(&node.root, "sim0").unwrap().unwrap()
}

#[test]
fn a_new_namespace_holds_its_loopback_alone() {
    let namespace = Namespace::new("rw-link");
    let links = namespace.open().run(|| Links::open()?.list()).unwrap();
    assert_eq!(links.len(), 1, "{links:?}");
    assert!(links[0].loopback && !links[0].up);
    // the thread that entered it was its own
    let own = Netns::current().unwrap().identity().unwrap();
    assert_ne!(own, namespace.open().identity().unwrap());
    assert!(Links::open().unwrap().list().unwrap().len() > 1);
}

#[test]
fn a_link_moves_and_is_renamed_in_one_request() {
    let node = Node::at_rest();
    let dir = simulated(&node);
    let namespace = Namespace::new("rw-link");
    let netns = namespace.open();
    let mut links = Links::open().unwrap();
    let before = links.of_device(&dir).unwrap().unwrap();
    links.set_up(before.index).unwrap();
    links.move_to(before.index, netns.as_fd(), "net1").unwrap();
    assert_eq!(links.of_device(&dir).unwrap(), None);

    let there = netns.run(|| Links::open()?.by_name("net1")).unwrap();
    assert!(!there.up, "it comes out down");
    assert_eq!((there.mac, there.mtu), (before.mac, before.mtu));
    assert_eq!(there.parent_bus.as_deref(), Some("virtio"));
    assert_eq!(there.parent_name.as_deref(), dir.file_name().and_then(|name| name.to_str()));

    let home = Netns::current().unwrap();
    let back = before.name.clone();
    netns.run(|| Links::open()?.move_to(there.index, home.as_fd(), &back)).unwrap();
    assert_eq!(links.of_device(&dir).unwrap().unwrap().name, before.name);
}

#[test]
fn a_taken_name_is_told_though_the_link_has_moved() {
    let node = Node::at_rest();
    let dir = simulated(&node);
    let namespace = Namespace::new("rw-link");
    let mut links = Links::open().unwrap();
    let link = links.of_device(&dir).unwrap().unwrap();
    let error = links.move_to(link.index, namespace.open().as_fd(), "lo").unwrap_err();
    assert_eq!(error.errno(), Some(errno::EEXIST), "{error:#}");
    assert_eq!(links.of_device(&dir).unwrap(), None, "the kernel moves before it renames");
    let there = namespace.open().run(|| Links::open()?.by_name(&link.name)).unwrap();
    assert_eq!(there.mac, link.mac);
}

#[test]
fn a_link_takes_its_own_altname_only_once_it_is_deleted() {
    let node = Node::at_rest();
    let dir = simulated(&node);
    assert!(Command::new("udevadm").args(["settle", "--timeout=60"]).status().unwrap().success());
    let mut links = Links::open().unwrap();
    let link = links.of_device(&dir).unwrap().unwrap();
    let add = ["link", "property", "add", "dev", &link.name, "altname", "rw-alt"];
    assert!(Command::new("ip").args(add).status().unwrap().success());
    let error = links.rename(link.index, "rw-alt").unwrap_err();
    assert_eq!(error.errno(), Some(errno::EEXIST), "{error:#}");
    links.delete_altname(link.index, "rw-alt").unwrap();
    links.rename(link.index, "rw-alt").unwrap();
    assert_eq!(links.get(link.index).unwrap().name, "rw-alt");
}

#[test]
fn the_virtio_device_is_below_what_does_dma() {
    let node = Node::at_rest();
    let (root, pf) = (&node.root, node.virtio);
    let simulated = simulated(&node);
    let device = vdpa_bus::dir(root, "sim0").unwrap().canonicalize().unwrap();
    assert_eq!(simulated.parent().unwrap(), device, "the simulator's own device");

    sriov::set_drivers_autoprobe(root, pf, false).unwrap();
    sriov::set_numvfs(root, pf, 1).unwrap();
    let vf = sriov::functions(root, pf).unwrap()[0].address;
    pci::bind(root, vf, "vp-vdpa").unwrap();
    let name = format!("vdpa:{vf}");
    node.vdpa().create(&NewDevice::new(&name, Handle::pci(vf))).unwrap();
    vdpa_bus::bind(root, &name, Driver::VirtioVdpa).unwrap();
    let virtio = vdpa_bus::virtio_dir(root, &name).unwrap().unwrap();
    let function = pci::dir(root, vf).canonicalize().unwrap();
    assert_eq!(virtio.parent().unwrap(), function, "the function beside vp_vdpa's device");
}

/// igb tells of its VFs and counts nothing for them: zeros. virtio tells nothing.
#[test]
fn vf_statistics_are_those_of_the_pfs_driver() {
    let node = Node::at_rest();
    for (pf, expected) in [(node.igb, vec![0, 1]), (node.virtio, vec![])] {
        sriov::set_drivers_autoprobe(&node.root, pf, false).unwrap();
        sriov::set_numvfs(&node.root, pf, 2).unwrap();
        let mut links = Links::open().unwrap();
        let link = links.of_device(&pci::dir(&node.root, pf)).unwrap().unwrap();
        let stats = links.vf_stats(link.index).unwrap();
        assert_eq!(stats.iter().map(|s| s.index).collect::<Vec<_>>(), expected, "{pf}");
        assert!(stats.iter().all(|s| s.sent == Counters::default()), "{stats:?}");
    }
}

#[test]
fn what_is_set_for_a_vf_is_told_and_taken_back() {
    let node = Node::at_rest();
    sriov::set_drivers_autoprobe(&node.root, node.igb, false).unwrap();
    sriov::set_numvfs(&node.root, node.igb, 2).unwrap();
    let mut links = Links::open().unwrap();
    let pf = links.of_device(&pci::dir(&node.root, node.igb)).unwrap().unwrap().index;
    let [first, before] = links.vfs(pf).unwrap().try_into().unwrap();
    assert_eq!((first.index, before.index), (0, 1));

    let mac = "02:00:00:00:01:00".parse().unwrap();
    let tag = VfTag { id: 100, qos: 5, service: false };
    for setting in [
        VfSetting::Mac(mac),
        VfSetting::Vlan(Some(tag)),
        VfSetting::SpoofCheck(false),
        VfSetting::Trust(true),
    ] {
        links.set_vf(pf, 1, setting).unwrap();
    }
    let expected = Vf {
        mac: Some(mac),
        vlan: Some(tag),
        spoof_check: Some(false),
        trust: Some(true),
        ..before
    };
    assert_eq!(links.vfs(pf).unwrap(), [first, expected], "its neighbour is untouched");

    links.set_vf(pf, 1, VfSetting::Vlan(None)).unwrap();
    assert_eq!(links.vfs(pf).unwrap()[1].vlan, None);
    // what the driver cannot do, and a VF that is not there
    let rate = VfSetting::Rate(VfTxRate { min: 10, max: 0 });
    let error = links.set_vf(pf, 1, rate).unwrap_err().to_string();
    assert!(error.starts_with(&format!("set the rates of a VF of link {pf} (VF 1): ")), "{error}");
    assert!(links.set_vf(pf, 9, VfSetting::Trust(true)).is_err());
}

#[test]
fn a_driver_that_does_nothing_for_its_vfs_says_so() {
    let node = Node::at_rest();
    sriov::set_numvfs(&node.root, node.virtio, 1).unwrap();
    let mut links = Links::open().unwrap();
    let pf = links.of_device(&pci::dir(&node.root, node.virtio)).unwrap().unwrap().index;
    assert_eq!(links.vfs(pf).unwrap(), []);
    let error = links.set_vf(pf, 0, VfSetting::Trust(true)).unwrap_err();
    assert_eq!(error.errno(), Some(errno::EOPNOTSUPP), "{error}");
}
