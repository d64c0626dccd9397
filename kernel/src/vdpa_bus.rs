//! The vDPA bus in sysfs: which driver serves a device, and what that driver made of it
//! (drivers/vdpa/vdpa.c, Documentation/ABI/testing/sysfs-bus-vdpa).
//!
//! Left alone, the bus binds a new device to whichever driver was loaded first. The way without
//! chance: autoprobe off, create, [`set_driver_override`], [`probe`], [`verify_driver`].

use std::path::PathBuf;

use crate::{
    error::{Error, Result},
    pci,
    root::Root,
    sysfs,
};

pub mod find;

pub use find::{char_device, functions, netdevs, of_function, virtio_dir, virtio_unbound};

/// What a vDPA device can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Driver {
    /// A character device for a VMM: `/dev/vhost-vdpa-N`.
    #[serde(rename = "vhost_vdpa")]
    VhostVdpa,
    /// A virtio device of the host, with a netdev.
    #[serde(rename = "virtio_vdpa")]
    VirtioVdpa,
}

impl Driver {
    /// The name on the bus, which is the module's too.
    pub fn name(self) -> &'static str {
        match self {
            Self::VhostVdpa => "vhost_vdpa",
            Self::VirtioVdpa => "virtio_vdpa",
        }
    }

    /// The driver of that name on the bus.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::VhostVdpa, Self::VirtioVdpa].into_iter().find(|driver| driver.name() == name)
    }
}

/// The names of all devices, those without a management device too, as sysfs spells them: a `/`
/// in a device's name is `!` there.
pub fn list(root: &Root) -> Result<Vec<String>> {
    sysfs::names(&root.sys().join("bus/vdpa/devices"))
}

/// The directory of a device. It is a symbolic link into `/sys/devices`.
///
/// An error for a name that no sysfs directory can have.
pub fn dir(root: &Root, name: &str) -> Result<PathBuf> {
    if matches!(name, "" | "." | "..") || name.contains('\0') {
        return Err(Error::parse("vdpa device name", name, "a name"));
    }
    // kobject_set_name_vargs, lib/kobject.c.
    Ok(root.sys().join("bus/vdpa/devices").join(name.replace('/', "!")))
}

/// Whether the device exists now.
pub fn exists(root: &Root, name: &str) -> bool {
    dir(root, name).is_ok_and(|dir| dir.exists())
}

/// The name of the bound driver. Usually one of [`Driver`], but another module may bring more.
pub fn driver(root: &Root, name: &str) -> Result<Option<String>> {
    sysfs::link_name(&dir(root, name)?.join("driver"))
}

/// Whether new devices and drivers are matched as they appear. The kernel starts with true.
pub fn drivers_autoprobe(root: &Root) -> Result<bool> {
    Ok(sysfs::read_number::<u8>(&root.sys().join("bus/vdpa/drivers_autoprobe"))? != 0)
}

/// Says whether devices and drivers that appear from now on are matched.
pub fn set_drivers_autoprobe(root: &Root, on: bool) -> Result<()> {
    sysfs::write(&root.sys().join("bus/vdpa/drivers_autoprobe"), if on { "1" } else { "0" })
}

/// The only driver that may bind the device, where one is set.
///
/// Hangs while an unbind of the device does.
pub fn driver_override(root: &Root, name: &str) -> Result<Option<String>> {
    let value = sysfs::read_optional(&dir(root, name)?.join("driver_override"))?;
    Ok(value.filter(|driver| !pci::is_unset(driver)))
}

/// Sets or clears the only driver that may bind the device.
pub fn set_driver_override(root: &Root, name: &str, driver: Option<Driver>) -> Result<()> {
    let value = driver.map_or("\n", Driver::name);
    sysfs::write(&dir(root, name)?.join("driver_override"), value)
}

/// Asks the bus to find a driver for the device.
///
/// The kernel reports success even when nothing was bound: follow with [`verify_driver`].
pub fn probe(root: &Root, name: &str) -> Result<()> {
    sysfs::write(&root.sys().join("bus/vdpa/drivers_probe"), &name.replace('/', "!"))
}

/// Unbinds the device from its driver; nothing to do without one.
///
/// Sleeps in the kernel for as long as a process has the character device open, but holds up only
/// the writer: go through [`crate::stuck`].
pub fn unbind(root: &Root, name: &str) -> Result<()> {
    match driver(root, name)? {
        Some(_) => {
            let path = dir(root, name)?.join("driver/unbind");
            sysfs::write(&path, &name.replace('/', "!"))
        }
        None => Ok(()),
    }
}

/// Succeeds if exactly this driver is bound, or none where `None` is wanted.
pub fn verify_driver(root: &Root, name: &str, wanted: Option<Driver>) -> Result<()> {
    let found = driver(root, name)?;
    let wanted = wanted.map(Driver::name);
    if found.as_deref() == wanted {
        return Ok(());
    }
    Err(Error::Unexpected {
        object: format!("driver of vdpa device {name}"),
        found: found.unwrap_or_else(|| "none".to_owned()),
        expected: wanted.unwrap_or("none").to_owned(),
    })
}

/// Binds a device to one driver and no other: override, unbind what else is bound, probe, verify.
/// Nothing is done where the driver is bound already, except to set the override.
///
/// Sleeps as [`unbind`] does.
pub fn bind(root: &Root, name: &str, wanted: Driver) -> Result<()> {
    set_driver_override(root, name, Some(wanted))?;
    if driver(root, name)?.as_deref() == Some(wanted.name()) {
        return Ok(());
    }
    unbind(root, name)?;
    probe(root, name)?;
    verify_driver(root, name, Some(wanted))
}

#[cfg(test)]
mod tests;
