//! Functions go to resources: a pure function over a configuration and a machine.

use std::collections::BTreeMap;

use ringway_kernel::bus::Address;
use ringway_kernel::vdpa_bus::Driver;
use ringway_kernel::vfio;
use ringway_node::DeviceId;
use ringway_node::pools::{Allocation, Carrier, Device, State, Vdpa};

use super::config::{Config, DeviceType, ResourceConfig};
use super::functions::{ACCELERATOR, Function, NETWORK};
use super::routes::Carries;
use super::selector::{Mismatch, Selector};
use crate::source::{LeftOut, Told};
use crate::supply::{Delivery, Entry, NodePaths, Supply, Way, With};

/// Why a function is left out where there is no resource that it could be in.
pub const NO_RESOURCE: &str = "no resource is configured";

/// Gives each function to the first resource of `config` that wants it, in the order of resources and
/// of each one's selectors.
pub fn select(config: &Config, functions: &[Function], delivery: Delivery) -> Told {
    let mut told = Told { warnings: config.warnings.clone(), ..Told::default() };
    let mut fate: BTreeMap<_, Fate> =
        functions.iter().map(|function| (&function.address, Fate::of(function))).collect();
    for resource in &config.resources {
        let mut entries = Vec::new();
        for selector in &resource.selectors {
            for function in functions {
                let Some(fate) = fate.get_mut(&function.address) else { continue };
                if fate.offer(resource, selector, function) {
                    entries.extend(entry(resource, selector, function));
                }
            }
        }
        if entries.is_empty() {
            told.warnings.push(format!("{}: no function is for it", resource.resource));
        }
        let (resource, allocation) = (resource.resource.clone(), Allocation::Spread);
        // that plugin serves no resource without devices
        if !entries.is_empty() {
            told.supplies.push(Supply { resource, allocation, delivery, entries });
        }
    }
    let unknown = functions.iter().filter(|function| function.carries == Carries::Unknown);
    if unknown.count() > 0 {
        told.warnings.push(
            "this process sees other interfaces than sysfs shows: it cannot tell who carries the default \
             route, and offers no function with an interface but VFs; it must be in the machine's network \
             namespace (hostNetwork: true)"
                .to_owned(),
        );
    }
    told.left_out = fate
        .into_iter()
        .filter_map(|(address, fate)| fate.left_out(&address.to_string()))
        .collect();
    told
}

/// What becomes of a function.
enum Fate {
    /// It is a resource's.
    Taken,
    /// It is nobody's, for good.
    Refused(String),
    /// It is nobody's yet; why, by resource.
    Free(Vec<String>),
}

impl Fate {
    /// What no resource may have.
    fn of(function: &Function) -> Self {
        let refused = |reason: &str| Self::Refused(reason.to_owned());
        if function.driver.is_none() {
            return refused("it has no driver");
        }
        if function.ids.class >> 16 == NETWORK {
            if function.has_functions {
                return refused("it is a PF that has VFs or subfunctions");
            }
            match function.carries {
                Carries::No => {}
                Carries::DefaultRoute => return refused("its interface carries the default route"),
                Carries::Unknown if function.pf.is_some() => {}
                Carries::Unknown => {
                    return refused(
                        "it is not known whether its interface carries the default route",
                    );
                }
            }
        }
        Self::Free(Vec::new())
    }

    /// Whether the resource takes the function.
    fn offer(
        &mut self,
        resource: &ResourceConfig,
        selector: &Selector,
        function: &Function,
    ) -> bool {
        let Self::Free(reasons) = self else { return false };
        let name = &resource.resource;
        if let Err(found) = is_of(resource.device_type, function) {
            reasons.push(format!("{name}: deviceType: {found}"));
            return false;
        }
        match selector.matches(function) {
            Ok(()) => *self = Self::Taken,
            Err(Mismatch::No(reason)) => reasons.push(format!("{name}: {reason}")),
            Err(Mismatch::Unknown(key)) => {
                let reason =
                    format!("{name} may want it, by {key}, which its driver does not tell");
                *self = Self::Refused(reason);
            }
        }
        matches!(self, Self::Taken)
    }

    fn left_out(self, device: &str) -> Option<LeftOut> {
        let reasons = match self {
            Self::Taken => return None,
            Self::Refused(reason) => vec![reason],
            Self::Free(reasons) if reasons.is_empty() => vec![NO_RESOURCE.to_owned()],
            Self::Free(reasons) => reasons,
        };
        Some(LeftOut { device: device.to_owned(), reasons })
    }
}

/// Whether the function is of a kind; else what it is.
fn is_of(kind: DeviceType, function: &Function) -> Result<(), String> {
    let is_subfunction = matches!(function.address, Address::Auxiliary(_));
    let class = match kind {
        DeviceType::AuxNetDevice if !is_subfunction => {
            return Err("it is no subfunction".to_owned());
        }
        DeviceType::NetDevice | DeviceType::Accelerator if is_subfunction => {
            return Err("it is a subfunction".to_owned());
        }
        DeviceType::NetDevice | DeviceType::AuxNetDevice => NETWORK,
        DeviceType::Accelerator => ACCELERATOR,
    };
    match function.ids.class {
        found if found >> 16 == class => Ok(()),
        found => Err(format!("its class is {found:06x}")),
    }
}

/// The function as a device. `None` if its name is too long for an id.
fn entry(resource: &ResourceConfig, selector: &Selector, function: &Function) -> Option<Entry> {
    let address = function.address.to_string();
    let id: DeviceId = address.parse().ok()?;
    let (way, vdpa) = way(selector, function);
    let is_pci = function.address.pci().is_some();
    let extra = resource.additional_info.as_ref().map(|info| {
        let of = |key: &str| info.get(key).cloned().unwrap_or_default();
        // what is said of one device counts more
        let mut extra = of("*");
        // that plugin knows a subfunction by its PF's address here
        extra.extend(
            function.pf.filter(|_| !is_pci).map(|pf| of(&pf.to_string())).unwrap_or_default(),
        );
        extra.extend(of(&address));
        extra
    });
    let device = Device {
        id,
        parent: function.pf.map_or(address, |pf| pf.to_string()),
        index: function.index.unwrap_or_default(),
        numa_node: function.numa.filter(|_| !resource.exclude_topology),
        state: State::Ready,
        reason: None,
        mac: None,
        mtu: None,
        queue_pairs: None,
        features: Vec::new(),
        vdpa,
        pci_address: function.address.pci(),
        pf_pci_address: function.pf,
    };
    let with = With { rdma: selector.is_rdma, vhost_net: selector.need_vhost_net, extra };
    // their configuration does not speak of it: who starts the plugin does
    let carrier = Carrier::Ignore;
    Some(Entry { device, way, carrier, paths: NodePaths::Host, with })
}

fn way(selector: &Selector, function: &Function) -> (Way, Option<Vdpa>) {
    let vdpa = selector.vdpa_type.zip(function.vdpa.first()).map(|(kind, device)| Vdpa {
        name: device.name.clone(),
        mgmtdev: function.address.management_device().to_string(),
        driver: kind.driver(),
        node: None,
    });
    let driver = function.driver.as_deref().unwrap_or_default();
    let way = match vdpa.as_ref().map(|vdpa| vdpa.driver) {
        Some(Driver::VhostVdpa) => Way::VhostVdpa,
        Some(Driver::VirtioVdpa) => Way::VirtioVdpa,
        None if driver == vfio::DRIVER => Way::Vfio,
        None if driver.contains("uio") => Way::Uio,
        None => Way::Netdev,
    };
    (way, vdpa)
}

#[cfg(test)]
mod tests;
