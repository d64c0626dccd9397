//! `before.json`: what each parent was before our first change, and which vDPA devices are ours.
//!
//! Ours means recorded here, not named in some way: a record is on the disk before the device is
//! made, and stays until it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ringway_node::atomic;
use serde::{Deserialize, Serialize};

use ringway_kernel::devlink::EswitchMode;
use ringway_kernel::inventory::{Netdev, Parent, VirtualFunction};
use ringway_kernel::link::VfSetting;

use crate::node::Observed;
use crate::plan::card;
use crate::plan::simulator::devices as simulated;
use crate::step::Function;
use crate::wanted::ParentName;

mod settings;

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
    /// Whether its first interface was set up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// What the card is, `vendor:device`: another one at this address is not put back to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<String>,
    /// The drivers of its functions before we first gave them another, by index. They are of the
    /// functions that exist: when their number changes, all of them go.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub functions: BTreeMap<u32, Option<String>>,
    /// The drivers of the functions that it had, once we have changed their number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<BTreeMap<u32, Option<String>>>,
    /// The functions that are being given another driver, so that their `driver_override` may be
    /// neither the old one nor the new.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub rebinding: BTreeSet<u32>,
    /// The `driver_override` of those functions that had one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<u32, String>,
    /// What the card's driver was told to do for its functions before we first told it something
    /// else, by index, and just that. They too are of the functions that exist.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<u32, Vec<VfSetting>>,
    /// The MTU of functions' own interfaces before we first set another.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mtus: BTreeMap<u32, u32>,
    /// What the driver was told of the functions that the card had, once we have changed their
    /// number: all of it but the address, which may be one that the function itself had chosen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replaced_settings: BTreeMap<u32, Vec<VfSetting>>,
    /// The mode of its eswitch before our first change of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eswitch: Option<EswitchMode>,
    /// The vDPA devices on it that were taken over: ours, but not to be removed at the end. They are
    /// left as they were found.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub adopted: BTreeSet<String>,
}

/// A function before our first change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionBefore<'a> {
    /// Its driver.
    pub driver: Option<&'a str>,
    /// The only driver that might bind it, if one was set.
    pub only: Option<&'a str>,
}

impl ParentBefore {
    /// What a function that exists was before we first gave it a driver; `None` if we did not.
    pub fn own(&self, index: u32) -> Option<FunctionBefore<'_>> {
        let driver = self.functions.get(&index)?.as_deref();
        Some(FunctionBefore { driver, only: self.own_override(index) })
    }

    /// The `driver_override` of a function that exists, before us.
    fn own_override(&self, index: u32) -> Option<&str> {
        // functions that we made were tied to no driver
        let only = self.overrides.get(&index).filter(|_| self.replaced.is_none());
        only.map(String::as_str)
    }

    /// The same, if the function may have any other now.
    pub(crate) fn strayed(&self, index: u32) -> Option<Option<&str>> {
        self.rebinding.contains(&index).then(|| self.own_override(index))
    }

    /// What the function of this index was before our first change; `None` if it is as it was.
    pub fn first(&self, index: u32) -> Option<FunctionBefore<'_>> {
        let replaced = self.replaced.as_ref().and_then(|replaced| replaced.get(&index));
        // somebody else may have taken it away before we changed the number of functions
        let Some(driver) = replaced else { return self.own(index) };
        let only = self.overrides.get(&index).map(String::as_str);
        Some(FunctionBefore { driver: driver.as_deref(), only })
    }

    /// Drops what is on record of functions that are gone; says whether there was anything.
    pub(crate) fn forget_functions(&mut self) -> bool {
        let known =
            (self.functions.len() + self.rebinding.len(), self.settings.len(), self.mtus.len());
        self.functions.clear();
        self.rebinding.clear();
        self.settings.clear();
        self.mtus.clear();
        known != (0, 0, 0)
    }

    /// Notes that the functions that there are go.
    fn note_count(&mut self, parent: &Parent) {
        if self.replaced.is_none() {
            let settings = parent.functions.iter().map(|f| (f.index, self.whole_settings(f)));
            self.replaced_settings = settings.filter(|(_, whole)| !whole.is_empty()).collect();
        }
        let noted = std::mem::take(&mut self.functions);
        let was = |function: &VirtualFunction| {
            let driver = noted.get(&function.index).unwrap_or(&function.driver);
            (function.index, driver.clone())
        };
        self.replaced.get_or_insert_with(|| parent.functions.iter().map(was).collect());
    }
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

    /// Notes what a parent is now, and the overrides of its functions, unless it was noted before.
    pub fn note_parent(
        &mut self,
        name: &ParentName,
        observed: &Observed,
        overrides: BTreeMap<u32, String>,
    ) {
        let now = || {
            let Some(parent) = observed.parent(name) else { return ParentBefore::default() };
            let netdev = parent.netdevs.first();
            ParentBefore {
                function_count: parent.numvfs,
                drivers_autoprobe: Some(parent.drivers_autoprobe),
                mtu: netdev.and_then(Netdev::known_mtu),
                up: netdev.map(|netdev| netdev.up),
                ids: Some(card::ids(parent)),
                overrides,
                ..ParentBefore::default()
            }
        };
        self.parents.entry(name.to_string()).or_insert_with(now);
    }

    /// Notes that the functions of a card go, with what they were.
    pub fn note_count(&mut self, name: &ParentName, observed: &Observed) {
        let noted = self.parents.get_mut(&name.to_string());
        if let Some((noted, parent)) = noted.zip(observed.parent(name)) {
            noted.note_count(parent);
        }
    }

    /// Notes the MTU of a parent's interface, if that was in another network namespace before.
    pub fn note_mtu(&mut self, name: &ParentName, observed: &Observed) {
        let noted = self.parents.get_mut(&name.to_string());
        if let Some((noted, parent)) = noted.zip(observed.parent(name)) {
            let netdev = parent.netdevs.first();
            noted.mtu = noted.mtu.or(netdev.and_then(Netdev::known_mtu));
        }
    }

    /// Notes the driver that a function of a card has now, unless one was noted before.
    pub fn note_driver(&mut self, function: &Function, observed: &Observed) {
        let Some(parent) = self.parents.get_mut(&function.parent().to_string()) else { return };
        if let Some(now) = observed.function(function) {
            parent.functions.entry(now.index).or_insert_with(|| now.driver.clone());
        }
    }

    /// Notes that a function is about to be given another driver, or none.
    pub fn note_rebinding(&mut self, function: &Function) {
        if let Some(parent) = self.parents.get_mut(&function.parent().to_string()) {
            parent.rebinding.insert(function.index());
        }
    }

    /// Notes the mode of a parent's eswitch, unless one was noted before.
    pub fn note_eswitch(&mut self, name: &ParentName, observed: &Observed) {
        let noted = self.parents.get_mut(&name.to_string());
        if let Some((noted, parent)) = noted.zip(observed.parent(name)) {
            noted.eswitch = noted.eswitch.or(parent.eswitch.mode());
        }
    }

    /// Notes that a vDPA device of a parent is ours from now on, and as it is.
    pub fn note_adopted(&mut self, name: &ParentName, device: &str) {
        if let Some(parent) = self.parents.get_mut(&name.to_string()) {
            parent.adopted.insert(device.to_owned());
            self.vdpa.insert(device.to_owned());
        }
    }

    /// Notes that a vDPA device is about to be made by us: one of that name that was taken over is
    /// gone.
    pub fn note_made(&mut self, device: String) {
        for parent in self.parents.values_mut() {
            parent.adopted.remove(&device);
        }
        self.vdpa.insert(device);
    }

    /// Whether a vDPA device was taken over, and is as it was found.
    pub fn is_adopted(&self, device: &str) -> bool {
        self.parents.values().any(|parent| parent.adopted.contains(device))
    }

    /// Forgets a parent, and the vDPA devices on it that were taken over: they are nobody's again.
    pub fn forget_parent(&mut self, name: &str) {
        if let Some(parent) = self.parents.remove(name) {
            self.vdpa.retain(|device| !parent.adopted.contains(device));
        }
    }

    /// Forgets all about a parent that others shape from now on, as it is.
    pub fn hand_over(&mut self, name: &ParentName, observed: &Observed) {
        self.parents.remove(&name.to_string());
        let on_it: BTreeSet<&str> = match name {
            ParentName::Pci(_) => {
                let functions = observed.parent(name).map_or(&[][..], |parent| &parent.functions);
                functions.iter().flat_map(|f| &f.vdpa).map(|device| device.name.as_str()).collect()
            }
            ParentName::Simulator(simulator) => {
                simulated(simulator, observed).iter().map(|device| device.name.as_str()).collect()
            }
            ParentName::VdpaBus => BTreeSet::new(),
        };
        self.vdpa.retain(|device| !on_it.contains(device.as_str()));
    }

    /// Drops the drivers of functions that are as they were before. One that somebody else gave its
    /// driver back has the `driver_override` that they chose, and keeps it.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the agent wrote before it recorded more.
    #[test]
    fn an_older_file_is_read() {
        let old = r#"{"parents": {"0000:01:00.0": {"functionCount": 2, "driversAutoprobe": true,
            "mtu": 1500, "functions": {"0": "virtio-pci", "1": null}}}, "vdpaAutoprobe": true,
            "vdpa": ["vdpa:0000:01:00.1"]}"#;
        let before: Before = serde_json::from_str(old).unwrap();
        let parent = &before.parents["0000:01:00.0"];
        assert_eq!((parent.up, &parent.ids, &parent.replaced), (None, &None, &None));
        let virtio = FunctionBefore { driver: Some("virtio-pci"), only: None };
        assert_eq!(parent.first(0), Some(virtio));
        assert_eq!(parent.first(1), Some(FunctionBefore { driver: None, only: None }));
        assert_eq!(parent.first(2), None);
        assert!(!parent.has_settings() && parent.mtus.is_empty());
    }
}
