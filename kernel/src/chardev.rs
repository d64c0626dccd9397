//! Character devices that sysfs tells of: the way of user space to what a driver made.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    sysfs,
};

/// A character device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CharDevice {
    /// Its node below `/dev`: where devtmpfs puts it, on a host that does not rename it.
    pub path: PathBuf,
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
}

/// The device of a directory in sysfs, by the attribute `dev` (`MAJOR:MINOR`), with its node at
/// `path`; `None` where the directory is none of a device with a node.
pub(crate) fn of(dir: &Path, path: PathBuf) -> Result<Option<CharDevice>> {
    let attribute = dir.join("dev");
    let Some(text) = sysfs::read_optional(&attribute)? else { return Ok(None) };
    let numbers = text
        .split_once(':')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    match numbers {
        Some((major, minor)) => Ok(Some(CharDevice { path, major, minor })),
        None => Err(Error::parse(attribute.display().to_string(), &text, "MAJOR:MINOR")),
    }
}
