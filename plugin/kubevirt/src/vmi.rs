//! The VirtualMachineInstance, as far as it matters here (`kubevirt.io/api/core/v1`).

use serde::Deserialize;

use crate::error::{Error, Problem};
use crate::mac::Mac;

/// A VM with those of its interfaces that use our binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// `namespace/name`.
    pub name: String,
    /// In the VMI's order.
    pub interfaces: Vec<Interface>,
}

/// What a VMI says of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name, which is also its network's.
    pub name: String,
    /// The Ethernet address that the VM shall have.
    pub mac: Option<Mac>,
    /// Where on the guest's PCI bus.
    pub pci_address: Option<PciAddress>,
    /// `acpiIndex`: the number in the guest's name `enoN`.
    pub acpi_index: Option<u32>,
    /// `bootOrder`: 1 is tried first.
    pub boot_order: Option<u32>,
}

/// Domain, bus, slot and function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PciAddress {
    /// 16 bits.
    pub domain: u16,
    /// 8 bits.
    pub bus: u8,
    /// 5 bits.
    pub slot: u8,
    /// 3 bits.
    pub function: u8,
}

/// Reads a VMI and picks the interfaces of `binding`. One that is being unplugged is left out.
///
/// # Errors
/// It is no VMI, or an interface of ours asks for what cannot be.
pub fn read(json: &[u8], binding: &str) -> Result<Vm, Error> {
    let raw: raw::Vmi = serde_json::from_slice(json).map_err(Error::Vmi)?;
    let name = format!("{}/{}", raw.metadata.namespace, raw.metadata.name);
    let ours = raw.spec.domain.devices.interfaces.iter().flatten().filter(|interface| {
        interface.binding.as_ref().is_some_and(|b| b.name == binding)
            && interface.state.as_deref() != Some("absent")
    });
    let interfaces = ours.map(|interface| {
        pick(interface, raw.spec.networks.as_deref().unwrap_or_default()).map_err(|problem| {
            Error::Interface {
                vm: name.clone(),
                interface: interface.name.clone(),
                source: Box::new(problem),
            }
        })
    });
    Ok(Vm { interfaces: interfaces.collect::<Result<_, _>>()?, name })
}

fn pick(interface: &raw::Interface, networks: &[raw::Network]) -> Result<Interface, Problem> {
    // KubeVirt's own rule; the name becomes an alias and a file name.
    let name = &interface.name;
    let fits = (1..=200).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !fits {
        return Err(field("name", name, "1 to 200 of letters, digits, `-` and `_`"));
    }
    let network = networks.iter().find(|network| network.name == *name);
    match network {
        None => return Err(Problem::NoNetwork),
        Some(network) if network.multus.is_none() => return Err(Problem::NotMultus),
        Some(_) => {}
    }
    let mac = interface.mac_address.as_deref().filter(|text| !text.is_empty());
    let address = interface.pci_address.as_deref().filter(|text| !text.is_empty());
    Ok(Interface {
        name: name.clone(),
        mac: mac
            .map(|text| {
                text.parse().map_err(|_| field("macAddress", text, "such as 02:00:00:00:00:01"))
            })
            .transpose()?,
        pci_address: address
            .map(|text| {
                pci_address(text).ok_or_else(|| field("pciAddress", text, "such as 0000:81:00.1"))
            })
            .transpose()?,
        // 0 is Go's way to say that nothing is set
        acpi_index: interface.acpi_index.filter(|index| *index != 0),
        boot_order: interface.boot_order.filter(|order| *order != 0),
    })
}

fn field(field: &'static str, value: &str, allowed: &'static str) -> Problem {
    Problem::Field { field, value: value.to_owned(), allowed }
}

fn pci_address(text: &str) -> Option<PciAddress> {
    let (rest, function) = text.rsplit_once('.')?;
    let mut parts = rest.splitn(3, ':');
    let mut hex = |digits: usize| {
        parts
            .next()
            .filter(|part| part.len() == digits && part.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let (domain, bus, slot) = (hex(4)?, hex(2)?, hex(2)?);
    let address = PciAddress {
        domain: u16::from_str_radix(domain, 16).ok()?,
        bus: u8::from_str_radix(bus, 16).ok()?,
        slot: u8::from_str_radix(slot, 16).ok()?,
        function: function.parse().ok().filter(|_| function.len() == 1)?,
    };
    (address.slot < 32 && address.function < 8).then_some(address)
}

/// The JSON. Lists may be null, as Go writes empty ones.
mod raw {
    use super::Deserialize;

    #[derive(Deserialize)]
    pub(super) struct Vmi {
        pub(super) metadata: Metadata,
        pub(super) spec: Spec,
    }

    #[derive(Deserialize)]
    pub(super) struct Metadata {
        pub(super) name: String,
        #[serde(default)]
        pub(super) namespace: String,
    }

    #[derive(Deserialize)]
    pub(super) struct Spec {
        pub(super) domain: Domain,
        pub(super) networks: Option<Vec<Network>>,
    }

    #[derive(Deserialize)]
    pub(super) struct Domain {
        pub(super) devices: Devices,
    }

    #[derive(Deserialize)]
    pub(super) struct Devices {
        pub(super) interfaces: Option<Vec<Interface>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Interface {
        pub(super) name: String,
        pub(super) binding: Option<Binding>,
        pub(super) mac_address: Option<String>,
        pub(super) pci_address: Option<String>,
        pub(super) acpi_index: Option<u32>,
        pub(super) boot_order: Option<u32>,
        pub(super) state: Option<String>,
    }

    #[derive(Deserialize)]
    pub(super) struct Binding {
        pub(super) name: String,
    }

    #[derive(Deserialize)]
    pub(super) struct Network {
        pub(super) name: String,
        pub(super) multus: Option<serde::de::IgnoredAny>,
    }
}

#[cfg(test)]
mod tests;
