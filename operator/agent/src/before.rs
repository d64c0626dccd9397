//! `before.json`: what each parent was before our first change, and which vDPA devices are ours.
//!
//! Ours means recorded here, not named in some way: a record is on the disk before the device is
//! made, and stays until it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ringway_node::atomic;
use serde::{Deserialize, Serialize};

use crate::node::Observed;
use crate::step::Function;
use crate::wanted::ParentName;

/// Far more than a node can have.
const MAX_SIZE: u64 = 4 << 20;

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Before {
    /// Parents that we change, by name.
    #[serde(default)]
    pub parents: BTreeMap<String, ParentBefore>,
    /// The vDPA bus's `drivers_autoprobe`, once we have changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vdpa_autoprobe: Option<bool>,
    /// The names of the vDPA devices that we made, or were about to make.
    #[serde(default)]
    pub vdpa: BTreeSet<String>,
}

/// A parent before our first change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentBefore {
    /// The number of its VFs.
    #[serde(default)]
    pub function_count: u16,
    /// Its `sriov_drivers_autoprobe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drivers_autoprobe: Option<bool>,
    /// The MTU of its first interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The drivers of its functions before we first gave them another, by index. They are of the
    /// functions that exist: when their number changes, all of them go.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub functions: BTreeMap<u32, Option<String>>,
}

impl Before {
    /// Reads the file; none is an empty record.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        match atomic::read(path, MAX_SIZE) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)
                .map_err(|e| anyhow::anyhow!("parse {}: {e}", path.display()))?),
            Err(error) if error.is_not_found() => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the file atomically.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        Ok(atomic::write(path, &serde_json::to_vec_pretty(self)?, 0o600)?)
    }

    /// Notes what a parent is now, unless it was noted before.
    pub fn note_parent(&mut self, name: &ParentName, observed: &Observed) {
        let now = || match name {
            ParentName::Pci(address) => {
                let found = observed.inventory.parents.iter().find(|p| p.address == *address);
                found.map_or_else(ParentBefore::default, |parent| ParentBefore {
                    function_count: parent.numvfs,
                    drivers_autoprobe: Some(parent.drivers_autoprobe),
                    mtu: parent.netdevs.first().map(|netdev| netdev.mtu),
                    functions: BTreeMap::new(),
                })
            }
            ParentName::Simulator(_) => ParentBefore::default(),
        };
        self.parents.entry(name.to_string()).or_insert_with(now);
    }

    /// Notes the MTU of a parent's interface, if that was in another network namespace before.
    pub fn note_mtu(&mut self, name: &ParentName, observed: &Observed) {
        let (Some(parent), ParentName::Pci(pf)) = (self.parents.get_mut(&name.to_string()), name)
        else {
            return;
        };
        let found = observed.inventory.parents.iter().find(|found| found.address == *pf);
        let netdev = found.and_then(|found| found.netdevs.first());
        parent.mtu = parent.mtu.or(netdev.map(|netdev| netdev.mtu));
    }

    /// Notes the driver that a function of a card has now, unless one was noted before.
    pub fn note_driver(&mut self, function: &Function, observed: &Observed) {
        let Some(parent) = self.parents.get_mut(&function.parent().to_string()) else { return };
        if let Some(now) = observed.function(function) {
            parent.functions.entry(now.index).or_insert_with(|| now.driver.clone());
        }
    }

    /// Drops the drivers of functions that are as they were before.
    pub fn forget_drivers(&mut self, observed: &Observed) {
        for (name, parent) in &mut self.parents {
            let ParentName::Pci(pf) = ParentName::of(name) else { continue };
            parent.functions.retain(|&index, before| {
                let now = observed.function(&Function::Vf { pf, index });
                now.is_some_and(|now| now.driver != *before)
            });
        }
    }
}
