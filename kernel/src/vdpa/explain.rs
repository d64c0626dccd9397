//! Words for the family's bare errnos: what the kernel means where it sends no text
//! (drivers/vdpa/vdpa.c and the drivers' `dev_add`).

use super::{Handle, NewDevice};
use crate::{
    error::{Error, errno},
    mac::Mac,
};

/// Adds to a failed creation what its errno means, and what was asked for.
pub(super) fn create(error: Error, device: &NewDevice) -> Error {
    reword(error, |errno, text| {
        let mgmtdev = &device.management_device;
        match (errno, text) {
            (errno::ENODEV, _) => Some(format!("no vdpa management device {mgmtdev}")),
            (errno::EEXIST, _) => Some("a vdpa device of that name exists".to_owned()),
            (errno::EOPNOTSUPP, Some(text)) => {
                Some(format!("{text}, asked of {mgmtdev} were {}", asked(device)))
            }
            (errno::EOPNOTSUPP, None) => Some(format!(
                "{mgmtdev} cannot do what is asked ({}), or has a device already",
                asked(device)
            )),
            (errno::EINVAL, None) if *mgmtdev == Handle::without_bus("vduse") => Some(format!(
                "no program has made a VDUSE device of the name {}, or its virtqueues are not set up",
                device.name
            )),
            (errno::EINVAL, None) => Some(format!(
                "{mgmtdev} refuses the values asked for ({}): more than it has, or not together",
                asked(device)
            )),
            (errno::ENOSPC, None) => {
                Some(format!("{mgmtdev} has no room: a device already, or too few queues"))
            }
            (errno::EAGAIN, None) => {
                Some(format!("{mgmtdev} has too few virtqueues for a network device"))
            }
            (errno::ERANGE, _) => Some(format!(
                "a value is out of range, an MTU is 68 at least; asked were {}",
                asked(device)
            )),
            (errno::EPERM, None) => Some("the capability NET_ADMIN is missing".to_owned()),
            _ => None,
        }
    })
}

/// Adds to a failed removal what its errno means.
pub(super) fn delete(error: Error) -> Error {
    reword(error, |errno, text| match (errno, text) {
        (errno::EINVAL, _) => {
            Some("its driver made it by itself, so that only the driver can remove it".to_owned())
        }
        (errno::EPERM, None) => Some("the capability NET_ADMIN is missing".to_owned()),
        _ => None,
    })
}

/// Adds to a refused MAC what its errno means.
pub(super) fn set_mac(error: Error, mac: Mac) -> Error {
    reword(error, |errno, text| match (errno, text) {
        (errno::EOPNOTSUPP, Some(text)) => Some(format!("{text}, asked was {mac}")),
        (errno::EOPNOTSUPP, None) => {
            Some(format!("the device's MAC cannot be set (to {mac}), or the kernel is before 6.12"))
        }
        (errno::EBUSY, None) => Some("a driver runs the device".to_owned()),
        (errno::EPERM, None) => Some("the capability NET_ADMIN is missing".to_owned()),
        _ => None,
    })
}

fn reword(error: Error, words: impl FnOnce(i32, Option<&str>) -> Option<String>) -> Error {
    match error {
        Error::Netlink { op, object, errno, message } => {
            let message = words(errno, message.as_deref()).or(message);
            Error::Netlink { op, object, errno, message }
        }
        error => error,
    }
}

fn asked(device: &NewDevice) -> String {
    let mut asked = Vec::new();
    asked.extend(device.mac.map(|mac| format!("MAC {mac}")));
    asked.extend(device.mtu.map(|mtu| format!("MTU {mtu}")));
    asked.extend(device.queue_pairs.map(|pairs| format!("{pairs} queue pairs")));
    asked.extend(device.features.map(|features| format!("features {features}")));
    if asked.is_empty() { "no values of ours".to_owned() } else { asked.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vdpa::Handle;

    fn refused(errno: i32, message: Option<&str>) -> Error {
        let message = message.map(str::to_owned);
        Error::Netlink { op: "create vdpa device", object: "v1".into(), errno, message }
    }

    #[test]
    fn creation() {
        let mut device = NewDevice::new("v1", Handle::without_bus("vdpasim_net"));
        device.mtu = Some(1500);
        let check = |errno, message, expected: &str| {
            let error = create(refused(errno, message), &device);
            let Error::Netlink { message, .. } = &error else { panic!("{error}") };
            assert_eq!(message.as_deref(), Some(expected));
            assert_eq!(error.errno(), Some(errno));
        };
        check(
            errno::ENODEV,
            Some("Fail to find the specified management device"),
            "no vdpa management device vdpasim_net",
        );
        check(errno::EEXIST, None, "a vdpa device of that name exists");
        check(
            errno::EOPNOTSUPP,
            Some("Some provided attributes are not supported: 0x1000"),
            "Some provided attributes are not supported: 0x1000, asked of vdpasim_net were MTU 1500",
        );
        check(errno::EPERM, None, "the capability NET_ADMIN is missing");
        let vduse = NewDevice::new("vduse.0", Handle::without_bus("vduse"));
        let error = create(refused(errno::EINVAL, None), &vduse).to_string();
        assert!(
            error.contains("no program has made a VDUSE device of the name vduse.0"),
            "{error}"
        );
        // The kernel's own words stay where they say more than we know.
        check(errno::EINVAL, Some("Missing features 0x8"), "Missing features 0x8");
    }

    #[test]
    fn unknown_errnos_stay_bare() {
        let device = NewDevice::new("v1", Handle::without_bus("vdpasim_net"));
        let error = create(refused(5, None), &device);
        assert_eq!(error.to_string(), "create vdpa device v1: Input/output error (os error 5)");
    }

    #[test]
    fn removal_and_mac() {
        let error = delete(refused(errno::EINVAL, Some("Only user created device can be deleted")));
        assert!(error.to_string().contains("only the driver can remove it"), "{error}");
        let error = set_mac(refused(errno::EBUSY, None), Mac([2, 0, 0, 0, 0, 1]));
        assert!(error.to_string().contains("a driver runs the device"), "{error}");
    }
}
