//! Everything that speaks against a card's plan, before anything is touched.

use ringway_api::conditions::Reason;
use ringway_kernel::devlink::EswitchMode;
use ringway_kernel::features::Features;
use ringway_kernel::inventory::{Netdev, Parent as Found, Traffic};
use ringway_kernel::pci::Address;

use super::super::{Attach, eswitch};
use super::{Complaint, ids, off_limits, shape, words};
use crate::before::Before;
use crate::cards::{self, Card};
use crate::node::Observed;
use crate::wanted::{CardIdentity, Given, Parent, Pool};

/// The card that is meant, if it is there.
pub(in super::super) fn meant<'a>(
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
pub(in super::super) fn able(
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
    let mode = shape(parent).mode_of(found);
    for pool in &parent.pools {
        check_pool(pf, pool, found, card)?;
        check_defaults(pf, pool, found, mode)?;
    }
    Ok(card)
}

/// Everything that speaks against it, before anything is touched.
pub(in super::super) fn card<'a>(
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

/// Whether the card's driver can set its functions to what a pool asks for, while its eswitch has
/// this mode.
fn check_defaults(
    pf: Address,
    pool: &Pool,
    found: &Found,
    mode: Option<EswitchMode>,
) -> Result<(), Complaint> {
    let settable = cards::vf_settable(found.driver.as_deref());
    let device = found.ids.device;
    let able = |needs| settable.is_some_and(|settable| settable.can(needs, device, mode));
    let unable = |given: &Given| given.needs.is_some_and(|needs| !able(needs));
    let Some(Given { field, value, needs }) = pool.defaults.given().into_iter().find(unable) else {
        return Ok(());
    };
    let driver = found.driver.as_deref().unwrap_or("none");
    let refuses = settable.zip(needs).and_then(|(settable, needs)| settable.refuses(needs, mode));
    let by_mode = refuses.zip(mode).map(|(source, mode)| {
        format!(" in eswitch mode {mode} ({source}), where that is for representors and the host")
    });
    let words = settable.map(|settable| settable.words(device, mode));
    let words = words.unwrap_or_else(|| "nothing that is known".to_owned());
    Err((
        Reason::SettingsUnsupported,
        format!(
            "{pf}: pool {}: defaults.{field} {value}: driver {driver} cannot set it for its \
             functions{}; it can set {words}",
            pool.name,
            by_mode.unwrap_or_default(),
        ),
    ))
}

/// Features can be compared once a function exists: its management device tells.
fn missing_features(
    pf: Address,
    pool: &str,
    wanted: Option<Features>,
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

/// Another number of functions ends every one of them, and another mode of the eswitch all that they
/// do. `what` is what changes, in words.
pub(super) fn may_remake(
    pf: Address,
    found: &Found,
    what: &str,
    before: &Before,
) -> Result<(), Complaint> {
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
