//! A directory that several things are read from.

use std::{
    fs::File,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, RawDir},
    io::Errno,
};

use super::{last_component, optional, parse_number, read_from};
use crate::error::{Error, Result};

/// A directory, open, and listed once.
///
/// The way to a device leads by a link and through a dozen directories: here it is gone once, and not
/// for each attribute.
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
    names: Vec<String>,
}

impl Dir {
    /// Fails with `ENOENT` without the directory.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        Self::open_at(CWD, &path.clone(), path)
    }

    /// A directory below this one, if it is there.
    pub(crate) fn below(&self, name: &str) -> Result<Option<Self>> {
        optional(Self::open_at(&self.fd, Path::new(name), self.path.join(name)))
    }

    fn open_at(at: impl std::os::fd::AsFd, name: &Path, path: PathBuf) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let list = || -> std::result::Result<_, Errno> {
            let fd = rustix::fs::openat(at, name, flags, Mode::empty())?;
            let names = list(&fd)?;
            Ok((fd, names))
        };
        match list() {
            Ok((fd, names)) => Ok(Self { fd, path, names }),
            Err(error) => Err(Error::io("list", path, error.into())),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What was in it when it was opened, sorted.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The same, when nothing else is asked of it.
    pub(crate) fn into_names(self) -> Vec<String> {
        self.names
    }

    /// Whether something was in it when it was opened.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
    }

    /// As [`super::read`].
    pub(crate) fn read(&self, name: &str) -> Result<String> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::empty())
            .map_err(|error| Error::io("read", &path, error.into()))?;
        read_from(File::from(file), &path)
    }

    /// As [`super::read_number_optional`].
    pub(crate) fn read_number_optional<T: TryFrom<i64>>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = optional(self.read(name))? else { return Ok(None) };
        parse_number(&self.path.join(name), &text).map(Some)
    }

    /// As [`super::link_name`], of a link that was there when the directory was opened.
    pub(crate) fn link_name(&self, name: &str) -> Result<Option<String>> {
        if !self.has(name) {
            return Ok(None);
        }
        let path = self.path.join(name);
        match rustix::fs::readlinkat(&self.fd, name, Vec::with_capacity(LONGEST_LINK)) {
            Ok(target) => last_component(&path, Path::new(&*target.to_string_lossy())).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(Error::io("read link", path, error.into())),
        }
    }
}

/// Room for most links, so that they are read in one call.
const LONGEST_LINK: usize = 256;

fn list(fd: &OwnedFd) -> std::result::Result<Vec<String>, Errno> {
    let mut buffer = [MaybeUninit::uninit(); 16 << 10];
    let mut entries = RawDir::new(fd, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if name != "." && name != ".." {
            names.push(name.into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}
