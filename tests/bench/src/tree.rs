//! Cards with as many functions as no emulated one has, as sysfs would show them, on a file system in
//! memory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Of each card.
pub(crate) const FUNCTIONS: usize = 256;

/// The driver of the cards.
pub(crate) const DRIVER: &str = "mlx5_core";

/// The tree, until it is dropped.
pub(crate) struct Tree(PathBuf);

impl Tree {
    /// Without a card.
    pub(crate) fn new() -> Result<Self> {
        let dir = Path::new("/dev/shm").join(format!("ringway-bench-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        Ok(Self(dir))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A card at the beginning of a bus, with an interface that the kernel knows, and its functions,
    /// which have none: the card's address, and theirs.
    pub(crate) fn card(
        &self,
        bus: usize,
        interface: &str,
        driver: Option<&str>,
    ) -> Result<(String, Vec<String>)> {
        let pf = address(bus, 0);
        self.function(&pf, Some(DRIVER))?;
        for (name, number) in [
            ("totalvfs", FUNCTIONS),
            ("numvfs", FUNCTIONS),
            ("offset", 2),
            ("stride", 1),
            ("drivers_autoprobe", 1),
        ] {
            self.write(&format!("{}/sriov_{name}", device(&pf)), &number.to_string())?;
        }
        let index = fs::read_to_string(format!("/sys/class/net/{interface}/ifindex"))?;
        let below = format!("{}/net/{interface}", device(&pf));
        self.write(&format!("{below}/ifindex"), index.trim())?;
        self.write(&format!("{below}/type"), "1")?;
        self.link(&format!("sys/class/net/{interface}"), &below)?;
        let mut functions = Vec::new();
        for index in 0..FUNCTIONS {
            // the first function is at the PF's routing ID and the offset
            let vf = address(bus, index + 2);
            self.function(&vf, driver)?;
            self.link(&format!("{}/virtfn{index}", device(&pf)), &device(&vf))?;
            self.link(&format!("{}/physfn", device(&vf)), &device(&pf))?;
            functions.push(vf);
        }
        Ok((pf, functions))
    }

    fn function(&self, address: &str, driver: Option<&str>) -> Result<()> {
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
        if let Some(driver) = driver {
            self.link(&format!("{dir}/driver"), &format!("sys/bus/pci/drivers/{driver}"))?;
        }
        let number = u32::from_str_radix(&address.replace([':', '.'], ""), 16)?;
        let group = format!("sys/kernel/iommu_groups/{number}");
        self.link(&format!("{dir}/iommu_group"), &group)?;
        self.link(&format!("{group}/devices/{address}"), &dir)?;
        self.link(&format!("sys/bus/pci/devices/{address}"), &dir)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().context("a relative path")?)?;
        fs::write(&path, format!("{text}\n")).with_context(|| format!("write {}", path.display()))
    }

    /// Relative, since the tree may be seen in another place.
    fn link(&self, name: &str, target: &str) -> Result<()> {
        let (path, real) = (self.0.join(name), self.0.join(target));
        fs::create_dir_all(path.parent().context("a relative path")?)?;
        fs::create_dir_all(&real)?;
        let up = "../".repeat(name.matches('/').count());
        symlink(format!("{up}{target}"), &path).with_context(|| format!("link {}", path.display()))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn address(bus: usize, id: usize) -> String {
    format!("0000:{:02x}:{:02x}.{}", bus + id / 256, id / 8 % 32, id % 8)
}

fn device(address: &str) -> String {
    format!("sys/devices/pci0000:40/{address}")
}
