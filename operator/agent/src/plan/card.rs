//! The plan for a card: uplink, number of VFs, then each VF.

use ringway_api::conditions::Reason;
use ringway_kernel::inventory::{Netdev, Parent as Found, VirtualFunction};
use ringway_kernel::pci::Address;
use ringway_node::DeviceId;

use super::rest::{Rest, Was};
use super::{Attach, Plan, function, mac};
use crate::attachments::Attached;
use crate::before::{Before, FunctionBefore, ParentBefore};
use crate::cards::{self, Card};
use crate::node::Observed;
use crate::step::{Function, Step};
use crate::wanted::{CardIdentity, Given, Parent, ParentName, Pool};

type Complaint = (Reason, String);

pub(super) fn plan(
    plan: &mut Plan,
    node: &str,
    pf: Address,
    parent: &Parent,
    observed: &Observed,
    before: &Before,
) {
    let (found, card) = match check(pf, parent, observed, before) {
        Ok(checked) => checked,
        Err((reason, message)) => return plan.refuse(&parent.name, reason, message),
    };
    plan.ground(parent, |attach| card.modules(attach), observed);
    uplink(plan, parent, found);
    let remade = found.numvfs != parent.count;
    if remade {
        // or udev renames what appears
        count(plan, found, Count { wanted: parent.count, autoprobe: false }, before);
    }
    let was = before.parents.get(&parent.name.to_string());
    let attached = &observed.attached;
    for index in 0..u32::from(parent.count) {
        let existing = found.functions.iter().find(|f| f.index == index && !remade);
        let own = was.and_then(|was| was.own(index));
        let rest = rest(node, found, index, existing.map(|_| Was::Own(was)), attached);
        let site =
            function::Site { rest: Some(rest), ..site(pf, index, existing, Some(card), own) };
        function::plan(plan, &site, parent.pool(index), before);
    }
}

fn rest<'a>(
    node: &str,
    found: &'a Found,
    index: u32,
    was: Option<Was<'_>>,
    attached: &'a Attached,
) -> Rest<'a> {
    Rest {
        uplink: found.netdevs.first(),
        settable: cards::vf_settable(found.driver.as_deref()),
        settings: was.map(|was| was.settings(index)).unwrap_or_default(),
        mtu: was.and_then(|was| was.mtu(index)),
        stable: mac::stable(node, &format!("{}.{index}", found.address)),
        attached,
    }
}

fn site<'a>(
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
        rest: None,
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
    let remade = found.numvfs != was.function_count;
    if remade {
        // functions that were there come back as they came then: with their drivers
        count(plan, found, Count { wanted: was.function_count, autoprobe }, before);
    } else {
        for existing in &found.functions {
            let (index, attached) = (existing.index, &observed.attached);
            // nobody wants an address of these names any more
            let rest = rest("", found, index, Some(Was::First(was)), attached);
            let site = site(pf, index, Some(existing), None, was.first(index));
            let site = function::Site { rest: Some(rest), ..site };
            function::plan(plan, &site, None, before);
        }
    }
    let said = remade && was.function_count > 0;
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
    match found.numvfs == was.function_count {
        true => Ok(()),
        false => may_remake(pf, found, before),
    }
}

/// Whether it cannot be told if a card is as it was: its interface is in another network namespace,
/// and may have our MTU when it comes back; and by it alone is its driver
/// asked of VFs. Or a function is attached, and set to what its pod's network wants.
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

/// Everything that speaks against it, before anything is touched.
fn check<'a>(
    pf: Address,
    parent: &Parent,
    observed: &'a Observed,
    before: &Before,
) -> Result<(&'a Found, &'static Card), Complaint> {
    let found = observed.inventory.parents.iter().find(|p| p.address == pf).ok_or_else(|| {
        (Reason::IdentityMismatch, format!("{pf}: no card with SR-IOV is at this address"))
    })?;
    if let Some(identity) = &parent.identity {
        same_card(found, identity)?;
    }
    if let Some(reason) = off_limits(found) {
        return Err((Reason::CarriesNodeTraffic, reason));
    }
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
    if found.numvfs != parent.count {
        may_remake(pf, found, before)?;
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
    check_defaults(pf, pool, found)?;
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

/// Whether the card's driver can set its functions to what a pool asks for.
fn check_defaults(pf: Address, pool: &Pool, found: &Found) -> Result<(), Complaint> {
    let settable = cards::vf_settable(found.driver.as_deref());
    let device = found.ids.device;
    let able = |needs| settable.is_some_and(|settable| settable.can(needs, device));
    let unable = |given: &Given| given.needs.is_some_and(|needs| !able(needs));
    let Some(Given { field, value, .. }) = pool.defaults.given().into_iter().find(unable) else {
        return Ok(());
    };
    let driver = found.driver.as_deref().unwrap_or("none");
    let words = settable.map(|settable| settable.words(device));
    let words = words.unwrap_or_else(|| "nothing that is known".to_owned());
    Err((
        Reason::SettingsUnsupported,
        format!(
            "{pf}: pool {}: defaults.{field} {value}: driver {driver} cannot set it for its \
             functions; it can set {words}",
            pool.name,
        ),
    ))
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

/// Changing the number of functions ends every one of them.
fn may_remake(pf: Address, found: &Found, before: &Before) -> Result<(), Complaint> {
    for function in &found.functions {
        if let Some(foreign) = function.vdpa.iter().find(|v| !before.vdpa.contains(&v.name)) {
            return Err((
                Reason::Foreign,
                format!(
                    "{pf}: function {} has the vDPA device {} that Ringway did not make: \
                     delete it to let the number of functions change",
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
                    "{pf}: function {} ({}) {}: the number of functions cannot change",
                    function.index,
                    netdev.name,
                    words(netdev),
                ),
            ));
        }
    }
    Ok(())
}

/// How many functions there shall be, and whether drivers are offered them as they appear.
#[derive(Clone, Copy)]
struct Count {
    wanted: u16,
    autoprobe: bool,
}

/// Takes down what is on the functions, then sets their number. All of it disturbs all of them,
/// so that nothing of it is done while one is held.
fn count(plan: &mut Plan, found: &Found, count: Count, before: &Before) {
    let (pf, name) = (found.address, &ParentName::Pci(found.address));
    let all: Vec<DeviceId> = found.functions.iter().filter_map(|f| device_id(f.address)).collect();
    for VirtualFunction { vdpa, .. } in &found.functions {
        for device in vdpa.iter().filter(|device| before.vdpa.contains(&device.name)) {
            function::take_down(device, |step| plan.parent_step(name, &all, step));
        }
    }
    let Count { wanted, autoprobe } = count;
    if wanted > 0 && found.drivers_autoprobe != autoprobe {
        plan.parent_step(name, &all, Step::SetFunctionAutoprobe { pf, on: autoprobe });
    }
    plan.parent_step(name, &all, Step::SetFunctionCount { pf, count: wanted });
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
