//! Why a domain cannot be defined.

use tonic::{Code, Status};

use crate::mac::Mac;
use crate::{domain, link, network_info};

/// Why a domain cannot be defined. The chain names the VM, the interface and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The VMI cannot be read.
    #[error("read the VMI as JSON")]
    Vmi(#[source] serde_json::Error),
    /// An interface cannot be had.
    #[error("VM {vm}: interface {interface}")]
    Interface {
        /// `namespace/name`.
        vm: String,
        /// The interface's name in the VMI.
        interface: String,
        /// What is wrong with it.
        source: Box<Problem>,
    },
    /// The domain cannot be changed.
    #[error("VM {vm}: add interfaces to the domain")]
    Domain {
        /// `namespace/name`.
        vm: String,
        /// What is wrong with it.
        source: domain::Error,
    },
}

/// What is wrong with an interface.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A field has a value that it cannot have.
    #[error("{field} {value:?}: must be {allowed}")]
    Field {
        /// The field in the VMI.
        field: &'static str,
        /// What it says.
        value: String,
        /// What it may say.
        allowed: &'static str,
    },
    /// The VMI has no network for it.
    #[error("spec.networks has no network of that name")]
    NoNetwork,
    /// Its network comes with no device.
    #[error("its network is not of kind `multus`, the only one that brings a device")]
    NotMultus,
    /// Its device is not known.
    #[error("find its device in {file}")]
    Device {
        /// The file that was read.
        file: String,
        /// What is wrong in it.
        source: network_info::Error,
    },
    /// QEMU answers for the VM's address, the device only for its own.
    #[error(
        "macAddress {wanted} is not the device's, {device}: leave macAddress out, or let the \
         network set it (capability `mac`) on a device whose driver can"
    )]
    OtherMac {
        /// The VMI's.
        wanted: Mac,
        /// The device's.
        device: Mac,
    },
    /// Nobody says which address the device has.
    #[error(
        "its Ethernet address is not known: neither macAddress in the VMI nor mac in {file} \
         (KubeVirt before v1.8 writes none): set macAddress to the device's"
    )]
    NoMac {
        /// The file that was read.
        file: String,
    },
    /// The link to its device cannot be made.
    #[error(transparent)]
    Link(#[from] link::Error),
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Vmi(_) | Error::Domain { .. } => Code::InvalidArgument,
            Error::Interface { source, .. } => match &**source {
                Problem::Field { .. } | Problem::NoNetwork | Problem::NotMultus => {
                    Code::InvalidArgument
                }
                Problem::Device { .. } | Problem::OtherMac { .. } | Problem::NoMac { .. } => {
                    Code::FailedPrecondition
                }
                Problem::Link(_) => Code::Internal,
            },
        };
        Self::new(code, chain(&error))
    }
}

/// `error` and its sources, joined by colons: what anyhow's `{:#}` prints.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
