//! Builds and drives Ringway's lab: a real kernel with emulated SR-IOV cards and vDPA, a real
//! Kubernetes cluster around it, and the tests that run there. No hardware, no container registry.
//!
//! Two halves that never overlap in time:
//! - **parts** are built once and cached by the content of their inputs ([`store`], [`parts`]);
//! - **a lab** runs from them ([`lab`]): one process holds it, and everything in it dies with that
//!   process ([`holder`]).
//!
//! No kube, tokio or tonic here: the lab must compile in a minute on a machine that has nothing.

pub mod cli;

mod accel;
mod bench;
mod cluster;
mod compare;
mod console;
mod cpio;
mod demo;
mod deploy;
mod guest;
mod holder;
mod host;
mod image;
mod lab;
mod monitor;
mod network_info;
mod node;
mod parts;
mod place;
mod product;
mod progress;
mod run;
mod store;
mod table;
mod test;
mod vm;
mod wait;
