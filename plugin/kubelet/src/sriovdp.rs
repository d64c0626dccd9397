//! The configuration language of the SR-IOV network device plugin
//! (github.com/k8snetworkplumbingwg/sriov-network-device-plugin), as a second source of what to offer.
//!
//! [`Config`] is what a file says, [`functions`] what the machine has, and [`select`] puts the two
//! together: a pure function, whose result is of the same type as that of `pools.json`. Where we do
//! something else than that plugin, docs/from-sriovdp.md says so and why.

mod asks;
mod config;
mod fields;
mod functions;
mod indices;
mod machine;
mod packages;
mod routes;
mod select;
mod selector;
#[cfg(test)]
mod testing;

pub use asks::Asks;
pub use config::{AdditionalInfo, Config, DeviceType, Error, ResourceConfig};
pub use functions::{Function, LinkType, VdpaDevice};
pub use indices::OfParent;
pub use machine::{functions, functions_at};
pub use packages::Packages;
pub use routes::{Carries, Routes};
pub use select::{NO_RESOURCE, select};
pub use selector::{Selector, VdpaType};
