//! Which nodes and which parents a policy means.

use std::collections::BTreeMap;

use kube::core::{Selector, SelectorExt as _};
use ringway_api::conditions::Reason;
use ringway_api::device_policy::{DevicePolicySpec, ParentSelector, PciSelector};
use ringway_api::node_devices::{Identity, ParentSpec, ParentStatus};

use crate::partition::Complaint;

/// The labels of a node.
pub type Labels = BTreeMap<String, String>;

/// The nodes of a policy; without a selector, all.
#[derive(Debug)]
pub struct Nodes(Selector);

impl Nodes {
    /// Reads a policy's node selector. The schema cannot check its operators.
    pub fn of(spec: &DevicePolicySpec) -> Result<Self, Complaint> {
        let selector = spec.node_selector.clone().unwrap_or_default();
        let expressions = selector.match_expressions.clone().unwrap_or_default();
        let selector = Selector::try_from(selector).map_err(|error| {
            let texts: Vec<String> =
                expressions.iter().map(|e| format!("{} {}", e.key, e.operator)).collect();
            let message = format!(
                "nodeSelector: matchExpressions [{}]: {error}: operators are In, NotIn, Exists and \
                 DoesNotExist",
                texts.join(", "),
            );
            (Reason::Invalid, message)
        })?;
        Ok(Self(selector))
    }

    /// Whether a node with these labels is meant.
    pub fn select(&self, labels: &Labels) -> bool {
        self.0.matches(labels)
    }

    /// What is looked for, in words.
    pub fn describe(&self) -> String {
        match self.0.selects_all() {
            true => "no nodeSelector".to_owned(),
            false => format!("nodeSelector {}", self.0),
        }
    }
}

/// A parent that a policy means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Parent<'a> {
    /// It is there.
    Present(&'a ParentStatus),
    /// A simulator that the node's agent does not see yet: it loads the module.
    Simulator(&'a str),
    /// A card that is in the node's spec by this policy, but that the agent does not see now:
    /// pulled, or not probed yet. To drop it would mean to undo it once it is back.
    Absent(&'a ParentSpec),
}

impl<'a> Parent<'a> {
    /// The PCI address of a card, or the name of a simulator's management device.
    pub fn name(&self) -> &'a str {
        match self {
            Self::Present(parent) => &parent.name,
            Self::Simulator(name) => name,
            Self::Absent(parent) => &parent.name,
        }
    }
}

/// The parents on a node that any of a policy's entries matches, each once.
pub fn parents<'a>(
    policy: &str,
    selectors: &'a [ParentSelector],
    present: &'a [ParentStatus],
    spec: &'a [ParentSpec],
) -> Vec<Parent<'a>> {
    let seen = |name: &str| present.iter().any(|parent| parent.name == name);
    let mut found: Vec<Parent<'a>> = present
        .iter()
        .filter(|parent| selectors.iter().any(|selector| matches(selector, parent)))
        .map(Parent::Present)
        .collect();
    for simulator in selectors.iter().filter_map(|selector| selector.simulator.as_deref()) {
        if !seen(simulator) && !found.iter().any(|parent| parent.name() == simulator) {
            found.push(Parent::Simulator(simulator));
        }
    }
    found.extend(
        spec.iter()
            .filter(|parent| parent.policy == policy && !seen(&parent.name))
            .filter(|parent| selectors.iter().any(|selector| could_match(selector, parent)))
            .map(Parent::Absent),
    );
    found
}

fn matches(selector: &ParentSelector, parent: &ParentStatus) -> bool {
    match (&selector.pci, &selector.simulator) {
        (Some(pci), None) => {
            let Some(identity) = &parent.identity else { return false };
            let named = |names: &Vec<String>| names.iter().any(|n| parent.interfaces.contains(n));
            may(pci, &parent.name, identity)
                && pci.driver.as_ref().is_none_or(|d| parent.driver.as_ref() == Some(d))
                && pci.names.as_ref().is_none_or(named)
        }
        (None, Some(simulator)) => parent.identity.is_none() && parent.name == *simulator,
        _ => false,
    }
}

/// As far as the card's driver and interface names do not matter: it has none while it is away.
fn could_match(selector: &ParentSelector, parent: &ParentSpec) -> bool {
    match (&selector.pci, &parent.identity) {
        (Some(pci), Some(identity)) => may(pci, &parent.name, identity),
        _ => false,
    }
}

fn may(pci: &PciSelector, address: &str, identity: &Identity) -> bool {
    // an entry without any key is refused at admission; were it not, it would mean every card
    *pci != PciSelector::default()
        && pci.vendor.as_ref().is_none_or(|vendor| *vendor == identity.vendor)
        && pci.device.as_ref().is_none_or(|device| *device == identity.device)
        && pci.addresses.as_ref().is_none_or(|list| list.iter().any(|a| a == address))
}

/// What is looked for, in words: `pci vendor 15b3, names [ens1f0]; simulator vdpasim_net`.
pub fn describe(selectors: &[ParentSelector]) -> String {
    let texts: Vec<String> = selectors.iter().map(describe_one).collect();
    texts.join("; ")
}

fn describe_one(selector: &ParentSelector) -> String {
    if let Some(simulator) = &selector.simulator {
        return format!("simulator {simulator}");
    }
    let pci = selector.pci.clone().unwrap_or_default();
    let one = |key: &str, value: Option<String>| value.map(|value| format!("{key} {value}"));
    let many = |key: &str, values: Option<Vec<String>>| {
        values.map(|values| format!("{key} [{}]", values.join(", ")))
    };
    let keys = [
        one("vendor", pci.vendor),
        one("device", pci.device),
        one("driver", pci.driver),
        many("names", pci.names),
        many("addresses", pci.addresses),
    ];
    format!("pci {}", keys.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests;
