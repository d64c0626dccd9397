//! Four cards with 256 functions each, as sysfs would show them, on a file system in memory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use ringway_kernel_tests::node::ip;

const CARDS: usize = 4;
const FUNCTIONS: usize = 256;

/// The tree, until it is dropped.
pub(super) struct Tree {
    dir: PathBuf,
    /// The addresses of all functions.
    pub(super) functions: Vec<String>,
}

impl Tree {
    pub(super) fn new() -> Result<Self> {
        let dir = Path::new("/dev/shm").join(format!("ringway-bench-{}", std::process::id()));
        let mut tree = Self { dir, functions: Vec::new() };
        for card in 0..CARDS {
            let pf = address(card, 0);
            tree.function(&pf)?;
            // one that netlink knows
            let name = format!("pf{card}");
            ip(&format!("link add {name} type dummy"));
            let index = fs::read_to_string(format!("/sys/class/net/{name}/ifindex"))?;
            let interface = format!("{}/net/{name}", device(&pf));
            tree.write(&format!("{interface}/ifindex"), index.trim())?;
            tree.write(&format!("{interface}/type"), "1")?;
            tree.link(&format!("sys/class/net/{name}"), &interface)?;
            for (name, number) in [("sriov_totalvfs", FUNCTIONS), ("sriov_numvfs", FUNCTIONS)] {
                tree.write(&format!("{}/{name}", device(&pf)), &number.to_string())?;
            }
            for index in 0..FUNCTIONS {
                let vf = address(card, index + 2);
                // its interface is in a pod
                tree.function(&vf)?;
                tree.link(&format!("{}/virtfn{index}", device(&pf)), &device(&vf))?;
                tree.link(&format!("{}/physfn", device(&vf)), &device(&pf))?;
                tree.functions.push(vf);
            }
        }
        Ok(tree)
    }

    pub(super) fn sys(&self) -> PathBuf {
        self.dir.join("sys")
    }

    fn function(&self, address: &str) -> Result<()> {
        let dir = device(address);
        let modalias = "pci:v000015B3d0000101Dsv000015B3sd00000001bc02sc00i00";
        for (name, value) in [
            ("vendor", "0x15b3"),
            ("device", "0x101d"),
            ("class", "0x020000"),
            ("revision", "0x00"),
            ("numa_node", "0"),
            ("modalias", modalias),
        ] {
            self.write(&format!("{dir}/{name}"), value)?;
        }
        self.link(&format!("{dir}/driver"), "sys/bus/pci/drivers/mlx5_core")?;
        let number = u32::from_str_radix(&address.replace([':', '.'], ""), 16)?;
        let group = format!("sys/kernel/iommu_groups/{number}");
        self.link(&format!("{dir}/iommu_group"), &group)?;
        self.link(&format!("{group}/devices/{address}"), &dir)?;
        self.link(&format!("sys/bus/pci/devices/{address}"), &dir)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().context("a relative path")?)?;
        fs::write(&path, format!("{text}\n")).with_context(|| format!("write {}", path.display()))
    }

    /// Relative, since the tree is seen in another place.
    fn link(&self, name: &str, target: &str) -> Result<()> {
        let (path, real) = (self.dir.join(name), self.dir.join(target));
        fs::create_dir_all(path.parent().context("a relative path")?)?;
        fs::create_dir_all(&real)?;
        let up = "../".repeat(name.matches('/').count());
        symlink(format!("{up}{target}"), &path).with_context(|| format!("link {}", path.display()))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
        for card in 0..CARDS {
            let name = format!("pf{card}");
            let _ = Command::new("ip").args(["link", "delete", &name]).status();
        }
    }
}

/// Buses of two for each card: functions begin with the third routing ID.
fn address(card: usize, id: usize) -> String {
    format!("0000:{:02x}:{:02x}.{}", 0x41 + card * 2 + id / 256, id / 8 % 32, id % 8)
}

fn device(address: &str) -> String {
    format!("sys/devices/pci0000:40/{address}")
}
