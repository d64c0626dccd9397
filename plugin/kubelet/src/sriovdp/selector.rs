//! Which functions a resource wants: all keys of a selector must hold, and of each key one value.

use super::functions::{Function, LinkType};
use super::indices::OfParent;

/// One selector. What is empty or false selects nothing away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// PCI vendor ids, four hexadecimal digits.
    pub vendors: Vec<String>,
    /// PCI device ids, four hexadecimal digits.
    pub devices: Vec<String>,
    /// Bound drivers.
    pub drivers: Vec<String>,
    /// PCI addresses.
    pub pci_addresses: Vec<String>,
    /// Numbers that the firmware gives.
    pub acpi_indexes: Vec<String>,
    /// Interfaces of PFs, with indices of VFs or subfunctions.
    pub pf_names: Vec<OfParent>,
    /// Addresses of PFs, with indices of VFs or subfunctions.
    pub root_devices: Vec<OfParent>,
    /// `ether`, `infiniband`.
    pub link_types: Vec<String>,
    /// Packages of Intel's cards.
    pub ddp_profiles: Vec<String>,
    /// Partition keys of InfiniBand.
    pub p_keys: Vec<String>,
    /// Only functions with RDMA devices, which are handed out with them.
    pub is_rdma: bool,
    /// Only functions with a vDPA device that is served so.
    pub vdpa_type: Option<VdpaType>,
    /// `/dev/vhost-net` and `/dev/net/tun` are handed out with it.
    pub need_vhost_net: bool,
}

/// How a vDPA device is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VdpaType {
    /// By vhost_vdpa.
    Vhost,
    /// By virtio_vdpa.
    Virtio,
}

impl VdpaType {
    /// The driver on the vDPA bus.
    pub fn driver(self) -> ringway_kernel::vdpa_bus::Driver {
        match self {
            Self::Vhost => ringway_kernel::vdpa_bus::Driver::VhostVdpa,
            Self::Virtio => ringway_kernel::vdpa_bus::Driver::VirtioVdpa,
        }
    }
}

/// Why a function is not selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// This key has not its value.
    No(String),
    /// All else holds, but what this key is about is not known.
    Unknown(&'static str),
}

impl Selector {
    /// Whether all keys hold for `function`; else the first that does not.
    pub(super) fn matches(&self, function: &Function) -> Result<(), Mismatch> {
        let Function { ids, address, .. } = function;
        one_of("vendors", &self.vendors, Some(&format!("{:04x}", ids.vendor)))?;
        one_of("devices", &self.devices, Some(&format!("{:04x}", ids.device)))?;
        let driver = function.pf_driver.as_ref().or(function.driver.as_ref());
        one_of("drivers", &self.drivers, driver.map(String::as_str))?;
        one_of("pciAddresses", &self.pci_addresses, Some(&address.to_string()))?;
        one_of("acpiIndexes", &self.acpi_indexes, function.acpi_index.as_deref())?;
        of_parent("pfNames", &self.pf_names, &function.pf_netdevs, function.index)?;
        let root: Vec<String> = function.pf.iter().map(ToString::to_string).collect();
        of_parent("rootDevices", &self.root_devices, &root, function.index)?;
        one_of("linkTypes", &self.link_types, function.link_type.map(LinkType::as_str))?;
        one_of("pKeys", &self.p_keys, function.partition_key.as_deref())?;
        if self.is_rdma && function.rdma_devices.is_empty() {
            return Err(Mismatch::No("isRdma: it has no RDMA device".to_owned()));
        }
        self.vdpa(function)?;
        // last: only what all else holds for must wait for an answer
        match &function.package {
            None if !self.ddp_profiles.is_empty() => Err(Mismatch::Unknown("ddpProfiles")),
            package => one_of("ddpProfiles", &self.ddp_profiles, package.as_deref()),
        }
    }

    fn vdpa(&self, function: &Function) -> Result<(), Mismatch> {
        let Some(wanted) = self.vdpa_type.map(VdpaType::driver) else { return Ok(()) };
        let no = |found: String| Err(Mismatch::No(format!("vdpaType: {found}")));
        match function.vdpa.first() {
            None => no("it has no vDPA device".to_owned()),
            Some(vdpa) if vdpa.driver.as_deref() == Some(wanted.name()) => Ok(()),
            Some(vdpa) => {
                let driver = vdpa.driver.as_deref().unwrap_or("no driver");
                no(format!("{} is bound to {driver}, not to {}", vdpa.name, wanted.name()))
            }
        }
    }
}

fn one_of(key: &str, wanted: &[String], found: Option<&str>) -> Result<(), Mismatch> {
    let holds = found.is_some_and(|found| wanted.iter().any(|w| w.eq_ignore_ascii_case(found)));
    if wanted.is_empty() || holds {
        return Ok(());
    }
    let found = found.unwrap_or("not known");
    Err(Mismatch::No(format!("{key}: {found} is not {}", wanted.join(" or "))))
}

/// Only the first entry that speaks of the parent counts.
fn of_parent(
    key: &str,
    wanted: &[OfParent],
    parents: &[String],
    index: Option<u32>,
) -> Result<(), Mismatch> {
    if wanted.is_empty() {
        return Ok(());
    }
    let Some(index) = index else {
        return Err(Mismatch::No(format!("{key}: it is no function of a PF")));
    };
    let is_of =
        |of: &&OfParent| parents.iter().any(|parent| parent.eq_ignore_ascii_case(of.parent()));
    match wanted.iter().find(is_of) {
        Some(of) if of.has(index) => Ok(()),
        Some(of) => Err(Mismatch::No(format!("{key}: index {index} is not in {}", of.as_str()))),
        None => {
            let found = if parents.is_empty() { "not known".into() } else { parents.join(", ") };
            let wanted: Vec<&str> = wanted.iter().map(OfParent::as_str).collect();
            Err(Mismatch::No(format!("{key}: {found} is not in {}", wanted.join(" or "))))
        }
    }
}

#[cfg(test)]
mod tests;
