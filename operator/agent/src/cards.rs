//! What each kind of card can do, and how: data, with its sources.

use ringway_api::device_policy::Attach;

/// How the functions of cards with one PF driver become vDPA devices.
#[derive(Debug, PartialEq, Eq)]
pub struct Card {
    /// The driver bound to the PF.
    pub driver: &'static str,
    /// The driver that makes management devices of its VFs, as the PCI bus calls it.
    pub function_driver: &'static str,
    /// The module of that driver.
    pub module: &'static str,
    /// What a vDPA device can be given when it is made.
    pub settable: Settable,
}

/// What a vDPA device can be given when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settable {
    /// `VDPA_ATTR_DEV_NET_CFG_MACADDR`.
    pub mac: bool,
    /// `VDPA_ATTR_DEV_NET_CFG_MTU`.
    pub mtu: bool,
    /// `VDPA_ATTR_DEV_NET_CFG_MAX_VQP`.
    pub queue_pairs: bool,
}

/// A virtio function's driver, `vp-vdpa`, takes features and nothing else
/// (vp_vdpa_probe, drivers/vdpa/virtio_pci/vp_vdpa.c: `config_attr_mask`). It has no device
/// table, so that nothing binds to it but by `driver_override`.
const VIRTIO: Card = Card {
    driver: "virtio-pci",
    function_driver: "vp-vdpa",
    module: "vp_vdpa",
    settable: Settable { mac: false, mtu: false, queue_pairs: false },
};

/// The cards that Ringway was run on.
const CARDS: [&Card; 1] = [&VIRTIO];

/// The kernel's simulator takes a MAC and an MTU
/// (vdpasim_net_init, drivers/vdpa/vdpa_sim/vdpa_sim_net.c).
pub const SIMULATOR: Settable = Settable { mac: true, mtu: true, queue_pairs: false };

/// The simulators by their management device, with their modules.
pub const SIMULATORS: [(&str, &str); 1] = [("vdpasim_net", "vdpa_sim_net")];

/// What is known of cards with this PF driver.
pub fn card(driver: Option<&str>) -> Option<&'static Card> {
    CARDS.into_iter().find(|card| Some(card.driver) == driver)
}

/// Whether a driver of functions does nothing but make vDPA devices of them.
pub fn makes_vdpa_devices(function_driver: &str) -> bool {
    CARDS.into_iter().any(|card| card.function_driver == function_driver)
}

/// Ways in which functions of such a card reach a user, and why there are no more.
pub fn attach(driver: Option<&str>) -> (Vec<Attach>, Option<String>) {
    if card(driver).is_some() {
        return (vec![Attach::VhostVdpa, Attach::VirtioVdpa], None);
    }
    let known = CARDS.map(|card| card.driver).join(", ");
    let reason = match driver {
        Some(driver) => {
            format!(
                "no vDPA devices are known to be made on functions of driver {driver}, only of {known}"
            )
        }
        None => format!("no driver is bound to it, and only {known} is known to make vDPA devices"),
    };
    (Vec::new(), Some(reason))
}
