use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};

use super::*;

/// A monitor, and the kernel's ends of its sockets: of events, and of links.
fn pair() -> (Monitor<OwnedFd>, OwnedFd, OwnedFd) {
    let pair = || {
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        socketpair(family, kind, SocketFlags::CLOEXEC, None).unwrap()
    };
    let ((events, event), (links, link)) = (pair(), pair());
    (Monitor::of(events, links), event, link)
}

fn say(end: &OwnedFd, message: &[u8]) {
    assert_eq!(send(end, message, SendFlags::empty()).unwrap(), message.len());
}

fn uevent(subsystem: &str, path: &str) -> Vec<u8> {
    let text = format!("add@{path}\0ACTION=add\0DEVPATH={path}\0SUBSYSTEM={subsystem}\0SEQNUM=7\0");
    text.into_bytes()
}

/// `struct nlmsghdr`, `struct ifinfomsg`, and attributes of four bytes each.
fn newlink(index: u32, attributes: &[u16]) -> Vec<u8> {
    let length = u32::try_from(HEADER + IFINFO + 8 * attributes.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(NEWLINK.to_ne_bytes());
    bytes.extend([0; 10 + 4]);
    bytes.extend(index.to_ne_bytes());
    bytes.extend([0; 8]);
    for kind in attributes {
        bytes.extend(8_u16.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 4]);
    }
    bytes
}

#[test]
fn news_of_hardware_ends_the_wait_and_other_news_does_not() {
    let (monitor, event, link) = pair();
    say(&event, &uevent("net", "/devices/virtual/net/veth0"));
    say(&event, &uevent("module", "/module/vdpa"));
    say(&link, &newlink(7, &[4, LINKINFO]));
    say(&event, &uevent("vdpa", "/devices/pci0000:00/0000:01:00.1/vdpa0"));
    let vdpa = "add vdpa /devices/pci0000:00/0000:01:00.1/vdpa0";
    assert_eq!(monitor.wait().unwrap(), Change::Device(vdpa.into()));
    say(&link, &newlink(9, &[4]));
    assert_eq!(monitor.wait().unwrap(), Change::Link(9));
    // IFLA_NUM_VF and IFLA_VFINFO_LIST: a setting of a VF is told with its PF
    say(&link, &newlink(5, &[21, 22]));
    assert_eq!(monitor.wait().unwrap(), Change::Link(5));
}

#[test]
fn it_sleeps_until_something_happens() {
    let (monitor, _event, link) = pair();
    let (sender, receiver) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || {
        sender.send(()).unwrap();
        monitor.wait()
    });
    receiver.recv().unwrap();
    say(&link, &newlink(3, &[]));
    assert_eq!(waiting.join().unwrap().unwrap(), Change::Link(3));
}

#[test]
fn what_is_no_message_is_passed_over() {
    let (monitor, event, link) = pair();
    for bytes in [&b"x"[..], b"libudev\0", &[0xff; 40]] {
        say(&event, bytes);
        say(&link, bytes);
    }
    // the beginning of a message that is longer than the buffer
    let mut long = newlink(5, &[]);
    long.extend([0xff; LONGEST]);
    say(&link, &long);
    assert_eq!(monitor.wait().unwrap(), Change::Link(5));
}

#[test]
fn the_end_of_a_socket_is_an_error() {
    let (monitor, event, _link) = pair();
    drop(event);
    let error = monitor.wait().unwrap_err();
    assert_eq!(error.to_string(), "wait for news of devices");
}

/// Listening needs no privilege. What is heard there is for the kernel ring to show.
#[test]
fn the_real_sockets_open() {
    Monitor::open().unwrap();
}
