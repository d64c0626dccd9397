//! The node's cards at rest: where each test begins, and what it leaves behind.

use std::process::Command;

use ringway_kernel::vdpa::Vdpa;
use ringway_kernel::{Root, pci, sriov, vdpa_bus};

/// The virtio card with SR-IOV (tests/lab/src/vm.rs).
pub const VIRTIO: &str = "0000:01:00.0";
/// The igb card.
pub const IGB: &str = "0000:02:00.0";

/// The node, with both cards free and the vDPA bus empty; so again when dropped.
pub struct Node {
    pub root: Root,
    pub virtio: pci::Address,
    pub igb: pci::Address,
}

impl Node {
    pub fn at_rest() -> Self {
        let root = Root::new("/");
        let node = Self { root, virtio: VIRTIO.parse().unwrap(), igb: IGB.parse().unwrap() };
        for module in ["vdpa", "vhost_vdpa", "virtio_vdpa", "vp_vdpa", "vdpa_sim_net"] {
            modprobe(module);
        }
        node.rest();
        node
    }

    pub fn vdpa(&self) -> Vdpa {
        Vdpa::require().unwrap()
    }

    pub fn rest(&self) {
        let root = &self.root;
        for name in vdpa_bus::list(root).unwrap() {
            vdpa_bus::unbind(root, &name).unwrap();
            self.vdpa().delete(&name).unwrap();
        }
        vdpa_bus::set_drivers_autoprobe(root, true).unwrap();
        for pf in [self.virtio, self.igb] {
            sriov::set_numvfs(root, pf, 0).unwrap();
            sriov::set_drivers_autoprobe(root, pf, true).unwrap();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.rest();
        }
    }
}

/// The tool, not our own loader: what is under test must not prepare its own ground.
pub fn modprobe(module: &str) {
    let status = Command::new("modprobe").arg(module).status().unwrap();
    assert!(status.success(), "modprobe {module}");
}

/// The tool again: `link set eth0 up`.
pub fn ip(line: &str) {
    let status = Command::new("ip").args(line.split(' ')).status().unwrap();
    assert!(status.success(), "ip {line}");
}
