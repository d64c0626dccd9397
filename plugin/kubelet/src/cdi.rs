//! Container Device Interface specs: how a device's node gets into a container under a path that
//! stays.
//!
//! Rules: CNCF container-device-interface, SPEC.md and `pkg/parser`. A kind is vendor/class, both
//! beginning with a letter; a device name begins and ends with a letter or digit and may hold
//! `_-.:` between, which is the grammar of a device id. An OCI path may hold anything but NUL, so
//! the colon of a PCI address stays in it.

use std::path::Path;

use ringway_node::{DeviceId, Resource};
use serde::Serialize;

use crate::offer::{Item, Offer};

/// The lowest version with all we use: host paths (0.5), dots in a class (0.6).
const VERSION: &str = "0.6.0";

/// How the names of our files begin.
pub const FILE_PREFIX: &str = "ringway.dev-";

/// How the names of our files for resources of other prefixes begin.
pub const OTHER_FILE_PREFIX: &str = "ringway-sriovdp-";

/// A spec file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    cdi_version: &'static str,
    kind: String,
    devices: Vec<Device>,
    #[serde(skip_serializing_if = "Edits::is_empty")]
    container_edits: Edits,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    name: String,
    container_edits: Edits,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Edits {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    device_nodes: Vec<Node>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hooks: Vec<Hook>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    path: String,
    host_path: String,
    file_mode: u32,
    permissions: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Hook {
    hook_name: &'static str,
    path: String,
    args: Vec<String>,
    timeout: u32,
}

impl Edits {
    fn is_empty(&self) -> bool {
        self.device_nodes.is_empty() && self.hooks.is_empty()
    }
}

/// The spec of a resource, or `None` where none of its devices has a node: a spec without devices
/// and a device without edits are both invalid.
///
/// `hook` is the host's path of the `ringway` binary. With it, containers that hold a device may
/// lock all of their memory, which vhost-vdpa and vfio need for a guest's.
pub fn spec(resource: &Resource, offer: &Offer, hook: Option<&Path>) -> Option<Spec> {
    let devices: Vec<_> =
        offer.items.iter().filter(|item| !item.nodes.is_empty()).map(device).collect();
    // Edits of the whole spec are made once for a container, however many devices it has.
    let hooks = hook.map(memlock_hook).into_iter().collect();
    let container_edits = Edits { device_nodes: Vec::new(), hooks };
    let kind = kind(resource);
    let spec = Spec { cdi_version: VERSION, kind, devices, container_edits };
    (!spec.devices.is_empty()).then_some(spec)
}

fn device(item: &Item) -> Device {
    let node = |name: &String| Node {
        path: item.container_path(name),
        host_path: format!("/dev/{name}"),
        // The node exists only inside the container, whose user may be anyone.
        file_mode: 0o666,
        permissions: "rw",
    };
    // `/dev/vfio/vfio` comes with each device: a runtime puts a path into a container once.
    let device_nodes = item.nodes.iter().map(node).collect();
    let container_edits = Edits { device_nodes, hooks: Vec::new() };
    Device { name: item.id().to_string(), container_edits }
}

fn memlock_hook(path: &Path) -> Hook {
    Hook {
        hook_name: "createRuntime",
        path: path.display().to_string(),
        args: ["ringway", "hook", "memlock"].map(str::to_owned).into(),
        timeout: 10,
    }
}

impl Spec {
    /// The text of the file.
    pub fn to_json(&self) -> Vec<u8> {
        // Structs of strings and numbers always serialise.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}

/// The device's fully qualified name, as kubelet passes it to the runtime.
pub fn qualified_name(resource: &Resource, id: &DeviceId) -> String {
    format!("{}={id}", kind(resource))
}

/// The name of the resource's spec file.
pub fn file_name(resource: &Resource) -> String {
    match resource.prefix() {
        Resource::PREFIX => format!("{FILE_PREFIX}{}.json", resource.name()),
        prefix => format!("{OTHER_FILE_PREFIX}{prefix}-{}.json", resource.name()),
    }
}

/// The kind: vendor and class, prefix and name of the resource. Unlike those, both must begin with a
/// letter.
///
/// One of one letter is allowed, but the library of the runtimes ends with it: containerd 2.2
/// with CDI 1.1.0 panics on the file (`validateVendorOrClassName`, pkg/parser/parser.go, slices
/// from 1 to length - 1), and takes every container's start with it.
fn kind(resource: &Resource) -> String {
    let safe = |name: &str| match name.len() == 1 || name.starts_with(|c: char| c.is_ascii_digit())
    {
        true => format!("r-{name}"),
        false => name.to_owned(),
    };
    format!("{}/{}", safe(resource.prefix()), safe(resource.name()))
}

#[cfg(test)]
mod tests;
