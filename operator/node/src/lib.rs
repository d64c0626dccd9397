//! The files on a node that several of Ringway's processes share.
//!
//! The agent, the device plugin and the CNI binary never talk to each other: they meet in files.
//! This crate holds where those files are ([`Paths`]), what is in them ([`pools`], [`devinfo`]),
//! and how root's code reads and writes them safely ([`atomic`], [`lock`], [`program`]).
//!
//! It does not look at devices, does not talk to Kubernetes and starts no threads.

pub mod atomic;
pub mod device_id;
pub mod devinfo;
pub mod limits;
pub mod lock;
pub mod paths;
pub mod place;
pub mod pools;
pub mod program;
pub mod resource;

pub use device_id::DeviceId;
pub use paths::Paths;
pub use resource::Resource;
