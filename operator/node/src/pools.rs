//! `pools.json`: what the agent offers, and what the device plugin and the CNI binary may use.
//!
//! The schema is documented in `docs/pools.md`. Reading is tolerant of fields it does not know and
//! of a version one up or down, and strict about everything it does know: root acts on this file.

use std::path::{Path, PathBuf};

use ringway_kernel::{Mac, bus, pci, vdpa_bus};
use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::{DeviceId, Resource, atomic, place};

mod check;
#[cfg(test)]
mod tests;

/// The schema version that is written. One up and one down are read too.
pub const VERSION: u32 = 1;

/// The largest `pools.json` that is read, in bytes: about 4,000 devices.
pub const MAX_SIZE: u64 = 4 * 1024 * 1024;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pools {
    /// Schema version: [`VERSION`].
    pub version: u32,
    /// The node's name, as the agent was told.
    pub node: String,
    /// Counts up with each change of content.
    pub generation: u64,
    /// Pools, each with its devices.
    pub pools: Vec<Pool>,
}

/// Devices that serve one resource in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The pool's name in its policy.
    pub name: String,
    /// The extended resource. Several pools may serve one resource if they attach alike.
    pub resource: Resource,
    /// How a device reaches its user.
    pub attach: Attach,
    /// Which of its free devices a container gets. Absent is spread.
    #[serde(default, skip_serializing_if = "Allocation::is_default")]
    pub allocation: Allocation,
    /// What networks may ask for beyond what devices are at rest. Absent is nothing.
    #[serde(default, skip_serializing_if = "Limits::is_default")]
    pub limits: Limits,
    /// What becomes of its devices while the parent's interface has no carrier. Absent is ignore.
    #[serde(default, skip_serializing_if = "Carrier::is_default")]
    pub carrier: Carrier,
    /// The devices, in the order of their functions.
    pub devices: Vec<Device>,
}

/// How a device reaches its user. What the host keeps is not offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attach {
    /// The function's own netdev moves into the pod.
    Netdev,
    /// The function is bound to vfio and its group's node goes into the container.
    Vfio,
    /// The function is bound to a UIO driver, without an IOMMU's protection, and its node goes into the
    /// container. The agent offers none: whoever writes this file by hand does.
    Uio,
    /// The vDPA device's virtio-net netdev moves into the pod.
    VirtioVdpa,
    /// The vDPA device's `/dev/vhost-vdpa-N` goes into the container.
    VhostVdpa,
}

/// Which of a pool's free devices a container gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Allocation {
    /// Of as many parents as there are.
    #[default]
    Spread,
    /// Of as few parents as will do.
    Pack,
}

/// What becomes of devices while their parent's interface has no carrier.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Carrier {
    /// Nothing.
    #[default]
    Ignore,
    /// They can be had, and it is told.
    Report,
    /// They cannot be had.
    Require,
}

impl Carrier {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Allocation {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// One schedulable thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// What kubelet, Multus and the CNI binary call it.
    pub id: DeviceId,
    /// PCI address of the PF, or name of the management device that needs none.
    pub parent: String,
    /// Index of the function below its parent, from 0.
    pub index: u32,
    /// The node of memory it is near to; absent where the machine does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
    /// Whether it may be handed out.
    pub state: State,
    /// Why not, in words, for every state but ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The Ethernet address it has at rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Its MTU at rest, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Virtqueue pairs for data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_pairs: Option<u16>,
    /// Virtio feature names as iproute2's `vdpa` prints them: `MAC`, `MTU`, `CTRL_VQ`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// The vDPA device made on the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vdpa: Option<Vdpa>,
    /// PCI address of the function, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci_address: Option<pci::Address>,
    /// PCI address of the function's PF, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pf_pci_address: Option<pci::Address>,
}

impl Device {
    /// Where its function is: a subfunction, which has no PCI address, has its name on the auxiliary bus
    /// for its id. `None` for a vDPA device that is on no function.
    pub fn function(&self) -> Option<bus::Address> {
        if let Some(address) = self.pci_address {
            return Some(bus::Address::Pci(address));
        }
        let id = self.id.as_str();
        let is_vdpa = self.vdpa.as_ref().is_some_and(|vdpa| vdpa.name == id);
        if is_vdpa { None } else { id.parse().ok() }
    }
}

/// Whether a device may be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Yes.
    Ready,
    /// No: the agent is about to change it, or to take it away.
    Draining,
    /// No: it is not what the policy asks for.
    Failed,
}

/// A vDPA device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vdpa {
    /// Its name on the vdpa bus.
    pub name: String,
    /// Its management device as iproute2 writes it: `pci/0000:01:00.1`, `vdpasim_net`.
    pub mgmtdev: String,
    /// The bus driver it is bound to.
    pub driver: vdpa_bus::Driver,
    /// The character device on the host when the file was written. Minor numbers change with every
    /// reboot and rebind: look again before using it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<PathBuf>,
}

/// Why `pools.json` could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing the file failed.
    #[error("pools file")]
    File(#[source] atomic::Error),
    /// Not JSON, or a field that is missing, of another type or out of its range.
    #[error("parse pools file: field {field}")]
    Parse {
        /// Path of the field, such as `pools[0].devices[2].mac`.
        field: String,
        /// What is wrong with its value.
        source: serde_json::Error,
    },
    /// Written by a Ringway too far from this one.
    #[error(
        "parse pools file: version {found} is more than one away from {VERSION}: \
         bring the agent and this program closer together"
    )]
    Version {
        /// The file's version.
        found: u32,
    },
    /// A value that does not fit the others.
    #[error("check pools file: field {field} is {value}: {rule}{}", on_line(*line))]
    Rule {
        /// Path of the field, such as `pools[0].devices[2].reason`.
        field: String,
        /// Its value, as JSON.
        value: String,
        /// What it must be.
        rule: &'static str,
        /// The line of the file, where it was read from one.
        line: Option<usize>,
    },
}

fn on_line(line: Option<usize>) -> String {
    line.map(|line| format!(" (line {line})")).unwrap_or_default()
}

impl Pools {
    /// The content of `path`.
    ///
    /// # Errors
    /// [`Error::File`] and those of [`Pools::parse`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(&atomic::read(path, MAX_SIZE).map_err(Error::File)?)
    }

    /// The meaning of a file's content.
    ///
    /// # Errors
    /// [`Error::Version`] before all else, then [`Error::Parse`] or [`Error::Rule`] for the first
    /// field that is wrong.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        // The version first: a file from far away fails with that, not with its odd fields.
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let Head { version } = deserialize(json)?;
        if version.abs_diff(VERSION) > 1 {
            return Err(Error::Version { found: version });
        }
        let pools: Self = deserialize(json)?;
        check::check(&pools).map_err(|error| match error {
            Error::Rule { field, value, rule, .. } => {
                let line = Some(place::line(json, &field));
                Error::Rule { field, value, rule, line }
            }
            other => other,
        })?;
        Ok(pools)
    }

    /// Writes the file atomically with mode 0644, after the checks that a reader makes.
    ///
    /// # Errors
    /// [`Error::Rule`] if a reader would refuse it, [`Error::File`] if it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        check::check(self)?;
        let json = serde_json::to_vec(self)
            .map_err(|source| Error::Parse { field: ".".to_owned(), source })?;
        atomic::write(path, &json, 0o644).map_err(Error::File)
    }

    /// The pool and entry of `id`.
    pub fn find(&self, id: &DeviceId) -> Option<(&Pool, &Device)> {
        self.pools.iter().find_map(|pool| {
            pool.devices.iter().find(|device| device.id == *id).map(|device| (pool, device))
        })
    }
}

fn deserialize<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|e| Error::Parse { field: e.path().to_string(), source: e.into_inner() })?;
    reader.end().map_err(|source| Error::Parse { field: ".".to_owned(), source })?;
    Ok(value)
}
