//! Wanted and observed in, steps out. Pure: the same values give the same plan, and a plan for a
//! node that is as wanted is empty.
//!
//! A plan disturbs as little as it can. Each step names the devices that it disturbs; whether it
//! may be done now is for [`crate::reconcile`] to decide, with who holds them.

use ringway_api::conditions::Reason;
use ringway_kernel::inventory::VdpaFamily;
use ringway_node::DeviceId;

use crate::before::Before;
use crate::node::Observed;
use crate::step::{Function, Step};
use crate::wanted::{Parent, ParentName, Refusal, Wanted};

mod adopt;
pub(crate) mod card;
mod common;
mod eswitch;
mod external;
mod function;
mod mac;
mod put_back;
mod rest;
pub(crate) mod simulator;
#[cfg(test)]
mod tests;

pub use ringway_api::device_policy::Attach;

/// What is to be done, in order, and what will not be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Planned>,
    /// Parents and functions that are left as they are.
    pub refusals: Vec<Refusal>,
    /// Functions that are as far as they can be until something else is known.
    pub awaits: Vec<Refusal>,
}

/// A step in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What to do.
    pub step: Step,
    /// The parent it belongs to.
    pub parent: ParentName,
    /// The function it belongs to; `None` if every later step of the parent builds on it.
    pub function: Option<u32>,
    /// The devices whose user would notice.
    pub disturbs: Vec<DeviceId>,
}

/// Compares.
pub fn plan(node: &str, wanted: &Wanted, observed: &Observed, before: &Before) -> Plan {
    let mut plan = Plan { refusals: wanted.refusals.clone(), ..Plan::default() };
    if let VdpaFamily::Unknown(why) = &observed.inventory.vdpa_family {
        // nothing may be concluded from the absence of a device
        for parent in &wanted.parents {
            plan.refuse(
                &parent.name,
                Reason::CallStuck,
                format!("{}: the kernel's vDPA devices cannot be read: {why}", parent.name),
            );
        }
        for name in before.parents.keys().filter(|name| !wanted.names(name)) {
            let message = format!(
                "{name}: cannot be put back: the kernel's vDPA devices cannot be read: {why}"
            );
            plan.refuse(&ParentName::of(name), Reason::CallStuck, message);
        }
        return plan;
    }
    for parent in &wanted.parents {
        match &parent.name {
            ParentName::Pci(address) => {
                card::plan(&mut plan, node, *address, parent, observed, before);
            }
            ParentName::Simulator(name) => {
                simulator::plan(&mut plan, node, name, parent, observed, before);
            }
            ParentName::VdpaBus => {}
        }
    }
    for (name, was) in before.parents.iter().filter(|(name, _)| !wanted.names(name)) {
        match ParentName::of(name) {
            ParentName::Pci(address) => {
                card::restore::plan(&mut plan, address, was, observed, before);
            }
            ParentName::Simulator(name) => {
                simulator::remove(&mut plan, &name, 0, observed, before);
            }
            ParentName::VdpaBus => {}
        }
    }
    give_back_bus(&mut plan, wanted, observed, before);
    plan
}

/// The vDPA bus offers new devices to drivers again, as it did before, once nobody wants devices of
/// ours and none is left.
fn give_back_bus(plan: &mut Plan, wanted: &Wanted, observed: &Observed, before: &Before) {
    let changed = before.vdpa_autoprobe == Some(true) && observed.vdpa_autoprobe == Some(false);
    if !changed || wanted.may_make_vdpa() {
        return;
    }
    let goes = |name: &str| {
        let deletes = |step: &Step| matches!(step, Step::DeleteVdpa { name: gone } if gone == name);
        plan.steps.iter().any(|planned| deletes(&planned.step))
    };
    // what was taken over and is left as it was found needs no driver
    let stays = |name: &str| before.vdpa.contains(name) && !before.is_adopted(name) && !goes(name);
    if !observed.vdpa().any(|device| stays(&device.name)) {
        plan.parent_step(&ParentName::VdpaBus, &[], Step::SetVdpaAutoprobe { on: true });
    }
}

impl Plan {
    /// Adds a step on which every later step of the parent builds.
    fn parent_step(&mut self, parent: &ParentName, disturbs: &[DeviceId], step: Step) {
        let disturbs = disturbs.to_vec();
        self.steps.push(Planned { step, parent: parent.clone(), function: None, disturbs });
    }

    /// Adds a step for one function.
    fn function_step(&mut self, function: &Function, disturbs: Vec<DeviceId>, step: Step) {
        let (parent, function) = (function.parent(), Some(function.index()));
        self.steps.push(Planned { step, parent, function, disturbs });
    }

    fn refuse(&mut self, parent: &ParentName, reason: Reason, message: String) {
        let parent = parent.to_string();
        self.refusals.push(Refusal { parent, function: None, reason, message });
    }

    fn refuse_function(
        &mut self,
        parent: &ParentName,
        index: u32,
        reason: Reason,
        message: String,
    ) {
        let parent = parent.to_string();
        self.refusals.push(Refusal { parent, function: Some(index), reason, message });
    }

    /// Modules, and settings of the vDPA bus, on which functions build. Each parent plans its own,
    /// so that what fails for one keeps no other from what it needs.
    fn ground(
        &mut self,
        parent: &Parent,
        modules: impl Fn(Attach) -> Vec<&'static str>,
        observed: &Observed,
    ) {
        let wanted = |attach: &Attach| parent.pools.iter().any(|pool| pool.attach == *attach);
        let mut known = observed.modules.clone();
        for module in Attach::ALL.into_iter().filter(wanted).flat_map(modules) {
            if known.insert(module) {
                self.parent_step(&parent.name, &[], Step::LoadModule(module));
            }
        }
        if parent.makes_vdpa() && observed.vdpa_autoprobe != Some(false) {
            self.parent_step(&parent.name, &[], Step::SetVdpaAutoprobe { on: false });
        }
    }
}
