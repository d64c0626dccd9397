//! The plan for a card: uplink, number of VFs and mode of the eswitch, then each VF.

use ringway_api::conditions::Reason;
use ringway_kernel::devlink::EswitchMode;
use ringway_kernel::inventory::{Netdev, Parent as Found, VirtualFunction};
use ringway_kernel::pci::Address;
use ringway_node::DeviceId;

use super::eswitch::{self, Shape};
use super::rest::{Rest, Was};
use super::{Plan, external, function, mac, put_back};
use crate::attachments::Attached;
use crate::before::{Before, FunctionBefore, ParentBefore};
use crate::cards::{self, Card};
use crate::node::Observed;
use crate::step::{Function, Step};
use crate::wanted::{Maker, Parent, ParentName};

pub(super) mod check;
pub(super) mod restore;

/// What speaks against something: for machines, and for people.
pub(super) type Complaint = (Reason, String);

pub(super) fn plan(
    plan: &mut Plan,
    node: &str,
    pf: Address,
    parent: &Parent,
    observed: &Observed,
    before: &Before,
) {
    if parent.maker == Maker::Others {
        return external::card(plan, node, pf, parent, observed);
    }
    let (was, attached) = (before.parents.get(&parent.name.to_string()), &observed.attached);
    let checked = check::card(pf, parent, observed, before).and_then(|(found, card)| {
        let back = put_back::steps(found, shape(parent), Was::Own(was), attached)?;
        Ok((found, card, back))
    });
    let (found, card, back) = match checked {
        Ok(checked) => checked,
        Err((reason, message)) => return plan.refuse(&parent.name, reason, message),
    };
    plan.ground(parent, |attach| card.modules(attach), observed);
    uplink(plan, parent, found);
    back.into_iter().for_each(|step| eswitch::for_all(plan, found, step));
    let remade = eswitch::plan(plan, found, shape(parent), before);
    let mode = shape(parent).mode_of(found);
    for index in 0..u32::from(parent.count) {
        let there = found.functions.binary_search_by_key(&index, |function| function.index);
        let existing = there.ok().filter(|_| !remade).map(|at| &found.functions[at]);
        let own = was.and_then(|was| was.own(index));
        let rest = rest(node, found, index, existing.map(|_| Was::Own(was)), mode, attached);
        let adopt = parent.maker == Maker::RingwayAdopting;
        let site = site(pf, index, existing, Some(card), own);
        let strayed = existing.and(was).and_then(|was| was.strayed(index));
        let site = function::Site { rest: Some(rest), adopt, strayed, ..site };
        function::plan(plan, &site, parent.pool(index), before);
    }
}

/// What a card shall be as a whole. No driver is offered new functions, or udev renames what appears.
fn shape(parent: &Parent) -> Shape {
    Shape { count: parent.count, autoprobe: false, mode: parent.eswitch }
}

/// `mode` is that of the eswitch by then.
pub(super) fn rest<'a>(
    node: &str,
    found: &'a Found,
    index: u32,
    was: Option<Was<'_>>,
    mode: Option<EswitchMode>,
    attached: &'a Attached,
) -> Rest<'a> {
    Rest {
        uplink: found.netdevs.first(),
        settable: cards::vf_settable(found.driver.as_deref()),
        mode,
        settings: was.map(|was| was.settings(index)).unwrap_or_default(),
        mtu: was.and_then(|was| was.mtu(index)),
        stable: mac::stable(node, &format!("{}.{index}", found.address)),
        attached,
    }
}

pub(super) fn site<'a>(
    pf: Address,
    index: u32,
    existing: Option<&'a VirtualFunction>,
    card: Option<&'static Card>,
    was: Option<FunctionBefore<'a>>,
) -> function::Site<'a> {
    function::Site {
        function: Function::Vf { pf, index },
        device: existing.and_then(|function| device_id(function.address)),
        card,
        existing,
        before: existing.and(was),
        strayed: None,
        management: existing.and_then(|function| function.management_device.as_ref()),
        vdpa: existing.map_or(&[], |function| &function.vdpa),
        mac: None,
        rest: None,
        adopt: false,
    }
}

/// Whether it cannot be told if a card is as it was: its interface is in another network namespace,
/// and may have our MTU when it comes back; and by it alone is its driver asked of VFs. Or a function
/// is attached, and set to what its pod's network wants.
pub(crate) fn out_of_sight(name: &str, was: &ParentBefore, observed: &Observed) -> bool {
    let ParentName::Pci(pf) = ParentName::of(name) else { return false };
    let found = observed.inventory.parents.iter().find(|parent| parent.address == pf);
    let Some(found) = found else { return false };
    let uplink = was.mtu.is_some() || was.has_settings();
    let attached = |function: &VirtualFunction| {
        let index = function.index;
        let on_record = !was.first_settings(index).is_empty() || was.mtus.contains_key(&index);
        let id = function.address.to_string();
        on_record && observed.attached.as_ref().map_or(true, |attached| attached.contains_key(&id))
    };
    (uplink && found.netdevs.is_empty()) || found.functions.iter().any(attached)
}

/// What a card is: `vendor:device` in hexadecimal.
pub(crate) fn ids(found: &Found) -> String {
    format!("{:04x}:{:04x}", found.ids.vendor, found.ids.device)
}

/// Why a card must not be touched, in one sentence.
pub(crate) fn off_limits(found: &Found) -> Option<String> {
    let owner = found.netdevs.iter().find(|netdev| !netdev.traffic.is_empty());
    owner.map(|netdev| format!("{} ({}) {}", found.address, netdev.name, words(netdev)))
}

fn uplink(plan: &mut Plan, parent: &Parent, found: &Found) {
    let Some(netdev) = found.netdevs.first() else { return };
    if let Some(mtu) = parent.mtu {
        set_mtu(plan, &parent.name, netdev, mtu);
    }
    if let Some(link) = netdev.index.filter(|_| !netdev.up) {
        plan.parent_step(&parent.name, &[], Step::RaiseUplink { link });
    }
}

fn set_mtu(plan: &mut Plan, name: &ParentName, netdev: &Netdev, mtu: u32) {
    if let Some(link) = netdev.index.filter(|_| netdev.mtu != mtu) {
        plan.parent_step(name, &[], Step::SetUplinkMtu { link, mtu });
    }
}

/// What speaks for the node's traffic.
pub(super) fn words(netdev: &Netdev) -> String {
    netdev.traffic.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// A PCI address always is a device id.
pub(crate) fn device_id(address: Address) -> Option<DeviceId> {
    address.to_string().parse().ok()
}
