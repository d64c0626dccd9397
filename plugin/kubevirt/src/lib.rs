//! KubeVirt hook sidecar: gives a VM the vhost-vdpa devices of its pod.
//!
//! virt-launcher asks before it defines a domain ([`hook`]); what comes in is the domain's XML and
//! the VMI ([`vmi`]), what goes out is the same XML with one `<interface type='vdpa'>` per
//! interface that uses our binding ([`interface`], [`domain`]). Which device that is says the pod's
//! `network-info` ([`network_info`]); a symbolic link with a stable name points at it ([`link`]),
//! so that a migrated domain finds its device on the target.
//!
//! It runs in virt-launcher's pod, without root and without capabilities. It never opens a device,
//! never talks to the API server and changes nothing but its own directory of sockets.

pub mod args;
pub mod domain;
pub mod error;
pub mod hook;
pub mod interface;
pub mod link;
pub mod mac;
pub mod network_info;
pub mod server;
mod services;
pub mod vmi;

pub use args::Args;
