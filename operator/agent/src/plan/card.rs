//! The plan for a card: uplink, number of VFs, then each VF.

use ringway_api::conditions::Reason;
use ringway_kernel::inventory::{Netdev, Parent as Found, VirtualFunction};
use ringway_kernel::pci::Address;
use ringway_node::DeviceId;

use super::{Plan, function};
use crate::before::{Before, ParentBefore};
use crate::cards::{self, Card};
use crate::node::Observed;
use crate::step::{Function, Step};
use crate::wanted::{CardIdentity, Parent, ParentName};

type Complaint = (Reason, String);

pub(super) fn plan(
    plan: &mut Plan,
    pf: Address,
    parent: &Parent,
    observed: &Observed,
    before: &Before,
) {
    let (found, card) = match check(pf, parent, observed, before) {
        Ok(checked) => checked,
        Err((reason, message)) => return plan.refuse(&parent.name, reason, message),
    };
    plan.bus(parent, card.module, observed);
    uplink(plan, parent, found);
    let remade = found.numvfs != parent.count;
    if remade {
        count(plan, &parent.name, pf, found, parent.count, before);
    }
    for index in 0..u32::from(parent.count) {
        let existing = found.functions.iter().find(|f| f.index == index && !remade);
        let site = function::Site {
            function: Function::Vf { pf, index },
            device: existing.and_then(|f| device_id(f.address)),
            driver: existing.and_then(|f| f.driver.as_deref()),
            wanted_driver: Some(card.function_driver),
            vdpa: existing.map_or(&[], |f| &f.vdpa),
            mac: None,
        };
        function::plan(plan, &site, parent.pool(index), before);
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
    if let Some(reason) = off_limits(found) {
        return plan.refuse(&name, Reason::CarriesNodeTraffic, reason);
    }
    if found.numvfs != was.function_count {
        if let Err((reason, message)) = may_remake(pf, found, before) {
            return plan.refuse(&name, reason, message);
        }
        count(plan, &name, pf, found, was.function_count, before);
    } else {
        for existing in &found.functions {
            let site = function::Site {
                function: Function::Vf { pf, index: existing.index },
                device: device_id(existing.address),
                driver: existing.driver.as_deref(),
                wanted_driver: None,
                vdpa: &existing.vdpa,
                mac: None,
            };
            function::plan(plan, &site, None, before);
        }
    }
    if let Some(on) = was.drivers_autoprobe.filter(|on| *on != found.drivers_autoprobe) {
        plan.parent_step(&name, &[], Step::SetFunctionAutoprobe { pf, on });
    }
    if let (Some(mtu), Some(netdev)) = (was.mtu, found.netdevs.first()) {
        set_mtu(plan, &name, netdev, mtu);
    }
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
        let (_, reason) = cards::attach(found.driver.as_deref());
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
        let (settable, settings) = (card.settable, &pool.settings);
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
                        pool.name, card.function_driver,
                    ),
                ));
            }
        }
        missing_features(pf, pool.name.as_str(), settings.features, found)?;
    }
    if found.numvfs != parent.count {
        may_remake(pf, found, before)?;
    }
    Ok((found, card))
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
    let ids = format!("{:04x}:{:04x}", found.ids.vendor, found.ids.device);
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
        if let Some(netdev) = function.netdevs.iter().find(|netdev| !netdev.traffic.is_empty()) {
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

/// Takes down what is on the functions, then sets their number. All of it disturbs all of them,
/// so that nothing of it is done while one is held.
fn count(
    plan: &mut Plan,
    name: &ParentName,
    pf: Address,
    found: &Found,
    count: u16,
    before: &Before,
) {
    let all: Vec<DeviceId> = found.functions.iter().filter_map(|f| device_id(f.address)).collect();
    for VirtualFunction { vdpa, .. } in &found.functions {
        for device in vdpa.iter().filter(|device| before.vdpa.contains(&device.name)) {
            function::take_down(device, |step| plan.parent_step(name, &all, step));
        }
    }
    if count > 0 && found.drivers_autoprobe {
        plan.parent_step(name, &[], Step::SetFunctionAutoprobe { pf, on: false });
    }
    plan.parent_step(name, &all, Step::SetFunctionCount { pf, count });
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

fn words(netdev: &Netdev) -> String {
    netdev.traffic.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// A PCI address always is a device id.
pub(crate) fn device_id(address: Address) -> Option<DeviceId> {
    address.to_string().parse().ok()
}
