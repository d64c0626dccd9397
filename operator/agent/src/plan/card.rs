//! The plan for a card: uplink, number of VFs and mode of the eswitch, then each VF.

use ringway_api::conditions::Reason;
use ringway_kernel::inventory::{Netdev, Parent as Found, Traffic, VirtualFunction};
use ringway_kernel::pci::Address;
use ringway_node::DeviceId;

use super::eswitch::{self, Shape};
use super::{Attach, Plan, external, function};
use crate::before::{Before, FunctionBefore, ParentBefore};
use crate::cards::{self, Card};
use crate::node::Observed;
use crate::step::{Function, Step};
use crate::wanted::{CardIdentity, Maker, Parent, ParentName, Pool};

/// What speaks against something: for machines, and for people.
pub(super) type Complaint = (Reason, String);

pub(super) fn plan(
    plan: &mut Plan,
    pf: Address,
    parent: &Parent,
    observed: &Observed,
    before: &Before,
) {
    if parent.maker == Maker::Others {
        return external::card(plan, pf, parent, observed);
    }
    let (found, card) = match check(pf, parent, observed, before) {
        Ok(checked) => checked,
        Err((reason, message)) => return plan.refuse(&parent.name, reason, message),
    };
    plan.ground(parent, |attach| card.modules(attach), observed);
    uplink(plan, parent, found);
    let remade = eswitch::plan(plan, found, shape(parent), before);
    let was = before.parents.get(&parent.name.to_string());
    let was = |index| was.and_then(|was| was.own(index));
    for index in 0..u32::from(parent.count) {
        let existing = found.functions.iter().find(|f| f.index == index && !remade);
        let adopt = parent.maker == Maker::RingwayAdopting;
        let site = function::Site { adopt, ..site(pf, index, existing, Some(card), was(index)) };
        function::plan(plan, &site, parent.pool(index), before);
    }
}

/// What a card shall be as a whole. No driver is offered new functions, or udev renames what appears.
fn shape(parent: &Parent) -> Shape {
    Shape { count: parent.count, autoprobe: false, mode: parent.eswitch }
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
        vdpa: existing.map_or(&[], |function| &function.vdpa),
        mac: None,
        adopt: false,
    }
}

/// Puts a card back to what it was before we changed it.
pub(super) fn restore(
    plan: &mut Plan,
    pf: Address,
    was: &ParentBefore,
    observed: &Observed,
    before: &Before,
) {
    let Some(found) = observed.inventory.parents.iter().find(|p| p.address == pf) else { return };
    let name = ParentName::Pci(pf);
    if let Err((reason, message)) = may_restore(found, was, before) {
        return plan.refuse(&name, reason, message);
    }
    let autoprobe = was.drivers_autoprobe.unwrap_or(found.drivers_autoprobe);
    // functions that were there come back as they came then: with their drivers
    let shape = Shape { autoprobe, ..first_shape(found, was) };
    if !eswitch::plan(plan, found, shape, before) {
        for existing in &found.functions {
            let before_us = was.first(existing.index);
            let site = site(pf, existing.index, Some(existing), None, before_us);
            function::plan(plan, &site, None, before);
        }
    }
    let said = plan.steps.iter().any(
        |planned| matches!(planned.step, Step::SetFunctionAutoprobe { pf: of, .. } if of == pf),
    );
    if autoprobe != found.drivers_autoprobe && !said {
        plan.parent_step(&name, &[], Step::SetFunctionAutoprobe { pf, on: autoprobe });
    }
    let Some(netdev) = found.netdevs.first() else { return };
    if let Some(mtu) = was.mtu {
        set_mtu(plan, &name, netdev, mtu);
    }
    if let Some(link) = netdev.index.filter(|_| netdev.up && was.up == Some(false)) {
        plan.parent_step(&name, &[], Step::LowerUplink { link });
    }
}

/// Everything that speaks against it, before anything is touched.
fn may_restore(found: &Found, was: &ParentBefore, before: &Before) -> Result<(), Complaint> {
    let (pf, ids) = (found.address, ids(found));
    if let Some(meant) = was.ids.as_ref().filter(|meant| **meant != ids) {
        return Err((
            Reason::IdentityMismatch,
            format!("{pf}: the card there is {ids}, changed was {meant}: has a card moved?"),
        ));
    }
    if let Some(reason) = off_limits(found) {
        return Err((Reason::CarriesNodeTraffic, reason));
    }
    eswitch::may_restore(found, was.eswitch)?;
    match first_shape(found, was).changes(found) {
        None => Ok(()),
        Some(what) => may_remake(pf, found, what, before),
    }
}

/// What a card was as a whole; a mode that it cannot have any more is let be.
fn first_shape(found: &Found, was: &ParentBefore) -> Shape {
    let mode = was.eswitch.filter(|_| found.eswitch.mode().is_some());
    Shape { count: was.function_count, autoprobe: found.drivers_autoprobe, mode }
}

/// Whether it cannot be told if a card is as it was: its interface is in another network namespace,
/// and may have our MTU when it comes back.
pub(crate) fn out_of_sight(name: &str, was: &ParentBefore, observed: &Observed) -> bool {
    let ParentName::Pci(pf) = ParentName::of(name) else { return false };
    let found = observed.inventory.parents.iter().find(|parent| parent.address == pf);
    was.mtu.is_some() && found.is_some_and(|found| found.netdevs.is_empty())
}

/// The card that is meant, if it is there.
pub(super) fn meant<'a>(
    pf: Address,
    parent: &Parent,
    observed: &'a Observed,
) -> Result<&'a Found, Complaint> {
    let found = observed.inventory.parents.iter().find(|p| p.address == pf).ok_or_else(|| {
        (Reason::IdentityMismatch, format!("{pf}: no card with SR-IOV is at this address"))
    })?;
    if let Some(identity) = &parent.identity {
        same_card(found, identity)?;
    }
    Ok(found)
}

/// What is known of a card, if that can serve all its pools.
pub(super) fn able(
    pf: Address,
    parent: &Parent,
    found: &Found,
) -> Result<&'static Card, Complaint> {
    let card = cards::card(found.driver.as_deref()).ok_or_else(|| {
        let (_, reason) = cards::attach(found);
        (Reason::AttachUnsupported, format!("{pf}: {}", reason.unwrap_or_default()))
    })?;
    if parent.count > found.totalvfs {
        return Err((
            Reason::TooManyFunctions,
            format!(
                "{pf}: functionCount {} is more than the card's {}",
                parent.count, found.totalvfs
            ),
        ));
    }
    for pool in &parent.pools {
        check_pool(pf, pool, found, card)?;
    }
    Ok(card)
}

/// Everything that speaks against it, before anything is touched.
fn check<'a>(
    pf: Address,
    parent: &Parent,
    observed: &'a Observed,
    before: &Before,
) -> Result<(&'a Found, &'static Card), Complaint> {
    let found = meant(pf, parent, observed)?;
    if let Some(reason) = off_limits(found) {
        return Err((Reason::CarriesNodeTraffic, reason));
    }
    let card = able(pf, parent, found)?;
    eswitch::check(found, parent)?;
    if let Some(what) = shape(parent).changes(found) {
        may_remake(pf, found, what, before)?;
    }
    Ok((found, card))
}

/// Whether functions of a card can be attached as a pool asks, with its settings.
fn check_pool(pf: Address, pool: &Pool, found: &Found, card: &Card) -> Result<(), Complaint> {
    let no_vfio = cards::no_vfio(found).filter(|_| pool.attach == Attach::Vfio);
    if no_vfio.is_some() || card.function_driver(pool.attach).is_none() {
        let (can, why) = cards::attach(found);
        let can = can.into_iter().map(Attach::as_str).collect::<Vec<_>>().join(", ");
        let (attach, why) = (pool.attach.as_str(), no_vfio.or(why).unwrap_or_default());
        return Err((
            Reason::AttachUnsupported,
            format!("{pf}: pool {}: attach {attach}: it can do {can} ({why})", pool.name),
        ));
    }
    let Some(maker) = card.vdpa.as_ref().filter(|_| pool.attach.by_vdpa()) else { return Ok(()) };
    let (settable, settings) = (maker.settable, &pool.settings);
    let unable = [
        ("vdpa.mtu", settings.mtu, settable.mtu),
        ("vdpa.queuePairs", settings.queue_pairs, settable.queue_pairs),
    ];
    for (field, value, able) in unable {
        if let Some(value) = value.filter(|_| !able) {
            return Err((
                Reason::SettingsUnsupported,
                format!(
                    "{pf}: pool {}: {field} {value}: driver {} cannot set it when it makes a \
                     vDPA device: leave the field out",
                    pool.name, maker.driver,
                ),
            ));
        }
    }
    missing_features(pf, pool.name.as_str(), settings.features, found)
}

/// Features can be compared once a function exists: its management device tells.
fn missing_features(
    pf: Address,
    pool: &str,
    wanted: Option<ringway_kernel::features::Features>,
    found: &Found,
) -> Result<(), Complaint> {
    let able = found
        .functions
        .iter()
        .find_map(|function| function.management_device.as_ref().and_then(|m| m.features));
    let (Some(wanted), Some(able)) = (wanted, able) else { return Ok(()) };
    if able.contains(wanted) {
        return Ok(());
    }
    let (missing, able) = ((wanted - able).names().join(","), able.names().join(","));
    Err((
        Reason::SettingsUnsupported,
        format!("{pf}: pool {pool}: vdpa.features: the card lacks {missing}; it has {able}"),
    ))
}

fn same_card(found: &Found, identity: &CardIdentity) -> Result<(), Complaint> {
    let ids = ids(found);
    let mac = found.netdevs.first().and_then(|n| n.permanent_mac.or(n.mac)).map(|m| m.to_string());
    // while its interface is elsewhere the card cannot be told by its MAC
    let same_mac = identity.mac.is_none() || mac.is_none() || identity.mac == mac;
    if ids == identity.ids && same_mac {
        return Ok(());
    }
    Err((
        Reason::IdentityMismatch,
        format!(
            "{}: the card there is {ids} {}, meant was {} {}: has a card moved?",
            found.address,
            mac.unwrap_or_default(),
            identity.ids,
            identity.mac.as_deref().unwrap_or_default(),
        ),
    ))
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

/// Another number of functions ends every one of them, and another mode of the eswitch all that they
/// do. `what` is what changes, in words.
fn may_remake(pf: Address, found: &Found, what: &str, before: &Before) -> Result<(), Complaint> {
    let carries = |netdev: &&Netdev| {
        netdev.traffic.iter().any(|why| !matches!(why, Traffic::Member { .. } | Traffic::NotSeen))
    };
    // that they are members of a bridge is what representors are for
    if let Some(netdev) = found.representors.iter().find(carries) {
        let message =
            format!("{pf}: representor {} {}: {what} cannot change", netdev.name, words(netdev));
        return Err((Reason::CarriesNodeTraffic, message));
    }
    for function in &found.functions {
        if let Some(foreign) = function.vdpa.iter().find(|v| !before.vdpa.contains(&v.name)) {
            return Err((
                Reason::Foreign,
                format!(
                    "{pf}: function {} has the vDPA device {} that Ringway did not make: \
                     delete it to let {what} change",
                    function.index, foreign.name,
                ),
            ));
        }
        let interfaces = function.vdpa.iter().flat_map(|device| &device.netdevs);
        let mut interfaces = function.netdevs.iter().chain(interfaces);
        if let Some(netdev) = interfaces.find(|netdev| !netdev.traffic.is_empty()) {
            return Err((
                Reason::CarriesNodeTraffic,
                format!(
                    "{pf}: function {} ({}) {}: {what} cannot change",
                    function.index,
                    netdev.name,
                    words(netdev),
                ),
            ));
        }
    }
    Ok(())
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
