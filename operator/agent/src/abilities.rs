//! What features vDPA devices of this node's functions can be given, told to the operator where a pool
//! asks for those that all nodes have in common. Pure.

use std::ops::RangeInclusive;

use ringway_api::node_devices::{FeatureSet, FunctionRange};
use ringway_kernel::features::Features;
use ringway_kernel::inventory::Inventory;

use crate::plan::simulator;
use crate::wanted::{Common, Parent, ParentName, Wanted};

/// Neighbouring functions of a parent.
type Neighbours = (String, RangeInclusive<u32>);

/// Each distinct set once, with its functions. A function tells once something makes vDPA devices of
/// it.
pub(crate) fn feature_sets(wanted: &Wanted, inventory: &Inventory) -> Vec<FeatureSet> {
    let mut sets: Vec<(String, Vec<Neighbours>)> = Vec::new();
    for parent in &wanted.parents {
        let asking = parent.pools.iter().filter(|pool| pool.settings.common != Common::No);
        for index in asking.flat_map(|pool| pool.range.clone()) {
            let names = features(parent, index, inventory).map(names).unwrap_or_default();
            if names.is_empty() {
                continue;
            }
            match sets.iter_mut().find(|(known, _)| *known == names) {
                Some((_, functions)) => add(functions, parent, index),
                None => sets.push((names, vec![(parent.name.to_string(), index..=index)])),
            }
        }
    }
    let told = |(parent, range): Neighbours| FunctionRange { parent, range: text(&range) };
    let set = |(features, functions): (String, Vec<Neighbours>)| {
        let functions = functions.into_iter().map(told).collect();
        FeatureSet { features, functions }
    };
    sets.into_iter().map(set).collect()
}

fn add(functions: &mut Vec<Neighbours>, parent: &Parent, index: u32) {
    let name = parent.name.to_string();
    match functions.last_mut() {
        Some((of, range)) if *of == name && *range.end() + 1 == index => {
            *range = *range.start()..=index;
        }
        _ => functions.push((name, index..=index)),
    }
}

fn features(parent: &Parent, index: u32, inventory: &Inventory) -> Option<Features> {
    let management = match &parent.name {
        ParentName::Pci(pf) => {
            let card = inventory.parents.iter().find(|found| found.address == *pf)?;
            let function = card.functions.iter().find(|function| function.index == index)?;
            function.management_device.as_ref()?
        }
        ParentName::Simulator(name) => simulator::management(name, inventory)?,
        ParentName::VdpaBus => return None,
    };
    management.features
}

/// What has no name cannot be asked for.
fn names(features: Features) -> String {
    let names = features.names();
    let named = names.iter().filter(|name| !name.contains(' '));
    named.map(String::as_str).collect::<Vec<_>>().join(",")
}

fn text(range: &RangeInclusive<u32>) -> String {
    match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    }
}

#[cfg(test)]
mod tests;
