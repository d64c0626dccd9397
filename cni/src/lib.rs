//! The CNI binary: wires a device of ours into a pod, and takes it out again.
//!
//! A runtime starts it for one verb, with the environment and standard input of the CNI
//! specification; it lives for milliseconds, as root, in the host's namespaces. Network
//! configurations are written by tenants, so that nothing in one is believed: [`grant`] holds the
//! rules. What a device *is now* decides how it is attached ([`attachment`]).
//!
//! Three invariants:
//! - A record of what was there before ([`record`]) is on the disk before the first change, and
//!   says `attached` before success is told. An ADD that is killed leaves a record that says
//!   `attaching`: whoever next holds the device's lock knows that nobody works on it and undoes it.
//! - Every way out of an ADD but success goes through [`undo`].
//! - Nothing here sends generic netlink but a child that may be left behind ([`genl`]), and no process is
//!   started but that and the IPAM plugin's.

pub mod add;
pub mod attachment;
pub mod chain;
pub mod check;
pub mod checkpoint;
pub mod collect;
pub mod config;
pub mod del;
pub mod deviceinfo;
pub mod error;
pub mod expected;
pub mod gc;
pub mod genl;
pub mod grant;
pub mod hook;
pub mod host;
pub mod install;
pub mod invocation;
pub mod ipam;
pub mod limits;
pub mod log;
pub mod netconf;
pub mod netdev;
pub mod place;
pub mod protocol;
pub mod record;
pub mod result;
pub mod show;
pub mod status;
pub mod undo;
pub mod version;
pub mod vf;
pub mod why;
pub mod world;

pub use error::{Code, Error, Result};
pub use version::Version;
pub use world::World;
