//! When a card's eswitch can change its mode: data, with its sources. Drivers that are not here
//! either have no eswitch (virtio-pci and igb have no devlink device), or have the mode that their
//! firmware gives them (nfp: only some of its applications have `eswitch_mode_set`,
//! drivers/net/ethernet/netronome/nfp/nfp_app.h).

/// When the mode can change, as seen from the functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// While there are functions: they are made in legacy mode, and the mode changes then.
    WithFunctions {
        /// Whether no driver may have them meanwhile.
        unbound: bool,
    },
    /// While there are none: the mode changes, and then they are made.
    WithoutFunctions,
}

const ORDERS: [(&str, Order); 3] = [
    // The functions' driver sees its queues and steering tables torn down under it, which the PF's
    // driver does not prevent (mlx5_devlink_eswitch_mode_set, mlx5/core/eswitch_offloads.c). So the
    // documentation unbinds all of them first
    // (Documentation/networking/device_drivers/ethernet/mellanox/mlx5/switchdev.rst), and so does
    // the SR-IOV operator (pkg/host/internal/sriov/sriov.go): legacy, count, unbind, switchdev.
    ("mlx5_core", Order::WithFunctions { unbound: true }),
    // "Changing eswitch mode is allowed only if there is no VFs created"
    // (ice_eswitch_mode_set, intel/ice/ice_eswitch.c).
    ("ice", Order::WithoutFunctions),
    // "Enable VFs before setting switchdev mode": EPERM without any. Functions that go take the
    // mode with them (bnxt_dl_eswitch_mode_set and bnxt_vf_reps_destroy, broadcom/bnxt/bnxt_vfr.c).
    ("bnxt_en", Order::WithFunctions { unbound: false }),
];

/// When cards with this PF driver can change the mode; `None` if that is not known.
pub fn order(driver: &str) -> Option<Order> {
    ORDERS.into_iter().find(|(known, _)| *known == driver).map(|(_, order)| order)
}

/// The PF drivers of which it is known.
pub fn drivers() -> impl Iterator<Item = &'static str> {
    ORDERS.into_iter().map(|(driver, _)| driver)
}
