//! The kernel says so when a function, its vDPA device or its interface changes.

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ringway_kernel::link::{Links, VfSetting};
use ringway_kernel::monitor::{Change, Monitor};
use ringway_kernel::vdpa::{Handle, NewDevice};
use ringway_kernel::vdpa_bus::{self, Driver};
use ringway_kernel::{pci, sriov};

use crate::node::{Node, VIRTIO, ip, make_subfunctions};

/// What a monitor hears from now on. Its thread waits for ever, and ends with the process.
fn listen() -> Receiver<Change> {
    let monitor = Monitor::open().unwrap();
    let (sender, changes) = channel();
    std::thread::spawn(move || while sender.send(monitor.wait().unwrap()).is_ok() {});
    changes
}

/// Until it is said; everything that was said before is shown if it never is.
fn until(changes: &Receiver<Change>, said: impl Fn(&Change) -> bool) {
    let mut heard = Vec::new();
    while let Ok(change) = changes.recv_timeout(Duration::from_secs(60)) {
        if said(&change) {
            return;
        }
        heard.push(change.to_string());
    }
    panic!("heard only: {heard:#?}");
}

fn device(changes: &Receiver<Change>, begins: &str, ends: &str) {
    until(changes, |change| match change {
        Change::Device(event) => event.starts_with(begins) && event.ends_with(ends),
        _ => false,
    });
}

#[test]
fn everything_that_drifts_is_said() {
    let node = Node::at_rest();
    let (root, pf) = (&node.root, node.virtio);
    sriov::set_drivers_autoprobe(root, pf, false).unwrap();
    vdpa_bus::set_drivers_autoprobe(root, false).unwrap();
    let changes = listen();
    sriov::set_numvfs(root, pf, 1).unwrap();
    let vf = sriov::functions(root, pf).unwrap()[0].address;
    let (vf_text, name) = (vf.to_string(), format!("vdpa:{vf}"));
    device(&changes, "add pci ", &vf_text);
    pci::bind(root, vf, "vp-vdpa").unwrap();
    device(&changes, "bind pci ", &vf_text);
    node.vdpa().create(&NewDevice::new(&name, Handle::pci(vf))).unwrap();
    device(&changes, "add vdpa ", &name);
    vdpa_bus::bind(root, &name, Driver::VirtioVdpa).unwrap();
    device(&changes, "add net ", "");
    device(&changes, "bind vdpa ", &name);
    vdpa_bus::unbind(root, &name).unwrap();
    device(&changes, "remove net ", "");
    device(&changes, "unbind vdpa ", &name);
    node.vdpa().delete(&name).unwrap();
    device(&changes, "remove vdpa ", &name);
    std::fs::write(format!("/sys/bus/pci/devices/{vf}/driver/unbind"), &vf_text).unwrap();
    device(&changes, "unbind pci ", &vf_text);
}

#[test]
fn a_subfunction_that_appears_is_said() {
    let _node = Node::at_rest();
    let changes = listen();
    make_subfunctions("88");
    device(&changes, "add auxiliary ", "labsf.sf.0");
    device(&changes, "bind auxiliary ", "labsf.sf.0");
}

#[test]
fn an_mtu_is_said_of_a_card_and_not_of_a_pods_interface() {
    let node = Node::at_rest();
    let uplink = pci::netdevs(&node.root, node.virtio).unwrap().remove(0);
    let index = std::fs::read_to_string(format!("/sys/class/net/{uplink}/ifindex")).unwrap();
    let index: u32 = index.trim().parse().unwrap();
    let changes = listen();
    ip("link add veth-drift type veth peer name veth-other");
    ip("link del veth-drift");
    ip(&format!("link set {uplink} mtu 1400"));
    let heard = RefCell::new(Vec::new());
    until(&changes, |change| {
        heard.borrow_mut().push(change.to_string());
        *change == Change::Link(index)
    });
    ip(&format!("link set {uplink} mtu 1500"));
    assert!(!heard.borrow().iter().any(|change| change.contains("veth")), "{VIRTIO}: {heard:?}");
}

/// While the PF's link is up (netdev_state_change, net/core/dev.c), as the agent keeps it.
#[test]
fn a_setting_of_a_function_is_said_of_its_card() {
    let node = Node::at_rest();
    sriov::set_drivers_autoprobe(&node.root, node.igb, false).unwrap();
    sriov::set_numvfs(&node.root, node.igb, 1).unwrap();
    let mut links = Links::open().unwrap();
    let dir = pci::dir(&node.root, node.igb);
    let uplink = |links: &mut Links| links.of_device(&dir).unwrap().unwrap();
    let index = uplink(&mut links).index;
    links.set_up(index).unwrap();
    let start = Instant::now();
    while !uplink(&mut links).carrier {
        assert!(start.elapsed() < Duration::from_secs(120), "the igb card has no carrier");
        std::thread::sleep(Duration::from_millis(10));
    }
    let changes = listen();
    links.set_vf(index, 0, VfSetting::SpoofCheck(false)).unwrap();
    until(&changes, |change| *change == Change::Link(index));
}

#[test]
fn functions_are_where_the_card_says_before_they_are_made() {
    let node = Node::at_rest();
    for pf in [node.virtio, node.igb] {
        let root = &node.root;
        let layout = sriov::layout(root, pf).unwrap().unwrap();
        sriov::set_drivers_autoprobe(root, pf, false).unwrap();
        sriov::set_numvfs(root, pf, 4).unwrap();
        for function in sriov::functions(root, pf).unwrap() {
            assert_eq!(layout.address(pf, function.index), Some(function.address));
        }
        assert_eq!(sriov::layout(root, pf).unwrap(), Some(layout));
    }
}
