use super::*;
use crate::supply;
use crate::testing::{self, VHOST, VIRTIO, fine, one, pools, resource, vdpa_device};
use ringway_node::pools::{Attach, Pools};
use serde_json::json;

/// Why the only device cannot be used when the kernel looks like `sighting`.
fn check(pools: &Pools, sighting: Result<Sighting, String>, expected: Option<&str>) {
    let offers = offers(&supply::of(pools), |_| sighting.clone());
    let item = &offers[&resource(VHOST)].items[0];
    assert_eq!(item.unusable.as_ref().map(ToString::to_string).as_deref(), expected);
}

fn bound(driver: &str) -> Option<Presence> {
    Some(Presence::Bound(driver.to_owned()))
}

#[test]
fn pools_become_resources_with_lists() {
    let offers = testing::offers(&pools());
    let list = |name: &str| offers[&resource(name)].list();
    let device = |id: &str, numa| dp::Device {
        id: id.to_owned(),
        health: "Healthy".to_owned(),
        topology: Some(dp::TopologyInfo { nodes: vec![dp::NumaNode { id: numa }] }),
    };
    assert_eq!(offers.len(), 2);
    assert_eq!(list(VHOST), [device("0000:01:00.1", 1), device("0000:01:00.2", 0)]);
    assert_eq!(list(VIRTIO), [device("0000:01:00.3", 1)]);
}

#[test]
fn pools_of_one_resource_are_offered_together() {
    let mut pools = pools();
    let mut second = pools.pools[0].clone();
    second.devices.truncate(1);
    second.devices[0].id = "0000:02:00.1".parse().unwrap();
    pools.pools.push(second);
    let ids: Vec<_> = testing::offers(&pools)[&resource(VHOST)]
        .items
        .iter()
        .map(|item| item.id().to_string())
        .collect();
    assert_eq!(ids, ["0000:01:00.1", "0000:01:00.2", "0000:02:00.1"]);
}

#[test]
fn a_later_look_counts_for_what_it_has_seen() {
    let name = resource(VHOST);
    let before = testing::offers(&pools()).remove(&name).unwrap();
    let mut later = before.clone();
    later.items.remove(0);
    later.items[0].unusable = Some(Unusable::Draining("numvfs changes".to_owned()));
    let mut new = later.items[0].clone();
    new.entry.device.id = "0000:02:00.1".parse().unwrap();
    later.items.push(new.clone());
    let all = before.with(later.clone());
    assert_eq!(all.items, [before.items[0].clone(), later.items[0].clone(), new]);
}

#[test]
fn no_numa_node_is_no_topology() {
    let mut pools = pools();
    pools.pools[1].devices[0].numa_node = None;
    assert_eq!(testing::offers(&pools)[&resource(VIRTIO)].list()[0].topology, None);
}

#[test]
fn the_agents_word_comes_first() {
    for (state, expected) in
        [("draining", "draining: numvfs changes"), ("failed", "failed: numvfs changes")]
    {
        let mut device = vdpa_device(1, "vhost_vdpa");
        device["state"] = json!(state);
        device["reason"] = json!("numvfs changes");
        let pools = one(Attach::VhostVdpa, device);
        check(&pools, Ok(fine(&pools.pools[0].devices[0])), Some(expected));
        check(&pools, Err("no such file".to_owned()), Some(expected));
    }
}

#[test]
fn a_vhost_device_needs_function_driver_and_node() {
    let pools = one(Attach::VhostVdpa, vdpa_device(1, "vhost_vdpa"));
    let good = fine(&pools.pools[0].devices[0]);
    let with = |change: &dyn Fn(&mut Sighting)| {
        let mut sighting = good.clone();
        change(&mut sighting);
        Ok(sighting)
    };
    check(&pools, Ok(good.clone()), None);
    check(&pools, with(&|s| s.function = None), None);
    check(
        &pools,
        with(&|s| s.function = Some(Presence::Missing)),
        Some("pci function 0000:01:00.1 is not there"),
    );
    check(
        &pools,
        with(&|s| s.function = Some(Presence::Unbound)),
        Some("pci function 0000:01:00.1 is bound to no driver, not to a vdpa parent driver"),
    );
    check(
        &pools,
        with(&|s| s.vdpa = Some(Presence::Missing)),
        Some("vdpa device vdpa:0000:01:00.1 is not there"),
    );
    check(
        &pools,
        with(&|s| s.vdpa = Some(Presence::Unbound)),
        Some("vdpa device vdpa:0000:01:00.1 is bound to no driver, not to vhost_vdpa"),
    );
    check(
        &pools,
        with(&|s| s.vdpa = bound("virtio_vdpa")),
        Some("vdpa device vdpa:0000:01:00.1 is bound to virtio_vdpa, not to vhost_vdpa"),
    );
    check(
        &pools,
        with(&|s| s.nodes = vec![Node::Absent("vhost-vdpa-4".to_owned())]),
        Some("node vhost-vdpa-4 is not in /dev"),
    );
    check(
        &pools,
        with(&|s| s.nodes.clear()),
        Some("node of vdpa device vdpa:0000:01:00.1 is not in /dev"),
    );
    check(&pools, Err("read x: denied".to_owned()), Some("read x: denied"));
}

#[test]
fn a_virtio_device_that_no_driver_has_cannot_be_used() {
    let pools = one(Attach::VirtioVdpa, vdpa_device(1, "virtio_vdpa"));
    let good = fine(&pools.pools[0].devices[0]);
    let words =
        "virtio device of vdpa device vdpa:0000:01:00.1 is bound to no driver, not to virtio_net";
    check(&pools, Ok(Sighting { virtio_unbound: true, ..good }), Some(words));
}

#[test]
fn a_shared_iommu_group_is_no_group() {
    let (device, good) = testing::function(1);
    let pools = one(Attach::Vfio, device);
    check(&pools, Ok(good.clone()), None);
    let group_shared = Some(("0000:01:00.2".parse().unwrap(), "igbvf".to_owned()));
    let words = "pci function 0000:01:00.1 shares its iommu group with 0000:01:00.2, which is bound to igbvf";
    check(&pools, Ok(Sighting { group_shared, ..good }), Some(words));
}

#[test]
fn what_a_carrier_is_worth_is_the_pools_to_say() {
    use crate::look::Uplink;
    let mut pools = one(Attach::VhostVdpa, vdpa_device(1, "vhost_vdpa"));
    let good = fine(&pools.pools[0].devices[0]);
    let parent = "0000:01:00.0".parse().unwrap();
    for (carrier, seen, unusable, remark) in [
        (Carrier::Ignore, Some(false), None, None),
        (Carrier::Report, Some(true), None, None),
        (Carrier::Report, Some(false), None, Some("parent 0000:01:00.0 has no carrier")),
        (Carrier::Require, Some(true), None, None),
        (Carrier::Require, Some(false), Some("parent 0000:01:00.0 has no carrier"), None),
        (Carrier::Require, None, Some("parent 0000:01:00.0 shows no interface"), None),
    ] {
        pools.pools[0].carrier = carrier;
        let uplink = Some(Uplink { parent, carrier: seen });
        let sighting = Sighting { uplink, ..good.clone() };
        let offers = offers(&supply::of(&pools), |_| Ok(sighting.clone()));
        let item = &offers[&resource(VHOST)].items[0];
        let text = |why: &Option<Unusable>| why.as_ref().map(ToString::to_string);
        assert_eq!(text(&item.unusable).as_deref(), unusable, "{carrier:?} {seen:?}");
        assert_eq!(text(&item.remark).as_deref(), remark, "{carrier:?} {seen:?}");
        let healthy = dp::HEALTHY == item.advertised().health;
        assert_eq!(healthy, unusable.is_none());
    }
}

#[test]
fn what_is_told_of_a_healthy_device_is_a_change() {
    let before = testing::offers(&pools());
    let mut after = before.clone();
    let lost = Unusable::Carrier { parent: "0000:01:00.0".parse().unwrap(), seen: true };
    after.get_mut(&resource(VIRTIO)).unwrap().items[0].remark = Some(lost.clone());
    let (resource, id) = (resource(VIRTIO), "0000:01:00.3".parse().unwrap());
    let change = |now| [Change { resource: &resource, id: &id, now }];
    assert_eq!(changes(&before, &after), change(Became::Remarkable(&lost)));
    assert_eq!(changes(&after, &before), change(Became::Healthy));
}

#[test]
fn a_virtio_device_needs_its_driver() {
    let pools = one(Attach::VirtioVdpa, vdpa_device(1, "virtio_vdpa"));
    let good = fine(&pools.pools[0].devices[0]);
    check(&pools, Ok(good.clone()), None);
    check(
        &pools,
        Ok(Sighting { vdpa: bound("vhost_vdpa"), ..good }),
        Some("vdpa device vdpa:0000:01:00.1 is bound to vhost_vdpa, not to virtio_vdpa"),
    );
}

#[test]
fn a_netdev_function_needs_a_network_driver() {
    let pools = one(Attach::Netdev, testing::function(1).0);
    let sighting = |function| Ok(Sighting { function, ..Sighting::default() });
    check(&pools, sighting(bound("igbvf")), None);
    check(&pools, sighting(None), Some("pci function 0000:01:00.1 has no pci address"));
    for driver in ["vfio-pci", "vp-vdpa"] {
        let words =
            format!("pci function 0000:01:00.1 is bound to {driver}, not to a network driver");
        check(&pools, sighting(bound(driver)), Some(&words));
    }
    check(
        &pools,
        sighting(Some(Presence::Unbound)),
        Some("pci function 0000:01:00.1 is bound to no driver, not to a network driver"),
    );
}

#[test]
fn a_function_for_vfio_needs_its_driver_and_every_node() {
    let (device, good) = testing::function(1);
    let pools = one(Attach::Vfio, device);
    check(&pools, Ok(good.clone()), None);
    let words = "pci function 0000:01:00.1 is bound to igbvf, not to vfio-pci";
    check(&pools, Ok(Sighting { function: bound("igbvf"), ..good.clone() }), Some(words));
    let mut absent = good.clone();
    absent.nodes[0] = Node::Absent("vfio/vfio".to_owned());
    check(&pools, Ok(absent), Some("node vfio/vfio is not in /dev"));
    let words = "node of pci function 0000:01:00.1 is not in /dev";
    check(&pools, Ok(Sighting { nodes: vec![], ..good }), Some(words));
}

#[test]
fn a_draining_device_keeps_its_node() {
    let mut pools = pools();
    pools.pools[0].devices[0].state = State::Draining;
    let item = &testing::offers(&pools)[&resource(VHOST)].items[0];
    assert_eq!(item.nodes, ["vhost-vdpa-10"]);
    assert!(item.unusable.is_some());
}

#[test]
fn each_change_is_told_once() {
    let before = testing::offers(&pools());
    let mut pools = pools();
    pools.pools[0].devices[0].state = State::Draining;
    pools.pools[0].devices[0].reason = Some("why".to_owned());
    pools.pools.truncate(1);
    let after = testing::offers(&pools);
    let told: Vec<_> = changes(&before, &after)
        .iter()
        .map(|Change { resource, id, now }| format!("{resource} {id} {now:?}"))
        .collect();
    assert_eq!(
        told,
        [
            r#"ringway.dev/vm-rings 0000:01:00.1 Unhealthy(Draining("why"))"#,
            "ringway.dev/pod-rings 0000:01:00.3 Gone",
        ]
    );
    assert_eq!(changes(&after, &after), []);
    assert_eq!(changes(&Offers::new(), &before).len(), 3);
}

#[test]
fn what_goes_with_a_device_is_given_where_it_is_there_and_does_not_make_it_sick() {
    let (device, sighting) = testing::function(1);
    let supplies = supply::of(&one(Attach::Netdev, device));
    let seen = Sighting {
        function: bound("igbvf"),
        also: vec![Node::There("vhost-net".to_owned()), Node::Absent("net/tun".to_owned())],
        ..sighting
    };
    let offers = offers(&supplies, |_| Ok(seen.clone()));
    let item = &offers[&resource(VHOST)].items[0];
    assert_eq!((&item.nodes[..], &item.unusable), (&["vhost-net".to_owned()][..], &None));
}

#[test]
fn a_function_for_uio_needs_its_driver_and_node() {
    let (device, sighting) = testing::function(1);
    let mut supplies = supply::of(&one(Attach::Netdev, device));
    supplies[0].entries[0].way = Way::Uio;
    let node = |node: &dyn Fn(String) -> Node| vec![node("uio4".to_owned())];
    for (driver, nodes, expected) in [
        ("igb_uio", node(&Node::There), None),
        ("uio_pci_generic", node(&Node::There), None),
        ("igb_uio", node(&Node::Absent), Some("node uio4 is not in /dev")),
        ("igb_uio", vec![], Some("node of pci function 0000:01:00.1 is not in /dev")),
        (
            "vfio-pci",
            node(&Node::There),
            Some("pci function 0000:01:00.1 is bound to vfio-pci, not to a uio driver"),
        ),
    ] {
        let seen = Sighting { function: bound(driver), nodes, ..sighting.clone() };
        let offers = offers(&supplies, |_| Ok(seen.clone()));
        let unusable = offers[&resource(VHOST)].items[0].unusable.as_ref();
        assert_eq!(unusable.map(ToString::to_string).as_deref(), expected);
    }
}

#[test]
fn a_resource_is_packed_only_if_all_its_pools_are() {
    use ringway_node::pools::Allocation::{Pack, Spread};
    for (first, second, expected) in
        [(Pack, Pack, Pack), (Pack, Spread, Spread), (Spread, Pack, Spread)]
    {
        let mut pools = pools();
        pools.pools[0].allocation = first;
        let mut more = pools.pools[0].clone();
        more.devices.clear();
        more.allocation = second;
        pools.pools.push(more);
        assert_eq!(testing::offers(&pools)[&resource(VHOST)].allocation, expected);
    }
}
