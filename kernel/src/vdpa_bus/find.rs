//! What a bus driver made of a vDPA device: a character device, or a virtio device with a netdev.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use super::{Driver, dir, driver, list};
use crate::{
    bus,
    chardev::{self, CharDevice},
    error::{Error, Result},
    pci,
    root::Root,
    sysfs,
};

/// The character device `/dev/vhost-vdpa-N` of a device that vhost_vdpa serves; `None` for others. N
/// is the lowest free number when the device is bound, not a name that stays.
pub fn char_device(root: &Root, name: &str) -> Result<Option<CharDevice>> {
    let dir = dir(root, name)?;
    for entry in sysfs::names(&dir)? {
        if sysfs::numbered(&entry, "vhost-vdpa-").is_none() {
            continue;
        }
        return chardev::of(&dir.join(&entry), root.dev().join(entry));
    }
    Ok(None)
}

/// The interface names of a device that virtio_vdpa serves. Empty for others, and while the netdev
/// is in another network namespace.
pub fn netdevs(root: &Root, name: &str) -> Result<Vec<String>> {
    match virtio_dir(root, name)? {
        Some(dir) => sysfs::names(&dir.join("net")),
        None => Ok(Vec::new()),
    }
}

/// The directory `virtioN` of a device that virtio_vdpa serves; `None` for others.
///
/// virtio_vdpa hangs its virtio device below the device that does DMA (`vdev->dev.parent =
/// vdpa_get_dma_dev`, drivers/virtio/virtio_vdpa.c): the vDPA device itself for the simulator and
/// VDUSE, the PCI function for hardware. Subfunctions of one PF share that directory: where it
/// cannot be told whose `virtioN` is whose, that is an error and no guess.
pub fn virtio_dir(root: &Root, name: &str) -> Result<Option<PathBuf>> {
    if driver(root, name)?.as_deref() != Some(Driver::VirtioVdpa.name()) {
        return Ok(None);
    }
    let own = real(&dir(root, name)?)?;
    let inside = virtio_names(&own)?;
    if !inside.is_empty() {
        return one(name, &own, &inside).map(Some);
    }
    let Some(function) = pci_function(&own) else { return Ok(None) };
    let below = virtio_names(function)?;
    if below.is_empty() {
        return Ok(None);
    }
    let sharers = sharers(root, function)?;
    if sharers.len() > 1 {
        return Err(Error::Unexpected {
            object: format!("virtio device of vdpa device {name}"),
            found: format!("{} below {}", below.join(", "), function.display()),
            expected: format!("one, but {} share that place", sharers.join(", ")),
        });
    }
    one(name, function, &below).map(Some)
}

/// Whether virtio_vdpa made a virtio device that no driver has: then there is no interface in any
/// namespace. False for others, and where it cannot be told whose `virtioN` is whose.
pub fn virtio_unbound(root: &Root, name: &str) -> Result<bool> {
    match virtio_dir(root, name) {
        Ok(dir) => Ok(dir.is_some_and(|dir| !dir.join("driver").exists())),
        Err(Error::Unexpected { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The devices that were made on functions, and on which. The simulator's are on none.
pub fn functions(root: &Root) -> Result<Vec<(String, bus::Address)>> {
    let mut found = Vec::new();
    for name in list(root)? {
        // gone since it was listed
        let Ok(real) = real(&dir(root, &name)?) else { continue };
        let parent = real.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        found.extend(parent.and_then(|name| name.parse().ok()).map(|address| (name, address)));
    }
    Ok(found)
}

/// The devices that were made on one function, by name.
pub fn of_function(root: &Root, function: &bus::Address) -> Result<Vec<String>> {
    let on_bus = |name: &String| dir(root, name).is_ok_and(|dir| dir.exists());
    Ok(sysfs::directories(&function.dir(root))?.into_iter().filter(on_bus).collect())
}

/// The PCI function that a device's directory is below: the nearest one.
pub(crate) fn pci_function(real: &Path) -> Option<&Path> {
    real.ancestors().skip(1).find(|dir| {
        let name = dir.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.parse::<pci::Address>().is_ok())
    })
}

/// The address of that function.
pub(crate) fn pci_address(real: &Path) -> Option<pci::Address> {
    pci_function(real)?.file_name()?.to_str()?.parse().ok()
}

/// The path of a device without symbolic links: in sysfs the directory on a bus is the only one on the
/// way.
pub(crate) fn real(dir: &Path) -> Result<PathBuf> {
    let target = fs::read_link(dir).map_err(|source| Error::io("resolve", dir, source))?;
    let mut real = dir.parent().unwrap_or(dir).to_owned();
    for part in target.components() {
        match part {
            Component::ParentDir => _ = real.pop(),
            part => real.push(part),
        }
    }
    Ok(real)
}

/// The devices that virtio_vdpa serves with their virtio device below this PCI function.
fn sharers(root: &Root, function: &Path) -> Result<Vec<String>> {
    let mut sharers = Vec::new();
    for other in list(root)? {
        if driver(root, &other)?.as_deref() != Some(Driver::VirtioVdpa.name()) {
            continue;
        }
        let Ok(real) = real(&dir(root, &other)?) else { continue };
        if pci_function(&real) == Some(function) && virtio_names(&real)?.is_empty() {
            sharers.push(other);
        }
    }
    Ok(sharers)
}

fn virtio_names(dir: &Path) -> Result<Vec<String>> {
    let mut names = sysfs::names(dir)?;
    names.retain(|name| sysfs::is_virtio(name));
    Ok(names)
}

fn one(device: &str, dir: &Path, names: &[String]) -> Result<PathBuf> {
    match names {
        [name] => Ok(dir.join(name)),
        names => Err(Error::Unexpected {
            object: format!("virtio device of vdpa device {device}"),
            found: format!("{} below {}", names.join(", "), dir.display()),
            expected: "exactly one".to_owned(),
        }),
    }
}
