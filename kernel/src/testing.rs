//! A temporary tree like the kernel's, from one line per device: for hermetic tests here and in
//! other crates (feature `testing`).
//!
//! ```text
//! 0000:01:00.0 virtio-pci pf totalvfs=4 numa=0 net=eth1
//! 0000:01:00.1 vf-of=0000:01:00.0 vp-vdpa vdpa=vdpa:0000:01:00.1 vhost=0
//! 0000:01:00.2 vf-of=0000:01:00.0 vp-vdpa vdpa=vdpa:0000:01:00.2 virtio=3 vnet=eth2
//! 0000:01:00.3 vf-of=0000:01:00.0 vfio-pci iommu=8 vfio=0
//! mlx5_core.sf.4 sf-of=0000:01:00.0 mlx5_core.sf sfnum=88 net=eth4
//! vdpasim_net sim vdpa=sim0 virtio=4 vnet=eth3
//! ```
//!
//! A line starts with a PCI address, with the name of an auxiliary device (`sf-of` names the function
//! that it is part of; `sfnum`, `net`), or with that of a management device without either; a bare
//! word is the driver, or `pf` or `sim`. Keys of a PCI function: `vendor`, `device`, `class`,
//! `iommu`, `numa`, `net`, `totalvfs`, `vf-of`, `index`, `vfio` (the minor number of its group's
//! node), `cdev` (the number of its own vfio device, and that one's minor number). Keys of either: `vdpa` (a vDPA device's
//! name), `vhost` (bound to vhost_vdpa: its minor number), `virtio` (bound to virtio_vdpa: its
//! virtio number), `vnet` (that one's netdev). VFs are numbered in order unless `index` says else.
//!
//! The tree holds state, not behaviour: a write changes one file and nothing follows from it.
#![allow(clippy::expect_used, reason = "a broken fixture must stop the test that wrote it")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{pci::Address, root::Root};

mod line;
mod mutations;

use line::Line;
pub use mutations::Mutations;

/// A temporary tree, removed when dropped.
#[derive(Debug)]
pub struct Tree {
    dir: TempDir,
}

impl Tree {
    /// Builds the tree of a fixture.
    ///
    /// # Panics
    /// On a line that does not follow the grammar, naming it.
    pub fn new(fixture: &str) -> Self {
        let tree = Self { dir: tempfile::tempdir().expect("a temporary directory") };
        tree.buses();
        let mut functions = BTreeMap::new();
        for line in fixture.lines().map(str::trim).filter(|line| !line.is_empty()) {
            tree.device(&Line::parse(line), &mut functions);
        }
        tree
    }

    /// The tree as the rest of this crate takes it.
    pub fn root(&self) -> Root {
        Root::new(self.dir.path())
    }

    /// A path in the tree: `sys/bus/pci/drivers_probe`.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// The text of a file in the tree.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).expect(relative)
    }

    /// Writes a file in the tree, with the directories above it.
    ///
    /// # Panics
    /// If that fails.
    pub fn write(&self, relative: &str, content: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a relative path")).expect("a directory");
        fs::write(&path, content).expect(relative);
    }

    /// Makes the link `relative` to `target`, which is also a path in the tree, in the place of
    /// an earlier one.
    ///
    /// # Panics
    /// If that fails.
    pub fn link(&self, relative: &str, target: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a relative path")).expect("a directory");
        fs::create_dir_all(self.path(target)).expect("a directory");
        let _ = fs::remove_file(&path);
        // Relative like sysfs's own, so that the tree can be mounted anywhere.
        let up = Path::new(relative).components().count() - 1;
        let target = Path::new(&"../".repeat(up)).join(target);
        symlink(target, &path).expect(relative);
    }

    fn buses(&self) {
        self.write("sys/bus/pci/drivers_probe", "");
        self.write("sys/bus/vdpa/drivers_probe", "");
        self.write("sys/bus/vdpa/drivers_autoprobe", "1\n");
        for directory in ["sys/bus/pci/devices", "sys/bus/vdpa/devices", "sys/class/net", "dev"] {
            fs::create_dir_all(self.path(directory)).expect(directory);
        }
        for driver in ["vhost_vdpa", "virtio_vdpa"] {
            self.driver("vdpa", driver);
        }
    }

    fn driver(&self, bus: &str, name: &str) -> String {
        let dir = format!("sys/bus/{bus}/drivers/{name}");
        self.write(&format!("{dir}/bind"), "");
        self.write(&format!("{dir}/unbind"), "");
        dir
    }

    fn device(&self, line: &Line<'_>, functions: &mut BTreeMap<String, u32>) {
        let dir = match line.id.parse::<Address>() {
            Ok(_) => {
                let dir = self.pci(line);
                if let Some(pf) = line.get("vf-of") {
                    self.virtual_function(line, pf, functions);
                }
                dir
            }
            Err(_) => match line.get("sf-of") {
                Some(function) => self.auxiliary(line, function),
                None => format!("sys/devices/{}", line.id),
            },
        };
        fs::create_dir_all(self.path(&dir)).expect("a directory");
        if let Some(name) = line.get("vdpa") {
            self.vdpa(line, &dir, name);
        }
    }

    fn pci(&self, line: &Line<'_>) -> String {
        let id = line.id;
        let dir = format!("sys/devices/pci0000:00/{id}");
        let attribute = |name: &str, value: &str| {
            self.write(&format!("{dir}/{name}"), &format!("{value}\n"));
        };
        let digits = |name, default| {
            let text: &str = line.get(name).unwrap_or(default);
            text.strip_prefix("0x").expect("a number with 0x").to_uppercase()
        };
        let (vendor, device) = (digits("vendor", "0x1af4"), digits("device", "0x1041"));
        let class = digits("class", "0x020000");
        let (base, sub, interface) = (&class[..2], &class[2..4], &class[4..]);
        let alias = format!(
            "pci:v0000{vendor}d0000{device}sv00001AF4sd00001100bc{base}sc{sub}i{interface}"
        );
        attribute("modalias", &alias);
        attribute("numa_node", line.get("numa").unwrap_or("-1"));
        attribute("driver_override", "(null)");
        self.link(&format!("sys/bus/pci/devices/{id}"), &dir);
        if let Some(driver) = line.driver {
            let target = self.driver("pci", driver);
            self.link(&format!("{dir}/driver"), &target);
        }
        if let Some(group) = line.get("iommu") {
            let members = format!("sys/kernel/iommu_groups/{group}");
            self.link(&format!("{dir}/iommu_group"), &members);
            self.link(&format!("{members}/devices/{id}"), &dir);
            self.vfio(line, &dir, group);
        }
        if line.pf {
            attribute("sriov_totalvfs", line.get("totalvfs").unwrap_or("0"));
            attribute("sriov_numvfs", "0");
            attribute("sriov_drivers_autoprobe", "1");
        }
        // The netdev of a virtio function hangs below its virtio device.
        let mut net = format!("{dir}/net");
        if line.driver == Some("virtio-pci") {
            net = format!("{dir}/virtio0/net");
            self.link(&format!("{dir}/virtio0/driver"), "sys/bus/virtio/drivers/virtio_net");
        }
        if let Some(name) = line.get("net") {
            self.netdev(&net, name);
        }
        dir
    }

    fn auxiliary(&self, line: &Line<'_>, function: &str) -> String {
        let id = line.id;
        let dir = format!("sys/devices/pci0000:00/{function}/{id}");
        self.link(&format!("sys/bus/auxiliary/devices/{id}"), &dir);
        if let Some(driver) = line.driver {
            let target = self.driver("auxiliary", driver);
            self.link(&format!("{dir}/driver"), &target);
        }
        if let Some(number) = line.get("sfnum") {
            self.write(&format!("{dir}/sfnum"), &format!("{number}\n"));
        }
        if let Some(name) = line.get("net") {
            self.netdev(&format!("{dir}/net"), name);
        }
        dir
    }

    /// The nodes of vfio, as far as the line has their numbers.
    fn vfio(&self, line: &Line<'_>, dir: &str, group: &str) {
        let node = |sys: &str, dev: &str, numbers: &str| {
            self.write(&format!("{sys}/dev"), &format!("{numbers}\n"));
            self.write(&format!("dev/{dev}"), "");
        };
        if let Some(minor) = line.get("vfio") {
            node("sys/class/misc/vfio", "vfio/vfio", "10:196");
            let (sys, dev) = (format!("sys/class/vfio/{group}"), format!("vfio/{group}"));
            node(&sys, &dev, &format!("243:{minor}"));
        }
        if let Some(number) = line.get("cdev") {
            node("sys/class/misc/iommu", "iommu", "10:125");
            let (sys, dev) =
                (format!("{dir}/vfio-dev/vfio{number}"), format!("vfio/devices/vfio{number}"));
            node(&sys, &dev, &format!("244:{number}"));
        }
    }

    fn virtual_function(&self, line: &Line<'_>, pf: &str, functions: &mut BTreeMap<String, u32>) {
        let count = functions.entry(pf.to_owned()).or_default();
        let index = line.get("index").map_or(*count, |index| index.parse().expect("an index"));
        *count += 1;
        let pf_dir = format!("sys/devices/pci0000:00/{pf}");
        let vf_dir = format!("sys/devices/pci0000:00/{}", line.id);
        self.write(&format!("{pf_dir}/sriov_numvfs"), &format!("{count}\n"));
        self.link(&format!("{pf_dir}/virtfn{index}"), &vf_dir);
        self.link(&format!("{vf_dir}/physfn"), &pf_dir);
    }

    fn vdpa(&self, line: &Line<'_>, parent: &str, name: &str) {
        let dir = format!("{parent}/{name}");
        self.write(&format!("{dir}/driver_override"), "(null)\n");
        self.link(&format!("sys/bus/vdpa/devices/{name}"), &dir);
        if let Some(minor) = line.get("vhost") {
            self.link(&format!("{dir}/driver"), "sys/bus/vdpa/drivers/vhost_vdpa");
            self.write(&format!("{dir}/vhost-vdpa-{minor}/dev"), &format!("511:{minor}\n"));
            self.write(&format!("dev/vhost-vdpa-{minor}"), "");
        }
        if let Some(number) = line.get("virtio") {
            self.link(&format!("{dir}/driver"), "sys/bus/vdpa/drivers/virtio_vdpa");
            // of a subfunction below its PF: see vdpa_bus::find
            let pf = line.get("sf-of").map(|pf| format!("sys/devices/pci0000:00/{pf}"));
            let place = if line.sim { &dir } else { pf.as_deref().unwrap_or(parent) };
            let virtio = format!("{place}/virtio{number}");
            fs::create_dir_all(self.path(&virtio)).expect("a directory");
            self.link(&format!("{virtio}/driver"), "sys/bus/virtio/drivers/virtio_net");
            if let Some(netdev) = line.get("vnet") {
                self.netdev(&format!("{virtio}/net"), netdev);
            }
        }
    }

    fn netdev(&self, net: &str, name: &str) {
        let device = net.strip_suffix("/net").unwrap_or(net);
        self.link(&format!("{net}/{name}/device"), device);
        self.link(&format!("sys/class/net/{name}"), &format!("{net}/{name}"));
    }
}
