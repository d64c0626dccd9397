//! The plan for one function: its driver, its vDPA device, and who serves that.

use ringway_api::conditions::Reason;
use ringway_kernel::inventory::VdpaDevice;
use ringway_kernel::mac::Mac;
use ringway_node::DeviceId;

use super::{Plan, Planned, driver};
use crate::before::Before;
use crate::step::{Function, Step};
use crate::wanted::{Pool, Settings};

/// A function as it will be when the steps before its own are done.
pub(super) struct Site<'a> {
    /// Which.
    pub(super) function: Function,
    /// Its id, once it exists.
    pub(super) device: Option<DeviceId>,
    /// The driver bound to it.
    pub(super) driver: Option<&'a str>,
    /// The driver that makes management devices of it; simulators need none.
    pub(super) wanted_driver: Option<&'static str>,
    /// The vDPA devices on it.
    pub(super) vdpa: &'a [VdpaDevice],
    /// The MAC for a device that has none of its own.
    pub(super) mac: Option<Mac>,
}

pub(super) fn plan(plan: &mut Plan, site: &Site<'_>, pool: Option<&Pool>, before: &Before) {
    if let Some(foreign) = site.vdpa.iter().find(|device| !before.vdpa.contains(&device.name)) {
        if pool.is_some() {
            let message = format!(
                "{}: its vDPA device {} was not made by Ringway and is left alone: delete it to \
                 let the function be used",
                site.function, foreign.name,
            );
            let (parent, index) = (site.function.parent(), site.function.index());
            plan.refuse_function(&parent, index, Reason::Foreign, message);
        }
        return;
    }
    for step in steps(site, pool) {
        plan.steps.push(Planned {
            step,
            parent: site.function.parent(),
            function: Some(site.function.index()),
            disturbs: site.device.iter().filter(|_| !idle(site)).cloned().collect(),
        });
    }
}

/// Whether nobody can be using the function: no driver has it, or only one that makes vDPA devices,
/// and none of those has a driver. So it is after a reboot, when kubelet still knows the pods of
/// before, and waits for the function while they wait for it.
fn idle(site: &Site<'_>) -> bool {
    let of_us = site.driver.is_none_or(|driver| Some(driver) == site.wanted_driver);
    of_us && site.vdpa.iter().all(|device| device.driver.is_none())
}

fn steps(site: &Site<'_>, pool: Option<&Pool>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut device = site.vdpa.first();
    if let Some(existing) = device {
        let keep = pool.is_some_and(|pool| fits(existing, &pool.settings));
        if !keep {
            take_down(existing, |step| steps.push(step));
            device = None;
        }
    }
    let Some(pool) = pool else { return steps };
    let function = || site.function.clone();
    if device.is_none() {
        if let Some(driver) = site.wanted_driver.filter(|d| site.driver != Some(*d)) {
            steps.push(Step::BindFunction { function: function(), driver });
        }
        let settings = pool.settings.clone();
        steps.push(Step::CreateVdpa { function: function(), mac: site.mac, settings });
    }
    let wanted = driver(pool.attach);
    if device.and_then(|device| device.driver.as_deref()) != Some(wanted.name()) {
        steps.push(Step::BindVdpa { function: function(), driver: wanted });
    }
    steps
}

/// Unbind, then delete: a deletion that has to wait for a user holds up the whole node.
pub(super) fn take_down(device: &VdpaDevice, mut step: impl FnMut(Step)) {
    if device.driver.is_some() {
        step(Step::UnbindVdpa { name: device.name.clone() });
    }
    step(Step::DeleteVdpa { name: device.name.clone() });
}

/// Whether a device is what its pool asks for. What the device does not tell cannot differ.
fn fits(device: &VdpaDevice, wanted: &Settings) -> bool {
    fn same<T: PartialEq>(wanted: Option<T>, found: Option<T>) -> bool {
        wanted.is_none() || found.is_none() || wanted == found
    }
    same(wanted.mtu, device.mtu)
        && same(wanted.queue_pairs, device.max_queue_pairs)
        && same(wanted.features, device.features)
}
