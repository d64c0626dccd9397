//! What functions were set to before our first change, setting by setting.

use ringway_kernel::inventory::VirtualFunction;
use ringway_kernel::link::{VfLink, VfSetting, VfTxRate};

use super::{Before, ParentBefore};
use crate::cards;
use crate::node::Observed;
use crate::step::Function;
use crate::wanted::ParentName;

impl ParentBefore {
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
    pub(super) fn whole_settings(&self, function: &VirtualFunction) -> Vec<VfSetting> {
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
}

impl Before {
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
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
}
