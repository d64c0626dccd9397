//! Cards that Ringway was never run on: what it knows of them is from the kernel's source.

use super::{Card, Maker, Netdev, Settable};

/// drivers/net/ethernet/mellanox/mlx5: one driver for PF and VFs, whose `mlx5_vdpa` makes a
/// management device of each VF beside its interface (mlx5v_probe and mlx5_vdpa_dev_add,
/// drivers/vdpa/mlx5/net/mlx5_vnet.c).
pub(super) const MLX5: Card = Card {
    driver: "mlx5_core",
    netdev: Netdev { driver: "mlx5_core", virtio_driver: None, module: "mlx5_core" },
    vdpa: Some(Maker {
        driver: "mlx5_core",
        module: "mlx5_vdpa",
        settable: Settable { mac: true, mtu: true, queue_pairs: true },
        stays: None,
    }),
};

/// drivers/net/ethernet/intel/ice, with iavf for its VFs.
pub(super) const ICE: Card = Card {
    driver: "ice",
    netdev: Netdev { driver: "iavf", virtio_driver: None, module: "iavf" },
    vdpa: None,
};

/// drivers/net/ethernet/broadcom/bnxt: one driver for PF and VFs.
pub(super) const BNXT: Card = Card {
    driver: "bnxt_en",
    netdev: Netdev { driver: "bnxt_en", virtio_driver: None, module: "bnxt_en" },
    vdpa: None,
};

/// Whether a card is one of these.
pub(super) fn is(card: &Card) -> bool {
    [&MLX5, &ICE, &BNXT].into_iter().any(|untested| untested.driver == card.driver)
}
