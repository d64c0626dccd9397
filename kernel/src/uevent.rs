//! What the kernel tells of devices that come, go and change: its messages to
//! `NETLINK_KOBJECT_UEVENT` (`kobject_uevent_env`, lib/kobject_uevent.c).
//!
//! A message is text: `ACTION@DEVPATH`, then `KEY=VALUE` pairs, each with a zero at its end.

use std::fmt;

/// One event of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uevent<'a> {
    /// `add`, `remove`, `change`, `move`, `bind`, `unbind`, `online`, `offline`.
    pub action: &'a str,
    /// The device's path below `/sys`, with a slash at its beginning.
    pub path: &'a str,
    /// What it is: `pci`, `vdpa`, `net`.
    pub subsystem: &'a str,
}

/// Subsystems whose events tell of SR-IOV functions and of what is made of them.
const SUBSYSTEMS: [&str; 7] = ["pci", "auxiliary", "vdpa", "net", "virtio", "vfio", "vfio-dev"];

impl<'a> Uevent<'a> {
    /// Reads a message; `None` if it is none of the kernel's: udev's own begin with `libudev`.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let mut texts = message.split(|byte| *byte == 0).map(std::str::from_utf8);
        let (action, path) = texts.next()?.ok()?.split_once('@')?;
        let mut pairs = texts.flatten().filter_map(|text| text.split_once('='));
        let (_, subsystem) = pairs.find(|(key, _)| *key == "SUBSYSTEM")?;
        Some(Self { action, path, subsystem })
    }

    /// Whether it can be about a function, or about what is made of one. The interfaces of pods and
    /// bridges, which come and go all the time, hang below no device.
    pub fn of_hardware(&self) -> bool {
        SUBSYSTEMS.contains(&self.subsystem) && !self.path.starts_with("/devices/virtual/net/")
    }
}

impl fmt::Display for Uevent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.action, self.subsystem, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `udevadm monitor --kernel --property` shows it when a VF loses its driver.
    const UNBIND: &[u8] = b"unbind@/devices/pci0000:00/0000:00:02.0/0000:01:00.1\0\
        ACTION=unbind\0\
        DEVPATH=/devices/pci0000:00/0000:00:02.0/0000:01:00.1\0\
        SUBSYSTEM=pci\0PCI_CLASS=20000\0PCI_ID=1AF4:1041\0PCI_SUBSYS_ID=1AF4:1100\0\
        PCI_SLOT_NAME=0000:01:00.1\0MODALIAS=pci:v00001AF4d00001041\0SEQNUM=2113\0";

    #[test]
    fn the_kernels_bytes_are_read() {
        let expected = Uevent {
            action: "unbind",
            path: "/devices/pci0000:00/0000:00:02.0/0000:01:00.1",
            subsystem: "pci",
        };
        assert_eq!(Uevent::parse(UNBIND), Some(expected));
        let text = "unbind pci /devices/pci0000:00/0000:00:02.0/0000:01:00.1";
        assert_eq!(expected.to_string(), text);
    }

    #[test]
    fn what_is_no_event_is_none() {
        for message in [
            &b""[..],
            b"libudev\0\xfe\xed\xca\xfe\0\0\0(",
            b"add@/devices/x",
            b"add@/devices/x\0ACTION=add\0",
            b"add\xff@/devices/x\0SUBSYSTEM=pci\0",
            b"\0SUBSYSTEM=pci\0",
        ] {
            assert_eq!(Uevent::parse(message), None, "{}", message.escape_ascii());
        }
        // cut off where the buffer ends: what it says until there holds
        assert!(Uevent::parse(&UNBIND[..150]).is_some());
    }

    #[test]
    fn what_concerns_no_function_is_told_apart() {
        const VF: &str = "/devices/pci0000:00/0000:01:00.1";
        let check = |subsystem: &str, path: &str, expected| {
            let event = Uevent { action: "add", path, subsystem };
            assert_eq!(event.of_hardware(), expected, "{event}");
        };
        check("vdpa", &format!("{VF}/vdpa:0000:01:00.1"), true);
        check("net", &format!("{VF}/vdpa:0000:01:00.1/virtio4/net/eth0"), true);
        check("net", "/devices/vdpasim_net.0/virtio5/net/eth1", true);
        check("vfio-dev", &format!("{VF}/vfio-dev/vfio0"), true);
        check("vfio", "/devices/virtual/vfio/12", true);
        check("net", "/devices/virtual/net/veth1f2e", false);
        check("queues", &format!("{VF}/net/eth0/queues/rx-0"), false);
        check("module", "/module/vp_vdpa", false);
    }
}
