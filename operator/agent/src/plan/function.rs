//! The plan for one function: its driver, its vDPA device, and who serves that.
//!
//! From any attach kind to any other: first what is in the new one's way goes (the vDPA device,
//! unbound before it is deleted), then the function gets the driver that the new one needs, which
//! takes it from the old one, then what is made on it.

use ringway_api::conditions::Reason;
use ringway_kernel::inventory::{Netdev, Traffic, VdpaDevice, VirtualFunction};
use ringway_kernel::link::VfSetting;
use ringway_kernel::mac::Mac;
use ringway_kernel::vdpa::ManagementDevice;
use ringway_kernel::vdpa_bus::Driver;
use ringway_node::DeviceId;

use super::rest::{self, Rest};
use super::{Attach, Plan, adopt, common};
use crate::before::{Before, FunctionBefore};
use crate::cards::{self, Card};
use crate::step::{Function, Step, simulated_name, vdpa_name};
use crate::wanted::{Common, Pool, Settings};

/// A function as it will be when the steps before its own are done.
pub(super) struct Site<'a> {
    /// Which.
    pub(super) function: Function,
    /// Its id, once it exists.
    pub(super) device: Option<DeviceId>,
    /// The card that it is of; simulated devices are of none.
    pub(super) card: Option<&'static Card>,
    /// The function of the card, once it exists.
    pub(super) existing: Option<&'a VirtualFunction>,
    /// What it was before we first gave it a driver, if we did.
    pub(super) before: Option<FunctionBefore<'a>>,
    /// The `driver_override` that it had before us, if an agent that was giving it another driver may
    /// have left any.
    pub(super) strayed: Option<Option<&'a str>>,
    /// What makes vDPA devices on it, once something does.
    pub(super) management: Option<&'a ManagementDevice>,
    /// The vDPA devices on it.
    pub(super) vdpa: &'a [VdpaDevice],
    /// The MAC for a device that has none of its own.
    pub(super) mac: Option<Mac>,
    /// What its settings at rest are planned by; simulated devices have none.
    pub(super) rest: Option<Rest<'a>>,
    /// Whether what others made there is taken over.
    pub(super) adopt: bool,
}

impl<'a> Site<'a> {
    fn driver(&self) -> Option<&'a str> {
        self.existing.and_then(|function| function.driver.as_deref())
    }

    /// What we call the vDPA device that we make there, once it can be told.
    fn name(&self) -> Option<String> {
        match &self.function {
            Function::Vf { .. } => self.existing.map(|function| vdpa_name(function.address)),
            Function::Simulated { simulator, index } => Some(simulated_name(simulator, *index)),
        }
    }

    /// An interface by which the node's own traffic goes.
    pub(super) fn of_the_node(&self) -> Option<&'a Netdev> {
        let own = self.existing.map_or(&[][..], |function| &function.netdevs);
        let all = own.iter().chain(self.vdpa.iter().flat_map(|device| &device.netdevs));
        all.into_iter().find(|netdev| !netdev.traffic.is_empty())
    }
}

pub(super) fn plan(plan: &mut Plan, site: &Site<'_>, pool: Option<&Pool>, before: &Before) {
    let (parent, index) = (site.function.parent(), site.function.index());
    let foreign = |device: &&VdpaDevice| !before.vdpa.contains(&device.name);
    pool.into_iter().for_each(|pool| common::plan(plan, site, pool));
    if let Some(foreign) = site.vdpa.iter().find(foreign) {
        return match pool {
            // whether it is as wanted is not known yet
            Some(pool) if site.adopt && pool.settings.common == Common::Awaited => {}
            Some(pool) => adopt::plan(plan, site, pool, foreign),
            None => adopt::unwanted(plan, site, foreign),
        };
    }
    let attach = pool.map(|pool| pool.attach);
    let no_vfio = site.existing.filter(|_| attach == Some(Attach::Vfio));
    if let Some(why) = no_vfio.and_then(cards::no_vfio_for) {
        let message = format!("{parent}: {why}: attach vfio is not possible");
        return plan.refuse_function(&parent, index, Reason::AttachUnsupported, message);
    }
    let (settings, complaint) = rest::settings(site, pool);
    let adopted = pool.is_none() && site.vdpa.iter().any(|v| before.is_adopted(&v.name));
    let steps = match adopted {
        // left as it was found, and with it the driver that it is on
        true => Vec::from_iter(rest::set(site, &settings)),
        false => steps(site, pool, &settings),
    };
    if let Some(was) = site.strayed.filter(|_| !steps.iter().any(|step| step.rebinds().is_some())) {
        let needed = attach.and_then(|attach| site.card?.function_driver(attach));
        let was = site.before.map_or(was, |before| before.only);
        let only = needed.map_or(was, |needed| needed.pinned.then_some(needed.name));
        let (function, only) = (site.function.clone(), only.map(str::to_owned));
        let step = Step::SetFunctionOverride { function, only };
        plan.function_step(&site.function, Vec::new(), step);
    }
    if let Some(netdev) = site.of_the_node() {
        // what the host keeps is there for the node's traffic; and an interface that came back from a
        // pod this instant, so that netlink did not have it yet, is not to be touched, but no worse
        let not_seen = netdev.traffic.iter().all(|why| *why == Traffic::NotSeen);
        let kept = not_seen || matches!(attach, None | Some(Attach::Host));
        if !(kept && steps.is_empty()) {
            let message = format!(
                "{}: its interface {} {} and is left to the node",
                site.function,
                netdev.name,
                super::card::words(netdev),
            );
            plan.refuse_function(&parent, index, Reason::CarriesNodeTraffic, message);
        }
        return;
    }
    if let Some((reason, message)) = complaint {
        plan.refuse_function(&parent, index, reason, message);
    }
    for step in steps {
        let disturbs = site.device.iter().filter(|_| !idle(site)).cloned().collect();
        plan.function_step(&site.function, disturbs, step);
    }
}

/// Whether nobody can be using the function: no driver has it, or only one that makes vDPA devices,
/// and none of those has a driver. So it is after a reboot, when kubelet still knows the pods of
/// before, and waits for the function while they wait for it.
fn idle(site: &Site<'_>) -> bool {
    site.driver().is_none_or(cards::makes_vdpa_devices)
        && site.vdpa.iter().all(|device| device.driver.is_none())
}

/// What makes a function what its pool asks for, with what is to be set of it.
pub(super) fn steps(site: &Site<'_>, pool: Option<&Pool>, settings: &[VfSetting]) -> Vec<Step> {
    let mut steps = Vec::new();
    let function = || site.function.clone();
    let mut device = site.vdpa.first();
    let unbinds = rest::unbinds(site, settings);
    let keeps = |device: &VdpaDevice| pool.is_some_and(|pool| keeps(site, device, pool));
    // with its function's driver a device would go as it is, bound or not
    let goes = |device: &&VdpaDevice| unbinds || !keeps(device);
    if let Some(existing) = device.filter(goes) {
        take_down(existing, |step| steps.push(step));
        device = None;
    }
    let Some(pool) = pool else {
        let back = site.before.filter(|before| before.driver != site.driver());
        // one that is unbound here is given back once that is on record
        steps.extend(rest::steps(site, settings));
        if let Some(before) = back {
            let own = |text: Option<&str>| text.map(str::to_owned);
            let (driver, only) = (own(before.driver), own(before.only));
            steps.push(Step::ReleaseFunction { function: function(), driver, only });
        } else if steps.is_empty() {
            steps.extend(rest::interface(site, None));
        }
        return steps;
    };
    let needed = site.card.and_then(|card| card.function_driver(pool.attach));
    let needed = needed.filter(|_| device.is_none());
    let stays = needed.is_some_and(|needed| Some(needed.name) == site.driver());
    steps.extend(rest::steps(site, settings));
    if let Some(driver) = needed.filter(|_| unbinds || !stays) {
        steps.push(Step::BindFunction { function: function(), driver });
    } else {
        steps.extend(rest::interface(site, Some(pool)));
    }
    let Some(driver) = cards::bus_driver(pool.attach) else { return steps };
    if device.is_none() {
        if pool.settings.common == Common::Awaited {
            return steps;
        }
        let settings = pool.settings.clone();
        steps.push(Step::CreateVdpa { function: function(), mac: site.mac, settings });
    }
    if device.and_then(|device| device.driver.as_deref()) != Some(driver.name()) {
        steps.push(Step::BindVdpa { function: function(), driver });
    }
    steps
}

/// Whether a vDPA device stays, if need be with another driver. One that was taken over under a name
/// of somebody else's stays for as long as it is as wanted, and then is made anew under ours.
fn keeps(site: &Site<'_>, device: &VdpaDevice, pool: &Pool) -> bool {
    let served = |driver: Driver| device.driver.as_deref() == Some(driver.name());
    let as_wanted = cards::bus_driver(pool.attach).is_some_and(served);
    let ours = site.name().is_none_or(|name| name == device.name);
    pool.attach.by_vdpa() && fits(device, &pool.settings) && (ours || as_wanted)
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
