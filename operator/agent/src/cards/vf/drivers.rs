//! The drivers of PFs, each with what it sets for its VFs.

use super::Ability::{LinkState, Mac, MaxRate, MinRate, Qos, ServiceTag, SpoofCheck, Trust, Vlan};
use super::{Unable, VfSettable};

/// The drivers that are known.
pub const VF_SETTABLE: [VfSettable; 7] = [
    VfSettable {
        driver: "virtio-pci",
        source: "drivers/net/virtio_net.c (no ndo_set_vf_*)",
        able: &[],
        rates_of: &[],
        rates_by_carrier: false,
        in_switchdev: None,
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
        in_switchdev: None,
        tested: true,
    },
    VfSettable {
        driver: "ixgbe",
        source: "drivers/net/ethernet/intel/ixgbe/ixgbe_sriov.c",
        able: &[Mac, Vlan, Qos, MaxRate, SpoofCheck, Trust, LinkState],
        rates_of: &[],
        rates_by_carrier: true,
        in_switchdev: None,
        tested: false,
    },
    VfSettable {
        driver: "i40e",
        source: "drivers/net/ethernet/intel/i40e/i40e_virtchnl_pf.c",
        able: &[Mac, Vlan, Qos, MaxRate, SpoofCheck, Trust, LinkState],
        rates_of: &[],
        rates_by_carrier: false,
        in_switchdev: None,
        tested: false,
    },
    VfSettable {
        driver: "ice",
        // ice_is_supported_port_vlan_proto: 802.1ad in double VLAN mode, else EPROTONOSUPPORT
        source: "drivers/net/ethernet/intel/ice/ice_sriov.c",
        able: &[Mac, Vlan, Qos, ServiceTag, MinRate, MaxRate, SpoofCheck, Trust, LinkState],
        rates_of: &[],
        rates_by_carrier: false,
        // trust is EOPNOTSUPP (ice_set_vf_trust, ice_sriov.c). A VLAN and the check are taken, and
        // go: each reset of a VF drops its filters and its anti-spoofing (ice_eswitch_cfg_vsi)
        in_switchdev: Some(Unable {
            abilities: &[Vlan, Qos, ServiceTag, SpoofCheck, Trust],
            source: "drivers/net/ethernet/intel/ice/ice_eswitch.c",
        }),
        tested: false,
    },
    VfSettable {
        driver: "mlx5_core",
        source: "drivers/net/ethernet/mellanox/mlx5/core/en_main.c",
        able: &[Mac, Vlan, Qos, MinRate, MaxRate, SpoofCheck, Trust, LinkState],
        rates_of: &[],
        rates_by_carrier: false,
        // EOPNOTSUPP (mlx5_eswitch_set_vport_vlan and its like), but for no VLAN, which is taken and
        // changes nothing; of the link, mlx5e_set_vf_link_state (en_main.c) says the same of an
        // uplink representor. Address and rates are taken in both modes
        in_switchdev: Some(Unable {
            abilities: &[Vlan, Qos, SpoofCheck, Trust, LinkState],
            source: "drivers/net/ethernet/mellanox/mlx5/core/esw/legacy.c",
        }),
        tested: false,
    },
    VfSettable {
        driver: "bnxt_en",
        // bnxt_set_vf_vlan takes 802.1ad where the firmware does, and bnxt_get_vf_config does not
        // tell it; of the eswitch's mode it asks nothing
        source: "drivers/net/ethernet/broadcom/bnxt/bnxt_sriov.c",
        able: &[Mac, Vlan, Qos, MinRate, MaxRate, SpoofCheck, Trust, LinkState],
        rates_of: &[],
        rates_by_carrier: false,
        in_switchdev: None,
        tested: false,
    },
];
