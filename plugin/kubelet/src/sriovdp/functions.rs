//! A function of the machine, as far as the configuration speaks of it.

use ringway_kernel::bus::Address;
use ringway_kernel::pci::{self, Ids};

use super::routes::Carries;

/// The base class of processing accelerators (PCI Code and ID Assignment Specification).
pub(super) const ACCELERATOR: u32 = 0x12;

/// The base class of network controllers.
pub(super) const NETWORK: u32 = 0x02;

/// A network controller or accelerator, or a subfunction of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub address: Address,
    /// What it is; of a subfunction, what its PF is.
    pub ids: Ids,
    /// The bound driver.
    pub driver: Option<String>,
    /// The driver of its PF, of a subfunction: that one is meant by `drivers`.
    pub pf_driver: Option<String>,
    /// The NUMA node.
    pub numa: Option<u32>,
    /// The number that the firmware gives it (`acpi_index`).
    pub acpi_index: Option<String>,
    /// The PF, of a VF or subfunction.
    pub pf: Option<pci::Address>,
    /// The number of a VF, or that of a subfunction (`sfnum`) where its driver tells.
    pub index: Option<u32>,
    /// The interfaces of the PF, of a VF or subfunction.
    pub pf_netdevs: Vec<String>,
    /// Whether it is a PF that has VFs or subfunctions.
    pub has_functions: bool,
    /// Its interfaces, as far as they are not in another network namespace.
    pub netdevs: Vec<String>,
    /// What kind of link it has.
    pub link_type: Option<LinkType>,
    /// Whether one of its interfaces carries the machine's own traffic.
    pub carries: Carries,
    /// Its RDMA devices.
    pub rdma_devices: Vec<String>,
    /// The package that its card runs, where that is known and was asked for.
    pub package: Option<String>,
    /// InfiniBand's partition key at index 0.
    pub partition_key: Option<String>,
    /// The vDPA devices that were made on it.
    pub vdpa: Vec<VdpaDevice>,
}

/// What kind of link an interface is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkType {
    /// Ethernet.
    Ether,
    /// IP over InfiniBand.
    Infiniband,
}

impl LinkType {
    /// As `linkTypes` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ether => "ether",
            Self::Infiniband => "infiniband",
        }
    }

    /// By `ARPHRD_*` (include/uapi/linux/if_arp.h).
    pub(super) fn of_interface(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Ether),
            32 => Some(Self::Infiniband),
            _ => None,
        }
    }

    /// By class and subclass.
    pub(super) fn of_class(class: u32) -> Option<Self> {
        match class >> 8 {
            0x0200 => Some(Self::Ether),
            0x0207 => Some(Self::Infiniband),
            _ => None,
        }
    }
}

/// A vDPA device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VdpaDevice {
    /// Its name on the vDPA bus.
    pub name: String,
    /// The bound driver.
    pub driver: Option<String>,
}

/// Whether a function's driver gives it to programs, and the kernel no interface.
pub(super) fn is_for_user_space(driver: &str) -> bool {
    driver.contains("vfio") || driver.contains("uio")
}
