//! The plan that puts a card back to what it was before we changed it.

use ringway_api::conditions::Reason;
use ringway_kernel::inventory::Parent as Found;
use ringway_kernel::pci::Address;

use super::super::eswitch::{self, Shape};
use super::super::rest::Was;
use super::super::{Plan, function, put_back};
use super::{Complaint, check, ids, off_limits, rest, set_mtu, site};
use crate::before::{Before, ParentBefore};
use crate::node::Observed;
use crate::step::Step;
use crate::wanted::ParentName;

pub(in super::super) fn plan(
    plan: &mut Plan,
    pf: Address,
    was: &ParentBefore,
    observed: &Observed,
    before: &Before,
) {
    let Some(found) = observed.inventory.parents.iter().find(|p| p.address == pf) else { return };
    let name = ParentName::Pci(pf);
    let autoprobe = was.drivers_autoprobe.unwrap_or(found.drivers_autoprobe);
    // functions that were there come back as they came then: with their drivers
    let shape = Shape { autoprobe, ..first_shape(found, was) };
    let (first, attached) = (Was::First(was), &observed.attached);
    let back =
        may(found, was, before).and_then(|()| put_back::steps(found, shape, first, attached));
    match back {
        Ok(steps) => steps.into_iter().for_each(|step| eswitch::for_all(plan, found, step)),
        Err((reason, message)) => return plan.refuse(&name, reason, message),
    }
    if !eswitch::plan(plan, found, shape, before) {
        for existing in &found.functions {
            let index = existing.index;
            // nobody wants an address of these names any more
            let rest = rest("", found, index, Some(first), shape.mode_of(found), attached);
            let site = site(pf, index, Some(existing), None, was.first(index));
            let strayed = was.strayed(index);
            let site = function::Site { rest: Some(rest), strayed, ..site };
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
fn may(found: &Found, was: &ParentBefore, before: &Before) -> Result<(), Complaint> {
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
        Some(what) => check::may_remake(pf, found, what, before),
    }
}

/// What a card was as a whole; a mode that it cannot have any more is let be.
fn first_shape(found: &Found, was: &ParentBefore) -> Shape {
    let mode = was.eswitch.filter(|_| found.eswitch.mode().is_some());
    Shape { count: was.function_count, autoprobe: found.drivers_autoprobe, mode }
}
