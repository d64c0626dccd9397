//! What is offered, and why something is not: pure functions over supplies and sightings.

use std::collections::BTreeMap;

use ringway_kernel::bus::Address;
use ringway_kernel::vdpa_bus::Driver;
use ringway_kernel::{pci, vfio};
use ringway_node::pools::{Allocation, Carrier, Device, State};
use ringway_node::{DeviceId, Resource};
use ringway_proto::kubelet::deviceplugin as dp;

use crate::look::{Node, Presence, Sighting};
use crate::supply::{Delivery, Entry, NodePaths, Supply, Way};

/// All that is offered, by resource.
pub type Offers = BTreeMap<Resource, Offer>;

/// What one resource has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Which of them a container gets, if kubelet can choose: spread if one of its pools says so.
    pub allocation: Allocation,
    /// How their nodes get into a container.
    pub delivery: Delivery,
    /// Its devices, in the order of their supplies.
    pub items: Vec<Item>,
}

/// One device and whether it can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The device, and how it is handed out.
    pub entry: Entry,
    /// Names below `/dev` of the nodes that its user opens, as far as they are there: a device that
    /// cannot be handed out keeps them, whatever it is to become, for the pod that holds it.
    pub nodes: Vec<String>,
    /// Its RDMA devices, where they are handed out with it.
    pub rdma_devices: Vec<String>,
    /// The interface that stands for it in the card's eswitch.
    pub representor: Option<String>,
    /// Why it cannot be handed out.
    pub unusable: Option<Unusable>,
    /// What is told of it though it can be.
    pub remark: Option<Unusable>,
}

/// Why a device cannot be handed out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The agent is about to change it.
    #[error("draining: {0}")]
    Draining(String),
    /// The agent could not make it what the policy asks for.
    #[error("failed: {0}")]
    Failed(String),
    /// The function or vDPA device is not there.
    #[error("{what} is not there")]
    Missing {
        /// Bus and name.
        what: String,
    },
    /// The function or vDPA device has no driver, or another one.
    #[error("{what} is bound to {found}, not to {wanted}")]
    Driver {
        /// Bus and name.
        what: String,
        /// The driver found, or `no driver`.
        found: String,
        /// What this way of attaching needs.
        wanted: &'static str,
    },
    /// There is no character device to hand out.
    #[error("node {name} is not in /dev")]
    NoNode {
        /// The node's name, or `of` and the device where sysfs names none.
        name: String,
    },
    /// Another function of its IOMMU group has a driver of the kernel.
    #[error("{what} shares its iommu group with {other}, which is bound to {driver}")]
    Group {
        /// The device.
        what: String,
        /// The other function.
        other: pci::Address,
        /// Its driver.
        driver: String,
    },
    /// Its parent's interface has no carrier.
    #[error("parent {parent} {}", match seen { true => "has no carrier", false => "shows no interface" })]
    Carrier {
        /// The parent.
        parent: pci::Address,
        /// Whether there is an interface to ask.
        seen: bool,
    },
    /// This version finds functions by their PCI address alone.
    #[error("{what} has no pci address")]
    NoAddress {
        /// The device.
        what: String,
    },
    /// The kernel's answer was not understood.
    #[error("{0}")]
    Look(String),
}

/// The states that metrics count devices by.
pub const STATES: &[&str] = &[
    "healthy",
    "reported",
    "draining",
    "failed",
    "missing",
    "unbound",
    "shared_group",
    "no_node",
    "no_carrier",
    "unknown",
];

impl Unusable {
    /// In what state a device is that cannot be handed out for it, as metrics name it.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Draining(_) => "draining",
            Self::Failed(_) => "failed",
            Self::Missing { .. } => "missing",
            Self::Driver { .. } => "unbound",
            Self::Group { .. } => "shared_group",
            Self::NoNode { .. } => "no_node",
            Self::Carrier { .. } => "no_carrier",
            Self::NoAddress { .. } | Self::Look(_) => "unknown",
        }
    }
}

/// What is offered of `supplies`, given how the kernel sees each device.
pub fn offers(supplies: &[Supply], look: impl Fn(&Entry) -> Result<Sighting, String>) -> Offers {
    let mut offers = Offers::new();
    for supply in supplies {
        let (allocation, delivery) = (supply.allocation, supply.delivery);
        let offer = offers.entry(supply.resource.clone()).or_insert_with(|| Offer {
            allocation,
            delivery,
            items: Vec::new(),
        });
        if allocation == Allocation::Spread {
            offer.allocation = Allocation::Spread;
        }
        offer.items.extend(supply.entries.iter().map(|entry| item(entry, look(entry))));
    }
    offers
}

fn item(entry: &Entry, sighting: Result<Sighting, String>) -> Item {
    let there = |node: &Node| match node {
        Node::There(name) => Some(name.clone()),
        Node::Absent(_) => None,
    };
    let (mut nodes, mut rdma_devices, mut representor) = (Vec::new(), Vec::new(), None);
    let mut no_carrier = None;
    let broken = usable(entry.way, &entry.device, &sighting).err();
    if let Ok(seen) = &sighting {
        representor.clone_from(&seen.representor);
        no_carrier = without_carrier(seen);
        let opened = matches!(entry.way, Way::Vfio | Way::Uio | Way::VhostVdpa);
        let own = if opened || broken.is_some() { &seen.nodes[..] } else { &[] };
        nodes.extend(own.iter().chain(&seen.also).filter_map(there));
        rdma_devices.clone_from(&seen.rdma_devices);
    }
    let (unusable, remark) = match entry.carrier {
        Carrier::Require => (broken.or(no_carrier), None),
        Carrier::Report => (broken, no_carrier),
        Carrier::Ignore => (broken, None),
    };
    Item { nodes, rdma_devices, representor, unusable, remark, ..Item::of(entry.clone()) }
}

fn without_carrier(seen: &Sighting) -> Option<Unusable> {
    let uplink = seen.uplink.as_ref().filter(|uplink| uplink.carrier != Some(true))?;
    Some(Unusable::Carrier { parent: uplink.parent, seen: uplink.carrier.is_some() })
}

fn usable(way: Way, device: &Device, sighting: &Result<Sighting, String>) -> Result<(), Unusable> {
    let reason = || device.reason.clone().unwrap_or_default();
    match device.state {
        State::Ready => {}
        State::Draining => return Err(Unusable::Draining(reason())),
        State::Failed => return Err(Unusable::Failed(reason())),
    }
    let sighting = sighting.as_ref().map_err(|why| Unusable::Look(why.clone()))?;
    let function = || match device.function() {
        Some(Address::Pci(address)) => format!("pci function {address}"),
        Some(Address::Auxiliary(name)) => format!("subfunction {name}"),
        None => format!("function of device {}", device.id),
    };
    match way {
        Way::Vfio => {
            has_driver(&sighting.function, function(), vfio::DRIVER)?;
            if let Some((other, driver)) = sighting.group_shared.clone() {
                return Err(Unusable::Group { what: function(), other, driver });
            }
            has_nodes(&sighting.nodes, function())
        }
        Way::Uio => {
            is_uio_driver(&sighting.function, function())?;
            has_nodes(&sighting.nodes, function())
        }
        Way::Netdev => is_netdev_driver(&sighting.function, function()),
        // The function's driver made the vDPA device: whichever it is, it is the right one.
        Way::VirtioVdpa => {
            is_there(&sighting.function, function())?;
            has_driver(&sighting.vdpa, vdpa_name(device), Driver::VirtioVdpa.name())?;
            match sighting.virtio_unbound {
                true => no_driver(format!("virtio device of {}", vdpa_name(device)), "virtio_net"),
                false => Ok(()),
            }
        }
        Way::VhostVdpa => {
            is_there(&sighting.function, function())?;
            has_driver(&sighting.vdpa, vdpa_name(device), Driver::VhostVdpa.name())?;
            has_nodes(&sighting.nodes, vdpa_name(device))
        }
    }
}

fn vdpa_name(device: &Device) -> String {
    let name = device.vdpa.as_ref().map_or("of the device", |vdpa| &vdpa.name);
    format!("vdpa device {name}")
}

fn is_there(presence: &Option<Presence>, what: String) -> Result<(), Unusable> {
    match presence {
        Some(Presence::Missing) => Err(Unusable::Missing { what }),
        Some(Presence::Unbound) => no_driver(what, "a vdpa parent driver"),
        Some(Presence::Bound(_)) | None => Ok(()),
    }
}

fn is_netdev_driver(presence: &Option<Presence>, what: String) -> Result<(), Unusable> {
    const WANTED: &str = "a network driver";
    match presence {
        None => Err(Unusable::NoAddress { what }),
        Some(Presence::Missing) => Err(Unusable::Missing { what }),
        Some(Presence::Unbound) => no_driver(what, WANTED),
        Some(Presence::Bound(found)) if found.contains("vfio") || found.contains("vdpa") => {
            Err(Unusable::Driver { what, found: found.clone(), wanted: WANTED })
        }
        Some(Presence::Bound(_)) => Ok(()),
    }
}

fn is_uio_driver(presence: &Option<Presence>, what: String) -> Result<(), Unusable> {
    const WANTED: &str = "a uio driver";
    match presence {
        None | Some(Presence::Missing) => Err(Unusable::Missing { what }),
        Some(Presence::Unbound) => no_driver(what, WANTED),
        Some(Presence::Bound(found)) if !found.contains("uio") => {
            Err(Unusable::Driver { what, found: found.clone(), wanted: WANTED })
        }
        Some(Presence::Bound(_)) => Ok(()),
    }
}

/// Every one must be there: a user that lacks one of them can do nothing with the others.
fn has_nodes(nodes: &[Node], what: String) -> Result<(), Unusable> {
    if nodes.is_empty() {
        return Err(Unusable::NoNode { name: format!("of {what}") });
    }
    let absent = nodes.iter().find_map(|node| match node {
        Node::There(_) => None,
        Node::Absent(name) => Some(name.clone()),
    });
    absent.map_or(Ok(()), |name| Err(Unusable::NoNode { name }))
}

fn has_driver(
    presence: &Option<Presence>,
    what: String,
    wanted: &'static str,
) -> Result<(), Unusable> {
    match presence {
        None | Some(Presence::Missing) => Err(Unusable::Missing { what }),
        Some(Presence::Unbound) => no_driver(what, wanted),
        Some(Presence::Bound(found)) if found == wanted => Ok(()),
        Some(Presence::Bound(found)) => {
            Err(Unusable::Driver { what, found: found.clone(), wanted })
        }
    }
}

fn no_driver(what: String, wanted: &'static str) -> Result<(), Unusable> {
    Err(Unusable::Driver { what, found: "no driver".to_owned(), wanted })
}

impl Offer {
    /// The list that kubelet gets.
    pub fn list(&self) -> Vec<dp::Device> {
        self.items.iter().map(Item::advertised).collect()
    }

    /// The item of `id`.
    pub fn find(&self, id: &DeviceId) -> Option<&Item> {
        self.items.iter().find(|item| item.id() == id)
    }

    /// This, with what a later look at some of the devices has seen.
    pub fn with(&self, later: Self) -> Self {
        let mut items = self.items.clone();
        for item in later.items {
            match items.iter_mut().find(|known| known.id() == item.id()) {
                Some(known) => *known = item,
                None => items.push(item),
            }
        }
        Self { items, ..later }
    }
}

impl Item {
    /// The device of `entry`, of which nothing is known yet.
    pub fn of(entry: Entry) -> Self {
        let (nodes, rdma_devices) = (Vec::new(), Vec::new());
        Self { entry, nodes, rdma_devices, representor: None, unusable: None, remark: None }
    }

    /// What kubelet calls it.
    pub fn id(&self) -> &DeviceId {
        &self.entry.device.id
    }

    /// Where a container finds the host's node of this name below `/dev`.
    ///
    /// That of a vhost-vdpa device has a path that stays after a reboot has numbered the host's nodes
    /// anew, because kubelet and live migration remember it. Users of vfio find its nodes by the
    /// numbers that sysfs shows them.
    pub fn container_path(&self, node: &str) -> String {
        match self.entry.paths {
            NodePaths::Stable if is_vhost_vdpa(node) => format!("/dev/ringway/{}", self.id()),
            NodePaths::Stable | NodePaths::Host => format!("/dev/{node}"),
        }
    }

    /// Where a container finds the node of its vDPA device. A stable path is known without the node.
    pub fn vhost_vdpa_path(&self) -> Option<String> {
        match self.entry.paths {
            NodePaths::Stable => Some(format!("/dev/ringway/{}", self.id())),
            NodePaths::Host => {
                let node = self.nodes.iter().find(|node| is_vhost_vdpa(node))?;
                Some(self.container_path(node))
            }
        }
    }

    /// Whether the kernel's events tell of all that can become of it. They do not of a carrier, outside
    /// of the interface's own network namespace, nor of nodes that are not of vfio or vDPA; and a node
    /// that is missing comes without one.
    pub fn is_told_by_events(&self) -> bool {
        let told = !matches!(self.entry.way, Way::Uio) && self.entry.carrier == Carrier::Ignore;
        let waits = matches!(self.unusable, Some(Unusable::NoNode { .. } | Unusable::Look(_)));
        told && !waits && !self.entry.with.rdma && !self.entry.with.vhost_net
    }

    fn advertised(&self) -> dp::Device {
        let health = if self.unusable.is_none() { dp::HEALTHY } else { dp::UNHEALTHY };
        // No topology at all is kubelet's "any node": an empty one would never be aligned.
        let topology = self
            .entry
            .device
            .numa_node
            .map(|id| dp::TopologyInfo { nodes: vec![dp::NumaNode { id: i64::from(id) }] });
        dp::Device { id: self.id().to_string(), health: health.to_owned(), topology }
    }
}

fn is_vhost_vdpa(node: &str) -> bool {
    node.starts_with("vhost-vdpa-")
}

/// One change worth a line in the log.
#[derive(Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The resource.
    pub resource: &'a Resource,
    /// The device.
    pub id: &'a DeviceId,
    /// What became of it.
    pub now: Became<'a>,
}

/// What became of a device.
#[derive(Debug, PartialEq, Eq)]
pub enum Became<'a> {
    /// It can be handed out.
    Healthy,
    /// It can, and there is something to tell of it.
    Remarkable(&'a Unusable),
    /// It cannot.
    Unhealthy(&'a Unusable),
    /// It is no longer in `pools.json`, or in another resource.
    Gone,
}

/// What is different in `new`.
pub fn changes<'a>(old: &'a Offers, new: &'a Offers) -> Vec<Change<'a>> {
    let (before, after) = (flat(old), flat(new));
    let mut changes = Vec::new();
    for (&(resource, id), item) in &after {
        let told = |item: &Item| (item.unusable.clone(), item.remark.clone());
        if before.get(&(resource, id)).map(|item| told(item)) == Some(told(item)) {
            continue;
        }
        let now = match (&item.unusable, &item.remark) {
            (Some(why), _) => Became::Unhealthy(why),
            (None, Some(remark)) => Became::Remarkable(remark),
            (None, None) => Became::Healthy,
        };
        changes.push(Change { resource, id, now });
    }
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    changes.extend(gone.map(|&(resource, id)| Change { resource, id, now: Became::Gone }));
    changes
}

type Flat<'a> = BTreeMap<(&'a Resource, &'a DeviceId), &'a Item>;

fn flat(offers: &Offers) -> Flat<'_> {
    offers
        .iter()
        .flat_map(|(resource, offer)| {
            offer.items.iter().map(move |item| ((resource, item.id()), item))
        })
        .collect()
}

#[cfg(test)]
mod tests;
