//! Kubelet device plugin: advertises the pools of `pools.json` and hands out their devices.
//!
//! Observe, plan, apply: [`look`] and `pools.json` give values, [`offer`] turns them into what is
//! offered, [`allocate`], [`cdi`] and [`env`] into what a container gets; [`publish`],
//! [`endpoint`] and [`register`] carry it out; [`plugin`] does so again whenever something changes.
//!
//! It never changes a device and never talks to the API server. It does decide what a container
//! runtime, as root, does for a container (CDI): who controls this process controls the node.

pub mod allocate;
pub mod args;
pub mod cdi;
mod complaints;
pub mod endpoint;
pub mod env;
pub mod error;
pub mod look;
pub mod offer;
pub mod plugin;
pub mod publish;
pub mod register;
pub mod service;
#[cfg(test)]
mod testing;
pub mod watch;

pub use args::Args;
