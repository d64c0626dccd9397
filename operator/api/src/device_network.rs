//! `DeviceNetwork`: how pods of a namespace attach to the devices of one resource.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How pods of this namespace attach to the devices of one resource. The controller renders a
/// NetworkAttachmentDefinition of the same name from it.
#[derive(Debug, Clone, PartialEq, CustomResource, KubeSchema, Serialize, Deserialize)]
#[kube(
    group = "ringway.dev",
    version = "v1alpha1",
    kind = "DeviceNetwork",
    plural = "devicenetworks",
    shortname = "dnet",
    category = "ringway",
    doc = "How pods of a namespace attach to the devices of one resource.",
    namespaced,
    status = "DeviceNetworkStatus",
    derive = "PartialEq",
    printcolumn(name = "Resource", type_ = "string", json_path = ".spec.resource"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Ready\")].message"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.ipam) || has(self.ipam.type)")
        .message("ipam: an IPAM configuration names its plugin in `type`"),
)]
pub struct DeviceNetworkSpec {
    /// The pool resource, without the prefix: `pod-rings` for `ringway.dev/pod-rings`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$"))]
    pub resource: String,
    /// Maximum transmission unit of the pod's interface in bytes; left alone if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 68, max = 65535))]
    pub mtu: Option<u16>,
    /// The IPAM plugin's configuration as CNI has it: `type` and what that plugin reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "ipam_schema")]
    pub ipam: Option<BTreeMap<String, Value>>,
}

/// An object with a known `type` and anything else: what an IPAM plugin reads is its own matter.
fn ipam_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "description": "The IPAM plugin's configuration as CNI has it: `type` and what that plugin reads.",
        "properties": {"type": {"type": "string", "pattern": "^[a-z0-9][a-z0-9.-]*$", "maxLength": 63}},
        "x-kubernetes-preserve-unknown-fields": true,
        "nullable": true,
    })
}

/// What became of a network.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceNetworkStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Degraded`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
