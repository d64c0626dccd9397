//! Writes what others read about our devices: CDI specs for container runtimes, device-info for
//! Multus. Files of ours that nothing stands behind any more go, device-info once no pod
//! holds the device; other files are left alone.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ringway_kernel::bus;
use ringway_kernel::vdpa_bus::Driver;
use ringway_node::devinfo::{self, DeviceInfo};
use ringway_node::{Resource, atomic};

use crate::cdi;
use crate::offer::{Item, Offer, Offers};
use crate::supply::{Delivery, Way};

/// The largest of our own files that is compared with what it should be, in bytes.
const MAX_SIZE: u64 = 1024 * 1024;

/// Why a file could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory cannot be made or listed.
    #[error("{op} directory {}", dir.display())]
    Dir {
        /// What was tried.
        op: &'static str,
        /// The directory.
        dir: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A file cannot be written or removed.
    #[error(transparent)]
    File(#[from] atomic::Error),
}

/// Which files in the directories are ours, to be removed when nothing stands behind them any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ours {
    /// Those of resources of our own prefix.
    Own,
    /// Those of these resources of other prefixes, which other plugins may have, too. Specs have names
    /// that nobody else gives.
    Others(BTreeSet<Resource>),
}

impl Ours {
    fn is_spec(&self, name: &str) -> bool {
        let prefix = match self {
            Self::Own => cdi::FILE_PREFIX,
            Self::Others(_) => cdi::OTHER_FILE_PREFIX,
        };
        name.starts_with(prefix) && name.ends_with(".json")
    }

    /// A name of another resource may begin with the whole name of ours, so that what is between must
    /// be the address of a function.
    fn is_info(&self, name: &str) -> bool {
        let Some(name) = name.strip_suffix(devinfo::PLUGIN_FILE_END) else { return false };
        match self {
            Self::Own => name.starts_with(cdi::FILE_PREFIX),
            Self::Others(resources) => resources.iter().any(|resource| {
                let rest = name.strip_prefix(&resource.file_stem());
                let id = rest.and_then(|rest| rest.strip_prefix('-'));
                id.is_some_and(|id| id.parse::<bus::Address>().is_ok())
            }),
        }
    }
}

/// Files of ours that nothing stands behind any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Orphans(Vec<PathBuf>);

impl Orphans {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes those that `keep` does not name, and gives the names of the others.
    ///
    /// # Errors
    /// The first failure; those before it are gone.
    pub fn remove(self, keep: impl Fn(&str) -> bool) -> Result<Vec<String>, Error> {
        let mut kept = Vec::new();
        for path in self.0 {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match keep(&name) {
                true => kept.push(name),
                false => atomic::remove(&path)?,
            }
        }
        Ok(kept)
    }
}

/// Brings the CDI specs of all resources up to date.
///
/// # Errors
/// The first failure; the specs before it are up to date.
pub fn specs(dir: &Path, offers: &Offers, hook: Option<&Path>, ours: &Ours) -> Result<(), Error> {
    let mut keep = BTreeSet::new();
    for (resource, offer) in offers {
        if spec(dir, resource, offer, hook)? {
            keep.insert(cdi::file_name(resource));
        }
    }
    let gone = orphans(dir, &keep, |name| ours.is_spec(name))?;
    gone.remove(|_| false).map(drop)
}

/// Brings the CDI spec of one resource up to date, and tells whether it has one.
///
/// # Errors
/// The directory cannot be made, or the file not be written or removed.
pub fn spec(
    dir: &Path,
    resource: &Resource,
    offer: &Offer,
    hook: Option<&Path>,
) -> Result<bool, Error> {
    let path = dir.join(cdi::file_name(resource));
    let spec =
        (offer.delivery == Delivery::Cdi).then(|| cdi::spec(resource, offer, hook)).flatten();
    let Some(spec) = spec else {
        atomic::remove(&path)?;
        return Ok(false);
    };
    write_if_changed(&path, &spec.to_json(), 0o644)?;
    Ok(true)
}

/// Brings the device-info files of all devices up to date. A device that cannot be handed out keeps
/// its file as it is, whatever the device is to become: a pod that holds it may still need it.
///
/// # Errors
/// The first failure; the files before it are up to date.
pub fn infos(dir: &Path, offers: &Offers, ours: &Ours) -> Result<Orphans, Error> {
    let mut keep = BTreeSet::new();
    for (resource, offer) in offers {
        for item in &offer.items {
            let path = devinfo::plugin_file(dir, resource, item.id());
            if let Some(info) = info(item).filter(|_| item.unusable.is_none() || !path.exists()) {
                // Read-only, as the SR-IOV device plugin leaves it.
                write_if_changed(&path, &info.to_json(), 0o444)?;
            }
            keep.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    orphans(&dir.join("dp"), &keep, |name| ours.is_info(name))
}

/// What a device is, as far as it is known. The specification has no words for a subfunction itself.
fn info(item: &Item) -> Option<DeviceInfo> {
    let device = &item.entry.device;
    let pci_address = device.pci_address.map(|address| address.to_string());
    let pf_pci_address = device.pf_pci_address.map(|address| address.to_string());
    let representor_device = item.representor.clone();
    let rdma_devices = &item.rdma_devices;
    let rdma_device = (!rdma_devices.is_empty()).then(|| rdma_devices.join(","));
    match item.entry.way {
        Way::Netdev | Way::Vfio | Way::Uio => Some(DeviceInfo::pci(devinfo::Pci {
            pci_address: pci_address?,
            rdma_device,
            pf_pci_address,
            representor_device,
            vhost_net: item.nodes.iter().any(|node| node == "vhost-net").then(vhost_net),
        })),
        Way::VirtioVdpa | Way::VhostVdpa => {
            let vdpa = device.vdpa.as_ref()?;
            let (driver, path) = match vdpa.driver {
                Driver::VirtioVdpa => (devinfo::VdpaDriver::Virtio, None),
                Driver::VhostVdpa => (devinfo::VdpaDriver::Vhost, item.vhost_vdpa_path()),
            };
            Some(DeviceInfo::vdpa(devinfo::Vdpa {
                parent_device: vdpa.name.clone(),
                driver,
                path,
                pci_address,
                pf_pci_address,
                representor_device,
            }))
        }
    }
}

fn vhost_net() -> String {
    "/dev/vhost-net".to_owned()
}

fn write_if_changed(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    // Whatever else is there, a link or a larger file, is replaced.
    if atomic::read(path, MAX_SIZE).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(|source| Error::Dir {
            op: "make",
            dir: dir.to_owned(),
            source,
        })?;
    }
    Ok(atomic::write(path, bytes, mode)?)
}

/// Those in `dir`, and what a process of ours that was killed while it wrote has left is removed.
fn orphans(
    dir: &Path,
    keep: &BTreeSet<String>,
    ours: impl Fn(&str) -> bool,
) -> Result<Orphans, Error> {
    atomic::remove_leftovers(dir, &ours)?;
    let error = |source| Error::Dir { op: "list", dir: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Orphans::default()),
        entries => entries.map_err(error)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(error)?.file_name();
        let Some(name) = name.to_str() else { continue };
        if ours(name) && !keep.contains(name) {
            found.push(dir.join(name));
        }
    }
    found.sort();
    Ok(Orphans(found))
}

#[cfg(test)]
mod tests;
