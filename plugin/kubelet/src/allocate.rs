//! What a container gets for the devices that kubelet chose for it: pure.

use std::collections::BTreeSet;

use ringway_node::pools::Attach;
use ringway_node::{DeviceId, Resource, device_id};
use ringway_proto::kubelet::deviceplugin as dp;

use crate::offer::{Offer, Unusable};
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
    let attach = offer.map_or(Attach::Netdev, |offer| offer.attach);
    let cdi_device = |id| dp::CdiDevice { name: cdi::qualified_name(resource, id) };
    Ok(dp::ContainerAllocateResponse {
        envs: env::envs(resource, attach, &items),
        cdi_devices: match attach {
            Attach::VhostVdpa | Attach::Vfio => ids.iter().map(cdi_device).collect(),
            // No nodes: a CDI device without edits is invalid.
            Attach::VirtioVdpa | Attach::Netdev => Vec::new(),
        },
        ..Default::default()
    })
}

#[cfg(test)]
mod tests;
