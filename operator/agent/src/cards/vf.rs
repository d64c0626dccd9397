//! What the driver of a PF can set for its VFs: data, with its sources (Linux 6.12).

use std::fmt;

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
    /// Whether Ringway was run on it.
    pub tested: bool,
}

use Ability::{LinkState, Mac, MaxRate, MinRate, Qos, ServiceTag, SpoofCheck, Trust, Vlan};

/// The drivers that are known.
pub const VF_SETTABLE: [VfSettable; 6] = [
    VfSettable {
        driver: "virtio-pci",
        source: "drivers/net/virtio_net.c (no ndo_set_vf_*)",
        able: &[],
        rates_of: &[],
        rates_by_carrier: false,
        tested: true,
    },
    VfSettable {
        driver: "igb",
        // igb_ndo_set_vf_bw: of the 82576 alone (drivers/net/ethernet/intel/igb/e1000_hw.h has its
        // ids), no lower bound, and nothing without a carrier
        source: "drivers/net/ethernet/intel/igb/igb_main.c",
        able: &[Mac, Vlan, Qos, MaxRate, SpoofCheck, Trust],
        rates_of: &[0x10c9, 0x10e6, 0x10e7, 0x10e8, 0x150a, 0x150d, 0x1518, 0x1526],
        rates_by_carrier: true,
        tested: true,
    },
    VfSettable {
        driver: "ixgbe",
        source: "drivers/net/ethernet/intel/ixgbe/ixgbe_sriov.c",
        able: &[Mac, Vlan, Qos, MaxRate, SpoofCheck, Trust, LinkState],
        rates_of: &[],
        rates_by_carrier: true,
        tested: false,
    },
    VfSettable {
        driver: "i40e",
        source: "drivers/net/ethernet/intel/i40e/i40e_virtchnl_pf.c",
        able: &[Mac, Vlan, Qos, MaxRate, SpoofCheck, Trust, LinkState],
        rates_of: &[],
        rates_by_carrier: false,
        tested: false,
    },
    VfSettable {
        driver: "ice",
        // ice_is_supported_port_vlan_proto: 802.1ad in double VLAN mode, else EPROTONOSUPPORT
        source: "drivers/net/ethernet/intel/ice/ice_sriov.c",
        able: &[Mac, Vlan, Qos, ServiceTag, MinRate, MaxRate, SpoofCheck, Trust, LinkState],
        rates_of: &[],
        rates_by_carrier: false,
        tested: false,
    },
    VfSettable {
        driver: "mlx5_core",
        source: "drivers/net/ethernet/mellanox/mlx5/core/en_main.c",
        able: &[Mac, Vlan, Qos, MinRate, MaxRate, SpoofCheck, Trust, LinkState],
        rates_of: &[],
        rates_by_carrier: false,
        tested: false,
    },
];

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

impl VfSettable {
    /// Whether it can set something of a card with this PCI device id.
    pub fn can(&self, ability: Ability, device: u16) -> bool {
        let rate = matches!(ability, MinRate | MaxRate);
        let of_this = self.rates_of.is_empty() || self.rates_of.contains(&device);
        self.able.contains(&ability) && (!rate || of_this)
    }

    /// What it can set of such a card, in words.
    pub fn words(&self, device: u16) -> String {
        let able = self.able.iter().filter(|able| self.can(**able, device));
        match able.map(ToString::to_string).collect::<Vec<_>>() {
            able if able.is_empty() => "nothing".to_owned(),
            able => able.join(", "),
        }
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
            let VfSettable { driver, source, tested, rates_of, .. } = settable;
            let words = settable.words(rates_of.first().copied().unwrap_or_default());
            let run = if *tested { "yes" } else { "untested" };
            let row = format!("| `{driver}` | {words} | {run} | `{source}` |");
            assert!(page.contains(&row), "docs/architecture.md lacks\n{row}");
        }
        let rows = page.lines().filter(|line| line.contains("| `drivers/net/")).count();
        assert_eq!(rows, VF_SETTABLE.len(), "a row of a driver that is not known");
    }

    #[test]
    fn every_card_says_what_its_driver_can_set() {
        for card in crate::cards::CARDS {
            assert!(vf_settable(Some(card.driver)).is_some_and(|s| s.tested), "{}", card.driver);
        }
        assert_eq!(vf_settable(Some("nfp")), None);
        assert_eq!(vf_settable(None), None);
        let igb = vf_settable(Some("igb")).unwrap();
        let (i350, of_82576) = (0x1521, 0x10c9);
        assert!(igb.can(MaxRate, of_82576) && !igb.can(MaxRate, i350) && igb.can(Trust, i350));
        assert_eq!(igb.words(i350), "mac, vlan, vlan.qos, spoofCheck, trust");
    }
}
