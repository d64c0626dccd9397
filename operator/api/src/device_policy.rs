//! `DevicePolicy`: which parents on which nodes are carved into which pools.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which parents on which nodes are carved into which pools. One policy holds the whole partition
/// of a parent, so that its pools cannot contradict each other.
#[derive(Debug, Clone, PartialEq, CustomResource, KubeSchema, Serialize, Deserialize)]
#[kube(
    group = "ringway.dev",
    version = "v1alpha1",
    kind = "DevicePolicy",
    plural = "devicepolicies",
    shortname = "dpol",
    category = "ringway",
    doc = "Which parents on which nodes are carved into which pools.",
    status = "DevicePolicyStatus",
    derive = "PartialEq",
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
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes"),
    printcolumn(name = "Parents", type_ = "integer", json_path = ".status.parents"),
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
    validation = Rule::new("self.pools.all(p, self.pools.exists_one(q, q.name == p.name))")
        .message("pools: each needs a name of its own")
        .field_path(".pools"),
    validation = Rule::new("self.ownership != 'External' || !has(self.uplink)")
        .message("uplink: ownership External changes nothing on a node: leave the field out")
        .field_path(".uplink"),
    validation = Rule::new(
        "self.ownership != 'External' || self.pools.all(p, !has(p.vdpa) || !has(p.vdpa.features) || p.vdpa.features != 'common')"
    )
        .message("vdpa.features: with ownership External others make the devices: common changes none: name features, or leave the field out")
        .field_path(".pools"),
    validation = Rule::new("self.ownership != 'External' || !self.adopt")
        .message("adopt: ownership External takes nothing over: leave the field out")
        .field_path(".adopt"),
)]
pub struct DevicePolicySpec {
    /// The nodes; none selects every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// When two policies claim one parent the higher number wins, then the older policy, and the
    /// other one says `Conflict`.
    #[serde(default)]
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// The parents: a device that any entry matches. Within an entry every key must match.
    #[schemars(length(min = 1, max = 16))]
    pub parents: Vec<ParentSelector>,
    /// Who makes the functions: Ringway (`Managed`), or somebody else (`External`).
    #[serde(default)]
    pub ownership: Ownership,
    /// Whether vDPA devices that somebody else made, and that are exactly what is wanted, are taken
    /// over in place. Without it they are reported, and left alone.
    #[serde(default)]
    pub adopt: bool,
    /// Settings of the parent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<Uplink>,
    /// How many functions each parent gets: virtual functions of a card, or simulated devices. A
    /// change of it disturbs every function of the parent.
    #[schemars(range(min = 1, max = 1024))]
    pub function_count: u16,
    /// Ranges of functions, each serving one resource in one way.
    #[schemars(length(min = 1, max = 16))]
    pub pools: Vec<Pool>,
}

/// One way to say which devices are meant: `pci` or `simulator`.
#[derive(Debug, Clone, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.pci) != has(self.simulator)")
        .message("parents: an entry names either pci or simulator"),
)]
pub struct ParentSelector {
    /// Cards with SR-IOV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci: Option<PciSelector>,
    /// A management device without a card: `vdpasim_net`, the kernel's simulator, for trying things
    /// out; `vduse`, whose devices are run by programs of the node, which make them before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self in ['vdpasim_net', 'vduse']").message("simulator: known are vdpasim_net and vduse"))]
    #[schemars(length(max = 32))]
    pub simulator: Option<String>,
}

/// Cards by what they are. Every key that is given must match; a list matches by any element.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "has(self.vendor) || has(self.device) || has(self.driver) || has(self.names) || has(self.addresses)"
    )
    .message("pci: at least one of vendor, device, driver, names, addresses"),
)]
pub struct PciSelector {
    /// PCI vendor id: four lower-case hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{4}$"))]
    pub vendor: Option<String>,
    /// PCI device id: four lower-case hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{4}$"))]
    pub device: Option<String>,
    /// The driver bound to the parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub driver: Option<String>,
    /// Interface names of the parent; alternative names count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 127)))]
    pub names: Option<Vec<String>>,
    /// PCI addresses of the parent, such as `0000:65:00.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 32),
        inner(regex(pattern = r"^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$"))
    )]
    pub addresses: Option<Vec<String>>,
}

/// Settings of the parent itself.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Uplink {
    /// Maximum transmission unit in bytes; left alone if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 68, max = 65535))]
    pub mtu: Option<u16>,
    /// How the card's embedded switch connects its functions; left alone if absent. A change of it
    /// disturbs every function of the parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eswitch: Option<EswitchMode>,
}

/// How a card's embedded switch connects its functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EswitchMode {
    /// By MAC address and VLAN, by itself.
    Legacy,
    /// As the host says, which has a representor of each function for that.
    Switchdev,
}

/// Who makes the functions of a parent, and what is on them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum Ownership {
    /// Ringway: the number of functions, their drivers, vDPA devices, and the uplink.
    #[default]
    Managed,
    /// Somebody else: functions that are already what their pool asks for are offered, and nothing
    /// on the node is changed.
    External,
}

impl Ownership {
    /// Whether it is Ringway's.
    pub fn is_managed(&self) -> bool {
        *self == Self::Managed
    }
}

/// A range of functions that serves one resource in one way.
#[derive(Debug, Clone, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.resource) != (self.attach == 'host')")
        .message("resource: a pool serves one, but attach host, whose devices nobody can ask for, none")
        .field_path(".resource"),
    validation = Rule::new("!has(self.vdpa) || !(self.attach in ['netdev', 'vfio'])")
        .message("vdpa: attach netdev and vfio use the function itself, without a vDPA device")
        .field_path(".vdpa"),
    validation = Rule::new("!has(self.vdpa) || !has(self.vdpa.features) || self.vdpa.features != 'common' || has(self.resource)")
        .message("vdpa.features: common is what all devices of a resource can be given, and attach host serves none: name features")
        .field_path(".vdpa.features"),
    validation = Rule::new("!has(self.defaults) || !has(self.defaults.mtu) || self.attach == 'netdev'")
        .message("defaults.mtu: only with attach netdev has the function an interface of its own; of a vDPA device it is vdpa.mtu")
        .field_path(".defaults.mtu"),
)]
pub struct Pool {
    /// Its name, unique in the policy.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,
    /// What pods ask for: `ringway.dev/<resource>`. Absent with attach `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$"))]
    pub resource: Option<String>,
    /// The functions by index: `0-3`, or `2` for one.
    #[schemars(length(max = 9), regex(pattern = r"^[0-9]{1,4}(-[0-9]{1,4})?$"))]
    pub range: Range,
    /// How a device reaches its user.
    pub attach: Attach,
    /// What its vDPA devices shall be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vdpa: Option<VdpaSettings>,
    /// What its functions are set to while nobody uses them. A pod's network may ask for something
    /// else as long as the pod has the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Defaults>,
    /// What a pod's network may ask for beyond `defaults`; nothing that others would notice if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Which of its free devices a container gets; `Spread` if absent. Kubelet chooses NUMA nodes first,
    /// as few as will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<Allocation>,
    /// What a healthy device is, beside being there and bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// What a healthy device is, beside being there and bound.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// What becomes of the devices of a card whose interface has no carrier; `Ignore` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier: Option<Carrier>,
}

/// What becomes of the devices of a card whose interface has no carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum Carrier {
    /// Nothing: functions of a card reach each other without.
    Ignore,
    /// They stay healthy; it is told in log and metrics.
    Report,
    /// They are unhealthy while it lasts. Kubelet then refuses pods that were given one and have not
    /// started, for good: even a short loss can cost some.
    Require,
}

/// What networks may ask for of a pool's devices. Whoever may write a NetworkAttachmentDefinition can
/// ask for anything, and the CNI plugin grants what a device is at rest, what is stricter, and what
/// is allowed here.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// The namespaces whose pods may have a device; any if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 128),
        inner(length(max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))
    )]
    pub namespaces: Option<Vec<String>>,
    /// VLANs and ranges of them: `100-199,300`; 0 is none. Absent: the one of `defaults` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 256),
        regex(pattern = r"^[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*$")
    )]
    pub vlans: Option<String>,
    /// Whether `trust: on` may be asked for; not if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<bool>,
    /// Whether the spoof check must stay on; it must if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spoof_check: Option<bool>,
    /// The highest rate that may be asked for, as most and as least, in Mbit/s. Absent: less than
    /// `defaults` give, and none for sure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_rate: Option<u32>,
}

/// Which of a pool's free devices a container gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum Allocation {
    /// Of as many parents as there are, and then of those with the fewest devices in use: pods share
    /// as little of a card's bandwidth as can be.
    Spread,
    /// Of as few parents as will do, those with the most devices in use first: parents that nobody
    /// uses stay free to be changed.
    Pack,
}

/// A range of function indices, ends included: `0-3`, or `2` for one.
pub type Range = String;

/// How a device reaches its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attach {
    /// As the function's own network interface in the pod.
    Netdev,
    /// As the PCI function itself, by the kernel's vfio-pci, for a VM or DPDK.
    Vfio,
    /// As a character device that a VM's or DPDK's virtio driver runs on.
    VhostVdpa,
    /// As a virtio network interface in the pod.
    VirtioVdpa,
    /// As a virtio network interface that stays on the host.
    Host,
}

impl Attach {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Netdev, Self::Vfio, Self::VhostVdpa, Self::VirtioVdpa, Self::Host];

    /// Whether it is a vDPA device, made on the function, that reaches the user.
    pub fn by_vdpa(self) -> bool {
        matches!(self, Self::VhostVdpa | Self::VirtioVdpa | Self::Host)
    }

    /// As it stands in a policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Netdev => "netdev",
            Self::Vfio => "vfio",
            Self::VhostVdpa => "vhost-vdpa",
            Self::VirtioVdpa => "virtio-vdpa",
            Self::Host => "host",
        }
    }
}

/// What a vDPA device shall be. What is absent is left to the device.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VdpaSettings {
    /// Maximum transmission unit in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 68, max = 65535))]
    pub mtu: Option<u16>,
    /// Pairs of data virtqueues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub queue_pairs: Option<u16>,
    /// Exactly these virtio features, by name without `VIRTIO_NET_F_`: `MAC,MTU,VERSION_1`. Or `common`:
    /// those that all functions with the resource can be given, on all nodes and in all policies that
    /// say so. No device is made until it is known which these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 1024),
        regex(pattern = r"^(common|[A-Z0-9_]+(,[A-Z0-9_]+)*)$")
    )]
    pub features: Option<String>,
}

/// In place of features: those that all functions with a resource have in common.
pub const COMMON: &str = "common";

/// The annotation by which a person gives up features that a resource would have in common:
/// `RESOURCE=FEATURE,FEATURE`, more than one with spaces between. Read at policies with a pool that has
/// the resource with features `common`.
pub const WITHOUT_FEATURES: &str = "ringway.dev/without-features";

impl VdpaSettings {
    /// Whether the features are those in common, whichever these are.
    pub fn asks_for_common(&self) -> bool {
        self.features.as_deref() == Some(COMMON)
    }
}

/// What a function of a card is set to at rest. What is absent is left alone, and is again what it was
/// once it was set here and is not any more. The card's driver must be able to do it.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "!has(self.minRate) || !has(self.maxRate) || self.maxRate == 0 || self.minRate <= self.maxRate"
    )
    .message("minRate: must not be more than maxRate, unless that is 0: no bound")
    .field_path(".minRate"),
)]
pub struct Defaults {
    /// Where the function's MAC address comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacSource>,
    /// The VLAN that its frames get from the card, and lose again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanDefault>,
    /// What it can count on to send, in Mbit/s; 0 is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000_000))]
    pub min_rate: Option<u32>,
    /// What it cannot exceed when it sends, in Mbit/s; 0 is no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000_000))]
    pub max_rate: Option<u32>,
    /// Whether frames from another address than its own are dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spoof_check: Option<bool>,
    /// Whether it may change its address, and receive what is not for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<bool>,
    /// The carrier that it sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_state: Option<LinkState>,
    /// Maximum transmission unit of its interface in bytes; with attach `netdev`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 68, max = 65535))]
    pub mtu: Option<u16>,
}

/// Where a function's MAC address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum MacSource {
    /// It is left alone: from the function's driver, which may choose another one at each start, or
    /// whoever set it. So it is if nothing is said.
    Keep,
    /// From the names of node, parent and function: the same whenever the function is made, and
    /// another one for every function of the cluster. Locally administered.
    Stable,
}

/// A VLAN that is put in and taken out by the card.
#[derive(Debug, Clone, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.id != 0 || !(has(self.qos) || has(self.protocol))")
        .message("vlan: qos and protocol are those of a tag: they need an id from 1 to 4094")
        .field_path(".id"),
)]
pub struct VlanDefault {
    /// 1 to 4094; 0 is none.
    #[schemars(range(max = 4094))]
    pub id: u16,
    /// Priority, 0 to 7; 0 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 7))]
    pub qos: Option<u8>,
    /// Which kind of tag; `802.1q` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<VlanProtocol>,
}

/// A kind of VLAN tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub enum VlanProtocol {
    /// A customer's.
    #[serde(rename = "802.1q")]
    Customer,
    /// A service provider's.
    #[serde(rename = "802.1ad")]
    Service,
}

/// The carrier that a function sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// The uplink's.
    Auto,
    /// Always one: functions reach each other without the uplink's.
    Enable,
    /// Never one.
    Disable,
}

/// What became of a policy.
#[derive(Debug, Clone, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DevicePolicyStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many nodes have a parent that this policy carves.
    #[serde(default)]
    pub nodes: i32,
    /// How many parents it carves.
    #[serde(default)]
    pub parents: i32,
    /// `Ready`, `Progressing`, `Degraded`, `AwaitingDisruption`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
