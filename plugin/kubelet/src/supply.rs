//! What there is to offer, wherever that is written down: `pools.json`, or the SR-IOV network device
//! plugin's configuration ([`crate::sriovdp`]). All that follows is the same for both.

use std::collections::BTreeMap;

use ringway_node::Resource;
use ringway_node::pools::{Allocation, Attach, Carrier, Device, Pool, Pools};

/// Devices that serve one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supply {
    /// The resource; several supplies of one are offered together.
    pub resource: Resource,
    /// Which of them a container gets, if kubelet can choose.
    pub allocation: Allocation,
    /// How their nodes get into a container.
    pub delivery: Delivery,
    /// The devices.
    pub entries: Vec<Entry>,
}

/// How nodes get into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The answer names CDI devices, whose spec the runtime reads at each start of a container.
    Cdi,
    /// The answer names the nodes. Kubelet keeps it for as long as the pod lives.
    Nodes,
}

/// One device, and how it is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As `pools.json` describes it.
    pub device: Device,
    /// How it reaches its user.
    pub way: Way,
    /// What becomes of it while its parent's interface has no carrier.
    pub carrier: Carrier,
    /// The paths that a container finds its nodes at.
    pub paths: NodePaths,
    /// What is handed out with it.
    pub with: With,
}

/// How a device reaches its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Its interface moves into the pod; or there is nothing to hand out but its name.
    Netdev,
    /// By the nodes of vfio-pci.
    Vfio,
    /// By the nodes of a UIO driver.
    Uio,
    /// The virtio interface of its vDPA device moves into the pod.
    VirtioVdpa,
    /// By the node of its vDPA device.
    VhostVdpa,
}

/// The paths that a container finds its nodes at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodePaths {
    /// `/dev/ringway/<id>` for vhost-vdpa, where the host's number changes with each reboot.
    Stable,
    /// The host's.
    Host,
}

/// What is handed out with a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct With {
    /// The nodes of its RDMA devices.
    pub rdma: bool,
    /// `/dev/vhost-net` and `/dev/net/tun`.
    pub vhost_net: bool,
    /// Texts for the environment.
    pub extra: Option<BTreeMap<String, String>>,
}

impl From<Attach> for Way {
    fn from(attach: Attach) -> Self {
        match attach {
            Attach::Netdev => Self::Netdev,
            Attach::Vfio => Self::Vfio,
            Attach::Uio => Self::Uio,
            Attach::VirtioVdpa => Self::VirtioVdpa,
            Attach::VhostVdpa => Self::VhostVdpa,
        }
    }
}

/// The supplies of `pools.json`.
pub fn of(pools: &Pools) -> Vec<Supply> {
    let entry = |pool: &Pool, device: &Device| Entry {
        device: device.clone(),
        way: pool.attach.into(),
        carrier: pool.carrier,
        paths: NodePaths::Stable,
        with: With::default(),
    };
    let supplies = pools.pools.iter().map(|pool| Supply {
        resource: pool.resource.clone(),
        allocation: pool.allocation,
        delivery: Delivery::Cdi,
        entries: pool.devices.iter().map(|device| entry(pool, device)).collect(),
    });
    supplies.collect()
}
