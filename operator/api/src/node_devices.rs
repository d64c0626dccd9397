//! `NodeDevices`: one node's parents and functions. The controller writes the spec, the node's
//! agent the status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::device_policy::{
    Allocation, Attach, Defaults, EswitchMode, Health, Limits, Ownership, Range, Uplink,
    VdpaSettings,
};

/// The annotation by which a node's agent is told to leave the node: nothing is carved any more, and
/// what the chart has put on the host goes. Set when the chart is removed.
pub const LEAVE: &str = "ringway.dev/leave";

/// What one node shall have, and has. Named after its node and owned by it.
#[derive(Debug, Clone, Default, PartialEq, CustomResource, KubeSchema, Serialize, Deserialize)]
#[kube(
    group = "ringway.dev",
    version = "v1alpha1",
    kind = "NodeDevices",
    plural = "nodedevices",
    singular = "nodedevices",
    shortname = "ndev",
    category = "ringway",
    doc = "What one node shall have, and has. Written by Ringway: the spec by its operator, the status by the node's agent.",
    status = "NodeDevicesStatus",
    derive = "PartialEq",
    derive = "Default",
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
    printcolumn(name = "Parents", type_ = "integer", json_path = ".status.summary.parents"),
    printcolumn(name = "Functions", type_ = "integer", json_path = ".status.summary.functions"),
    printcolumn(name = "ReadyFunctions", type_ = "integer", json_path = ".status.summary.ready"),
    printcolumn(name = "Plan", type_ = "integer", json_path = ".status.summary.steps"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Ready\")].message"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct NodeDevicesSpec {
    /// The parents to be carved.
    #[serde(default)]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub parents: Vec<ParentSpec>,
}

/// A parent to be carved. Its identity is checked: a card may have moved to another slot.
#[derive(Debug, Clone, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentSpec {
    /// The PCI address of a card, or the name of a simulator's management device.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// What the card must be; absent for simulators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The policy that asks for it.
    #[schemars(length(max = 253))]
    pub policy: String,
    /// Who makes its functions.
    #[serde(default, skip_serializing_if = "Ownership::is_managed")]
    pub ownership: Ownership,
    /// Whether somebody else's vDPA devices that are exactly what is wanted are taken over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,
    /// Settings of the parent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<Uplink>,
    /// How many functions it shall have.
    #[schemars(range(max = 1024))]
    pub function_count: u16,
    /// Which functions serve what.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub pools: Vec<PoolSpec>,
}

/// What a card is, wherever it sits.
#[derive(Debug, Clone, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// PCI vendor id, four hexadecimal digits.
    #[schemars(length(max = 4))]
    pub vendor: String,
    /// PCI device id, four hexadecimal digits.
    #[schemars(length(max = 4))]
    pub device: String,
    /// The permanent MAC address of its first interface; absent where the driver tells none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 17))]
    pub mac: Option<String>,
}

/// A range of a parent's functions, serving one resource in one way.
#[derive(Debug, Clone, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolSpec {
    /// The pool's name in its policy.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The whole resource name: `ringway.dev/vm-rings`. Absent with attach `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 127))]
    pub resource: Option<String>,
    /// The functions by index.
    #[schemars(length(max = 9))]
    pub range: Range,
    /// How a device reaches its user.
    pub attach: Attach,
    /// What its vDPA devices shall be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vdpa: Option<VdpaSettings>,
    /// Whether `vdpa.features` is what all functions with the resource have in common: `common` until
    /// that is known, and then the names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub common_features: bool,
    /// What its functions are set to while nobody uses them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Defaults>,
    /// What a pod's network may ask for beyond `defaults`; nothing that others would notice if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Which of its free devices a container gets; `Spread` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<Allocation>,
    /// What a healthy device is, beside being there and bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

impl PoolSpec {
    /// Whether it is not known yet which features all functions with the resource have in common.
    pub fn awaits_features(&self) -> bool {
        self.common_features && self.vdpa.as_ref().is_some_and(VdpaSettings::asks_for_common)
    }
}

/// What one node has, and what is still to be done there.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeDevicesStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The numbers that `kubectl get` shows.
    #[serde(default)]
    pub summary: Summary,
    /// Everything on the node that could be carved.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub parents: Vec<ParentStatus>,
    /// What vDPA devices of functions can be given, where a pool asks for features in common: each
    /// distinct set once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feature_sets: Vec<FeatureSet>,
    /// The steps still to do, in order.
    #[serde(default)]
    pub plan: Vec<StepStatus>,
    /// What the condition `Degraded` is about, by parent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["parent".into()]))]
    pub degraded: Vec<DegradedParent>,
    /// `Ready`, `Progressing`, `Degraded`, `AwaitingDisruption`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// The numbers that `kubectl get` shows.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Parents on the node, carved or not.
    pub parents: i32,
    /// Functions that exist.
    pub functions: i32,
    /// Functions that are as their pool wants them.
    pub ready: i32,
    /// Steps in the plan.
    pub steps: i32,
}

/// A parent as it is.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    /// The PCI address of a card, or the name of a simulator's management device.
    pub name: String,
    /// What the card is; absent for simulators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The driver bound to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Its interfaces and their alternative names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// Maximum transmission unit of its first interface in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The mode of its embedded switch; absent where it has none that can be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eswitch: Option<EswitchMode>,
    /// The NUMA node, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
    /// The most functions it can have; absent for simulators, which have no limit of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_functions: Option<u16>,
    /// How many it has.
    #[serde(default)]
    pub function_count: u16,
    /// How its functions can reach a user; what is missing here, `attachReason` explains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attach: Vec<Attach>,
    /// Why no more ways are possible, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach_reason: Option<String>,
    /// `false` where a virtual machine with a vDPA device of it cannot move to another node while it
    /// runs; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migratable: Option<bool>,
    /// Why it cannot, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migratable_reason: Option<String>,
    /// Why it must not be touched, in one sentence; absent if it may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off_limits: Option<String>,
    /// Its functions; equal neighbours share an entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<FunctionStatus>,
}

/// Functions of a parent that are alike.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionStatus {
    /// Their indices: `0-3`, or `2`.
    pub range: Range,
    /// Their device ids, in order of index.
    pub devices: Vec<String>,
    /// The pool they belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The driver of the function itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The vDPA bus driver of the device made on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vdpa_driver: Option<String>,
    /// Whether they are as their pool wants them.
    pub ready: bool,
    /// Why they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The features that vDPA devices of these functions can be given.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeatureSet {
    /// By name, as in a policy. What has no name is not told: nobody can ask for it.
    pub features: String,
    /// The functions.
    pub functions: Vec<FunctionRange>,
}

/// Neighbouring functions of one parent.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionRange {
    /// The PCI address of a card, or the name of a simulator's management device.
    pub parent: String,
    /// Their indices: `0-3`, or `2`.
    pub range: Range,
}

/// What is wrong with a parent, or with functions of it, and does not mend itself.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DegradedParent {
    /// The PCI address of a card, or the name of a simulator's management device; it may not be there.
    pub parent: String,
    /// For machines, as in a condition.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// A step still to do.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// What will be done, in words.
    pub step: String,
    /// The parent it belongs to.
    pub parent: String,
    /// The devices that it disturbs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disturbs: Vec<String>,
    /// What it waits for; absent if it is about to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}
