//! Ringway's Kubernetes API, `ringway.dev/v1alpha1`: data and the rules for it, no behaviour.
//!
//! A person writes a [`DevicePolicy`] (which parents on which nodes are carved into which pools)
//! and a [`DeviceNetwork`] (how pods attach to a pool's devices). The controller turns policies
//! into the spec of one [`NodeDevices`] per node; the node's agent answers in its status.

// the schema derive wraps a copy of each type in a private module
#![allow(unreachable_pub)]

pub mod conditions;
pub mod device_network;
pub mod device_policy;
pub mod node_devices;

pub use device_network::{DeviceNetwork, DeviceNetworkSpec};
pub use device_policy::{DevicePolicy, DevicePolicySpec};
pub use node_devices::{NodeDevices, NodeDevicesSpec, NodeDevicesStatus};

/// The API group, and the prefix of labels, annotations and resources.
pub const GROUP: &str = "ringway.dev";

/// All kinds' definitions, as the API server takes them.
pub fn definitions()
-> [k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition; 3]
{
    use kube::CustomResourceExt as _;
    [DevicePolicy::crd(), NodeDevices::crd(), DeviceNetwork::crd()]
}

#[cfg(test)]
mod tests;
