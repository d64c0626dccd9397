//! Bytes put together by hand from include/uapi/linux/vdpa.h and the layout of attributes: length,
//! type, value, padding to four, little-endian as on every machine that this runs on.

use super::{wire::*, *};

fn handle() -> Handle {
    "pci/0000:01:00.1".parse().unwrap()
}

#[rustfmt::skip]
const PCI_HANDLE: &[u8] = &[
    8, 0, 1, 0, b'p', b'c', b'i', 0,                       // MGMTDEV_BUS_NAME "pci"
    17, 0, 2, 0, b'0', b'0', b'0', b'0', b':', b'0', b'1', // MGMTDEV_DEV_NAME "0000:01:00.1"
    b':', b'0', b'0', b'.', b'1', 0, 0, 0, 0,              // final zero, padding
];

#[test]
fn create_with_everything() {
    let device = NewDevice {
        mac: Some(Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56])),
        mtu: Some(9000),
        queue_pairs: Some(4),
        features: Some(Features(0x1_0040_0028)), // VERSION_1 MQ MAC MTU
        ..NewDevice::new("vdpa0", handle())
    };
    #[rustfmt::skip]
    let expected = [
        &[3, 1, 0, 0][..],                                    // DEV_NEW, version 1
        PCI_HANDLE,
        &[10, 0, 4, 0, b'v', b'd', b'p', b'a', b'0', 0, 0, 0], // DEV_NAME, padding
        &[10, 0, 10, 0, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 0, 0], // NET_CFG_MACADDR, padding
        &[6, 0, 13, 0, 0x28, 0x23, 0, 0],                     // NET_CFG_MTU 9000, padding
        &[6, 0, 12, 0, 4, 0, 0, 0],                           // NET_CFG_MAX_VQP 4, padding
        &[12, 0, 20, 0, 0x28, 0, 0x40, 0, 1, 0, 0, 0],        // DEV_FEATURES
    ].concat();
    assert_eq!(encode_create(&device), expected);
}

#[test]
fn create_with_nothing_asked_and_no_bus() {
    let device = NewDevice::new("sim0", Handle::without_bus("vdpasim_net"));
    #[rustfmt::skip]
    let expected = [
        &[3, 1, 0, 0][..],
        &[16, 0, 2, 0], b"vdpasim_net\0",
        &[9, 0, 4, 0], b"sim0\0\0\0\0",
    ].concat();
    assert_eq!(encode_create(&device), expected);
}

#[test]
fn short_requests() {
    let named = [&[9, 0, 4, 0][..], b"sim0\0\0\0\0"].concat();
    let check = |found: Vec<u8>, command: u8, attributes: &[u8]| {
        assert_eq!(found, [&[command, 1, 0, 0], attributes].concat());
    };
    check(encode_get_management_devices(), 2, &[]);
    check(encode_get_management_device(&handle()), 2, PCI_HANDLE);
    check(encode_get_devices(), 5, &[]);
    check(encode_named(command::DEV_DEL, "sim0"), 4, &named);
    check(encode_named(command::DEV_GET, "sim0"), 5, &named);
    check(encode_named(command::DEV_CONFIG_GET, "sim0"), 6, &named);
    let mac = [10, 0, 10, 0, 2, 0, 0, 0, 0, 9, 0, 0];
    check(encode_set_mac("sim0", Mac([2, 0, 0, 0, 0, 9])), 8, &[&named[..], &mac].concat());
}

#[test]
fn management_device_answer() {
    #[rustfmt::skip]
    let body = [
        &[1, 1, 0, 0][..],                                 // MGMTDEV_NEW
        PCI_HANDLE,
        &[12, 0, 3, 0, 2, 0, 0, 0, 0, 0, 0, 0],            // SUPPORTED_CLASSES: 1 << 1, net
        &[8, 0, 15, 0, 3, 0, 0, 0],                        // MGMTDEV_MAX_VQS
        &[12, 0, 16, 0, 0x28, 0, 0, 0, 3, 0, 0, 0],        // SUPPORTED_FEATURES
    ].concat();
    let found = parse_management_device(&body).unwrap();
    let expected = ManagementDevice {
        handle: handle(),
        classes: Classes(2),
        features: Some(Features(0x3_0000_0028)),
        max_virtqueues: Some(3),
    };
    assert_eq!(found, expected);
    assert!(found.classes.net());
    assert_eq!(found.max_queue_pairs(), Some(1));
}

#[test]
fn management_device_of_an_old_kernel() {
    #[rustfmt::skip]
    let body = [
        &[1, 1, 0, 0][..],
        &[16, 0, 2, 0], b"vdpasim_blk\0",
        &[12, 0, 3, 0, 4, 0, 0, 0, 0, 0, 0, 0],            // 1 << 2, block
    ].concat();
    let found = parse_management_device(&body).unwrap();
    assert_eq!(found.handle, Handle::without_bus("vdpasim_blk"));
    assert!(!found.classes.net());
    assert_eq!((found.features, found.max_virtqueues), (None, None));
}

#[test]
fn device_answer() {
    #[rustfmt::skip]
    let body = [
        &[3, 1, 0, 0][..],                                 // DEV_NEW is the answer's command
        PCI_HANDLE,
        &[10, 0, 4, 0, b'v', b'd', b'p', b'a', b'0', 0, 0, 0],
        &[8, 0, 5, 0, 1, 0, 0, 0],                         // DEV_ID: net
        &[8, 0, 6, 0, 0xf4, 0x1a, 0, 0],                   // DEV_VENDOR_ID
        &[8, 0, 7, 0, 3, 0, 0, 0],                         // DEV_MAX_VQS
        &[6, 0, 8, 0, 0, 1, 0, 0],                         // DEV_MAX_VQ_SIZE 256
        &[6, 0, 9, 0, 1, 0, 0, 0],                         // DEV_MIN_VQ_SIZE: not read
    ].concat();
    let expected = Device {
        name: "vdpa0".to_owned(),
        management_device: handle(),
        device_id: NET,
        vendor_id: 0x1af4,
        max_virtqueues: 3,
        max_virtqueue_size: 256,
    };
    assert_eq!(parse_device(&body).unwrap(), expected);
    assert!(parse_device(&body[..40]).is_err(), "no name");
    assert!(parse_device(&body[..50]).is_err(), "cut within an attribute");
}

#[test]
fn config_answer() {
    #[rustfmt::skip]
    let body = [
        &[6, 1, 0, 0][..],                                     // DEV_CONFIG_GET
        &[10, 0, 4, 0, b'v', b'd', b'p', b'a', b'0', 0, 0, 0],
        &[8, 0, 5, 0, 1, 0, 0, 0],
        &[12, 0, 14, 0, 0x20, 0, 0, 0, 1, 0, 0, 0],            // NEGOTIATED_FEATURES
        &[12, 0, 20, 0, 0x28, 0, 0x41, 0, 1, 0, 0, 0],         // DEV_FEATURES
        &[6, 0, 13, 0, 0xdc, 0x05, 0, 0],                      // MTU 1500
        &[10, 0, 10, 0, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 0, 0], // MACADDR
        &[6, 0, 11, 0, 1, 0, 0, 0],                            // STATUS as u16: link up
        &[6, 0, 12, 0, 4, 0, 0, 0],                            // MAX_VQP
    ].concat();
    let expected = Config {
        mac: Some(Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56])),
        mtu: Some(1500),
        max_queue_pairs: Some(4),
        link_up: Some(true),
        features: Some(Features(0x1_0041_0028)),
        negotiated: Some(Features(0x1_0000_0020)),
    };
    assert_eq!(parse_config(&body).unwrap(), expected);
}

#[test]
fn attribute_21_is_not_taken_for_features() {
    let body = [&[6, 1, 0, 0][..], &[12, 0, 21, 0, 1, 2, 3, 4, 5, 6, 7, 8]].concat();
    assert_eq!(parse_config(&body).unwrap(), Config::default());
}

#[test]
fn wrong_lengths_are_errors() {
    let check = |attribute: &[u8], expected: &str| {
        let body = [&[6, 1, 0, 0][..], attribute].concat();
        let error = parse_config(&body).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    };
    check(&[5, 0, 11, 0, 1, 0, 0, 0], "expected 2 bytes"); // the u8 of the header's comment
    check(&[8, 0, 10, 0, 1, 2, 3, 4], "expected 6 bytes");
    check(&[8, 0, 20, 0, 1, 2, 3, 4], "expected 8 bytes");
    check(&[9, 0, 20, 0, 1, 2, 3, 4], "expected whole ones");
}

#[test]
fn handles() {
    let check = |text: &str, bus: Option<&str>, name: &str| {
        let handle: Handle = text.parse().unwrap();
        assert_eq!((handle.bus.as_deref(), handle.name.as_str()), (bus, name));
        assert_eq!(handle.to_string(), text);
    };
    check("vdpasim_net", None, "vdpasim_net");
    check("pci/0000:01:00.1", Some("pci"), "0000:01:00.1");
    check("auxiliary/mlx5_core.sf.4", Some("auxiliary"), "mlx5_core.sf.4");
    for text in ["", "/x", "pci/", "a/b/c"] {
        assert!(text.parse::<Handle>().is_err(), "{text:?}");
    }
    assert_eq!(handle().pci_address(), Some("0000:01:00.1".parse().unwrap()));
    assert_eq!(Handle::without_bus("vduse").pci_address(), None);
}

#[test]
fn only_software_may_hold_several() {
    let check = |text: &str, expected| {
        assert_eq!(text.parse::<Handle>().unwrap().allows_several(), expected, "{text}");
    };
    check("vdpasim_net", true);
    check("vduse", true);
    check("pci/0000:01:00.1", false);
    check("pci/vdpasim_net", false);
}

#[test]
fn a_second_device_of_hardware_is_refused() {
    let device = |name: &str, handle| Device {
        name: name.to_owned(),
        management_device: handle,
        device_id: NET,
        vendor_id: 0,
        max_virtqueues: 2,
        max_virtqueue_size: 256,
    };
    let other = "pci/0000:01:00.2".parse().unwrap();
    let new = NewDevice::new("second", handle());
    calls::refuse_second(&new, &[device("vdpa0", other)]).unwrap();
    let error = calls::refuse_second(&new, &[device("vdpa0", handle())]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "devices of vdpa management device pci/0000:01:00.1: found vdpa0, \
         expected none before second: it can hold one"
    );
}

#[test]
fn vendor_statistics_of_one_queue() {
    #[rustfmt::skip]
    let expected = [
        &[7, 1, 0, 0, 9, 0, 4, 0][..], b"sim0\0\0\0\0",          // DEV_VSTATS_GET, DEV_NAME
        &[8, 0, 17, 0, 1, 0, 0, 0],                            // DEV_QUEUE_INDEX
    ].concat();
    assert_eq!(encode_get_vendor_stats("sim0", 1), expected);
}

#[test]
fn vendor_statistics_answer() {
    #[rustfmt::skip]
    let body = [
        &[3, 1, 0, 0][..],
        &[9, 0, 4, 0], b"sim0\0\0\0\0",
        &[8, 0, 5, 0, 1, 0, 0, 0],                             // DEV_ID
        &[12, 0, 14, 0, 0x20, 0, 0, 0, 1, 0, 0, 0],            // DEV_NEGOTIATED_FEATURES
        &[6, 0, 12, 0, 1, 0, 0, 0],                            // DEV_NET_CFG_MAX_VQP, padding
        &[8, 0, 17, 0, 1, 0, 0, 0],                            // DEV_QUEUE_INDEX
        &[15, 0, 18, 0], b"tx packets\0\0",                    // DEV_VENDOR_ATTR_NAME, padding
        &[12, 0, 19, 0, 7, 0, 0, 0, 0, 0, 0, 0],               // DEV_VENDOR_ATTR_VALUE
        &[13, 0, 18, 0], b"tx bytes\0\0\0\0",
        &[12, 0, 19, 0, 0, 0, 0, 0, 1, 0, 0, 0],
    ].concat();
    let found = parse_vendor_stats(&body).unwrap();
    assert_eq!(found, [("tx packets".to_owned(), 7), ("tx bytes".to_owned(), 1 << 32)]);
    // a value that belongs to no name
    let alone = [&[3, 1, 0, 0, 12, 0, 19, 0][..], &[0; 8]].concat();
    assert!(parse_vendor_stats(&alone).is_err());
    assert_eq!(parse_vendor_stats(&[3, 1, 0, 0]).unwrap(), []);
}
