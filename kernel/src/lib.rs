//! What Linux offers for SR-IOV and vDPA, as values and calls.
//!
//! The one crate that writes below `/sys`, opens netlink sockets, loads modules or enters another
//! network namespace. It is synchronous, keeps no state and knows neither policy nor cluster:
//! callers observe ([`inventory`]), decide, and call.
//!
//! Three invariants:
//! - Everything below `/sys`, `/dev`, `/proc` and `/lib/modules` is reached through a [`Root`], so
//!   a test puts a temporary tree there (`testing`).
//! - Netlink is bytes: encoding and parsing are pure functions, sockets only carry them.
//! - A call that can sleep in the kernel for ever says so in its documentation. Such calls go
//!   through [`stuck::run`], which gives them a thread, a deadline and a marker.

pub mod arp;
pub mod auxiliary;
pub mod bus;
pub mod chardev;
pub mod devlink;
pub mod error;
pub mod features;
pub mod genl;
pub mod inventory;
pub mod ip;
pub mod link;
pub mod mac;
pub mod module;
pub mod monitor;
pub mod netlink;
pub mod netns;
pub mod pci;
pub mod root;
pub mod sriov;
pub mod stuck;
pub mod sysfs;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod uevent;
pub mod userspace;
pub mod vdpa;
pub mod vdpa_bus;
pub mod vfio;
mod worker;

pub use error::{Error, Result};
pub use ip::IpPrefix;
pub use mac::Mac;
pub use root::Root;
