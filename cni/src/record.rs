//! What an attachment is and what ADD changed for it, on the disk:
//! `/var/lib/ringway/attachments/<containerID>:<ifname>.json`.
//!
//! Written before the first change ([`Phase::Attaching`]), again before success is told
//! ([`Phase::Attached`]), removed when nothing is left to undo. All of it happens with the
//! device's lock held, so that who holds the lock and finds `attaching` knows that its writer is
//! dead.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use ringway_kernel::{
    Root,
    netns::{Identity, Netns},
    sysfs,
};
use ringway_node::{DeviceId, atomic};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    attachment::Attachment,
    error::{Code, Error, Result},
    invocation::{Pod, Target},
    netdev::Before,
    place::Place,
    result::Success,
    vf::Change,
};

#[cfg(test)]
pub(crate) mod tests;

/// The schema version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// The largest record, in bytes: it holds the network configuration.
const LONGEST: u64 = 2 << 20;

/// One attachment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Schema version: [`VERSION`].
    pub version: u32,
    /// How far it came.
    pub phase: Phase,
    /// The network's name.
    pub network: String,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// For people.
    pub pod: Pod,
    /// The boot it was made in: after another one nothing is left of its changes.
    pub boot_id: String,
    /// The pod's namespace.
    pub netns: Namespace,
    /// The device.
    pub device: DeviceId,
    /// Where the kernel has it: `vdpa` or `auxiliary` with a name, or `pci` with an address.
    #[serde(flatten)]
    pub place: Place,
    /// How it is attached.
    pub attachment: Attachment,
    /// When ADD began, in seconds since 1970; an older Ringway did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// What the netdev was before the first change, where one is moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// What the PF sets for the function, and what it set before, where the network asks for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<Change>,
    /// What ADD answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Success>,
    /// What IPAM DEL needs; none without IPAM, or once that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam: Option<IpamRecord>,
    /// The name of the device-info file that ADD wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_info: Option<String>,
}

/// How far an attachment came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// ADD is at work, or died at it.
    Attaching,
    /// ADD succeeded.
    Attached,
    /// DEL could not find the netdev: the kernel has not brought it back yet.
    Away,
    /// The device is as it was. IPAM DEL is still to come.
    Detached,
}

/// A namespace as it can be found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Where it was.
    pub path: PathBuf,
    /// What it was.
    pub identity: Identity,
}

/// What IPAM DEL needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IpamRecord {
    /// The plugin's bare file name.
    pub kind: String,
    /// `CNI_ARGS`.
    pub args: String,
    /// The network configuration.
    pub conf: Map<String, Value>,
}

impl Namespace {
    /// The namespace; `None` if it is gone, or another has its place.
    ///
    /// An error where that is not known: that no file can be opened now does not mean that a pod has
    /// ended.
    pub fn find(&self) -> Result<Option<Netns>> {
        match Netns::open(&self.path) {
            Ok(netns) => Ok((netns.identity()? == self.identity).then_some(netns)),
            Err(error) if error.is_missing() => Ok(None),
            // something else is there, which is no namespace
            Err(ringway_kernel::Error::Unexpected { .. }) => Ok(None),
            Err(error) => {
                let text = format!("look whether namespace {} is there", self.path.display());
                Err(Error::because(Code::Io, text)(error))
            }
        }
    }
}

impl Record {
    /// The record of a target; `None` without one.
    pub fn read(dir: &Path, target: &Target) -> Result<Option<Self>> {
        refuse_link(dir)?;
        read(&dir.join(file_name(&target.container_id, &target.ifname)))
    }

    /// All records that can be read. One that cannot be belongs to nobody who could be helped by
    /// an error here: it is logged, and stays.
    pub fn list(dir: &Path) -> Result<Vec<Self>> {
        let (records, errors) = Self::list_all(dir)?;
        for error in errors {
            tracing::error!(error = error.chain(), "skipped a record");
        }
        Ok(records)
    }

    /// All records that can be read, and why others cannot.
    pub fn list_all(dir: &Path) -> Result<(Vec<Self>, Vec<Error>)> {
        refuse_link(dir)?;
        let (mut records, mut errors) = (Vec::new(), Vec::new());
        let names = sysfs::names(dir)?;
        for name in names.iter().filter(|name| !name.starts_with('.') && name.ends_with(".json")) {
            match read(&dir.join(name)) {
                Ok(record) => records.extend(record),
                Err(error) => errors.push(error),
            }
        }
        Ok((records, errors))
    }

    /// Writes it: on the disk when this returns.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let name = file_name(&self.container_id, &self.ifname);
        let about = format!("record of attachment {}", self.label());
        refuse_link(dir)?;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(Error::because(Code::Io, format!("make {}", dir.display())))?;
        let json = serde_json::to_vec(self).map_err(Error::because(Code::Io, about.clone()))?;
        atomic::write(&dir.join(name), &json, 0o600).map_err(Error::because(Code::Io, about))
    }

    /// Removes what a process that was killed while it wrote a record has left. That it cannot is no
    /// reason for a verb to fail.
    pub fn remove_leftovers(dir: &Path) {
        if let Err(error) = atomic::remove_leftovers(dir, |target| target.ends_with(".json")) {
            tracing::warn!(error = Error::because(Code::Io, "leftovers")(error).chain(), "kept");
        }
    }

    /// Removes it.
    pub fn remove(&self, dir: &Path) -> Result<()> {
        let path = dir.join(file_name(&self.container_id, &self.ifname));
        let because = Error::because(Code::Io, format!("record of attachment {}", self.label()));
        atomic::remove(&path).map_err(because)
    }

    /// The target that it is of.
    pub fn target(&self) -> Target {
        Target {
            container_id: self.container_id.clone(),
            ifname: self.ifname.clone(),
            netns: Some(self.netns.path.clone()),
        }
    }

    /// For people: who has the device.
    pub fn label(&self) -> String {
        let Self { container_id, ifname, pod, network, .. } = self;
        format!("{container_id}:{ifname} of pod {pod} in network {network:?}")
    }

    /// Whether it was made since the last boot.
    pub fn of_this_boot(&self, root: &Root) -> Result<bool> {
        Ok(self.boot_id == boot_id(root)?)
    }

    /// Whether a pod uses it: ADD succeeded, and the namespace is still there.
    pub fn is_live(&self, root: &Root) -> Result<bool> {
        let attached = self.phase == Phase::Attached;
        Ok(attached && self.of_this_boot(root)? && self.netns.find()?.is_some())
    }
}

/// What tells one boot of the node from another.
pub fn boot_id(root: &Root) -> Result<String> {
    Ok(sysfs::read(&root.proc().join("sys/kernel/random/boot_id"))?)
}

/// What a link leads to is not what was written here.
fn refuse_link(dir: &Path) -> Result<()> {
    let is_link = |about: std::fs::Metadata| about.file_type().is_symlink();
    if !dir.symlink_metadata().is_ok_and(is_link) {
        return Ok(());
    }
    let text = format!("directory of records {} must not be a symbolic link", dir.display());
    Err(Error::new(Code::Io, text))
}

fn file_name(container_id: &str, ifname: &str) -> String {
    format!("{container_id}:{ifname}.json")
}

/// Reads a record; `name` is for errors.
pub fn parse(bytes: &[u8], name: &str) -> Result<Record> {
    let record: Record =
        serde_json::from_slice(bytes).map_err(Error::because(Code::Decode, name.to_owned()))?;
    if record.version != VERSION {
        let text = format!("{name} is of version {}, not {VERSION}", record.version);
        let advice = "the Ringway that wrote it must detach it";
        return Err(Error::new(Code::Decode, text).advise(advice));
    }
    Ok(record)
}

fn read(path: &Path) -> Result<Option<Record>> {
    let bytes = match atomic::read(path, LONGEST) {
        Err(error) if error.is_not_found() => return Ok(None),
        bytes => bytes.map_err(Error::because(Code::Io, "record of an attachment"))?,
    };
    parse(&bytes, &format!("record {}", path.display())).map(Some)
}
