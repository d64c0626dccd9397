//! What the driver of a PF can set for its VFs: data, with its sources (Linux 6.12).

use std::fmt;

use ringway_kernel::devlink::EswitchMode;
use ringway_kernel::link::VfSetting;

pub use self::drivers::VF_SETTABLE;

mod drivers;

/// One thing that a driver can set, as it is called in a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// `ndo_set_vf_mac`.
    Mac,
    /// `ndo_set_vf_vlan` with 802.1Q.
    Vlan,
    /// A priority in the tag.
    Qos,
    /// `ndo_set_vf_vlan` with 802.1ad.
    ServiceTag,
    /// `ndo_set_vf_rate`, the lower bound.
    MinRate,
    /// `ndo_set_vf_rate`, the upper bound.
    MaxRate,
    /// `ndo_set_vf_spoofchk`.
    SpoofCheck,
    /// `ndo_set_vf_trust`.
    Trust,
    /// `ndo_set_vf_link_state`.
    LinkState,
}

/// What one driver can set.
#[derive(Debug, PartialEq, Eq)]
pub struct VfSettable {
    /// The driver bound to the PF.
    pub driver: &'static str,
    /// The file of the kernel that shows it.
    pub source: &'static str,
    /// What it can set. What it can set it also tells.
    pub able: &'static [Ability],
    /// The PCI device ids of which it sets rates; empty for all.
    pub rates_of: &'static [u16],
    /// Whether it takes rates only while the uplink has a carrier.
    pub rates_by_carrier: bool,
    /// What of that it does not set in switchdev mode; `None` where nothing says so.
    pub in_switchdev: Option<Unable>,
    /// Whether Ringway was run on it.
    pub tested: bool,
}

/// What a driver does not set while the PF's eswitch is in switchdev mode.
#[derive(Debug, PartialEq, Eq)]
pub struct Unable {
    /// What.
    pub abilities: &'static [Ability],
    /// The file of the kernel that shows it.
    pub source: &'static str,
}

/// What is known of a PF's driver.
pub fn vf_settable(driver: Option<&str>) -> Option<&'static VfSettable> {
    VF_SETTABLE.iter().find(|settable| Some(settable.driver) == driver)
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mac => "mac",
            Self::Vlan => "vlan",
            Self::Qos => "vlan.qos",
            Self::ServiceTag => "vlan.protocol 802.1ad",
            Self::MinRate => "minRate",
            Self::MaxRate => "maxRate",
            Self::SpoofCheck => "spoofCheck",
            Self::Trust => "trust",
            Self::LinkState => "linkState",
        })
    }
}

impl Ability {
    /// What a driver needs for a setting. Of a VLAN and of rates this is the part that all have.
    pub fn of(setting: VfSetting) -> Self {
        match setting {
            VfSetting::Mac(_) => Self::Mac,
            VfSetting::Vlan(_) => Self::Vlan,
            VfSetting::Rate(_) => Self::MaxRate,
            VfSetting::SpoofCheck(_) => Self::SpoofCheck,
            VfSetting::Trust(_) => Self::Trust,
            VfSetting::Link(_) => Self::LinkState,
        }
    }
}

impl VfSettable {
    /// Whether it can set something of a card with this PCI device id, whose eswitch has this mode.
    pub fn can(&self, ability: Ability, device: u16, mode: Option<EswitchMode>) -> bool {
        let rate = matches!(ability, Ability::MinRate | Ability::MaxRate);
        let of_this = self.rates_of.is_empty() || self.rates_of.contains(&device);
        self.able.contains(&ability) && (!rate || of_this) && self.refuses(ability, mode).is_none()
    }

    /// Whether a mode of the eswitch is what keeps it from setting something: the file of the kernel
    /// that shows it.
    pub fn refuses(&self, ability: Ability, mode: Option<EswitchMode>) -> Option<&'static str> {
        let unable = self.in_switchdev.as_ref().filter(|_| mode == Some(EswitchMode::Switchdev))?;
        unable.abilities.contains(&ability).then_some(unable.source)
    }

    /// What it can set of such a card, in words.
    pub fn words(&self, device: u16, mode: Option<EswitchMode>) -> String {
        let able = self.able.iter().filter(|able| self.can(**able, device, mode));
        words(&able.copied().collect::<Vec<_>>())
    }
}

fn words(abilities: &[Ability]) -> String {
    match abilities.iter().map(ToString::to_string).collect::<Vec<_>>() {
        words if words.is_empty() => "nothing".to_owned(),
        words => words.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UPDATE is by hand: the failure prints the row.
    #[test]
    fn the_table_for_people_has_the_same_rows() {
        let page = include_str!("../../../../docs/architecture.md");
        for settable in &VF_SETTABLE {
            let VfSettable { driver, source, tested, rates_of, in_switchdev, .. } = settable;
            let can = settable.words(rates_of.first().copied().unwrap_or_default(), None);
            let cannot = in_switchdev
                .as_ref()
                .map(|unable| format!("{} (`{}`)", words(unable.abilities), unable.source));
            let cannot = cannot.unwrap_or_default();
            let run = if *tested { "yes" } else { "untested" };
            let row = format!("| `{driver}` | {can} | {cannot} | {run} | `{source}` |");
            assert!(page.contains(&row), "docs/architecture.md lacks\n{row}");
        }
        let rows = page.lines().filter(|line| line.contains("| `drivers/net/")).count();
        assert_eq!(rows, VF_SETTABLE.len(), "a row of a driver that is not known");
    }

    #[test]
    fn every_card_says_what_its_driver_can_set() {
        for card in crate::cards::CARDS {
            let tested = vf_settable(Some(card.driver)).map(|settable| settable.tested);
            let untested = crate::cards::is_untested(Some(card.driver));
            assert_eq!(tested, Some(!untested), "{}", card.driver);
        }
        assert_eq!(vf_settable(Some("nfp")), None);
        assert_eq!(vf_settable(None), None);
        let igb = vf_settable(Some("igb")).unwrap();
        let (i350, of_82576) = (0x1521, 0x10c9);
        let can = |ability, device| igb.can(ability, device, None);
        assert!(can(Ability::MaxRate, of_82576) && !can(Ability::MaxRate, i350));
        assert!(can(Ability::Trust, i350));
        assert_eq!(igb.words(i350, None), "mac, vlan, vlan.qos, spoofCheck, trust");
    }

    #[test]
    fn what_a_mode_forbids_can_be_set_in_the_other() {
        let modes = [Some(EswitchMode::Legacy), Some(EswitchMode::Switchdev)];
        for settable in &VF_SETTABLE {
            for unable in settable.in_switchdev.iter().flat_map(|unable| unable.abilities) {
                let can = modes.map(|mode| settable.can(*unable, 0, mode));
                assert_eq!(can, [true, false], "{} {unable}", settable.driver);
            }
            let order = crate::cards::eswitch_order(settable.driver);
            assert!(settable.in_switchdev.is_none() || order.is_some(), "{}", settable.driver);
        }
        let mlx5 = vf_settable(Some("mlx5_core")).unwrap();
        assert_eq!(mlx5.words(0, modes[1]), "mac, minRate, maxRate");
        let why = mlx5.refuses(Ability::of(VfSetting::Vlan(None)), modes[1]).unwrap();
        assert!(why.ends_with("esw/legacy.c"), "{why}");
    }
}
