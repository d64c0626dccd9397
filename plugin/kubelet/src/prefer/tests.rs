use super::*;
use crate::offer::offers;
use crate::supply;
use crate::testing::{VHOST, fine, resource};
use ringway_node::pools::Pools;
use serde_json::json;

/// An offer of devices `id parent numa`, where `-` is no NUMA node.
fn offer(allocation: Allocation, lines: &[&str]) -> Offer {
    let device = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [id, parent, numa] = words[..] else { panic!("{line:?}") };
        let numa: Option<u32> = numa.parse().ok();
        json!({"id": id, "parent": parent, "index": 0, "numaNode": numa, "state": "ready",
               "vdpa": {"name": id, "mgmtdev": parent, "driver": "vhost_vdpa",
                        "node": "/dev/vhost-vdpa-0"}})
    };
    let devices: Vec<_> = lines.iter().map(device).collect();
    let pools = json!({"version": 1, "node": "n", "generation": 1, "pools": [
        {"name": "p", "resource": VHOST, "attach": "vhost-vdpa", "allocation": allocation,
         "devices": devices}]});
    let pools = Pools::parse(pools.to_string().as_bytes()).unwrap();
    offers(&supply::of(&pools), |entry| Ok(fine(&entry.device))).remove(&resource(VHOST)).unwrap()
}

fn ids<'a>(ids: impl IntoIterator<Item = &'a str>) -> BTreeSet<DeviceId> {
    ids.into_iter().map(|id| id.parse().unwrap()).collect()
}

fn check(offer: &Offer, available: &str, must: &str, size: usize, expected: &str) {
    let preferred =
        prefer(offer, &ids(available.split_whitespace()), &ids(must.split_whitespace()), size);
    let preferred: Vec<_> = preferred.iter().map(DeviceId::as_str).collect();
    let (allocation, expected) = (offer.allocation, expected.split_whitespace());
    assert!(preferred.iter().copied().eq(expected), "{allocation:?} {available}: {preferred:?}");
}

/// Card `a` has four devices, `b` and `c` two each.
const ONE_NODE: [&str; 8] =
    ["a1 a -", "a2 a -", "a3 a -", "a4 a -", "b1 b -", "b2 b -", "c1 c -", "c2 c -"];

#[test]
fn devices_are_spread_over_parents() {
    let offer = offer(Allocation::Spread, &ONE_NODE);
    let all = "a1 a2 a3 a4 b1 b2 c1 c2";
    for (available, must, size, expected) in [
        // nobody has any: by name
        (all, "", 1, "a1"),
        (all, "", 3, "a1 b1 c1"),
        (all, "", 5, "a1 b1 c1 a2 b2"),
        // a has given one already
        ("a2 a3 a4 b1 b2 c1 c2", "", 1, "b1"),
        ("a2 a3 a4 b2 c1 c2", "", 1, "c1"),
        // different parents for a container come before their use by others
        ("a3 a4 b1 b2", "", 2, "b1 a3"),
        // what it must have counts
        (all, "a2", 2, "a2 b1"),
        (all, "a2 b2", 3, "a2 b2 c1"),
        (all, "", 8, "a1 b1 c1 a2 b2 c2 a3 a4"),
    ] {
        check(&offer, available, must, size, expected);
    }
}

#[test]
fn devices_are_packed_into_parents() {
    let offer = offer(Allocation::Pack, &ONE_NODE);
    let all = "a1 a2 a3 a4 b1 b2 c1 c2";
    for (available, must, size, expected) in [
        // nobody has any: the smallest that has them all
        (all, "", 1, "b1"),
        (all, "", 2, "b1 b2"),
        (all, "", 3, "a1 a2 a3"),
        (all, "", 5, "a1 a2 a3 a4 b1"),
        // the one that is most in use
        ("a2 a3 a4 b1 b2 c1 c2", "", 1, "a2"),
        ("a1 a2 a3 a4 b1 b2 c2", "", 1, "c2"),
        // unless it has too few, and then one parent is better than two
        ("a1 a2 a3 a4 b1 b2 c2", "", 2, "b1 b2"),
        // what it must have counts
        (all, "a2", 3, "a2 a1 a3"),
        (all, "b1 c1", 3, "b1 c1 b2"),
    ] {
        check(&offer, available, must, size, expected);
    }
}

/// Node 0 has two parents, node 1 one with more devices, node 2 little.
const NODES: [&str; 8] =
    ["a1 a 0", "a2 a 0", "b1 b 0", "c1 c 1", "c2 c 1", "c3 c 1", "c4 c 1", "d1 d 2"];

#[test]
fn the_fewest_numa_nodes_come_first() {
    let spread = offer(Allocation::Spread, &NODES);
    let pack = offer(Allocation::Pack, &NODES);
    let all = "a1 a2 b1 c1 c2 c3 c4 d1";
    for (available, must, size, spread_to, packed_to) in [
        // where there are two parents; where one has the rest most tightly
        (all, "", 2, "a1 b1", "c1 c2"),
        (all, "", 1, "c1", "d1"),
        (all, "", 4, "c1 c2 c3 c4", "c1 c2 c3 c4"),
        (all, "", 5, "a1 b1 c1 a2 c2", "c1 c2 c3 c4 d1"),
        // d is alone on its node, which must be used anyway
        (all, "d1", 3, "d1 a1 b1", "d1 c1 c2"),
        (all, "c2", 3, "c2 c1 c3", "c2 c1 c3"),
    ] {
        check(&spread, available, must, size, spread_to);
        check(&pack, available, must, size, packed_to);
    }
}

#[test]
fn what_is_not_ours_or_cannot_be_used_is_not_preferred() {
    let mut offer = offer(Allocation::Spread, &ONE_NODE);
    check(&offer, "x a1 y", "z", 3, "a1");
    check(&offer, "", "", 2, "");
    offer.items[0].unusable = Some(crate::offer::Unusable::Draining("mtu changes".to_owned()));
    check(&offer, "a1 a2", "", 2, "a2");
    // kubelet has decided: Allocate will say what is wrong
    check(&offer, "a1 a2", "a1", 2, "a1 a2");
}

#[test]
fn the_answer_has_one_part_for_each_container() {
    let offer = offer(Allocation::Spread, &ONE_NODE);
    let container = |size| dp::ContainerPreferredAllocationRequest {
        available_device_i_ds: ["a1", "a2", "b1", "not/one"].map(str::to_owned).into(),
        must_include_device_i_ds: vec!["a2".to_owned()],
        allocation_size: size,
    };
    let request =
        dp::PreferredAllocationRequest { container_requests: vec![container(2), container(-1)] };
    let parts = |offer| -> Vec<Vec<String>> {
        let parts = answer(offer, &request).container_responses;
        parts.into_iter().map(|part| part.device_i_ds).collect()
    };
    assert_eq!(parts(&offer), [vec!["a2".to_owned(), "b1".to_owned()], vec!["a2".to_owned()]]);
}

/// Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// How many nodes, or parents, the devices `ids` are of.
fn distinct<'a>(
    offer: &'a Offer,
    ids: &[DeviceId],
    of: impl Fn(&'a Item) -> Option<String>,
) -> usize {
    let found = offer.items.iter().filter(|item| ids.contains(item.id())).filter_map(of);
    found.collect::<BTreeSet<_>>().len()
}

/// The fewest nodes that any choice has, and the fewest and most parents with those: by trying all.
fn best(
    offer: &Offer,
    available: &BTreeSet<DeviceId>,
    must: &BTreeSet<DeviceId>,
    size: usize,
) -> (usize, usize, usize) {
    let free: Vec<_> = available.iter().filter(|id| !must.contains(id)).cloned().collect();
    let mut all = Vec::new();
    for bits in 0..1_u32 << free.len() {
        if bits.count_ones() as usize + must.len() != size {
            continue;
        }
        let picked = free.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
        let ids: Vec<_> = picked.map(|(_, id)| id.clone()).chain(must.iter().cloned()).collect();
        all.push((distinct(offer, &ids, numa), distinct(offer, &ids, of)));
    }
    let nodes = all.iter().map(|(nodes, _)| *nodes).min().unwrap();
    let parents = || all.iter().filter(|(n, _)| *n == nodes).map(|(_, parents)| *parents);
    (nodes, parents().min().unwrap(), parents().max().unwrap())
}

fn numa(item: &Item) -> Option<String> {
    item.entry.device.numa_node.map(|node| node.to_string())
}

fn of(item: &Item) -> Option<String> {
    Some(item.entry.device.parent.clone())
}

/// Any node: the answer holds what must be in it, is of the size asked for, uses as few NUMA nodes as
/// can be and, where all devices are near to one, as many or as few parents.
#[test]
fn no_choice_has_fewer_nodes() {
    for seed in 0..3000 {
        let mut random = Random(seed);
        let nodes = 1 + random.below(3);
        let lines: Vec<String> = (0..1 + random.below(9))
            .map(|n| {
                let parent = random.below(4);
                let node = if random.below(8) == 0 {
                    "-".to_owned()
                } else {
                    format!("{}", parent % nodes)
                };
                format!("d{n} p{parent} {node}")
            })
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        for allocation in [Allocation::Spread, Allocation::Pack] {
            let offer = offer(allocation, &lines);
            let every = offer.items.iter().map(|item| item.id().clone());
            let available: BTreeSet<_> = every.filter(|_| random.below(4) > 0).collect();
            let must: BTreeSet<_> =
                available.iter().filter(|_| random.below(6) == 0).cloned().collect();
            let more = random.below(1 + (available.len() - must.len()) as u64) as usize;
            let size = must.len() + more;
            let chosen = prefer(&offer, &available, &must, size);
            let about =
                format!("seed {seed}, {allocation:?}: {lines:?} {available:?} {must:?} {size}");
            assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), size, "{about}");
            assert!(chosen.iter().all(|id| available.contains(id)), "{about}");
            assert!(must.iter().all(|id| chosen.contains(id)), "{about}");
            let (fewest, least, most) = best(&offer, &available, &must, size);
            let given = distinct(&offer, &chosen, numa);
            assert_eq!(given, fewest, "{about}: {chosen:?}");
            if nodes == 1 {
                let parents = distinct(&offer, &chosen, of);
                let expected = if allocation == Allocation::Spread { most } else { least };
                assert_eq!(parents, expected, "{about}: {chosen:?}");
            }
        }
    }
}
