//! Kubelet device plugin: advertises the pools of `pools.json`, or of the SR-IOV network device plugin's
//! own configuration, and hands out their devices.
//!
//! Observe, plan, apply: [`look`] and the [`source`] give values, [`offer`] turns them into what is
//! offered, [`prefer`] into what kubelet should choose, [`allocate`], [`cdi`] and
//! [`env`] into what a container gets; [`publish`],
//! [`endpoint`] and [`register`] carry it out; [`plugin`] does so again whenever something changes.
//!
//! It never changes a device and never talks to the API server. It does decide what a container
//! runtime, as root, does for a container (CDI): who controls this process controls the node.

pub mod allocate;
pub mod args;
mod budget;
pub mod cdi;
pub mod check;
mod complaints;
pub mod counts;
pub mod due;
pub mod endpoint;
pub mod env;
pub mod error;
pub mod holders;
pub mod kept;
pub mod look;
pub mod metrics;
pub mod offer;
pub mod plugin;
pub mod prefer;
pub mod publish;
pub mod register;
pub mod service;
pub mod shared;
pub mod source;
pub mod sriovdp;
pub mod streams;
pub mod supply;
#[cfg(test)]
mod testing;
pub mod watch;

pub use args::Args;
