//! Loading kernel modules by name, without kmod: for a static binary in an image made from nothing
//! (man 8 modprobe, man 5 modules.dep, man 2 finit_module).
//!
//! What modprobe does beyond this is left out: aliases, soft dependencies, and options and
//! blacklists of `/etc/modprobe.d`. None of the modules that vDPA needs has any; `vfio`'s soft
//! dependency, `vfio_iommu_type1`, is loaded by its own name.

use std::{
    ffi::CStr,
    fs::File,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use rustix::{io::Errno, system};
use tracing::info;

use crate::{
    error::{Error, Result, errno},
    root::Root,
    sysfs::{self, Dir},
};

mod dependencies;
mod packages;

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
    load_for(root, &release, name)
}

fn load_for(root: &Root, release: &str, name: &str) -> Result<()> {
    for file in missing(root, release, name)? {
        insert(&file).map_err(|refusal| refused(name, release, &file, refusal))?;
    }
    Ok(())
}

/// Whether the kernel has the module: loaded, or built in with something below `/sys/module`.
pub fn is_loaded(root: &Root, name: &str) -> bool {
    let dir = root.sys().join("module").join(dependencies::normal(name));
    is_live(&dir, sysfs::read_optional(&dir.join("initstate")))
}

/// Those of some modules of which [`is_loaded`] is true.
pub fn loaded<'a>(root: &Root, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<&'a str>> {
    let Some(modules) = sysfs::optional(Dir::open(root.sys().join("module")))? else {
        return Ok(Vec::new());
    };
    let there = |name: &&str| {
        let module = dependencies::normal(name);
        let state = || sysfs::optional(modules.read(&format!("{module}/initstate")));
        modules.has(&module) && is_live(&modules.path().join(&module), state())
    };
    Ok(names.into_iter().filter(there).collect())
}

/// By the directory and state of a module.
fn is_live(dir: &Path, state: Result<Option<String>>) -> bool {
    match state {
        // "coming" and "going" modules are not there to be used.
        Ok(Some(state)) => state == "live",
        Ok(None) => dir.exists(),
        Err(_) => false,
    }
}

/// Whether nobody uses a module: no other module needs it, and none of its character devices is open,
/// in whatever namespace (`cdev_get`, fs/char_dev.c, holds the module until the last file is closed).
/// False where the kernel does not tell, as of what is built in.
pub fn is_idle(root: &Root, name: &str) -> bool {
    let dir = root.sys().join("module").join(dependencies::normal(name));
    matches!(sysfs::read_optional(&dir.join("refcnt")), Ok(Some(users)) if users == "0")
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

/// Why a module's file is not in the kernel.
enum Refusal {
    /// It could not even be opened.
    Open(std::io::Error),
    /// The kernel did not take it.
    Insert(Errno),
}

fn insert(path: &Path) -> Result<(), Refusal> {
    let file = File::open(path).map_err(Refusal::Open)?;
    let flags = if is_compressed(path) { COMPRESSED_FILE } else { 0 };
    const NO_PARAMETERS: &CStr = c"";
    match system::finit_module(&file, NO_PARAMETERS, flags) {
        Ok(()) => {
            info!(module = %path.display(), "loaded kernel module");
            Ok(())
        }
        // Somebody else was faster.
        Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(Refusal::Insert(error)),
    }
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension != "ko")
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
    let from = packages::usual(&dependencies::normal(name), release);
    let reason = format!("kernel {release} is installed without it: {from}");
    Error::Module { name: name.to_owned(), reason }
}

/// The error of a file of a module, or of one that it needs.
fn refused(name: &str, release: &str, path: &Path, refusal: Refusal) -> Error {
    let own = dependencies::name(&path.to_string_lossy());
    let words = match refusal {
        Refusal::Open(error) if error.kind() == ErrorKind::NotFound => format!(
            "{} is in modules.dep but not there; install it again and run depmod: {}",
            path.display(),
            packages::usual(&own, release)
        ),
        Refusal::Open(error) => format!("open {}: {error}", path.display()),
        Refusal::Insert(errno) => not_taken(path, &own, errno),
    };
    let reason = match own == dependencies::normal(name) {
        true => words,
        false => format!("it needs {own}: {words}"),
    };
    Error::Module { name: name.to_owned(), reason }
}

/// The kernel's errno in words (`load_module` and `module_sig_check`, kernel/module/main.c and
/// signing.c; kernel/module/decompress.c).
fn not_taken(path: &Path, name: &str, error: Errno) -> String {
    let file = path.display();
    let number = error.raw_os_error();
    let words = match number {
        // Before 5.17 the flag is unknown, later kernels may be built without decompression or for
        // another format.
        errno::EINVAL | errno::EOPNOTSUPP if is_compressed(path) => format!(
            "the kernel cannot decompress {file}; load it on the host with `modprobe {name}`, or \
             decompress the file and run depmod"
        ),
        errno::EPERM => format!(
            "not allowed to insert {file}: the capability SYS_MODULE is missing, or Secure Boot's \
             lockdown wants a signature"
        ),
        EBADMSG | ENOKEY | EKEYREJECTED => {
            format!("{file} has no signature that the kernel trusts; sign it or enrol its key")
        }
        errno::ENOENT | ENOEXEC => {
            format!("{file} does not fit the running kernel; the kernel's log names what it lacks")
        }
        _ => format!("insert {file}"),
    };
    format!("{words}: {}", crate::error::errno_text(number))
}

/// Executable format error.
const ENOEXEC: i32 = 8;
/// Bad message: a signature that cannot be read.
const EBADMSG: i32 = 74;
/// Required key not available.
const ENOKEY: i32 = 126;
/// Key was rejected.
const EKEYREJECTED: i32 = 129;

#[cfg(test)]
mod tests;
