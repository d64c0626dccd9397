//! A card as a whole: the mode of its eswitch and the number of its functions, in the order that its
//! driver needs.

use ringway_api::conditions::Reason;
use ringway_kernel::devlink::EswitchMode;
use ringway_kernel::inventory::{Eswitch, Parent as Found, VirtualFunction};
use ringway_node::DeviceId;

use super::card::{Complaint, device_id};
use super::{Plan, function};
use crate::before::Before;
use crate::cards::{self, Order};
use crate::step::{Function, Step};
use crate::wanted::{Parent, ParentName};

/// What a card shall be as a whole.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// How many functions.
    pub(super) count: u16,
    /// Whether drivers are offered them as they appear.
    pub(super) autoprobe: bool,
    /// The eswitch's mode; `None` leaves it.
    pub(super) mode: Option<EswitchMode>,
}

impl Shape {
    /// What of a card changes so that its functions are disturbed, in words; `None` if nothing does.
    pub(super) fn changes(self, found: &Found) -> Option<&'static str> {
        if found.numvfs != self.count {
            return Some("the number of functions");
        }
        self.other_mode(found).map(|_| "the mode of the eswitch")
    }

    /// The mode that the eswitch has once the card has this shape.
    pub(super) fn mode_of(self, found: &Found) -> Option<EswitchMode> {
        self.mode.or(found.eswitch.mode())
    }

    /// The mode that it changes to beneath functions that stay.
    pub(super) fn switches(self, found: &Found) -> Option<EswitchMode> {
        let order = found.driver.as_deref().and_then(cards::eswitch_order);
        let stay = matches!(order, Some(Order::WithFunctions { .. })) && found.numvfs == self.count;
        self.other_mode(found).filter(|_| stay)
    }

    fn other_mode(self, found: &Found) -> Option<EswitchMode> {
        self.mode.filter(|mode| found.eswitch.mode() != Some(*mode))
    }
}

/// Everything that speaks against a mode, before anything is touched.
pub(super) fn check(found: &Found, parent: &Parent) -> Result<(), Complaint> {
    let Some(mode) = parent.eswitch else { return Ok(()) };
    let asked = format!("{}: uplink.eswitch {mode}", found.address);
    let driver = found.driver.as_deref().unwrap_or_default();
    match &found.eswitch {
        Eswitch::Unknown(why) => {
            Err((Reason::CallStuck, format!("{asked}: its mode now cannot be read: {why}")))
        }
        Eswitch::None => Err((
            Reason::SettingsUnsupported,
            format!(
                "{asked}: a card of driver {driver} has no eswitch whose mode can be set: leave the \
                 field out"
            ),
        )),
        eswitch if eswitch.mode() != Some(mode) && cards::eswitch_order(driver).is_none() => {
            let known = cards::eswitch_drivers().collect::<Vec<_>>().join(", ");
            Err((
                Reason::SettingsUnsupported,
                format!(
                    "{asked}: how a card of driver {driver} changes its eswitch is not known, only \
                     of {known}: set it yourself, or leave the field out"
                ),
            ))
        }
        _ => Ok(()),
    }
}

/// Whether a mode can be put back now.
pub(super) fn may_restore(found: &Found, was: Option<EswitchMode>) -> Result<(), Complaint> {
    match (&found.eswitch, was) {
        (Eswitch::Unknown(why), Some(was)) => Err((
            Reason::CallStuck,
            format!(
                "{}: its eswitch was {was}, and its mode now cannot be read: {why}",
                found.address
            ),
        )),
        _ => Ok(()),
    }
}

/// Plans what leads to a shape; says whether functions that are there now end, or lose their driver.
pub(super) fn plan(plan: &mut Plan, found: &Found, shape: Shape, before: &Before) -> bool {
    let mut steps = Steps { plan, found, before, all: ids(found), cleared: false };
    let order = found.driver.as_deref().and_then(cards::eswitch_order);
    let mode = shape.other_mode(found);
    match (order, mode) {
        (Some(Order::WithoutFunctions), Some(mode)) => {
            if found.numvfs > 0 {
                steps.set_count(0, shape.autoprobe);
            }
            steps.set_mode(mode);
            if shape.count > 0 {
                steps.set_count(shape.count, shape.autoprobe);
            }
            true
        }
        (Some(Order::WithFunctions { unbound }), _) => steps.with_functions(shape, unbound),
        (_, _) if found.numvfs != shape.count => {
            steps.set_count(shape.count, shape.autoprobe);
            true
        }
        (_, _) => false,
    }
}

/// Adds a step that changes the mode or leads to that, and is of all functions. After a reboot nobody
/// can be using functions that kubelet still knows as given out: then it disturbs none.
pub(super) fn for_all(plan: &mut Plan, found: &Found, step: Step) {
    let idle = found.functions.iter().all(idle);
    let all = if idle { Vec::new() } else { ids(found) };
    plan.parent_step(&ParentName::Pci(found.address), &all, step);
}

/// The devices of a card's functions.
fn ids(found: &Found) -> Vec<DeviceId> {
    found.functions.iter().filter_map(|function| device_id(function.address)).collect()
}

struct Steps<'a> {
    plan: &'a mut Plan,
    found: &'a Found,
    before: &'a Before,
    all: Vec<DeviceId>,
    /// Whether what is on the functions is taken down already.
    cleared: bool,
}

impl Steps<'_> {
    /// Functions are made in legacy mode, and the mode changes after that.
    fn with_functions(&mut self, shape: Shape, unbound: bool) -> bool {
        let mut mode = self.found.eswitch.mode();
        let other_count = self.found.numvfs != shape.count;
        if other_count {
            if shape.mode.is_some() && mode == Some(EswitchMode::Switchdev) {
                self.unbind(unbound);
                self.set_mode(EswitchMode::Legacy);
                mode = Some(EswitchMode::Legacy);
            }
            self.set_count(shape.count, shape.autoprobe);
        }
        let Some(wanted) = shape.mode.filter(|wanted| mode != Some(*wanted)) else {
            return other_count;
        };
        if !other_count {
            self.unbind(unbound);
        }
        self.set_mode(wanted);
        other_count || unbound
    }

    /// Takes down what is on the functions, then sets their number. All of it disturbs all of them,
    /// so that nothing of it is done while one is held.
    fn set_count(&mut self, count: u16, autoprobe: bool) {
        self.clear();
        let pf = self.found.address;
        if count > 0 && self.found.drivers_autoprobe != autoprobe {
            self.push(Step::SetFunctionAutoprobe { pf, on: autoprobe });
        }
        self.push(Step::SetFunctionCount { pf, count });
    }

    fn set_mode(&mut self, mode: EswitchMode) {
        let step = Step::SetEswitchMode { pf: self.found.address, mode };
        for_all(self.plan, self.found, step);
    }

    fn unbind(&mut self, needed: bool) {
        if !needed {
            return;
        }
        self.clear();
        let (found, pf) = (self.found, self.found.address);
        for function in found.functions.iter().filter(|function| function.driver.is_some()) {
            let function = Function::Vf { pf, index: function.index };
            for_all(self.plan, found, Step::UnbindFunction { function });
        }
    }

    fn clear(&mut self) {
        if std::mem::replace(&mut self.cleared, true) {
            return;
        }
        let (found, before) = (self.found, self.before);
        for VirtualFunction { vdpa, .. } in &found.functions {
            for device in vdpa.iter().filter(|device| before.vdpa.contains(&device.name)) {
                function::take_down(device, |step| self.push(step));
            }
        }
    }

    fn push(&mut self, step: Step) {
        self.plan.parent_step(&ParentName::Pci(self.found.address), &self.all, step);
    }
}

/// Whether nobody can be using a function.
fn idle(function: &VirtualFunction) -> bool {
    function.driver.as_deref().is_none_or(cards::makes_vdpa_devices)
        && function.vdpa.iter().all(|device| device.driver.is_none())
}
