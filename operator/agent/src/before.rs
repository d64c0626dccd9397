//! `before.json`: what each parent was before our first change, and which vDPA devices are ours.
//!
//! Ours means recorded here, not named in some way: a record is on the disk before the device is
//! made, and stays until it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ringway_node::atomic;
use serde::{Deserialize, Serialize};

use ringway_kernel::inventory::{Parent, VirtualFunction};
use ringway_kernel::link::{VfLink, VfSetting, VfTxRate};

use crate::cards;
use crate::node::Observed;
use crate::plan::card;
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
        // functions that we made were tied to no driver
        let only = self.overrides.get(&index).filter(|_| self.replaced.is_none());
        Some(FunctionBefore { driver, only: only.map(String::as_str) })
    }

    /// What the function of this index was before our first change; `None` if it is as it was.
    pub fn first(&self, index: u32) -> Option<FunctionBefore<'_>> {
        let replaced = self.replaced.as_ref().and_then(|replaced| replaced.get(&index));
        // somebody else may have taken it away before we changed the number of functions
        let Some(driver) = replaced else { return self.own(index) };
        let only = self.overrides.get(&index).map(String::as_str);
        Some(FunctionBefore { driver: driver.as_deref(), only })
    }

    /// What was set for a function that exists before we first changed it.
    pub fn own_settings(&self, index: u32) -> &[VfSetting] {
        self.settings.get(&index).map_or(&[], Vec::as_slice)
    }

    /// What was set for the function of this index before our first change.
    pub fn first_settings(&self, index: u32) -> Vec<VfSetting> {
        let mut first = self.replaced_settings.get(&index).cloned().unwrap_or_default();
        for own in self.own_settings(index) {
            if !first.iter().any(|first| first.same_kind(*own)) {
                first.push(*own);
            }
        }
        first
    }

    /// Drops what is on record of functions that are gone; says whether there was anything.
    pub(crate) fn forget_functions(&mut self) -> bool {
        let known = (self.functions.len(), self.settings.len(), self.mtus.len());
        self.functions.clear();
        self.settings.clear();
        self.mtus.clear();
        known != (0, 0, 0)
    }

    /// Drops what a function has been set to again; says whether there was anything.
    ///
    /// What can be seen does not tell: a function without an address from the PF chooses one as its
    /// driver takes it, and the PF's tells that one (igbvf_probe, drivers/net/ethernet/intel/igbvf).
    pub(crate) fn forget_set(&mut self, index: u32, settings: &[VfSetting]) -> bool {
        let Some(noted) = self.settings.get_mut(&index) else { return false };
        let known = noted.len();
        noted.retain(|was| !settings.contains(was));
        let fewer = noted.len() < known;
        if noted.is_empty() {
            self.settings.remove(&index);
        }
        fewer
    }

    /// Whether anything of its functions' settings is on record.
    pub fn has_settings(&self) -> bool {
        !self.settings.is_empty() || !self.replaced_settings.is_empty()
    }

    /// All that was set for a function, but its address.
    fn whole_settings(&self, function: &VirtualFunction) -> Vec<VfSetting> {
        let Some(now) = function.settings else { return Vec::new() };
        let own = self.own_settings(function.index);
        let kinds = [
            VfSetting::Vlan(None),
            VfSetting::Rate(VfTxRate::default()),
            VfSetting::SpoofCheck(false),
            VfSetting::Trust(false),
            VfSetting::Link(VfLink::Auto),
        ];
        let was = |kind: VfSetting| {
            let own = own.iter().find(|own| own.same_kind(kind)).copied();
            own.or_else(|| now.now(kind))
        };
        kinds.into_iter().filter_map(was).collect()
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
                mtu: netdev.map(|netdev| netdev.mtu),
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
            noted.mtu = noted.mtu.or(netdev.map(|netdev| netdev.mtu));
        }
    }

    /// Notes the driver that a function of a card has now, unless one was noted before.
    pub fn note_driver(&mut self, function: &Function, observed: &Observed) {
        let Some(parent) = self.parents.get_mut(&function.parent().to_string()) else { return };
        if let Some(now) = observed.function(function) {
            parent.functions.entry(now.index).or_insert_with(|| now.driver.clone());
        }
    }

    /// Notes what is set for a function now, of what is about to be set, unless it was noted before.
    pub fn note_settings(
        &mut self,
        function: &Function,
        about_to: &[VfSetting],
        observed: &Observed,
    ) {
        let Some(parent) = self.parents.get_mut(&function.parent().to_string()) else { return };
        let found = observed.function(function).and_then(|found| found.settings);
        let Some(now) = found else { return };
        let noted = parent.settings.entry(function.index()).or_default();
        for was in about_to.iter().filter_map(|setting| now.now(*setting)) {
            if !noted.iter().any(|noted| noted.same_kind(was)) {
                noted.push(was);
            }
        }
    }

    /// Notes the MTU of a function's own interface, unless it was noted before.
    pub fn note_function_mtu(&mut self, function: &Function, observed: &Observed) {
        let Some(parent) = self.parents.get_mut(&function.parent().to_string()) else { return };
        let netdev = observed.function(function).and_then(|found| found.netdevs.first());
        if let Some(netdev) = netdev {
            parent.mtus.entry(function.index()).or_insert(netdev.mtu);
        }
    }

    /// Drops the settings of functions that are as they were before, or are no more. Of one that
    /// nothing can be seen of, they stay.
    pub fn forget_settings(&mut self, observed: &Observed) {
        for (name, parent) in &mut self.parents {
            let ParentName::Pci(pf) = ParentName::of(name) else { continue };
            let find = |index| observed.function(&Function::Vf { pf, index });
            parent.settings.retain(|&index, noted| {
                let Some(found) = find(index) else { return false };
                let Some(now) = found.settings else { return true };
                noted.retain(|was| now.now(*was) != Some(*was));
                !noted.is_empty()
            });
            parent.mtus.retain(|&index, was| {
                let Some(found) = find(index) else { return false };
                let netdev = found.driver.as_deref().and_then(cards::netdev);
                let has_one = netdev.is_some_and(|netdev| netdev.made_one(found));
                has_one && found.netdevs.first().is_none_or(|netdev| netdev.mtu != *was)
            });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_first_goes_before_what_came_with_new_functions() {
        let (no_vlan, trust) = (VfSetting::Vlan(None), VfSetting::Trust(true));
        let mut parent = ParentBefore {
            settings: [(0, vec![no_vlan, VfSetting::Trust(false)])].into(),
            ..ParentBefore::default()
        };
        assert_eq!(parent.first_settings(0), [no_vlan, VfSetting::Trust(false)]);
        parent.replaced = Some(BTreeMap::new());
        parent.replaced_settings = [(0, vec![trust])].into();
        assert_eq!(parent.first_settings(0), [trust, no_vlan]);
        assert_eq!(parent.own_settings(0), [no_vlan, VfSetting::Trust(false)]);
        assert_eq!(parent.first_settings(1), []);
        let text = serde_json::to_string(&parent).unwrap();
        assert_eq!(serde_json::from_str::<ParentBefore>(&text).unwrap(), parent, "{text}");
    }

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
