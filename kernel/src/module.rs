//! Loading kernel modules by name, without kmod: for a static binary in an image made from nothing
//! (man 8 modprobe, man 5 modules.dep, man 2 finit_module).
//!
//! What modprobe does beyond this is left out: aliases, soft dependencies, and options and
//! blacklists of `/etc/modprobe.d`. None of the modules that vDPA needs has any.

use std::{
    ffi::CStr,
    fs::File,
    path::{Path, PathBuf},
};

use rustix::{io::Errno, system};
use tracing::info;

use crate::{
    error::{Error, Result, errno},
    root::Root,
    sysfs,
};

mod dependencies;

/// The largest `modules.dep` read; a distribution's has about 600 KiB.
const LONGEST_LIST: u64 = 16 << 20;
/// `MODULE_INIT_COMPRESSED_FILE` (include/uapi/linux/module.h), from Linux 5.17.
const COMPRESSED_FILE: i32 = 4;

/// Loads a module and what it needs; nothing to do if it is there already, or built in.
///
/// `-` and `_` in the name are the same. Needs `CAP_SYS_MODULE`. Sleeps while the module's
/// initialization runs.
pub fn load(root: &Root, name: &str) -> Result<()> {
    let release = system::uname().release().to_string_lossy().into_owned();
    for file in missing(root, &release, name)? {
        insert(&file)?;
    }
    Ok(())
}

/// Whether the kernel has the module: loaded, or built in with something below `/sys/module`.
pub fn is_loaded(root: &Root, name: &str) -> bool {
    let dir = root.sys().join("module").join(dependencies::normal(name));
    match sysfs::read_optional(&dir.join("initstate")) {
        // "coming" and "going" modules are not there to be used.
        Ok(Some(state)) => state == "live",
        Ok(None) => dir.exists(),
        Err(_) => false,
    }
}

/// The files to insert for a module of a kernel release, in order; none if it is there already.
fn missing(root: &Root, release: &str, name: &str) -> Result<Vec<PathBuf>> {
    if is_loaded(root, name) {
        return Ok(Vec::new());
    }
    let dir = root.modules().join(release);
    let list = dir.join("modules.dep");
    let text = match sysfs::read_bounded(&list, LONGEST_LIST) {
        Ok(text) => text,
        Err(error) if error.is_missing() => return Err(no_modules(name, &list)),
        Err(error) => return Err(error),
    };
    if let Some(files) = dependencies::files(&text, name) {
        let needed = files.into_iter().filter(|file| !is_loaded(root, &dependencies::name(file)));
        return Ok(needed.map(|file| dir.join(file)).collect());
    }
    let builtin = sysfs::read_bounded(&dir.join("modules.builtin"), LONGEST_LIST);
    if builtin.is_ok_and(|text| dependencies::is_listed(&text, name)) {
        return Ok(Vec::new());
    }
    Err(absent(name, release))
}

fn insert(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(|source| Error::io("open module", path, source))?;
    let compressed = path.extension().is_some_and(|extension| extension != "ko");
    let flags = if compressed { COMPRESSED_FILE } else { 0 };
    const NO_PARAMETERS: &CStr = c"";
    match system::finit_module(&file, NO_PARAMETERS, flags) {
        Ok(()) => {
            info!(module = %path.display(), "loaded kernel module");
            Ok(())
        }
        // Somebody else was faster.
        Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(refused(path, compressed, error)),
    }
}

fn no_modules(name: &str, list: &Path) -> Error {
    let reason = format!(
        "{} is not there; the running kernel's modules must be visible at that path (run depmod \
         if they are and the file is not)",
        list.display()
    );
    Error::Module { name: name.to_owned(), reason }
}

fn absent(name: &str, release: &str) -> Error {
    let reason = format!(
        "kernel {release} is installed without it; Ubuntu has it in linux-modules-extra-{release} \
         (from 6.17 in linux-modules-{release}), the RHEL family in kernel-modules-extra; Debian \
         builds of the vDPA modules only vdpa, vduse, vhost_vdpa and virtio_vdpa (from 6.12), \
         others must be built from linux-source"
    );
    Error::Module { name: name.to_owned(), reason }
}

/// The kernel's errno in words (kernel/module/main.c, kernel/module/decompress.c).
fn refused(path: &Path, compressed: bool, error: Errno) -> Error {
    let name = dependencies::name(&path.to_string_lossy());
    let file = path.display();
    let number = error.raw_os_error();
    let words = match number {
        errno::EINVAL | errno::EOPNOTSUPP | ENOEXEC | EBADMSG if compressed => format!(
            "the kernel cannot decompress {file}; load it on the host with `modprobe {name}`, or \
             decompress the file and run depmod"
        ),
        errno::EPERM => format!(
            "not allowed to insert {file}: the capability SYS_MODULE is missing, or Secure Boot's \
             lockdown wants a signature"
        ),
        ENOKEY | EKEYREJECTED => {
            format!("{file} has no signature that the kernel trusts; sign it or enrol its key")
        }
        errno::ENOENT | ENOEXEC => {
            format!("{file} does not fit the running kernel; the kernel's log names what it lacks")
        }
        _ => format!("insert {file}"),
    };
    Error::Module { name, reason: format!("{words}: {}", crate::error::errno_text(number)) }
}

/// Executable format error.
const ENOEXEC: i32 = 8;
/// Not a message of that format: what a wrong compression can give.
const EBADMSG: i32 = 74;
/// Required key not available.
const ENOKEY: i32 = 126;
/// Key was rejected.
const EKEYREJECTED: i32 = 129;

#[cfg(test)]
mod tests;
