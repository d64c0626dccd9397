//! Bytes put together by hand from include/uapi/linux/devlink.h and the layout of attributes:
//! length, type, value, padding to four, little-endian as on every machine that this runs on.

use super::{wire::*, *};
use crate::error::errno;

fn handle() -> Handle {
    "pci/0000:65:00.0".parse().unwrap()
}

#[rustfmt::skip]
const HANDLE: &[u8] = &[
    8, 0, 1, 0, b'p', b'c', b'i', 0,                       // BUS_NAME "pci"
    17, 0, 2, 0, b'0', b'0', b'0', b'0', b':', b'6', b'5', // DEV_NAME "0000:65:00.0"
    b':', b'0', b'0', b'.', b'0', 0, 0, 0, 0,              // final zero, padding
];

#[test]
fn requests() {
    assert_eq!(encode_get_devices(), [1, 1, 0, 0]); // CMD_GET, version 1
    assert_eq!(encode_get_eswitch(&handle()), [&[29, 1, 0, 0], HANDLE].concat());
    let set = |mode, number| {
        let mode_attribute = [6, 0, 25, 0, number, 0, 0, 0]; // ESWITCH_MODE, padding
        let expected = [&[30, 1, 0, 0], HANDLE, &mode_attribute].concat();
        assert_eq!(encode_set_eswitch_mode(&handle(), mode), expected);
    };
    set(EswitchMode::Legacy, 0);
    set(EswitchMode::Switchdev, 1);
}

#[test]
fn device_answer() {
    #[rustfmt::skip]
    let body = [
        &[3, 1, 0, 0][..],                                 // CMD_NEW
        HANDLE,
        &[5, 0, 136, 0, 0, 0, 0, 0],                       // RELOAD_FAILED
        &[4, 0, 137, 128],                                 // RELOAD_STATS's nest, empty
    ].concat();
    assert_eq!(parse_device(&body).unwrap(), handle());
    assert_eq!(handle().pci_address().unwrap().to_string(), "0000:65:00.0");
    let error = parse_device(&body[..12]).unwrap_err();
    assert!(error.to_string().contains("no DEVLINK_ATTR_DEV_NAME"), "{error}");
    assert!(parse_device(&body[..2]).is_err(), "no header");
}

#[test]
fn info_answer() {
    assert_eq!(encode_get_info(&handle()), [&[51, 1, 0, 0], HANDLE].concat());
    let answer = |rest: &[u8]| parse_running_versions(&[&[51, 1, 0, 0], HANDLE, rest].concat());
    #[rustfmt::skip]
    let ice = [
        8, 0, 98, 0, b'i', b'c', b'e', 0,                  // INFO_DRIVER_NAME
        20, 0, 100, 128,                                   // INFO_VERSION_FIXED, nested
        7, 0, 103, 0, b'i', b'd', 0, 0,                    // INFO_VERSION_NAME
        6, 0, 104, 0, b'K', 0, 0, 0,                       // INFO_VERSION_VALUE
        36, 0, 101, 128,                                   // INFO_VERSION_RUNNING, nested
        16, 0, 103, 0, b'f', b'w', b'.', b'a', b'p', b'p', b'.', b'n', b'a', b'm', b'e', 0,
        16, 0, 104, 0, b'I', b'C', b'E', b' ', b'C', b'O', b'M', b'M', b'S', b' ', b'P', 0,
    ];
    let expected = ("fw.app.name".to_owned(), "ICE COMMS P".to_owned());
    assert_eq!(answer(&ice).unwrap(), [expected]);
    assert_eq!(answer(&[]).unwrap(), []);
    assert!(answer(&ice[..ice.len() - 20]).is_err(), "cut");
}

#[test]
fn eswitch_answer() {
    let answer = |rest: &[u8]| parse_eswitch_mode(&[&[29, 1, 0, 0], HANDLE, rest].concat());
    #[rustfmt::skip]
    let mlx5 = [
        6, 0, 25, 0, 1, 0, 0, 0,                           // ESWITCH_MODE switchdev
        5, 0, 26, 0, 1, 0, 0, 0,                           // ESWITCH_INLINE_MODE link
        5, 0, 62, 0, 1, 0, 0, 0,                           // ESWITCH_ENCAP_MODE basic
    ];
    assert_eq!(answer(&mlx5).unwrap(), Some(1));
    assert_eq!(answer(&[6, 0, 25, 0, 0, 0, 0, 0]).unwrap(), Some(0));
    assert_eq!(answer(&[]).unwrap(), None);
    assert!(answer(&[5, 0, 25, 0, 1, 0, 0, 0]).is_err(), "one byte");
}

#[test]
fn modes() {
    assert_eq!(EswitchMode::from_number(0), Some(EswitchMode::Legacy));
    assert_eq!(EswitchMode::from_number(1), Some(EswitchMode::Switchdev));
    // switchdev_inactive
    assert_eq!(EswitchMode::from_number(2), None);
    assert_eq!(serde_json::to_value(EswitchMode::Switchdev).unwrap(), "switchdev");
}

#[test]
fn handles() {
    let netdevsim: Handle = "netdevsim/netdevsim7".parse().unwrap();
    assert_eq!(
        (netdevsim.to_string().as_str(), netdevsim.pci_address()),
        ("netdevsim/netdevsim7", None)
    );
    assert_eq!(Handle::pci("0000:65:00.0".parse().unwrap()), handle());
    for bad in ["", "pci", "pci/", "/x", "pci/a/b"] {
        assert!(bad.parse::<Handle>().is_err(), "{bad:?}");
    }
}

#[test]
fn representors_are_told_from_uplinks() {
    for name in ["pf0vf3", "pf1vf127", "pf0sf88", "c1pf0vf0", "c2pf1sf5", "pf0", "c1pf0", "pf0hpf"]
    {
        assert!(is_representor(name), "{name}");
    }
    for name in ["p0", "p1s3", "l2p1", "n0", "", "c1", "cpf0", "pf", "pfx", "eth0"] {
        assert!(!is_representor(name), "{name}");
    }
}

#[test]
fn the_represented_function_is_told_by_number() {
    for (name, vf) in [("pf0vf3", 3), ("pf12vf127", 127)] {
        assert_eq!(represented_vf(name), Some(vf), "{name}");
    }
    for name in ["c1pf0vf3", "pf0sf88", "pf0", "pfvf1", "pf0vf", "pf0vf+1", "pf0vf1x", "p0", ""] {
        assert_eq!(represented_vf(name), None, "{name}");
    }
}

/// The family is in every kernel of a distribution, and to list its devices needs no privilege. A
/// device that is not there is refused in words, by whoever may ask.
#[test]
fn a_real_kernel() {
    let Some(devlink) = Devlink::open().unwrap() else {
        let error = Devlink::require().unwrap_err();
        return assert_eq!(error.errno(), Some(errno::ENOENT), "{error}");
    };
    devlink.devices().unwrap();
    let nobody = "netdevsim/netdevsim4294967295".parse().unwrap();
    let error = devlink.eswitch_mode(&nobody).unwrap_err();
    let words = match error.errno() {
        Some(errno::ENODEV) => "no devlink device of this network namespace",
        Some(errno::EPERM) => "NET_ADMIN is missing",
        _ => panic!("{error}"),
    };
    assert!(error.to_string().contains(words), "{error}");
}
