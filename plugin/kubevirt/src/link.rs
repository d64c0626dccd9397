//! A symbolic link with a stable name for each device.
//!
//! A domain's XML names the link, not the device: on a migration, libvirt on the target reads the
//! source's XML, and the device there may have another name. The link dangles in the sidecar,
//! which has no device; in virt-launcher's container it leads to it.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Where virt-launcher's container sees the hooks directory of each sidecar (`pkg/hooks` of
/// KubeVirt, `HookSocketsSharedDirectory`).
const COMPUTE_HOOKS_DIR: &str = "/var/run/kubevirt-hooks";

/// Why a link cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("link {} to {}", link.display(), target.display())]
pub struct Error {
    link: PathBuf,
    target: PathBuf,
    source: io::Error,
}

/// The file name of the link for a VMI's interface: without a dot, so that it is never the socket's.
pub fn name(interface: &str) -> String {
    format!("vdpa-{interface}")
}

/// The link as virt-launcher's container sees it.
pub fn in_compute(container: &str, interface: &str) -> String {
    format!("{COMPUTE_HOOKS_DIR}/{container}/{}", name(interface))
}

/// Makes the link in `dir`, or makes it point to `target` from now on. Whatever has its name is
/// replaced, in one step.
///
/// # Errors
/// The directory cannot be written.
pub fn make(dir: &Path, interface: &str, target: &Path) -> Result<(), Error> {
    let link = dir.join(name(interface));
    if std::fs::read_link(&link).is_ok_and(|found| found == target) {
        return Ok(());
    }
    replace(dir, &link, interface, target).map_err(|source| Error {
        link,
        target: target.to_owned(),
        source,
    })
}

fn replace(dir: &Path, link: &Path, interface: &str, target: &Path) -> io::Result<()> {
    let new = dir.join(format!(".{}.new", name(interface)));
    match std::fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => symlink(target, &new)?,
    }
    std::fs::rename(&new, link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_follows_its_device() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("vdpa-net1");
        let points = |to: &str| {
            make(dir.path(), "net1", Path::new(to)).unwrap();
            assert_eq!(std::fs::read_link(&link).unwrap(), Path::new(to));
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        };
        points("/dev/ringway/0000:01:00.1");
        points("/dev/ringway/0000:01:00.1");
        points("/dev/ringway/0000:01:00.2");
        std::fs::remove_file(&link).unwrap();
        std::fs::write(&link, "in the way").unwrap();
        symlink("left by one that was killed", dir.path().join(".vdpa-net1.new")).unwrap();
        points("/dev/ringway/0000:01:00.1");
    }

    #[test]
    fn an_error_names_both_ends() {
        let error = make(Path::new("/nonexistent"), "net1", Path::new("/dev/x")).unwrap_err();
        assert_eq!(error.to_string(), "link /nonexistent/vdpa-net1 to /dev/x");
    }

    #[test]
    fn compute_sees_it_below_the_container() {
        assert_eq!(
            in_compute("hook-sidecar-1", "net1"),
            "/var/run/kubevirt-hooks/hook-sidecar-1/vdpa-net1"
        );
    }
}
