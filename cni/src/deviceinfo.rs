//! The device-info file of an attachment, which Multus names by `CNIDeviceInfoFile` and copies
//! into the pod's `network-status` (device-info specification 1.1.0).
//!
//! A tenant can set the capability too, so that the name is held to one file of one directory,
//! reached without symbolic links.

use std::{
    fs::{self, File},
    io::Write,
    os::fd::OwnedFd,
    path::Path,
};

use ringway_node::devinfo::{DeviceInfo, Pci, Vdpa, VdpaDriver};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, openat2, renameat, unlinkat},
    io::Errno,
};

use crate::{
    attachment::Attachment,
    error::{Code, Error, Result},
    grant::Grant,
    netconf::bad,
    place::Place,
    world::World,
};

#[cfg(test)]
mod tests;

const FIELD: &str = "runtimeConfig.CNIDeviceInfoFile";

/// The device as the specification describes it, which has no words for a subfunction itself.
pub fn describe(grant: &Grant) -> Option<DeviceInfo> {
    let device = &grant.device;
    let pf_pci_address = device.pf_pci_address.map(|address| address.to_string());
    Some(match &grant.place {
        Place::Auxiliary(_) => return None,
        Place::Pci(address) => DeviceInfo::pci(Pci {
            pci_address: address.to_string(),
            vhost_net: None,
            rdma_device: grant.rdma.clone(),
            pf_pci_address,
            representor_device: None,
        }),
        Place::Vdpa(name) => {
            let (driver, path) = match grant.attachment {
                Attachment::VhostVdpa => (VdpaDriver::Vhost, Some(container_path(grant))),
                _ => (VdpaDriver::Virtio, None),
            };
            DeviceInfo::vdpa(Vdpa {
                parent_device: name.clone(),
                driver,
                path,
                pci_address: device.pci_address.map(|address| address.to_string()),
                pf_pci_address,
                representor_device: None,
            })
        }
    })
}

/// Where a container finds the character device: the device plugin's CDI spec says the same.
pub fn container_path(grant: &Grant) -> String {
    format!("/dev/ringway/{}", grant.device.id)
}

/// The bare name in a path that must be of a file in `devinfo/cni/`.
pub fn name(world: &World, path: &str) -> Result<String> {
    let dir = world.paths.devinfo.join("cni");
    // `/var/run` is a link to `/run`, and a runtime may name either.
    let real = fs::canonicalize(&world.paths.devinfo).map(|dir| dir.join("cni")).ok();
    let parent = Path::new(path).parent();
    let name = Path::new(path).file_name().and_then(|name| name.to_str());
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    let fits =
        |name: &&str| !name.starts_with('.') && name.len() <= 230 && name.bytes().all(inside);
    match name.filter(fits) {
        Some(name) if parent == Some(&*dir) || (real.is_some() && parent == real.as_deref()) => {
            Ok(name.to_owned())
        }
        _ => Err(bad(FIELD, path, &format!("must be a file in {}", dir.display()))),
    }
}

/// Writes the file, in place of what Multus copied there.
pub fn write(world: &World, name: &str, info: &DeviceInfo) -> Result<()> {
    let dir = open_dir(world)?;
    refuse_link(&dir, name)?;
    let because = || format!("write device-info file {name}");
    let temporary = temporary(name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    // One that was killed may have left it.
    let _ = unlinkat(&dir, &temporary, AtFlags::empty());
    let mode = Mode::from_raw_mode(0o444);
    let write = || -> std::io::Result<()> {
        let file = openat2(&dir, &temporary, flags, mode, safely())?;
        File::from(file).write_all(&info.to_json())?;
        renameat(&dir, &temporary, &dir, name)?;
        Ok(())
    };
    let written = write();
    if written.is_err() {
        let _ = unlinkat(&dir, &temporary, AtFlags::empty());
    }
    written.map_err(Error::because(Code::Io, because()))
}

/// Of one attachment, whose device is locked: nobody else writes it.
fn temporary(name: &str) -> String {
    format!(".{name}.new")
}

/// Removes the file; that it is gone already is fine.
pub fn remove(world: &World, name: &str) -> Result<()> {
    let (base, dir) = (&world.paths.devinfo, world.paths.devinfo.join("cni"));
    // Through a link it may only seem so.
    if !base.is_symlink() && !dir.is_symlink() && !dir.exists() {
        return Ok(());
    }
    let dir = open_dir(world)?;
    // what is left of a write that was killed
    let _ = unlinkat(&dir, temporary(name), AtFlags::empty());
    match unlinkat(&dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => {
            Err(Error::because(Code::Io, format!("remove device-info file {name}"))(error))
        }
    }
}

fn safely() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS
}

fn open_dir(world: &World) -> Result<OwnedFd> {
    let path = &world.paths.devinfo;
    let open = || -> std::io::Result<OwnedFd> {
        fs::create_dir_all(path)?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let base = rustix::fs::openat(CWD, path, flags | OFlags::NOFOLLOW, Mode::empty())?;
        match rustix::fs::mkdirat(&base, "cni", Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(openat2(base, "cni", flags, Mode::empty(), safely())?)
    };
    open().map_err(Error::because(Code::Io, format!("open {}", path.join("cni").display())))
}

/// Renaming would replace a link and do no harm; but who put one there expects that we follow it.
fn refuse_link(dir: &OwnedFd, name: &str) -> Result<()> {
    match openat2(dir, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), safely()) {
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::LOOP) => Err(bad(FIELD, name, "must not be a symbolic link")),
        Err(error) => {
            Err(Error::because(Code::Io, format!("look at device-info file {name}"))(error))
        }
    }
}
