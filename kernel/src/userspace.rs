//! Character devices that user-space drivers open beside those of vfio and vhost_vdpa: of UIO, of RDMA,
//! and of vhost-net.

use std::path::Path;

use crate::{
    bus,
    chardev::{self, CharDevice},
    error::Result,
    root::Root,
    sysfs,
};

/// `MISC_MAJOR` (include/uapi/linux/major.h).
const MISC: u32 = 10;

/// The nodes `/dev/uioN` of a function: one, unless its driver has more maps (drivers/uio/uio.c).
pub fn uio(root: &Root, function: &bus::Address) -> Result<Vec<CharDevice>> {
    below(&function.dir(root).join("uio"), root.dev())
}

/// The RDMA devices of a function (`mlx5_2`), in the namespace of the sysfs mount.
pub fn rdma_devices(root: &Root, function: &bus::Address) -> Result<Vec<String>> {
    sysfs::names(&function.dir(root).join("infiniband"))
}

/// The nodes of a function's RDMA devices: `uverbsN` (drivers/infiniband/core/uverbs_main.c), `umadN`
/// and `issmN` (user_mad.c), and, if there are any, `rdma_cm`, which all share (ucma.c).
pub fn rdma(root: &Root, function: &bus::Address) -> Result<Vec<CharDevice>> {
    let (dir, nodes) = (function.dir(root), root.dev().join("infiniband"));
    let mut found = below(&dir.join("infiniband_verbs"), &nodes)?;
    found.extend(below(&dir.join("infiniband_mad"), &nodes)?);
    if !found.is_empty() {
        let shared = root.sys().join("class/misc/rdma_cm");
        found.extend(chardev::of(&shared, nodes.join("rdma_cm"))?);
    }
    Ok(found)
}

/// `/dev/vhost-net` and `/dev/net/tun`. Their numbers are fixed (include/linux/miscdevice.h), and the
/// nodes are there before the modules, which the first open loads.
pub fn vhost_net(root: &Root) -> [CharDevice; 2] {
    let node = |name: &str, minor| CharDevice { path: root.dev().join(name), major: MISC, minor };
    [node("vhost-net", 238), node("net/tun", 200)]
}

/// The partition key at index 0 of the first port, as the kernel prints it (`0x8001`): that of
/// InfiniBand's default. `None` where there is no such device.
pub fn partition_key(root: &Root, function: &bus::Address) -> Result<Option<String>> {
    let devices = function.dir(root).join("infiniband");
    match sysfs::names(&devices)?.first() {
        Some(name) => sysfs::read_optional(&devices.join(name).join("ports/1/pkeys/0")),
        None => Ok(None),
    }
}

fn below(dir: &Path, nodes: &Path) -> Result<Vec<CharDevice>> {
    let mut found = Vec::new();
    for name in sysfs::names(dir)? {
        found.extend(chardev::of(&dir.join(&name), nodes.join(&name))?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    fn names(tree: &Tree, found: &[CharDevice]) -> Vec<String> {
        let dev = tree.path("dev");
        found.iter().map(|n| n.path.strip_prefix(&dev).unwrap().display().to_string()).collect()
    }

    #[test]
    fn nodes_follow_from_sysfs() {
        let tree = Tree::new("0000:01:00.1 mlx5_core\n0000:01:00.2 uio_pci_generic");
        let [first, second] =
            ["0000:01:00.1", "0000:01:00.2"].map(|address| address.parse().unwrap());
        let root = tree.root();
        assert_eq!(rdma(&root, &first).unwrap(), []);
        assert_eq!(partition_key(&root, &first).unwrap(), None);
        let function = "sys/devices/pci0000:00/0000:01:00.1";
        for (path, text) in [
            ("infiniband_verbs/uverbs3/dev", "231:195\n"),
            ("infiniband_mad/umad3/dev", "231:3\n"),
            ("infiniband_mad/issm3/dev", "231:67\n"),
            ("infiniband/mlx5_3/ports/1/pkeys/0", "0x8001\n"),
        ] {
            tree.write(&format!("{function}/{path}"), text);
        }
        tree.write("sys/class/misc/rdma_cm/dev", "10:58\n");
        tree.write("sys/devices/pci0000:00/0000:01:00.2/uio/uio4/dev", "240:4\n");
        let found = rdma(&root, &first).unwrap();
        assert_eq!(
            names(&tree, &found),
            ["infiniband/uverbs3", "infiniband/issm3", "infiniband/umad3", "infiniband/rdma_cm"]
        );
        assert_eq!((found[0].major, found[0].minor), (231, 195));
        assert_eq!(rdma_devices(&root, &first).unwrap(), ["mlx5_3"]);
        assert_eq!(partition_key(&root, &first).unwrap().as_deref(), Some("0x8001"));
        assert_eq!(rdma(&root, &second).unwrap(), []);
        assert_eq!(names(&tree, &uio(&root, &second).unwrap()), ["uio4"]);
        assert_eq!(names(&tree, &vhost_net(&root)), ["vhost-net", "net/tun"]);
    }
}
