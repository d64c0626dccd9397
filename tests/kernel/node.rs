//! The node's cards at rest: where each test begins, and what it leaves behind.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ringway_kernel::devlink::{self, Devlink, Handle, VfPort};
use ringway_kernel::link::{Link, Links, Vf, VfTxRate};
use ringway_kernel::vdpa::Vdpa;
use ringway_kernel::{Root, pci, sriov, vdpa_bus};

use crate::stand::settle;

const CARRIER_WITHIN: Duration = Duration::from_secs(120);

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

    /// The interface of a card. With an eswitch there are representors beside it, which udev has named
    /// by now.
    pub fn uplink(&self, pf: pci::Address) -> Link {
        let mut links = Links::open().unwrap();
        if let Ok(only) = links.of_device(&pci::dir(&self.root, pf)) {
            return only.unwrap();
        }
        let names = pci::netdevs(&self.root, pf).unwrap();
        let found = names.iter().map(|name| links.by_name(name).unwrap());
        let stands = |link: &Link| link.port_name.as_deref().is_some_and(devlink::is_representor);
        found.into_iter().find(|link| !stands(link)).unwrap()
    }

    /// What a card says of its functions.
    pub fn vfs(&self, pf: pci::Address) -> Vec<Vf> {
        Links::open().unwrap().vfs(self.uplink(pf).index).unwrap()
    }

    /// What a card's eswitch says of its functions, each with the rates of its port; nothing without one.
    pub fn ports(&self, pf: pci::Address) -> Vec<(VfPort, VfTxRate)> {
        let (devlink, device) = (Devlink::require().unwrap(), Handle::pci(pf));
        let ports = match devlink.vf_ports(&device) {
            Err(error) if error.is_missing() => Vec::new(),
            ports => ports.unwrap(),
        };
        let rates = |port: &VfPort| devlink.rates(&device, port.index).unwrap().unwrap();
        ports.into_iter().map(|port| (port, rates(&port))).collect()
    }

    /// The link comes and goes with the number of functions (igb_sriov_reinit, igb_main.c), and
    /// without one igb takes no rates.
    pub fn wait_for_carrier(&self, pf: pci::Address) {
        Links::open().unwrap().set_up(self.uplink(pf).index).unwrap();
        let start = Instant::now();
        while !self.uplink(pf).carrier {
            assert!(start.elapsed() < CARRIER_WITHIN, "{pf} has no carrier");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn rest(&self) {
        let root = &self.root;
        without_subfunctions();
        without_eswitch();
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
    modprobe_with(&[module]);
}

/// Makes subfunctions of the igb card (tests/lab/assets/labsf.c), in the place of those that there are.
pub fn make_subfunctions(numbers: &str) {
    without_subfunctions();
    modprobe_with(&["labsf", &format!("parent={IGB}"), &format!("sfnum={numbers}")]);
}

fn without_subfunctions() {
    modprobe_with(&["-r", "labsf"]);
}

/// Puts the igb card into switchdev mode, with a port and a representor for each function
/// (tests/lab/assets/labswitch.c).
pub fn make_eswitch(vfs: usize) {
    modprobe_with(&["labswitch", &format!("parent={IGB}"), &format!("vfs={vfs}")]);
    settle();
}

pub fn without_eswitch() {
    modprobe_with(&["-r", "labswitch"]);
}

fn modprobe_with(args: &[&str]) {
    let status = Command::new("modprobe").args(args).status().unwrap();
    assert!(status.success(), "modprobe {args:?}");
}

/// The tool again: `link set eth0 up`.
pub fn ip(line: &str) {
    let status = Command::new("ip").args(line.split(' ')).status().unwrap();
    assert!(status.success(), "ip {line}");
}
