//! What a container gets for the devices that kubelet chose for it: pure.

use std::collections::BTreeSet;

use ringway_node::{DeviceId, Resource, device_id};
use ringway_proto::kubelet::deviceplugin as dp;

use crate::offer::{Item, Offer, Unusable};
use crate::supply::Delivery;
use crate::{cdi, env};

/// Why an allocation is refused. Kubelet shows the text in the pod's events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a device id at all.
    #[error("allocate {resource}")]
    Grammar {
        /// The resource asked for.
        resource: Resource,
        /// What is wrong with the id.
        source: device_id::Invalid,
    },
    /// One device twice in one request.
    #[error("allocate {resource}: device {id} is asked for twice")]
    Twice {
        /// The resource asked for.
        resource: Resource,
        /// The device.
        id: DeviceId,
    },
    /// Not a device of this resource.
    #[error("allocate {resource}: device {id} is not in its pools")]
    Unknown {
        /// The resource asked for.
        resource: Resource,
        /// The device.
        id: DeviceId,
    },
    /// Cannot be used now.
    #[error("allocate {resource}: device {id} cannot be used")]
    Unusable {
        /// The resource asked for.
        resource: Resource,
        /// The device.
        id: DeviceId,
        /// Why.
        source: Unusable,
    },
}

impl Refusal {
    /// Of what kind it is, as the metric names it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Grammar { .. } | Self::Twice { .. } => "invalid",
            Self::Unknown { .. } => "unknown",
            Self::Unusable { source, .. } => source.state(),
        }
    }
}

/// The ids of each container in `request`.
///
/// # Errors
/// [`Refusal::Grammar`] and [`Refusal::Twice`].
pub fn requested(
    resource: &Resource,
    request: &dp::AllocateRequest,
) -> Result<Vec<Vec<DeviceId>>, Refusal> {
    let mut seen = BTreeSet::new();
    let mut containers = Vec::new();
    for container in &request.container_requests {
        let mut ids = Vec::new();
        for id in &container.devices_ids {
            let id: DeviceId = id
                .parse()
                .map_err(|source| Refusal::Grammar { resource: resource.clone(), source })?;
            if !seen.insert(id.clone()) {
                return Err(Refusal::Twice { resource: resource.clone(), id });
            }
            ids.push(id);
        }
        containers.push(ids);
    }
    Ok(containers)
}

/// What one container gets for `ids`; `offer` is `None` where the resource is not offered (any
/// more).
///
/// # Errors
/// [`Refusal::Unknown`] and [`Refusal::Unusable`], for the first id that cannot be had.
pub fn answer(
    resource: &Resource,
    offer: Option<&Offer>,
    ids: &[DeviceId],
) -> Result<dp::ContainerAllocateResponse, Refusal> {
    let mut items = Vec::new();
    for id in ids {
        let (resource, id) = (resource.clone(), id.clone());
        let Some(item) = offer.and_then(|offer| offer.find(&id)) else {
            return Err(Refusal::Unknown { resource, id });
        };
        if let Some(source) = item.unusable.clone() {
            return Err(Refusal::Unusable { resource, id, source });
        }
        items.push(item);
    }
    let delivery = offer.map_or(Delivery::Cdi, |offer| offer.delivery);
    let mut answer =
        dp::ContainerAllocateResponse { envs: env::envs(resource, &items), ..Default::default() };
    // A CDI device without edits is invalid: what has no nodes comes by its name alone.
    let with_nodes = || items.iter().filter(|item| !item.nodes.is_empty());
    match delivery {
        Delivery::Cdi => {
            let device = |id| dp::CdiDevice { name: cdi::qualified_name(resource, id) };
            answer.cdi_devices = with_nodes().map(|item| device(item.id())).collect();
        }
        Delivery::Nodes => answer.devices = device_specs(with_nodes().copied()),
    }
    Ok(answer)
}

/// The nodes, each once: devices share some (`/dev/vfio/vfio`).
fn device_specs<'a>(items: impl Iterator<Item = &'a Item>) -> Vec<dp::DeviceSpec> {
    let mut specs: Vec<dp::DeviceSpec> = Vec::new();
    for (item, node) in items.flat_map(|item| item.nodes.iter().map(move |node| (item, node))) {
        let host_path = format!("/dev/{node}");
        if specs.iter().all(|spec| spec.host_path != host_path) {
            let container_path = item.container_path(node);
            specs.push(dp::DeviceSpec { container_path, host_path, permissions: "rw".to_owned() });
        }
    }
    specs
}

#[cfg(test)]
mod tests;
