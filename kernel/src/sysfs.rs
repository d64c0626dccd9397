//! Reading and writing single attributes below `/sys` (and `/proc`): bounded, with errors that
//! name the path and the value.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    path::Path,
};

use crate::error::{Error, Result};

mod dir;

pub(crate) use dir::Dir;

/// No attribute is longer than a page (Documentation/filesystems/sysfs.rst), and no supported
/// machine has larger pages than 64 KiB.
const LONGEST_ATTRIBUTE: u64 = 64 << 10;

/// The text of an attribute without the trailing newline.
pub fn read(path: &Path) -> Result<String> {
    let file = File::open(path).map_err(|source| Error::io("read", path, source))?;
    read_from(file, path)
}

fn read_from(mut file: File, path: &Path) -> Result<String> {
    let failed = |source| Error::io("read", path, source);
    let (mut text, mut page) = (Vec::new(), [0; 4096]);
    loop {
        match file.read(&mut page) {
            Ok(length) => {
                text.extend(&page[..length]);
                // An attribute comes whole (fs/kernfs/file.c): what is short is the end, and needs
                // no other call to say so.
                if length < page.len() {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
        if text.len() as u64 > LONGEST_ATTRIBUTE {
            break;
        }
    }
    whole(path, &text, LONGEST_ATTRIBUTE).map(|text| text.trim_end().to_owned())
}

/// As [`read`], with `None` where there is no such attribute.
pub fn read_optional(path: &Path) -> Result<Option<String>> {
    optional(read(path))
}

/// The number in an attribute, decimal or with `0x` in front.
pub fn read_number<T: TryFrom<i64>>(path: &Path) -> Result<T> {
    parse_number(path, &read(path)?)
}

/// As [`read_number`], with `None` where there is no such attribute.
pub fn read_number_optional<T: TryFrom<i64>>(path: &Path) -> Result<Option<T>> {
    optional(read_number(path))
}

/// Writes `value` in one call, as the kernel wants it; creates nothing.
pub fn write(path: &Path, value: &str) -> Result<()> {
    // Without O_CREAT a missing attribute is ENOENT; with it sysfs would answer EACCES.
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
        file.write_all(value.as_bytes())
    };
    write().map_err(|source| Error::io(format!("write {value:?} to"), path, source))
}

/// The last component of what a symbolic link points at; `None` without the link.
///
/// Drivers, IOMMU groups and functions are such links.
pub fn link_name(path: &Path) -> Result<Option<String>> {
    match fs::read_link(path) {
        Ok(target) => last_component(path, &target).map(Some),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::io("read link", path, source)),
    }
}

fn last_component(link: &Path, target: &Path) -> Result<String> {
    match target.file_name() {
        Some(name) => Ok(name.to_string_lossy().into_owned()),
        None => Err(Error::parse(
            link.display().to_string(),
            &target.display().to_string(),
            "a link to a named object",
        )),
    }
}

/// The names in a directory, sorted; empty without the directory.
pub fn names(dir: &Path) -> Result<Vec<String>> {
    let dir = optional(Dir::open(dir.to_owned()))?;
    Ok(dir.map(Dir::into_names).unwrap_or_default())
}

/// The names of the directories in a directory, sorted; links are none. Empty without the directory.
pub fn directories(dir: &Path) -> Result<Vec<String>> {
    let failed = |source| Error::io("list", dir, source);
    let entries = match fs::read_dir(dir) {
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The interface names of a device directory: in `net/`, or one step down below `virtioN/`, where
/// the netdev of a virtio PCI function is. Empty while its netdev is in another namespace: `net/`
/// shows only the namespace of the sysfs mount.
pub fn netdevs(device: &Path) -> Result<Vec<String>> {
    Ok(numbered_netdevs(device)?.into_iter().map(|(name, _)| name).collect())
}

/// Names of interfaces, with the ifindex of each that was still there to be asked.
type Netdevs = Vec<(String, Option<u32>)>;

/// As [`netdevs`], with the ifindex of each.
///
/// A rename by udev moves an entry while the directory is read: it can be missed, or be gone when
/// its number is read. So what looks empty or lacks a number is read again.
pub(crate) fn numbered_netdevs(device: &Path) -> Result<Netdevs> {
    match optional(Dir::open(device.to_owned()))? {
        Some(dir) => numbered_netdevs_in(&dir),
        None => Ok(Netdevs::new()),
    }
}

/// As [`numbered_netdevs`], of a directory that is open.
pub(crate) fn numbered_netdevs_in(device: &Dir) -> Result<Netdevs> {
    let mut found = read_netdevs(device)?;
    for _ in 1..NETDEV_READS {
        let whole =
            |found: &Netdevs| !found.is_empty() && found.iter().all(|(_, index)| index.is_some());
        if found.as_ref().is_none_or(whole) {
            break;
        }
        found = optional(Dir::open(device.path().to_owned()))?
            .map_or(Ok(None), |device| read_netdevs(&device))?;
    }
    Ok(found.unwrap_or_default())
}

/// How often an incomplete list of netdevs is read: a rename is over in microseconds.
const NETDEV_READS: usize = 3;

/// `None` without a place where there could be any.
fn read_netdevs(device: &Dir) -> Result<Option<Netdevs>> {
    let place = |name: &str| match name {
        "net" => Some("net".to_owned()),
        name => is_virtio(name).then(|| format!("{name}/net")),
    };
    let places: Vec<_> = device.names().iter().filter_map(|name| place(name)).collect();
    if places.is_empty() {
        return Ok(None);
    }
    let mut found = Vec::new();
    for net in places {
        let Some(net) = device.below(&net)? else { continue };
        for name in net.names() {
            found.push((name.clone(), net.read_number_optional(&format!("{name}/ifindex"))?));
        }
    }
    Ok(Some(found))
}

/// Whether a directory's name is that of a virtio bus device: `virtio0`
/// (drivers/virtio/virtio.c).
pub(crate) fn is_virtio(name: &str) -> bool {
    numbered(name, "virtio").is_some()
}

/// The number behind a prefix: `numbered("virtfn3", "virtfn")` is 3.
pub(crate) fn numbered(name: &str, prefix: &str) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// A whole small file as text, no more than `limit` bytes of it.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|source| Error::io("read", path, source))?;
    whole(path, &bytes, limit)
}

fn whole(path: &Path, bytes: &[u8], limit: u64) -> Result<String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    if bytes.len() as u64 > limit {
        return Err(Error::parse(path.display().to_string(), &text, "a shorter file"));
    }
    Ok(text)
}

pub(crate) fn optional<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse_number<T: TryFrom<i64>>(path: &Path, text: &str) -> Result<T> {
    let number: Option<i64> = match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| Error::parse(path.display().to_string(), text, "a number in range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("attribute");
        fs::write(&path, content).unwrap();
        (dir, path)
    }

    #[test]
    fn reads_numbers() {
        let check = |content: &str, expected: Option<u16>| {
            let (_dir, path) = file(content);
            assert_eq!(read_number::<u16>(&path).ok(), expected, "{content:?}");
        };
        check("4\n", Some(4));
        check("0x1af4\n", Some(0x1af4));
        check("-1\n", None);
        check("65536\n", None);
        check("", None);
        check("many\n", None);
    }

    #[test]
    fn missing_is_none_but_unreadable_is_an_error() {
        let (dir, path) = file("x");
        assert_eq!(read_optional(&dir.path().join("none")).unwrap(), None);
        assert!(read_optional(dir.path()).is_err(), "a directory is no attribute");
        assert!(link_name(&path).is_err(), "a file is no link");
    }

    #[test]
    fn an_endless_file_is_refused() {
        let error = read(Path::new("/dev/zero")).unwrap_err();
        assert!(error.to_string().contains("expected a shorter file"), "{error}");
    }

    #[test]
    fn writes_replace_and_never_create() {
        let (dir, path) = file("256");
        write(&path, "10").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "10");
        let error = write(&dir.path().join("none"), "10").unwrap_err();
        assert!(error.to_string().starts_with("write \"10\" to "), "{error}");
        assert_eq!(error.errno(), Some(crate::error::errno::ENOENT));
    }

    #[test]
    fn numbered_names() {
        assert_eq!(numbered("virtfn10", "virtfn"), Some(10));
        assert_eq!(numbered("virtfn", "virtfn"), None);
        assert_eq!(numbered("virtio_pci", "virtio"), None);
        assert_eq!(numbered("virtfn+1", "virtfn"), None);
    }
}
