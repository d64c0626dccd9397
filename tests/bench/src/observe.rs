//! What a look at the node and a plan cost the agent, where a card has 256 functions.
//!
//! No emulated card has as many. Their links and settings are those of netdevsim, told by the kernel;
//! their directories are a tree like sysfs's.

use std::fs;
use std::path::Path;
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
use crate::tree::{FUNCTIONS, Tree};

/// Looks that count, after one that does not. An odd number: its median is one of them.
const ROUNDS: usize = 21;
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
    let tree = Tree::new()?;
    tree.write("sys/bus/vdpa/drivers_autoprobe", "1")?;
    let (pf, _) = tree.card(0x41, &links.first()?, None)?;
    let mut host = Host {
        root: Root::new("/").with_sys(tree.path("sys")),
        stuck: tree.path("stuck"),
        attachments: tree.path("attachments"),
    };
    // all of them for virtual machines: there is something to plan for each
    let spec = json!({"parents": [{
        "name": pf, "policy": "bench", "functionCount": FUNCTIONS,
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
