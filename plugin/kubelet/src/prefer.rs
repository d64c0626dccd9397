//! Which of a resource's free devices a container gets, if kubelet can choose: pure.
//!
//! The fewest NUMA nodes first, then the pools' [`Allocation`] over parents. Kubelet asks only where
//! there is a choice, after its topology manager has had its say, and takes the answer as advice: what
//! is left out here it chooses itself (`pkg/kubelet/cm/devicemanager/manager.go`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use ringway_node::DeviceId;
use ringway_node::pools::Allocation;
use ringway_proto::kubelet::deviceplugin as dp;

use crate::offer::{Item, Offer};

/// The answer to kubelet's question about one resource.
pub fn answer(
    offer: &Offer,
    request: &dp::PreferredAllocationRequest,
) -> dp::PreferredAllocationResponse {
    let container = |request: &dp::ContainerPreferredAllocationRequest| {
        let ids = |ids: &[String]| ids.iter().filter_map(|id| id.parse().ok()).collect();
        let available = ids(&request.available_device_i_ds);
        let must = ids(&request.must_include_device_i_ds);
        let size = usize::try_from(request.allocation_size).unwrap_or_default();
        let preferred = prefer(offer, &available, &must, size);
        let device_i_ds = preferred.iter().map(ToString::to_string).collect();
        dp::ContainerPreferredAllocationResponse { device_i_ds }
    };
    let container_responses = request.container_requests.iter().map(container).collect();
    dp::PreferredAllocationResponse { container_responses }
}

/// `size` devices out of `available`, `must` among them; fewer where there are not as many that can be
/// used.
pub fn prefer(
    offer: &Offer,
    available: &BTreeSet<DeviceId>,
    must: &BTreeSet<DeviceId>,
    size: usize,
) -> Vec<DeviceId> {
    let (mut chosen, mut free) = (Vec::new(), Vec::new());
    for item in &offer.items {
        if must.contains(item.id()) {
            chosen.push(item);
        } else if available.contains(item.id()) && item.unusable.is_none() {
            free.push(item);
        }
    }
    let missing = size.saturating_sub(chosen.len());
    let nodes = nodes(offer.allocation, &chosen, &free, missing);
    free.retain(|item| item.entry.device.numa_node.is_none_or(|node| nodes.contains(&node)));
    let used = used(offer, available);
    match offer.allocation {
        Allocation::Spread => spread(&used, &mut chosen, free, missing),
        Allocation::Pack => pack(&used, &mut chosen, free, missing),
    }
    chosen.into_iter().map(|item| item.id().clone()).collect()
}

/// How many devices of each parent somebody has.
fn used<'a>(offer: &'a Offer, available: &BTreeSet<DeviceId>) -> BTreeMap<&'a str, usize> {
    let mut used = BTreeMap::new();
    for item in &offer.items {
        *used.entry(parent(item)).or_default() += usize::from(!available.contains(item.id()));
    }
    used
}

fn parent(item: &Item) -> &str {
    &item.entry.device.parent
}

/// The fewest NUMA nodes that have what is missing. A device without one is near to all. Those with the
/// most free devices need the fewest companions; the last one is any that has the rest, and then the
/// allocation chooses.
fn nodes(
    allocation: Allocation,
    chosen: &[&Item],
    free: &[&Item],
    mut missing: usize,
) -> BTreeSet<u32> {
    let mut nodes: BTreeSet<u32> =
        chosen.iter().filter_map(|item| item.entry.device.numa_node).collect();
    let mut by_node: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for item in free {
        match item.entry.device.numa_node.filter(|node| !nodes.contains(node)) {
            Some(node) => by_node.entry(node).or_default().push(parent(item)),
            None => missing = missing.saturating_sub(1),
        }
    }
    while missing > 0 {
        let parents = |all: &[&str]| all.iter().collect::<BTreeSet<_>>().len().min(missing);
        let last = by_node.iter().filter(|(_, all)| all.len() >= missing);
        let last = match allocation {
            Allocation::Spread => {
                last.max_by_key(|(node, all)| (parents(all), all.len(), Reverse(**node)))
            }
            Allocation::Pack => last.min_by_key(|(node, all)| (parents(all), all.len(), **node)),
        };
        let next =
            last.or_else(|| by_node.iter().max_by_key(|(node, all)| (all.len(), Reverse(**node))));
        let Some((&node, _)) = next else { break };
        nodes.insert(node);
        let found = by_node.remove(&node).map_or(0, |all| all.len());
        missing = missing.saturating_sub(found);
    }
    nodes
}

/// One device after the other, of the parent that has given this container the fewest, then of the one
/// with the fewest in use.
fn spread<'a>(
    used: &BTreeMap<&str, usize>,
    chosen: &mut Vec<&'a Item>,
    mut free: Vec<&'a Item>,
    missing: usize,
) {
    for _ in 0..missing {
        let given =
            |item: &Item| chosen.iter().filter(|other| parent(other) == parent(item)).count();
        let burden =
            |item: &Item| (given(item), used.get(parent(item)).copied(), parent(item).to_owned());
        let next = free.iter().enumerate().min_by_key(|(at, item)| (burden(item), *at));
        let Some((at, _)) = next else { break };
        chosen.push(free.remove(at));
    }
}

/// All that a parent has before the next one: first the parents that the container has devices of
/// anyway, then the largest until one parent has the rest; of several, the one most in use.
fn pack<'a>(
    used: &BTreeMap<&str, usize>,
    chosen: &mut Vec<&'a Item>,
    free: Vec<&'a Item>,
    mut missing: usize,
) {
    let mut by_parent: BTreeMap<&str, Vec<&'a Item>> = BTreeMap::new();
    for item in free {
        by_parent.entry(parent(item)).or_default().push(item);
    }
    while missing > 0 {
        let used = |name: &str| used.get(name).copied().unwrap_or_default();
        let rank = |name: &str, all: &[&Item]| {
            let has_some = chosen.iter().any(|item| parent(item) == name);
            let has_rest = all.len() >= missing;
            let room = if has_rest { usize::MAX - all.len() } else { all.len() };
            let busy = if has_rest { used(name) } else { 0 };
            (has_some, has_rest, busy, room, used(name), Reverse(name.to_owned()))
        };
        let next = by_parent.iter().max_by_key(|(name, all)| rank(name, all));
        let Some(name) = next.map(|(name, _)| *name) else { break };
        let items = by_parent.remove(name).unwrap_or_default();
        let taken = items.len().min(missing);
        chosen.extend(items.into_iter().take(taken));
        missing -= taken;
    }
}

#[cfg(test)]
mod tests;
