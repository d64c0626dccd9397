//! Bytes put together by hand from include/uapi/linux/{rtnetlink,if_link,if_addr}.h.

use super::{wire::*, *};
use crate::{ip::IpPrefix, testing::Tree};

fn ifinfo(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut header = vec![0, 0, 0, 0]; // ifi_family, pad, ifi_type
    header.extend(index.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header.extend(change.to_ne_bytes());
    header
}

fn prefix(text: &str) -> IpPrefix {
    text.parse().unwrap()
}

#[test]
fn requests() {
    let check = |(kind, found): Request, header: Vec<u8>, attributes: &[&[u8]]| {
        assert_eq!(kind, 16, "RTM_NEWLINK");
        assert_eq!(found, [header, attributes.concat()].concat());
    };
    // The namespace and the name in one message.
    check(
        move_to(7, 5, "net1"),
        ifinfo(7, 0, 0),
        &[
            &[8, 0, 28, 0, 5, 0, 0, 0],                        // IFLA_NET_NS_FD
            &[9, 0, 3, 0, b'n', b'e', b't', b'1', 0, 0, 0, 0], // IFLA_IFNAME
        ],
    );
    check(rename(7, "a"), ifinfo(7, 0, 0), &[&[6, 0, 3, 0, b'a', 0, 0, 0]]);
    check(set_mtu(7, 9000), ifinfo(7, 0, 0), &[&[8, 0, 4, 0, 0x28, 0x23, 0, 0]]);
    let mac = Mac([2, 0, 0, 0, 0, 9]);
    check(set_mac(7, mac), ifinfo(7, 0, 0), &[&[10, 0, 1, 0, 2, 0, 0, 0, 0, 9, 0, 0]]);
    check(set_up(7, true), ifinfo(7, 1, 1), &[]);
    check(set_up(7, false), ifinfo(7, 0, 1), &[]);
}

#[test]
fn an_altname_is_deleted_by_its_own_message() {
    let (kind, body) = delete_altname(7, "a");
    assert_eq!(kind, 109); // RTM_DELLINKPROP
    // IFLA_PROP_LIST, nested, with one IFLA_ALT_IFNAME
    let list = [12, 0, 52, 0x80, 6, 0, 53, 0, b'a', 0, 0, 0];
    assert_eq!(body, [ifinfo(7, 0, 0), list.to_vec()].concat());
}

#[test]
fn gets_leave_statistics_out() {
    let mask = [8, 0, 29, 0, 8, 0, 0, 0]; // IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS
    assert_eq!(get_index(7), (18, [ifinfo(7, 0, 0), mask.to_vec()].concat()));
    let name = [6, 0, 3, 0, b'a', 0, 0, 0];
    assert_eq!(get_name("a"), (18, [ifinfo(0, 0, 0), name.to_vec(), mask.to_vec()].concat()));
}

#[test]
fn link_answer() {
    #[rustfmt::skip]
    let body = [
        &ifinfo(7, 0x1_1043, 0)[..],                       // UP, LOWER_UP and others
        &[9, 0, 3, 0, b'e', b't', b'h', b'1', 0, 0, 0, 0], // IFLA_IFNAME
        &[8, 0, 4, 0, 0xdc, 5, 0, 0],                      // IFLA_MTU 1500
        &[8, 0, 5, 0, 3, 0, 0, 0],                         // IFLA_LINK
        &[8, 0, 10, 0, 2, 0, 0, 0],                        // IFLA_MASTER
        &[10, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 0],            // IFLA_ADDRESS
        &[10, 0, 54, 0, 2, 0, 0, 0, 0, 2, 0, 0],           // IFLA_PERM_ADDRESS
        &[12, 0, 18, 0x80, 8, 0, 1, 0, b'v', b'l', b'a', b'n'], // IFLA_LINKINFO, nested
        &[20, 0, 52, 0x80,                                 // IFLA_PROP_LIST, nested
          7, 0, 53, 0, b'p', b'0', 0, 0, 6, 0, 53, 0, b'q', 0, 0, 0],
        &[11, 0, 38, 0, b'p', b'f', b'0', b'v', b'f', b'1', 0, 0],    // PHYS_PORT_NAME
        &[12, 0, 56, 0, b'v', b'i', b'r', b't', b'i', b'o', b'5', 0], // PARENT_DEV_NAME
        &[11, 0, 57, 0, b'v', b'i', b'r', b't', b'i', b'o', 0, 0],    // PARENT_DEV_BUS_NAME
        &[7, 0, 99, 0, 1, 2, 3, 0],                        // not known to us
    ].concat();
    let expected = Link {
        index: 7,
        name: "eth1".into(),
        altnames: vec!["p0".into(), "q".into()],
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        permanent_mac: Some(Mac([2, 0, 0, 0, 0, 2])),
        mtu: 1500,
        up: true,
        carrier: true,
        running: true,
        loopback: false,
        controller: Some(2),
        lower: Some(3),
        kind: Some("vlan".into()),
        parent_bus: Some("virtio".into()),
        parent_name: Some("virtio5".into()),
        port_name: Some("pf0vf1".into()),
    };
    assert_eq!(parse_link(&body).unwrap(), expected);
    assert!(parse_link(&body[..15]).is_err(), "no header");
    assert!(parse_link(&body[..30]).is_err(), "cut within an attribute");
}

#[test]
fn a_lower_link_in_another_namespace_is_not_ours() {
    let lower = [8, 0, 5, 0, 3, 0, 0, 0];
    let elsewhere = [8, 0, 37, 0, 0, 0, 0, 0]; // IFLA_LINK_NETNSID
    let check = |attributes: &[&[u8]], expected| {
        let body = [ifinfo(7, 0, 0), attributes.concat()].concat();
        assert_eq!(parse_link(&body).unwrap().lower, expected);
    };
    check(&[&lower], Some(3));
    check(&[&lower, &elsewhere], None);
    check(&[&[8, 0, 5, 0, 7, 0, 0, 0]], None); // itself
}

#[test]
fn addresses() {
    let local = [8, 0, 2, 0, 10, 0, 0, 2]; // IFA_LOCAL
    let far = [8, 0, 1, 0, 10, 0, 0, 2]; // IFA_ADDRESS
    let broadcast = [8, 0, 4, 0, 10, 0, 0, 255]; // IFA_BROADCAST
    let header = [2, 24, 0, 0, 7, 0, 0, 0]; // AF_INET, /24, flags, scope, index
    let whole = [&header[..], &local, &far, &broadcast].concat();
    assert_eq!(address::add(7, prefix("10.0.0.2/24")), (20, whole.clone()));
    let body = [&header[..], &local, &far].concat();
    assert_eq!(address::delete(7, prefix("10.0.0.2/24")), (21, body));
    // A host address has no broadcast.
    assert_eq!(address::add(7, prefix("10.0.0.2/32")).1.len(), 24);

    let found = address::parse(&whole).unwrap().unwrap();
    assert_eq!((found.index, found.prefix), (7, prefix("10.0.0.2/24")));
    assert!(!found.tentative && !found.duplicate);
    assert!(address::parse(&header).is_err(), "no address");
    assert!(address::parse(&[2]).is_err());
}

#[test]
fn a_tentative_address() {
    let mut body = vec![10, 64, 0xc0, 0, 7, 0, 0, 0]; // AF_INET6, /64, tentative and permanent
    body.extend([20, 0, 1, 0]); // IFA_ADDRESS
    body.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    let found = address::parse(&body).unwrap().unwrap();
    assert_eq!(found.prefix, prefix("2001:db8::2/64"));
    assert!(found.tentative);
    body.extend([8, 0, 8, 0, 0x88, 0, 0, 0]); // IFA_FLAGS: permanent, DAD failed
    let found = address::parse(&body).unwrap().unwrap();
    assert!(!found.tentative && found.duplicate);
}

#[test]
fn route_requests() {
    let default = Route {
        index: 7,
        destination: prefix("0.0.0.0/0"),
        gateway: Some("10.0.0.1".parse().unwrap()),
        metric: Some(100),
        mtu: None,
        source: None,
    };
    #[rustfmt::skip]
    let expected = [
        // AF_INET, no destination, table main, protocol boot, scope universe, unicast
        &[2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0][..],
        &[8, 0, 4, 0, 7, 0, 0, 0],                         // RTA_OIF
        &[8, 0, 5, 0, 10, 0, 0, 1],                        // RTA_GATEWAY
        &[8, 0, 6, 0, 100, 0, 0, 0],                       // RTA_PRIORITY
    ].concat();
    assert_eq!(route::add(&default), (24, expected));

    let on_link =
        Route { gateway: None, metric: None, destination: prefix("10.1.0.0/16"), ..default };
    #[rustfmt::skip]
    let expected = [
        &[2, 16, 0, 0, 254, 3, 253, 1, 0, 0, 0, 0][..],    // scope link
        &[8, 0, 1, 0, 10, 1, 0, 0],                        // RTA_DST
        &[8, 0, 4, 0, 7, 0, 0, 0],
    ].concat();
    assert_eq!(route::add(&on_link).1, expected);
}

#[test]
fn default_routes() {
    let check = |header: [u8; 12], attributes: &[u8], expected: &[(Option<u32>, u32)]| {
        let body = [&header[..], attributes].concat();
        let found = route::parse(&body, |length| length == 0).unwrap();
        let found: Vec<_> = found
            .iter()
            .flat_map(|route| route.hops.iter().map(|hop| (hop.index, route.table)))
            .collect();
        assert_eq!(found, expected);
    };
    let unicast = [2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    let oif = [8, 0, 4, 0, 7, 0, 0, 0];
    check(unicast, &oif, &[(Some(7), 254)]);
    // In a table whose number does not fit the header.
    let table = [8, 0, 15, 0, 0xe8, 3, 0, 0];
    check([2, 0, 0, 0, 252, 3, 0, 1, 0, 0, 0, 0], &[oif, table].concat(), &[(Some(7), 1000)]);
    // Two next hops.
    #[rustfmt::skip]
    let multipath = [
        20, 0, 9, 0,                                       // RTA_MULTIPATH
        8, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0,    // struct rtnexthop, twice
    ];
    check(unicast, &multipath, &[(Some(7), 254), (Some(8), 254)]);
    check(unicast, &[8, 0, 30, 0, 1, 0, 0, 0], &[(None, 254)]); // RTA_NH_ID alone
    // Not a default route; unreachable; a cache entry.
    check([2, 24, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0], &oif, &[]);
    check([10, 0, 0, 0, 254, 2, 0, 7, 0, 0, 0, 0], &oif, &[]);
    check([10, 0, 0, 0, 254, 2, 0, 1, 0, 2, 0, 0], &oif, &[]);
}

#[test]
fn next_hops() {
    let check = |header: [u8; 12], attributes: &[&[u8]], to: &str, expected: &[(u32, &str)]| {
        let body = [&header[..], &attributes.concat()].concat();
        let listed = route::parse(&body, |length| length == prefix(to).length()).unwrap();
        let found = route::hops_to(listed.as_slice(), prefix(to));
        let expected: Vec<_> = expected
            .iter()
            .map(|(index, gateway)| NextHop { index: Some(*index), gateway: gateway.parse().ok() })
            .collect();
        assert_eq!(found, expected, "{to}");
    };
    let unicast = |length| [2, length, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    let destination = &[8, 0, 1, 0, 10, 1, 0, 0][..];
    let oif = &[8, 0, 4, 0, 7, 0, 0, 0][..];
    let gateway = &[8, 0, 5, 0, 10, 0, 0, 1][..];
    let by = [(7, "10.0.0.1")];
    check(unicast(0), &[oif, gateway], "0.0.0.0/0", &by);
    check(unicast(16), &[destination, oif, gateway], "10.1.0.0/16", &by);
    check(unicast(16), &[destination, oif], "10.1.0.0/16", &[(7, "")]);
    #[rustfmt::skip]
    let multipath = &[
        28, 0, 9, 0,                                                // RTA_MULTIPATH
        16, 0, 0, 0, 7, 0, 0, 0, 8, 0, 5, 0, 10, 0, 0, 1,           // struct rtnexthop, RTA_GATEWAY
        8, 0, 0, 0, 8, 0, 0, 0,
    ];
    check(unicast(16), &[destination, multipath], "10.1.0.0/16", &[(7, "10.0.0.1"), (8, "")]);
    // Moved to another table (sbr).
    check([2, 16, 0, 0, 100, 3, 0, 1, 0, 0, 0, 0], &[destination, oif], "10.1.0.0/16", &[(7, "")]);
    // Another length, another destination, another kind.
    check(unicast(24), &[destination, oif], "10.1.0.0/16", &[]);
    check(unicast(16), &[destination, oif], "10.2.0.0/16", &[]);
    check([2, 16, 0, 0, 254, 3, 0, 7, 0, 0, 0, 0], &[destination, oif], "10.1.0.0/16", &[]);
}

#[test]
fn names_that_the_kernel_refuses() {
    for name in ["", ".", "..", "a/b", "a:b", "a b", "eth%d", "sixteen-letters-"] {
        assert!(checked_name(name).is_err(), "{name:?}");
    }
    assert!(checked_name("fifteen-letters").is_ok());
}

/// Reading the own namespace needs no privilege and changes nothing.
#[test]
fn the_own_namespace() {
    let mut links = Links::open().unwrap();
    let list = links.list().unwrap();
    let loopback = list.iter().find(|link| link.loopback).unwrap();
    assert_eq!(links.get(loopback.index).unwrap().name, loopback.name);
    assert_eq!(links.by_name(&loopback.name).unwrap().index, loopback.index);
    let error = links.by_name("none-of-that").unwrap_err();
    assert!(error.is_missing(), "{error}");
    links.addresses().unwrap();
    links.default_routes().unwrap();
    let none: &[IpPrefix] = &[];
    assert!(links.next_hops(none).unwrap().is_empty());
    // one answer each, in their order; nobody has a route to the documentation's prefixes
    let found =
        links.next_hops(&["0.0.0.0/0", "2001:db8::/48", "192.0.2.0/28"].map(prefix)).unwrap();
    assert_eq!(found[1..], [vec![], vec![]]);
}

#[test]
fn the_link_of_a_device() {
    let mut links = Links::open().unwrap();
    let loopback = links.list().unwrap().into_iter().find(|link| link.loopback).unwrap();
    let tree = Tree::new("0000:01:00.0 igb net=eth1");
    let (root, address) = (tree.root(), "0000:01:00.0".parse().unwrap());
    let dir = crate::pci::dir(&root, address);
    // The number counts, whatever the name is by now.
    tree.write("sys/class/net/eth1/ifindex", &format!("{}\n", loopback.index));
    assert_eq!(links.of_device(&dir).unwrap(), Some(loopback));
    tree.write("sys/bus/pci/devices/0000:01:00.0/net/eth2/ifindex", "9\n");
    let error = links.of_device(&dir).unwrap_err().to_string();
    assert!(error.ends_with("found eth1, eth2, expected exactly one"), "{error}");
    assert_eq!(links.of_device(&tree.path("sys/bus")).unwrap(), None);
}

#[test]
fn vf_statistics_are_asked_for_one_link() {
    let mask = [8, 0, 29, 0, 1, 0, 0, 0]; // IFLA_EXT_MASK, RTEXT_FILTER_VF and no SKIP_STATS
    assert_eq!(vf_stats::get(7), (18, [ifinfo(7, 0, 0), mask.to_vec()].concat()));
}

#[test]
fn vf_statistics_answer() {
    let counter = |kind: u8, value: u64| [&[12, 0, kind, 0][..], &value.to_ne_bytes()].concat();
    let nest = |kind: u8, parts: &[Vec<u8>]| {
        let body = parts.concat();
        let length = u16::try_from(body.len() + 4).unwrap().to_ne_bytes();
        [&length[..], &[kind, 0], &body].concat()
    };
    // struct ifla_vf_mac: the VF's number, and 32 bytes of address
    let mac = |vf: u32| [&[40, 0, 1, 0][..], &vf.to_ne_bytes(), &[0; 32]].concat();
    let trust = |vf: u32| [&[12, 0, 9, 0][..], &vf.to_ne_bytes(), &1_u32.to_ne_bytes()].concat();
    let counters = [
        counter(0, 11),                // RX_PACKETS
        counter(1, 12),                // TX_PACKETS
        counter(2, 1_500_000_000_000), // RX_BYTES
        counter(3, 14),                // TX_BYTES
        counter(4, 99),                // BROADCAST: not read
        counter(7, 17),                // RX_DROPPED
        counter(8, 18),                // TX_DROPPED
    ];
    let first = nest(1, &[mac(0), trust(0), nest(8, &counters)]);
    let second = nest(1, &[mac(1), nest(8, &[counter(0, 1)])]);
    let without = nest(1, &[mac(2)]); // a kernel that was told to skip statistics
    let name = [9, 0, 3, 0, b'e', b't', b'h', b'1', 0, 0, 0, 0];
    let count = [8, 0, 21, 0, 3, 0, 0, 0]; // IFLA_NUM_VF
    let list = nest(22, &[first, second, without]);
    let body = [ifinfo(7, 0, 0), name.to_vec(), count.to_vec(), list].concat();
    let found = vf_stats::parse(&body).unwrap();
    let received = Counters { packets: 11, bytes: 1_500_000_000_000, dropped: 17 };
    let sent = Counters { packets: 12, bytes: 14, dropped: 18 };
    let one = Counters { packets: 1, ..Counters::default() };
    assert_eq!(
        found,
        [
            VfStats { index: 0, received, sent },
            VfStats { index: 1, received: one, sent: Counters::default() },
        ]
    );
    // a driver that tells nothing of its VFs
    assert_eq!(vf_stats::parse(&ifinfo(7, 0, 0)).unwrap(), []);
    // and a message that ends too early
    assert!(vf_stats::parse(&body[..body.len() - 4]).is_err());
}
