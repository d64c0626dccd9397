//! Test equipment, not product: stands in for KubeVirt's virt-launcher where KubeVirt itself cannot
//! be had.
//!
//! It is the first process of a pod's `compute` container (uid 107, no capability). It speaks the
//! hooks protocol as KubeVirt's manager does ([`hooks`]), with a domain of its own ([`domain`]);
//! what comes back, real libvirt defines and real QEMU boots ([`libvirt`]), and the guest's
//! serial console says how it went ([`serial`]). [`story`] is the order of all that, [`reap`] what
//! a first process owes to orphans.
//!
//! It shows nothing about KubeVirt: it plays only what `pkg/hooks/manager.go` and
//! `WithNetworkIfacesResources` do, and nothing in the product may depend on it.

pub mod args;
pub mod clock;
pub mod domain;
pub mod hooks;
pub mod libvirt;
pub mod reap;
pub mod serial;
pub mod story;
