//! What each kind of card can do, and how: data, with its sources.

use std::collections::BTreeSet;

use ringway_api::device_policy::Attach;
use ringway_kernel::inventory::{Parent, VirtualFunction};
use ringway_kernel::vdpa_bus::Driver;
use ringway_kernel::vfio;

pub use self::eswitch::{Order, drivers as eswitch_drivers, order as eswitch_order};
pub use self::vf::{Ability, VF_SETTABLE, VfSettable, vf_settable};

mod eswitch;
mod untested;
mod vf;

/// How the functions of cards with one PF driver reach their users.
#[derive(Debug, PartialEq, Eq)]
pub struct Card {
    /// The driver bound to the PF.
    pub driver: &'static str,
    /// What makes a function an interface.
    pub netdev: Netdev,
    /// What makes vDPA devices of a function, where something does.
    pub vdpa: Option<Maker>,
}

/// How a function becomes an interface of the kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct Netdev {
    /// The driver of the function, as the PCI bus calls it.
    pub driver: &'static str,
    /// For a virtio function: the driver of the virtio device that the first makes.
    pub virtio_driver: Option<&'static str>,
    /// The module of whichever makes the interface.
    pub module: &'static str,
}

impl Netdev {
    /// Whether a function that is bound so has an interface, here or in another namespace.
    pub fn made_one(&self, function: &VirtualFunction) -> bool {
        self.virtio_driver.is_none_or(|driver| function.virtio_driver.as_deref() == Some(driver))
    }
}

/// How a function becomes a vDPA device.
#[derive(Debug, PartialEq, Eq)]
pub struct Maker {
    /// The driver that makes a management device of it, as the PCI bus calls it.
    pub driver: &'static str,
    /// The module of that driver.
    pub module: &'static str,
    /// What a vDPA device can be given when it is made.
    pub settable: Settable,
    /// Why a virtual machine with its devices cannot move while it runs; `None` where it is not known
    /// that it cannot.
    pub stays: Option<&'static str>,
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

/// The driver that a function needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionDriver {
    /// As the PCI bus calls it.
    pub name: &'static str,
    /// Whether the function keeps to it by `driver_override`. A driver that takes its functions by
    /// itself needs none.
    pub pinned: bool,
}

/// A virtio function's driver, `vp-vdpa`, takes features and nothing else
/// (vp_vdpa_probe, drivers/vdpa/virtio_pci/vp_vdpa.c: `config_attr_mask`). It has no device
/// table, so that nothing binds to it but by `driver_override`.
const VIRTIO: Card = Card {
    driver: "virtio-pci",
    netdev: Netdev {
        driver: "virtio-pci",
        virtio_driver: Some("virtio_net"),
        module: "virtio_net",
    },
    vdpa: Some(Maker {
        driver: "vp-vdpa",
        module: "vp_vdpa",
        settable: Settable { mac: false, mtu: false, queue_pairs: false },
        stays: Some(
            "driver vp-vdpa can neither suspend a device nor tell how far its virtqueues are \
             (drivers/vdpa/virtio_pci/vp_vdpa.c)",
        ),
    }),
};

/// drivers/net/ethernet/intel/igb and igbvf.
const IGB: Card = Card {
    driver: "igb",
    netdev: Netdev { driver: "igbvf", virtio_driver: None, module: "igbvf" },
    vdpa: None,
};

/// The cards that Ringway was run on, and then those that it was not.
const CARDS: [&Card; 5] = [&VIRTIO, &IGB, &untested::MLX5, &untested::ICE, &untested::BNXT];

/// vfio-pci, and what gives its users an IOMMU: a soft dependency of `vfio`, which a loader by name
/// does not know (`MODULE_SOFTDEP`, drivers/vfio/vfio_main.c).
const VFIO_MODULES: [&str; 2] = ["vfio_pci", "vfio_iommu_type1"];

/// A management device that makes vDPA devices of no PCI function: the kernel's simulator, or VDUSE,
/// whose devices are run by programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Simulator {
    /// The management device.
    pub name: &'static str,
    /// Its module.
    pub module: &'static str,
    /// What a device can be given when it is made.
    pub settable: Settable,
}

/// Those that are known. The simulator takes a MAC and an MTU (vdpasim_net_init,
/// drivers/vdpa/vdpa_sim/vdpa_sim_net.c). A VDUSE device is what its program has said
/// (vduse_mgmtdev_init, drivers/vdpa/vdpa_user/vduse_dev.c: no `config_attr_mask`).
pub const SIMULATORS: [Simulator; 2] = [
    Simulator {
        name: "vdpasim_net",
        module: "vdpa_sim_net",
        settable: Settable { mac: true, mtu: true, queue_pairs: false },
    },
    Simulator {
        name: "vduse",
        module: "vduse",
        settable: Settable { mac: false, mtu: false, queue_pairs: false },
    },
];

/// What devices of a simulator can be.
pub const SIMULATED: [Attach; 3] = [Attach::VhostVdpa, Attach::VirtioVdpa, Attach::Host];

/// Why they can be nothing else.
pub const NO_FUNCTION: &str = "its devices are no PCI functions";

impl Card {
    /// The driver that a function needs to be attached so; `None` if it cannot be.
    pub fn function_driver(&self, attach: Attach) -> Option<FunctionDriver> {
        let pinned = |name| FunctionDriver { name, pinned: true };
        match attach {
            Attach::Netdev => Some(FunctionDriver { name: self.netdev.driver, pinned: false }),
            Attach::Vfio => Some(pinned(vfio::DRIVER)),
            Attach::VhostVdpa | Attach::VirtioVdpa | Attach::Host => {
                let pinned = |driver| driver != self.netdev.driver;
                let driver = self.vdpa.as_ref().map(|maker| maker.driver);
                driver.map(|name| FunctionDriver { name, pinned: pinned(name) })
            }
        }
    }

    /// The modules that functions so attached need, in order.
    pub fn modules(&self, attach: Attach) -> Vec<&'static str> {
        match (attach, &self.vdpa) {
            (Attach::Netdev, _) => vec![self.netdev.module],
            (Attach::Vfio, _) => VFIO_MODULES.to_vec(),
            (_, Some(maker)) => vdpa_modules(maker.module, attach),
            (_, None) => Vec::new(),
        }
    }
}

/// The modules that a vDPA device needs, in order: the bus, what makes the device, what serves it.
pub fn vdpa_modules(maker: &'static str, attach: Attach) -> Vec<&'static str> {
    ["vdpa", maker].into_iter().chain(bus_driver(attach).map(Driver::name)).collect()
}

/// The vDPA bus driver of an attach kind; `None` where there is no vDPA device.
pub fn bus_driver(attach: Attach) -> Option<Driver> {
    match attach {
        Attach::VhostVdpa => Some(Driver::VhostVdpa),
        Attach::VirtioVdpa | Attach::Host => Some(Driver::VirtioVdpa),
        Attach::Netdev | Attach::Vfio => None,
    }
}

/// Every module that a plan may need.
pub fn modules() -> BTreeSet<&'static str> {
    let cards = CARDS.into_iter().flat_map(|card| Attach::ALL.map(|attach| card.modules(attach)));
    let simulators = SIMULATORS
        .into_iter()
        .flat_map(|simulator| SIMULATED.map(|attach| vdpa_modules(simulator.module, attach)));
    cards.chain(simulators).flatten().collect()
}

/// What is known of cards with this PF driver.
pub fn card(driver: Option<&str>) -> Option<&'static Card> {
    CARDS.into_iter().find(|card| Some(card.driver) == driver)
}

/// Whether Ringway was never run on cards with this PF driver.
pub fn is_untested(driver: Option<&str>) -> bool {
    card(driver).is_some_and(untested::is)
}

/// Whether a driver of functions does nothing but make vDPA devices of them.
pub fn makes_vdpa_devices(function_driver: &str) -> bool {
    let makes = |card: &Card| card.vdpa.as_ref().is_some_and(|m| m.driver == function_driver);
    netdev(function_driver).is_none() && CARDS.into_iter().any(makes)
}

/// How a driver of functions makes interfaces of them; `None` if it makes none.
pub fn netdev(function_driver: &str) -> Option<&'static Netdev> {
    CARDS.into_iter().map(|card| &card.netdev).find(|netdev| netdev.driver == function_driver)
}

/// Ways in which functions of a card reach a user, and why there are no more.
pub fn attach(found: &Parent) -> (Vec<Attach>, Option<String>) {
    let Some(card) = card(found.driver.as_deref()) else {
        return (Vec::new(), Some(unknown(found.driver.as_deref())));
    };
    let mut reasons = Vec::new();
    let functions = found.functions.iter().filter_map(no_vfio_for);
    let no_vfio = no_vfio(found).into_iter().chain(functions).next();
    if untested::is(card) {
        reasons.push(format!("driver {} is untested: Ringway was run on none", card.driver));
    }
    if card.vdpa.is_none() {
        reasons.push(format!("nothing is known to make vDPA devices of driver {}", card.driver));
    }
    reasons.extend(no_vfio.as_ref().map(|why| format!("no vfio: {why}")));
    let able = |attach: &Attach| match attach {
        Attach::Vfio => no_vfio.is_none(),
        attach => card.function_driver(*attach).is_some(),
    };
    let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
    (Attach::ALL.into_iter().filter(able).collect(), reason)
}

/// Why no function of a card can be had by vfio, as far as that can be told before there are any:
/// a card without an IOMMU group has functions without.
pub fn no_vfio(found: &Parent) -> Option<String> {
    found.iommu_group.is_none().then(|| {
        "it is in no IOMMU group: the machine's IOMMU must be there, and switched on in the firmware \
         and for the kernel (intel_iommu=on)"
            .to_owned()
    })
}

/// Why a function cannot be had by vfio.
pub fn no_vfio_for(function: &VirtualFunction) -> Option<String> {
    let Some(group) = function.iommu_group else {
        return Some(format!("function {} is in no IOMMU group", function.index));
    };
    let sharers: Vec<_> = function.iommu_sharers.iter().map(ToString::to_string).collect();
    (!sharers.is_empty()).then(|| {
        format!(
            "function {} shares IOMMU group {group} with {}: who has one has all (the card or a \
             bridge above it lacks ACS)",
            function.index,
            sharers.join(", "),
        )
    })
}

fn unknown(driver: Option<&str>) -> String {
    let known = CARDS.map(|card| card.driver).join(", ");
    match driver {
        Some(driver) => {
            format!("what to do with functions of driver {driver} is not known, only of {known}")
        }
        None => {
            format!("no driver is bound to it; what to do is known with functions of {known}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn check(change: impl Fn(&mut Parent), expected: &[Attach], words: Option<&str>) {
        let mut fake = Fake::with_functions(2);
        change(fake.card());
        let (able, reason) = attach(fake.card());
        assert_eq!(able, expected);
        match words {
            Some(words) => assert!(reason.as_ref().unwrap().contains(words), "{reason:?}"),
            None => assert_eq!(reason, None),
        }
    }

    #[test]
    fn what_a_card_can_do_is_seen_and_what_it_cannot_is_explained() {
        use Attach::{Host, Netdev, Vfio, VhostVdpa, VirtioVdpa};
        check(|_| (), &Attach::ALL, None);
        let no_vfio = [Netdev, VhostVdpa, VirtioVdpa, Host];
        check(|card| card.iommu_group = None, &no_vfio, Some("no IOMMU group: the machine's"));
        let alone = "function 1 is in no IOMMU group";
        check(|card| card.functions[1].iommu_group = None, &no_vfio, Some(alone));
        let share = |card: &mut Parent| card.functions[0].iommu_sharers = vec![crate::fake::pf()];
        check(share, &no_vfio, Some("shares IOMMU group 0 with 0000:01:00.0"));
        let igb = |card: &mut Parent| card.driver = Some("igb".into());
        check(igb, &[Netdev, Vfio], Some("vDPA devices of driver igb"));
        let both = |card: &mut Parent| {
            igb(card);
            card.iommu_group = None;
        };
        check(both, &[Netdev], Some("igb; no vfio: it is in no IOMMU group"));
        check(|card| card.driver = Some("i40e".into()), &[], Some("driver i40e is not known"));
        let untested = |card: &mut Parent| card.driver = Some("mlx5_core".into());
        check(untested, &Attach::ALL, Some("driver mlx5_core is untested"));
        let ice = |card: &mut Parent| card.driver = Some("ice".into());
        check(
            ice,
            &[Netdev, Vfio],
            Some("driver ice is untested: Ringway was run on none; nothing"),
        );
        check(|card| card.driver = None, &[], Some("no driver is bound"));
    }

    #[test]
    fn a_driver_stays_by_override_unless_it_comes_by_itself() {
        let driver = |card: &Card, attach| {
            card.function_driver(attach).map(|driver| (driver.name, driver.pinned))
        };
        assert_eq!(driver(&IGB, Attach::Netdev), Some(("igbvf", false)));
        assert_eq!(driver(&IGB, Attach::Vfio), Some(("vfio-pci", true)));
        assert_eq!(driver(&IGB, Attach::Host), None);
        assert_eq!(driver(&VIRTIO, Attach::Netdev), Some(("virtio-pci", false)));
        assert_eq!(driver(&VIRTIO, Attach::VhostVdpa), Some(("vp-vdpa", true)));
        assert_eq!(driver(&untested::MLX5, Attach::VhostVdpa), Some(("mlx5_core", false)));
        // a driver that makes interfaces too may have a user without a vDPA device
        assert_eq!(["vp-vdpa", "mlx5_core", "igbvf"].map(makes_vdpa_devices), [true, false, false]);
    }
}
