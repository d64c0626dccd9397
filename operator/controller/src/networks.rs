//! `DeviceNetwork` in, NetworkAttachmentDefinition out. Pure.
//!
//! The definition has the network's name and belongs to it: Kubernetes removes it with the
//! network. One of the same name that somebody else made is never taken over.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource as _;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use ringway_api::conditions::Reason;
use ringway_api::device_network::DeviceNetwork;
use serde_json::{Value, json};

/// Where the device plugin's resource stands, for Multus (NPWG multi-network specification 1.3,
/// section 3.3).
const RESOURCE: &str = "k8s.v1.cni.cncf.io/resourceName";
/// Kubernetes' own label for who looks after an object.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "ringway-operator");

/// What a network's definition needs.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// It is as it shall be.
    Right,
    /// There is none: create it.
    Create(Box<DynamicObject>),
    /// Somebody edited it: apply it again.
    Repair(Box<DynamicObject>),
    /// It cannot be.
    Refused(Reason, String),
}

/// The kind, which is Multus's and known by name only.
pub fn definitions() -> ApiResource {
    let kind = GroupVersionKind::gvk("k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition");
    ApiResource::from_gvk_with_plural(&kind, "network-attachment-definitions")
}

/// Compares a network with the definition of its name.
pub fn judge(network: &DeviceNetwork, existing: Option<&DynamicObject>) -> Verdict {
    let wanted = render(network);
    let Some(existing) = existing else { return Verdict::Create(Box::new(wanted)) };
    if !owned(existing, network) {
        let name = network.metadata.name.as_deref().unwrap_or_default();
        let message = format!(
            "NetworkAttachmentDefinition {name} exists and {}: delete it, or name this \
             DeviceNetwork otherwise",
            owner(existing),
        );
        return Verdict::Refused(Reason::Conflict, message);
    }
    if holds(existing, &wanted) {
        return Verdict::Right;
    }
    let mut repaired = wanted;
    // with the uid, the API server refuses to make a new one of it
    repaired.metadata.uid.clone_from(&existing.metadata.uid);
    Verdict::Repair(Box::new(repaired))
}

/// The definition of a network.
pub fn render(network: &DeviceNetwork) -> DynamicObject {
    let meta = &network.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let namespace = meta.namespace.clone().unwrap_or_default();
    let mut object = DynamicObject::new(&name, &definitions()).within(&namespace);
    object.metadata.labels = Some([(MANAGED_BY.0.into(), MANAGED_BY.1.into())].into());
    let resource = format!("{}/{}", ringway_api::GROUP, network.spec.resource);
    object.metadata.annotations = Some([(RESOURCE.into(), resource)].into());
    object.metadata.owner_references = network.controller_owner_ref(&()).map(|owner| vec![owner]);
    let config = config(network, &format!("{namespace}.{name}")).to_string();
    object.data = json!({"spec": {"config": config}});
    object
}

/// What the CNI binary gets. The network's name is unique in the cluster, since IPAM and garbage
/// collection go by it: a namespace's name has no dot.
fn config(network: &DeviceNetwork, name: &str) -> Value {
    let mut config = json!({
        "cniVersion": "1.1.0",
        "name": name,
        "type": "ringway",
        "capabilities": {"mac": true, "ips": true, "CNIDeviceInfoFile": true},
    });
    if let Some(mtu) = network.spec.mtu {
        config["mtu"] = mtu.into();
    }
    if let Some(ipam) = &network.spec.ipam {
        config["ipam"] = json!(ipam);
    }
    config
}

fn owned(existing: &DynamicObject, network: &DeviceNetwork) -> bool {
    let owners = existing.metadata.owner_references.as_deref().unwrap_or_default();
    owners
        .iter()
        .any(|owner| is_network(owner) && Some(&owner.uid) == network.metadata.uid.as_ref())
}

fn is_network(owner: &OwnerReference) -> bool {
    owner.kind == DeviceNetwork::kind(&())
        && owner.api_version.starts_with(&format!("{}/", ringway_api::GROUP))
}

fn owner(existing: &DynamicObject) -> String {
    let owners = existing.metadata.owner_references.as_deref().unwrap_or_default();
    match owners.first() {
        None => "was not made by Ringway".to_owned(),
        Some(owner) if is_network(owner) => {
            "belongs to an earlier DeviceNetwork of this name, which is being removed".to_owned()
        }
        Some(owner) => format!("belongs to {} {}", owner.kind, owner.name),
    }
}

/// Whether all that is wanted is so. What others add beside it, they may.
fn holds(existing: &DynamicObject, wanted: &DynamicObject) -> bool {
    let (is, shall) = (&existing.metadata, &wanted.metadata);
    let within = |some: &Option<std::collections::BTreeMap<String, String>>,
                  all: &Option<std::collections::BTreeMap<String, String>>| {
        let all = all.as_ref();
        some.iter().flatten().all(|(key, value)| all.and_then(|all| all.get(key)) == Some(value))
    };
    let owners = is.owner_references.as_deref().unwrap_or_default();
    within(&shall.labels, &is.labels)
        && within(&shall.annotations, &is.annotations)
        && shall.owner_references.iter().flatten().all(|owner| owners.contains(owner))
        && existing.data["spec"]["config"] == wanted.data["spec"]["config"]
}

#[cfg(test)]
mod tests;
