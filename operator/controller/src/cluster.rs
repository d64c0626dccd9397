//! What the controller knows of the cluster, as values.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt as _;
use kube::core::DynamicObject;
use ringway_api::device_network::DeviceNetwork;
use ringway_api::device_policy::DevicePolicy;
use ringway_api::node_devices::NodeDevices;

use crate::selector::Labels;

/// A snapshot. All of it was listed once, or there is none: from half a cluster follows nothing.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// All policies.
    pub policies: Vec<Arc<DevicePolicy>>,
    /// All nodes, by name.
    pub nodes: BTreeMap<String, Labels>,
    /// What agents reported, by node.
    pub devices: BTreeMap<String, Arc<NodeDevices>>,
    /// All networks.
    pub networks: Vec<Arc<DeviceNetwork>>,
    /// All NetworkAttachmentDefinitions.
    pub definitions: Definitions,
}

/// The NetworkAttachmentDefinitions of a cluster.
#[derive(Debug, Clone, Default)]
pub enum Definitions {
    /// Not known yet.
    #[default]
    Unknown,
    /// The API server does not serve the kind: Multus is not installed.
    NotServed,
    /// All of them, by namespace and name.
    Known(BTreeMap<(String, String), Arc<DynamicObject>>),
}

impl Definitions {
    /// By namespace and name.
    pub fn of(objects: impl IntoIterator<Item = Arc<DynamicObject>>) -> Self {
        let key =
            |object: &DynamicObject| (object.namespace().unwrap_or_default(), object.name_any());
        Self::Known(objects.into_iter().map(|object| (key(&object), object)).collect())
    }
}
