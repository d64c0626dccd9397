use super::*;

const HEADER: usize = 16;

/// An attribute as the kernel aligns it.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    attribute::push(&mut bytes, kind, value);
    bytes
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn mac_of(vf: u32, mac: [u8; 6]) -> Vec<u8> {
    attribute(1, &[words(&[vf]), mac.to_vec(), vec![0; 26]].concat())
}

#[test]
fn vfs_are_asked_for_without_statistics() {
    let (kind, body) = get(7);
    assert_eq!(kind, 18); // RTM_GETLINK
    // IFLA_EXT_MASK: RTEXT_FILTER_VF and RTEXT_FILTER_SKIP_STATS
    assert_eq!(body[HEADER..], [8, 0, 29, 0, 9, 0, 0, 0]);
}

#[test]
fn each_setting_is_a_request_of_its_own() {
    let check = |setting, kind: u16, value: Vec<u8>| {
        let (message, body) = set(7, 3, setting);
        assert_eq!(message, 19, "RTM_SETLINK");
        assert_eq!(body[4..8], 7_u32.to_ne_bytes());
        let expected = attribute(22, &attribute(1, &attribute(kind, &value)));
        assert_eq!(body[HEADER..], expected, "{setting:?}");
    };
    let mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    let padded = [words(&[3]), mac.to_vec(), vec![0; 26]].concat();
    check(VfSetting::Mac(Mac(mac)), 1, padded);
    check(VfSetting::SpoofCheck(true), 4, words(&[3, 1]));
    check(VfSetting::Link(VfLink::Disable), 5, words(&[3, 2]));
    check(VfSetting::Rate(VfTxRate { min: 10, max: 500 }), 6, words(&[3, 10, 500]));
    check(VfSetting::Trust(false), 9, words(&[3, 0]));
    let vlan = |id, qos, protocol: [u8; 2]| {
        attribute(1, &[words(&[3, id, qos]), protocol.to_vec(), vec![0; 2]].concat())
    };
    check(VfSetting::Vlan(None), 12, vlan(0, 0, [0x81, 0]));
    let tag = VfTag { id: 100, qos: 5, service: true };
    check(VfSetting::Vlan(Some(tag)), 12, vlan(100, 5, [0x88, 0xa8]));
}

#[test]
fn what_a_driver_tells_is_read() {
    let mac = [0x52, 0x54, 2, 0, 0, 1];
    let vlan = attribute(1, &[words(&[0, 100, 3]), vec![0x81, 0, 0, 0]].concat());
    let first = [
        mac_of(0, mac),
        attribute(4, &words(&[0, 1])),
        attribute(5, &words(&[0, 1])),
        attribute(6, &words(&[0, 10, 500])),
        attribute(9, &words(&[0, 0])),
        attribute(12, &vlan),
    ];
    // nothing set, and two guards that the driver does not know
    let second = [
        mac_of(1, [0; 6]),
        attribute(4, &words(&[1, u32::MAX])),
        attribute(9, &words(&[1, u32::MAX])),
        attribute(12, &attribute(1, &[words(&[1, 0, 0]), vec![0x81, 0, 0, 0]].concat())),
    ];
    let list = [attribute(1, &first.concat()), attribute(1, &second.concat())].concat();
    let body = [vec![0; HEADER], attribute(3, b"eth1\0"), attribute(22, &list)].concat();
    let expected = Vf {
        index: 0,
        mac: Some(Mac(mac)),
        vlan: Some(VfTag { id: 100, qos: 3, service: false }),
        rate: VfTxRate { min: 10, max: 500 },
        spoof_check: Some(true),
        trust: Some(false),
        link: VfLink::Enable,
    };
    assert_eq!(parse(&body).unwrap(), [expected, Vf { index: 1, ..Vf::default() }]);
    // a driver that tells nothing, and a message that ends too early
    assert_eq!(parse(&body[..HEADER + 12]).unwrap(), []);
    assert!(parse(&body[..body.len() - 4]).is_err());
}

#[test]
fn what_is_set_is_what_it_is_then() {
    let tag = VfTag { id: 7, qos: 2, service: true };
    let mut vf = Vf { index: 3, ..Vf::default() };
    assert_eq!(vf.now(VfSetting::Trust(true)), None, "the driver does not tell");
    for (setting, words) in [
        (VfSetting::Mac(Mac([2, 0, 0, 0, 0, 1])), "MAC 02:00:00:00:00:01"),
        (VfSetting::Mac(Mac([0; 6])), "no MAC"),
        (VfSetting::Vlan(Some(tag)), "VLAN 7 (802.1ad, qos 2)"),
        (VfSetting::Vlan(None), "no VLAN"),
        (VfSetting::Rate(VfTxRate { min: 0, max: 500 }), "rates 0 to 500 Mbit/s"),
        (VfSetting::SpoofCheck(false), "spoof check off"),
        (VfSetting::Trust(true), "trust on"),
        (VfSetting::Link(VfLink::Disable), "link state disable"),
    ] {
        vf.set(setting);
        assert_eq!(vf.now(setting), Some(setting));
        assert_eq!(setting.to_string(), words);
        let text = serde_json::to_string(&setting).unwrap();
        assert_eq!(serde_json::from_str::<VfSetting>(&text).unwrap(), setting, "{text}");
    }
    assert!(VfSetting::Vlan(None).same_kind(VfSetting::Vlan(Some(tag))));
    assert!(!VfSetting::Vlan(None).same_kind(VfSetting::Trust(true)));
}

/// With statistics the attribute would overflow from 222 VFs on.
#[test]
fn a_card_with_as_many_vfs_as_pci_has_is_read() {
    let info = |vf: u32| {
        let vlan = attribute(1, &[words(&[vf, vf, 0]), vec![0x81, 0, 0, 0]].concat());
        let settings = [
            mac_of(vf, [0; 6]),
            attribute(13, &[0; 32]), // IFLA_VF_BROADCAST
            attribute(12, &vlan),
            attribute(3, &words(&[vf, 0])),
            attribute(4, &words(&[vf, 1])),
            attribute(5, &words(&[vf, 0])),
            attribute(6, &words(&[vf, 0, 0])),
            attribute(7, &words(&[vf, u32::MAX])),
            attribute(9, &words(&[vf, 0])),
        ];
        attribute(1, &settings.concat())
    };
    let list = (0..256).flat_map(info).collect::<Vec<_>>();
    assert!(list.len() < usize::from(u16::MAX), "{}", list.len());
    let body = [vec![0; HEADER], attribute(22, &list)].concat();
    let vfs = parse(&body).unwrap();
    assert_eq!(vfs.len(), 256);
    assert_eq!(vfs[255].vlan, Some(VfTag { id: 255, qos: 0, service: false }));
}
