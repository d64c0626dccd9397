//! What others have made, held against what is wanted. Nothing is planned: a function is what its
//! pool asks for, or it is told why it is not.

use ringway_api::conditions::Reason;
use ringway_kernel::inventory::Traffic;
use ringway_kernel::pci::Address;

use super::rest::{self, Was};
use super::{Attach, Plan, card, function};
use crate::cards;
use crate::node::Observed;
use crate::wanted::{Parent, Pool};

/// A card. That the node's own traffic goes by it does not matter: it is not touched.
pub(super) fn card(plan: &mut Plan, node: &str, pf: Address, parent: &Parent, observed: &Observed) {
    let checked = card::check::meant(pf, parent, observed)
        .and_then(|found| Ok((found, card::check::able(pf, parent, found)?)));
    let (found, known) = match checked {
        Ok(checked) => checked,
        Err((reason, message)) => return plan.refuse(&parent.name, reason, message),
    };
    for pool in &parent.pools {
        for index in pool.range.clone() {
            let existing = found.functions.iter().find(|function| function.index == index);
            let was = existing.map(|_| Was::Own(None));
            let rest =
                card::rest(node, found, index, was, found.eswitch.mode(), &observed.attached);
            let site = card::site(pf, index, existing, Some(known), None);
            let site = function::Site { rest: Some(rest), ..site };
            match existing {
                Some(_) => device(plan, &site, pool),
                None => missing(plan, &site, &format!("the card has {}", found.numvfs)),
            }
        }
    }
}

/// A function that is not there.
pub(super) fn missing(plan: &mut Plan, site: &function::Site<'_>, there: &str) {
    let function = &site.function;
    let message =
        format!("{function}: it is not there ({there}), and ownership External makes none");
    let (parent, index) = (function.parent(), function.index());
    plan.refuse_function(&parent, index, Reason::ExternallyManaged, message);
}

/// A function that is there.
pub(super) fn device(plan: &mut Plan, site: &function::Site<'_>, pool: &Pool) {
    let complaint = complaint(site, pool);
    if let Some((reason, message)) = complaint {
        plan.refuse_function(&site.function.parent(), site.function.index(), reason, message);
    }
}

fn complaint(site: &function::Site<'_>, pool: &Pool) -> Option<card::Complaint> {
    let function = &site.function;
    let no_vfio = site.existing.filter(|_| pool.attach == Attach::Vfio);
    if let Some(why) = no_vfio.and_then(cards::no_vfio_for) {
        let message = format!("{function}: {why}: attach vfio is not possible");
        return Some((Reason::AttachUnsupported, message));
    }
    let of_the_node = site.of_the_node().filter(|netdev| {
        pool.attach != Attach::Host && netdev.traffic.iter().any(|why| *why != Traffic::NotSeen)
    });
    if let Some(netdev) = of_the_node {
        let message = format!(
            "{function}: its interface {} {} and is left to the node",
            netdev.name,
            card::words(netdev)
        );
        return Some((Reason::CarriesNodeTraffic, message));
    }
    let settings = match rest::compared(site, pool) {
        Ok(settings) => settings,
        Err(complaint) => return Some(complaint),
    };
    let left = function::steps(site, Some(pool), &settings);
    let left = left.iter().map(ToString::to_string).collect::<Vec<_>>();
    (!left.is_empty()).then(|| {
        let message = format!(
            "{function}: it is not what pool {} asks for, and ownership External changes nothing: \
             it takes to {}",
            pool.name,
            left.join(", ")
        );
        (Reason::ExternallyManaged, message)
    })
}
