use super::*;
use crate::{
    IpPrefix,
    link::{Address as LinkAddress, DefaultRoute, Link, VfTag},
    testing::Tree,
    vdpa::{Classes, Config, Device, NET},
};

const CARD: &str = "
    0000:01:00.0 virtio-pci pf totalvfs=4 numa=0 net=eth1
    0000:01:00.1 vf-of=0000:01:00.0 vp-vdpa vdpa=vdpa:0000:01:00.1 virtio=5 vnet=eth5 iommu=11
    0000:01:00.2 vf-of=0000:01:00.0 vp-vdpa vdpa=vdpa:0000:01:00.2 vhost=0
    0000:01:00.3 vf-of=0000:01:00.0 virtio-pci net=eth3
    0000:01:00.4 vf-of=0000:01:00.0 vfio-pci iommu=12 vfio=2
    0000:02:00.0 nvme pf totalvfs=16 class=0x010802
    0000:03:00.0 snet vdpa=vdpa9 vhost=9
    vdpasim_net sim vdpa=sim0 virtio=6 vnet=eth6
";

fn link(index: u32, name: &str) -> Link {
    Link { index, name: name.into(), mtu: 1500, ..Link::default() }
}

fn links() -> Vec<Link> {
    vec![link(1, "eth1"), link(3, "eth3"), link(5, "eth5"), link(6, "eth6")]
}

fn prefix(text: &str) -> IpPrefix {
    text.parse().unwrap()
}

fn address(index: u32, text: &str) -> LinkAddress {
    LinkAddress { index, prefix: prefix(text), tentative: false, duplicate: false }
}

fn management_device(handle: &str) -> ManagementDevice {
    ManagementDevice {
        handle: handle.parse().unwrap(),
        classes: Classes(1 << NET),
        features: Some(Features::MAC),
        max_virtqueues: Some(3),
    }
}

fn vdpa_device(name: &str, handle: &str, config: Config) -> (Device, Option<Config>) {
    let device = Device {
        name: name.into(),
        management_device: handle.parse().unwrap(),
        device_id: NET,
        vendor_id: 0x1af4,
        max_virtqueues: 3,
        max_virtqueue_size: 256,
    };
    (device, Some(config))
}

fn netlink() -> Netlink {
    let mac = Some(Mac([2, 0, 0, 0, 0, 1]));
    let config = Config { mac, mtu: Some(1500), max_queue_pairs: Some(2), ..Config::default() };
    Netlink {
        links: links(),
        vdpa_family: VdpaFamily::Present,
        management_devices: vec![
            management_device("vdpasim_net"),
            management_device("pci/0000:01:00.1"),
            management_device("pci/0000:01:00.2"),
            ManagementDevice { classes: Classes(4), ..management_device("vdpasim_blk") },
        ],
        vdpa_devices: vec![
            vdpa_device("vdpa:0000:01:00.1", "pci/0000:01:00.1", config),
            vdpa_device("sim0", "vdpasim_net", Config::default()),
        ],
        ..Netlink::default()
    }
}

/// As the links of Ethernet cards are.
fn with_mac(mut netlink: Netlink, index: u32) -> Netlink {
    let link = netlink.links.iter_mut().find(|link| link.index == index).unwrap();
    link.mac = Some(Mac([2, 0, 0, 0, 0, 2]));
    netlink
}

fn names(devices: &[VdpaDevice]) -> Vec<&str> {
    devices.iter().map(|device| device.name.as_str()).collect()
}

fn interfaces(netdevs: &[Netdev]) -> Vec<&str> {
    netdevs.iter().map(|netdev| netdev.name.as_str()).collect()
}

#[test]
fn a_card_with_its_functions() {
    let inventory = assemble(&Tree::new(CARD).root(), netlink()).unwrap();
    // The disk can have VFs, but is no network card.
    let [card] = inventory.parents.as_slice() else { panic!("{:?}", inventory.parents) };
    assert_eq!(card.address.to_string(), "0000:01:00.0");
    assert_eq!((card.totalvfs, card.numvfs, card.numa), (4, 4, Some(0)));
    assert_eq!(card.driver.as_deref(), Some("virtio-pci"));
    assert_eq!(interfaces(&card.netdevs), ["eth1"]);
    assert_eq!(card.netdevs[0].index, Some(1));

    let [first, second, third, fourth] = card.functions.as_slice() else {
        panic!("four functions")
    };
    assert_eq!((first.index, first.iommu_group), (0, Some(11)));
    assert_eq!(names(&first.vdpa), ["vdpa:0000:01:00.1"]);
    // The netdev is the vDPA device's, not the function's.
    assert!(first.netdevs.is_empty());
    assert_eq!(interfaces(&first.vdpa[0].netdevs), ["eth5"]);
    assert_eq!(first.vdpa[0].max_queue_pairs, Some(2));
    assert_eq!(first.management_device.as_ref().unwrap().max_queue_pairs(), Some(1));

    let device = &second.vdpa[0];
    assert_eq!(device.driver.as_deref(), Some("vhost_vdpa"));
    assert_eq!(device.char_device.as_ref().unwrap().minor, 0);
    // Not in netlink's answer: what is not known is not made up.
    assert_eq!(
        (&device.management_device, device.mac, device.max_queue_pairs),
        (&None, None, None)
    );

    assert_eq!(interfaces(&third.netdevs), ["eth3"]);
    assert!(third.vdpa.is_empty() && third.management_device.is_none());
    assert_eq!(third.virtio_driver.as_deref(), Some("virtio_net"));
    assert_eq!(first.virtio_driver, None, "its virtio device is the vDPA device's");

    assert_eq!(fourth.vfio.as_ref().unwrap().group.minor, 2);
    assert_eq!((&third.vfio, &fourth.virtio_driver), (&None, &None));
}

#[test]
fn settings_are_those_that_the_pfs_driver_tells() {
    let tree = Tree::new(CARD);
    let vlan = Some(VfTag { id: 100, qos: 3, service: false });
    let told = Vf { index: 2, vlan, spoof_check: Some(true), ..Vf::default() };
    let mut inventory = assemble(&tree.root(), with_mac(netlink(), 1)).unwrap();
    let mut asked = Vec::new();
    functions::ask_settings(&mut inventory, |link| {
        asked.push(link);
        // of a VF that has gone; of one that is there
        Ok(vec![Vf { index: 9, ..Vf::default() }, told])
    });
    // the disk has no VFs, and the simulator no PF
    assert_eq!(asked, [1]);
    let settings = inventory.parents[0].functions.iter().map(|function| function.settings);
    assert_eq!(settings.collect::<Vec<_>>(), [None, None, Some(told), None]);
    let json = serde_json::to_value(inventory.parents[0].functions[2].settings).unwrap();
    let expected = serde_json::json!({"index": 2, "mac": null, "rate": {"min": 0, "max": 0},
        "vlan": {"id": 100, "qos": 3, "service": false}, "spoof_check": true, "trust": null,
        "link": "Auto"});
    assert_eq!(json, expected);
}

#[test]
fn of_the_vfs_of_what_is_no_ethernet_link_nothing_is_asked() {
    let mut inventory = assemble(&Tree::new(CARD).root(), netlink()).unwrap();
    functions::ask_settings(&mut inventory, |link| panic!("{link}"));
    assert_eq!(inventory.notes, Vec::<String>::new());
}

#[test]
fn settings_that_cannot_be_read_are_told_unless_the_link_has_gone() {
    let notes = |errno| {
        let mut inventory = assemble(&Tree::new(CARD).root(), with_mac(netlink(), 1)).unwrap();
        functions::ask_settings(&mut inventory, |_| {
            Err(crate::Error::io("ask", "eth1", std::io::Error::from_raw_os_error(errno)))
        });
        inventory.notes
    };
    assert_eq!(notes(crate::error::errno::ENODEV), Vec::<String>::new());
    assert!(notes(crate::error::errno::EOPNOTSUPP)[0].starts_with("settings of VFs are not known"));
}

#[test]
fn a_simulator_and_a_device_without_a_management_device() {
    let inventory = assemble(&Tree::new(CARD).root(), netlink()).unwrap();
    let [simulator] = inventory.simulators.as_slice() else { panic!("one for network devices") };
    assert_eq!(simulator.management_device.handle.to_string(), "vdpasim_net");
    assert_eq!(names(&simulator.vdpa), ["sim0"]);
    assert_eq!(interfaces(&simulator.vdpa[0].netdevs), ["eth6"]);
    assert_eq!(simulator.vdpa[0].max_queue_pairs, Some(1));
    assert_eq!(names(&inventory.other_vdpa), ["vdpa9"]);
    assert!(inventory.notes.is_empty());
}

#[test]
fn without_the_family_sysfs_alone() {
    let netlink = Netlink { links: links(), ..Netlink::default() };
    let inventory = assemble(&Tree::new(CARD).root(), netlink).unwrap();
    assert_eq!(inventory.vdpa_family, VdpaFamily::Absent);
    assert!(inventory.simulators.is_empty());
    assert_eq!(names(&inventory.parents[0].functions[1].vdpa), ["vdpa:0000:01:00.2"]);
    assert_eq!(names(&inventory.other_vdpa), ["sim0", "vdpa9"]);
}

#[test]
fn a_virtio_device_that_no_driver_has_is_told_from_one_with_its_interface_elsewhere() {
    let tree = Tree::new(CARD);
    let unbound = |tree: &Tree| {
        let inventory = assemble(&tree.root(), netlink()).unwrap();
        let on_card = inventory.parents[0].functions.iter().flat_map(|f| &f.vdpa);
        let all: Vec<_> =
            on_card.chain(inventory.simulators.iter().flat_map(|s| &s.vdpa)).collect();
        all.into_iter().filter(|d| d.virtio_unbound).map(|d| d.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(unbound(&tree), Vec::<String>::new());
    std::fs::remove_file(tree.path("sys/bus/vdpa/devices/sim0/virtio6/driver")).unwrap();
    assert_eq!(unbound(&tree), ["sim0"]);
}

#[test]
fn ambiguity_is_a_note_and_no_guess() {
    let tree = Tree::new(CARD);
    tree.write("sys/devices/pci0000:00/0000:01:00.1/virtio9/uevent", "");
    let inventory = assemble(&tree.root(), netlink()).unwrap();
    assert!(inventory.parents[0].functions[0].vdpa[0].netdevs.is_empty());
    assert_eq!(inventory.notes.len(), 1);
    assert!(inventory.notes[0].contains("virtio5, virtio9"), "{:?}", inventory.notes);
}

#[test]
fn the_number_counts_where_the_name_changed() {
    let tree = Tree::new(CARD);
    tree.write("sys/class/net/eth1/ifindex", "77\n");
    let mut netlink = netlink();
    netlink.links.push(link(77, "enp1s0"));
    let inventory = assemble(&tree.root(), netlink).unwrap();
    assert_eq!(interfaces(&inventory.parents[0].netdevs), ["enp1s0"]);
}

/// In switchdev mode every function's representor is below the PF's device, and may be first there.
#[test]
fn representors_are_no_interfaces_of_the_card() {
    let tree = Tree::new(CARD);
    for name in ["eth0", "eth1_0", "uplink"] {
        let (net, device) =
            ("sys/devices/pci0000:00/0000:01:00.0/net", "sys/devices/pci0000:00/0000:01:00.0");
        tree.link(&format!("{net}/{name}/device"), device);
    }
    let port = |index, name, port: Option<&str>| {
        let (mtu, port_name) = (1400, port.map(str::to_owned));
        Link { mtu, port_name, ..link(index, name) }
    };
    let links = [
        port(20, "eth0", Some("pf0vf0")),
        port(21, "eth1_0", Some("pf0vf1")),
        port(22, "uplink", Some("p0")),
    ];
    let pf = "0000:01:00.0".parse().unwrap();
    let eswitches = Eswitches::Known([(pf, Eswitch::Switchdev)].into());
    let mut netlink = Netlink { eswitches, ..netlink() };
    netlink.links.extend(links);
    let mac = Some(Mac([2, 0, 0, 0, 0, 2]));
    netlink.links.iter_mut().for_each(|link| link.mac = mac);
    let mut inventory = assemble(&tree.root(), netlink).unwrap();
    // of its functions the PF's driver is asked, and that by an interface of its own
    functions::ask_settings(&mut inventory, |link| {
        assert!([1, 22].contains(&link), "{link}");
        Ok(vec![Vf { index: 2, trust: Some(true), ..Vf::default() }])
    });
    let card = &inventory.parents[0];
    assert_eq!(card.eswitch, Eswitch::Switchdev);
    assert_eq!(card.functions[2].settings.unwrap().trust, Some(true));
    assert_eq!(interfaces(&card.representors), ["eth0", "eth1_0"]);
    let mut own = interfaces(&card.netdevs);
    own.sort_unstable();
    assert_eq!(own, ["eth1", "uplink"]);
}

#[test]
fn an_eswitch_that_is_not_told_is_not_taken_for_none() {
    let eswitch = |eswitches: Eswitches| {
        let netlink = Netlink { eswitches, ..netlink() };
        assemble(&Tree::new(CARD).root(), netlink).unwrap().parents[0].eswitch.clone()
    };
    assert_eq!(eswitch(Eswitches::default()), Eswitch::None);
    let unknown = Eswitch::Unknown("no answer".into());
    assert_eq!(eswitch(Eswitches::Unknown("no answer".into())), unknown);
    assert_eq!((unknown.mode(), Eswitch::None.mode()), (None, None));
    let pf = "0000:01:00.0".parse().unwrap();
    let one = Eswitches::Known([(pf, Eswitch::Unknown("mode 2".into()))].into());
    assert_eq!(one.note().unwrap(), "the eswitch mode of 0000:01:00.0: mode 2");
}

#[test]
fn traffic_of_the_node() {
    let tree = Tree::new(CARD);
    let check = |change: &dyn Fn(&mut Netlink), expected: &[&str]| {
        let mut netlink = netlink();
        change(&mut netlink);
        let inventory = assemble(&tree.root(), netlink).unwrap();
        let traffic = &inventory.parents[0].netdevs[0].traffic;
        let found: Vec<_> = traffic.iter().map(Traffic::to_string).collect();
        assert_eq!(found, expected);
    };
    let route = |index, table| DefaultRoute { index, table };
    let on = |link: Link, lower| Link { lower: Some(lower), ..link };
    let bridge = Link { kind: Some("bridge".into()), ..link(20, "br0") };

    check(&|_| (), &[]);
    check(&|n| n.default_routes = vec![route(Some(3), 254)], &[]);
    check(&|n| n.default_routes = vec![route(Some(1), 254)], &["carries the default route"]);
    let text = "carries the default route of table 100";
    check(&|n| n.default_routes = vec![route(Some(1), 100)], &[text]);
    check(&|n| n.addresses = vec![address(1, "fe80::1/64")], &[]);
    check(&|n| n.addresses = vec![address(1, "10.0.0.5/24")], &["has the address 10.0.0.5/24"]);

    // A next hop object of which nobody tells the link: every link that is up may be it.
    check(&|n| n.default_routes = vec![route(None, 254)], &[]);
    let text = "may carry the default route of table 254, by a next hop object";
    let up = |n: &mut Netlink| {
        n.links[0].up = true;
        n.default_routes = vec![route(None, 254)];
    };
    check(&up, &[text]);

    let member = |n: &mut Netlink| {
        n.links[0].controller = Some(20);
        n.links.push(bridge.clone());
    };
    check(&member, &["is a member of bridge br0"]);
    check(&|n| n.links[0].controller = Some(99), &["is a member of controller link 99"]);

    // A VLAN on it, and a VLAN on that one, in a bridge.
    check(&|n| n.links.push(on(link(10, "eth1.5"), 1)), &[]);
    let stacked = |n: &mut Netlink| {
        n.links.push(on(link(10, "eth1.5"), 1));
        n.links.push(Link { controller: Some(20), ..on(link(11, "eth1.5.6"), 10) });
        n.links.push(bridge.clone());
    };
    let text = "is below eth1.5, which is below eth1.5.6, which is a member of bridge br0";
    check(&stacked, &[text]);
    // Two links that say they stand on each other do not make us run for ever.
    let loops = |n: &mut Netlink| {
        n.links[0].lower = Some(10);
        n.links.push(on(link(10, "odd"), 1));
    };
    check(&loops, &[]);

    let text = "is not shown by netlink, so that its use is not known";
    check(&|n| n.links.clear(), &[text]);
    let mut unseen = netlink();
    unseen.links.clear();
    let unseen = assemble(&Tree::new(CARD).root(), unseen).unwrap();
    assert_eq!(unseen.parents[0].netdevs[0].known_mtu(), None);
}

#[test]
fn plain_data_both_ways() {
    let inventory = assemble(&Tree::new(CARD).root(), netlink()).unwrap();
    let text = serde_json::to_string(&inventory).unwrap();
    assert_eq!(serde_json::from_str::<Inventory>(&text).unwrap(), inventory);
}

/// The machine that the test runs on: it has a kernel, whatever else it has. A marker that is live
/// keeps the family from being asked.
#[test]
fn a_real_kernel_and_a_call_that_is_out() {
    let tree = Tree::new("");
    let stuck = tree.path("stuck");
    let inventory = observe(&tree.root(), &stuck).unwrap();
    assert!(!matches!(inventory.vdpa_family, VdpaFamily::Unknown(_)), "{inventory:?}");

    let marker = crate::stuck::Marker::place(&Root::default(), &stuck, "sim0", "delete").unwrap();
    let inventory = observe(&tree.root(), &stuck).unwrap();
    let VdpaFamily::Unknown(reason) = inventory.vdpa_family else { panic!("asked") };
    assert!(reason.contains("operation delete"), "{reason}");
    let told =
        |note: &String| note.starts_with("the eswitch modes of cards: ask the devlink family");
    assert!(inventory.notes.iter().any(told), "{:?}", inventory.notes);
    marker.remove().unwrap();
}
