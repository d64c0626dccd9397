//! What a look at the node and a plan cost the agent, where a card has 256 functions.
//!
//! No emulated card has as many. Their links and settings are those of netdevsim, told by the kernel;
//! their directories are a tree like sysfs's, on a file system in memory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringway_agent::before::Before;
use ringway_agent::host::Host;
use ringway_agent::node::Node as _;
use ringway_agent::plan::plan;
use ringway_agent::wanted::Wanted;
use ringway_kernel::Root;
use ringway_kernel_tests::node::modprobe;
use serde::Serialize;
use serde_json::json;

use crate::cost;

/// Looks that count, after one that does not. An odd number: its median is one of them.
const ROUNDS: usize = 21;
const FUNCTIONS: usize = 256;
const PF: &str = "0000:41:00.0";
/// netdevsim's number, which nobody else uses.
const ID: u32 = 79;

/// CPU time of each, in microseconds.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Samples {
    observe: Vec<f64>,
    plan: Vec<f64>,
}

pub(crate) fn measure() -> Result<Samples> {
    let links = Links::new()?;
    let tree = Tree::new(&links.first()?)?;
    let mut host = Host {
        root: Root::new("/").with_sys(tree.0.join("sys")),
        stuck: tree.0.join("stuck"),
        attachments: tree.0.join("attachments"),
    };
    // all of them for virtual machines: there is something to plan for each
    let spec = json!({"parents": [{
        "name": PF, "policy": "bench", "functionCount": FUNCTIONS,
        "pools": [{"name": "vms", "resource": "ringway.dev/vms", "range": "0-255", "attach": "vfio"}],
    }]});
    let wanted = Wanted::of(&serde_json::from_value(spec)?);
    let mut samples = Samples::default();
    for round in 0..=ROUNDS {
        let (observed, looked) = cost(|| host.observe())?;
        let found = observed.inventory.parents.first().context("no card is seen")?;
        let told = found.functions.iter().filter(|function| function.settings.is_some()).count();
        ensure!(told == FUNCTIONS, "{told} functions with settings are seen, not {FUNCTIONS}");
        let (plan, planned) = cost(|| Ok(plan("bench", &wanted, &observed, &Before::default())))?;
        let steps = plan.steps.len();
        ensure!(steps > FUNCTIONS, "{steps} steps: {:?}", plan.refusals.first());
        if round > 0 {
            samples.observe.push(cost::micros(looked));
            samples.plan.push(cost::micros(planned));
        }
    }
    Ok(samples)
}

fn cost<T>(work: impl FnOnce() -> ringway_kernel::Result<T>) -> Result<(T, Duration)> {
    let before = cost::own()?;
    let value = work()?;
    Ok((value, cost::own()?.saturating_sub(before)))
}

/// A netdevsim device with as many functions, until it is dropped.
struct Links;

impl Links {
    fn new() -> Result<Self> {
        modprobe("netdevsim");
        let bus = Path::new("/sys/bus/netdevsim");
        fs::write(bus.join("new_device"), format!("{ID} 1")).context("make a netdevsim device")?;
        let links = Self;
        // four otherwise (NSIM_BUS_DEV_MAX_VFS, drivers/net/netdevsim/dev.c)
        let most = format!("/sys/kernel/debug/netdevsim/netdevsim{ID}/max_vfs");
        fs::write(&most, FUNCTIONS.to_string()).with_context(|| format!("write {most}"))?;
        let count = bus.join(format!("devices/netdevsim{ID}/sriov_numvfs"));
        fs::write(count, FUNCTIONS.to_string()).context("make its functions")?;
        // udev gives the interface another name
        let settled = Command::new("udevadm").arg("settle").status().context("wait for udev")?;
        ensure!(settled.success(), "udev does not settle");
        Ok(links)
    }

    /// The name of its interface.
    fn first(&self) -> Result<String> {
        let mut names = fs::read_dir(format!("/sys/bus/netdevsim/devices/netdevsim{ID}/net"))?;
        let name = names.next().context("it has no interface")??.file_name();
        name.into_string().ok().context("a name in UTF-8")
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        let _ = fs::write("/sys/bus/netdevsim/del_device", ID.to_string());
    }
}

/// A card of mlx5's driver, and its functions, which have none.
struct Tree(PathBuf);

impl Tree {
    fn new(netdev: &str) -> Result<Self> {
        let dir = Path::new("/dev/shm").join(format!("ringway-bench-{}", std::process::id()));
        let tree = Self(dir);
        tree.write("sys/bus/vdpa/drivers_autoprobe", "1")?;
        tree.function(PF)?;
        tree.link(&format!("{}/driver", device(PF)), "sys/bus/pci/drivers/mlx5_core")?;
        let index = fs::read_to_string(format!("/sys/class/net/{netdev}/ifindex"))?;
        tree.write(&format!("{}/net/{netdev}/ifindex", device(PF)), index.trim())?;
        let numbers = [("sriov_totalvfs", 256), ("sriov_numvfs", 256), ("sriov_offset", 2)];
        for (name, number) in
            numbers.into_iter().chain([("sriov_stride", 1), ("sriov_drivers_autoprobe", 1)])
        {
            tree.write(&format!("{}/{name}", device(PF)), &number.to_string())?;
        }
        for index in 0..FUNCTIONS {
            // the first function is at the PF's routing ID and the offset
            let id = index + 2;
            let address = format!("0000:{:02x}:{:02x}.{}", 0x41 + id / 256, id / 8 % 32, id % 8);
            tree.function(&address)?;
            tree.link(&format!("{}/virtfn{index}", device(PF)), &device(&address))?;
            tree.link(&format!("{}/physfn", device(&address)), &device(PF))?;
        }
        Ok(tree)
    }

    fn function(&self, address: &str) -> Result<()> {
        let dir = device(address);
        for (name, value) in
            [("vendor", "0x15b3"), ("device", "0x101d"), ("class", "0x020000"), ("numa_node", "0")]
        {
            self.write(&format!("{dir}/{name}"), value)?;
        }
        let number = u32::from_str_radix(&address.replace([':', '.'], ""), 16)?;
        let group = format!("sys/kernel/iommu_groups/{number}");
        self.link(&format!("{dir}/iommu_group"), &group)?;
        self.link(&format!("{group}/devices/{address}"), &dir)?;
        self.link(&format!("sys/bus/pci/devices/{address}"), &dir)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().context("a relative path")?)?;
        fs::write(&path, format!("{text}\n")).with_context(|| format!("write {}", path.display()))
    }

    fn link(&self, name: &str, target: &str) -> Result<()> {
        let (path, target) = (self.0.join(name), self.0.join(target));
        fs::create_dir_all(path.parent().context("a relative path")?)?;
        fs::create_dir_all(&target)?;
        symlink(&target, &path).with_context(|| format!("link {}", path.display()))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn device(address: &str) -> String {
    format!("sys/devices/pci0000:40/{address}")
}
