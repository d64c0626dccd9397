//! Ringway's Kubernetes API, `ringway.dev/v1alpha1`: data and the rules for it, no behaviour.
//!
//! A person writes a [`DevicePolicy`] (which parents on which nodes are carved into which pools)
//! and a [`DeviceNetwork`] (how pods attach to a pool's devices). The controller turns policies
//! into the spec of one [`NodeDevices`] per node; the node's agent answers in its status.

// the schema derive wraps a copy of each type in a private module
#![allow(unreachable_pub)]
// each printed column of a kind names its type
#![allow(clippy::duplicated_attributes)]

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};

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
pub fn definitions() -> [CustomResourceDefinition; 3] {
    use kube::CustomResourceExt as _;
    let mut all = [DevicePolicy::crd(), NodeDevices::crd(), DeviceNetwork::crd()];
    for version in all.iter_mut().flat_map(|definition| &mut definition.spec.versions) {
        let schema = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut());
        schema.into_iter().for_each(known_formats);
    }
    all
}

/// Leaves out the formats that OpenAPI does not know, of which the API server warns at every
/// `kubectl apply`: `uint16` and the like. Their bounds stand beside them as numbers.
fn known_formats(schema: &mut JSONSchemaProps) {
    if schema.format.as_ref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = None;
    }
    schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
        .for_each(known_formats);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        known_formats(items);
    }
}

#[cfg(test)]
mod tests;
