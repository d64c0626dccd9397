//! What others made on a function: taken over if it is as wanted and that is asked for, else left.

use ringway_api::conditions::Reason;
use ringway_kernel::inventory::VdpaDevice;

use super::function::{self, Site};
use super::{Attach, Plan, rest};
use crate::step::Step;
use crate::wanted::Pool;

pub(super) fn plan(plan: &mut Plan, site: &Site<'_>, pool: &Pool, foreign: &VdpaDevice) {
    let (parent, index) = (site.function.parent(), site.function.index());
    if !may(site, pool) {
        let message = words(site, pool, foreign);
        return plan.refuse_function(&parent, index, Reason::Foreign, message);
    }
    let step = Step::AdoptVdpa { name: foreign.name.clone() };
    plan.function_step(&site.function, Vec::new(), step);
}

/// A function that nobody wants. What is on it is left, and what was set of it by us then is to be put
/// back once that has gone.
pub(super) fn unwanted(plan: &mut Plan, site: &Site<'_>, foreign: &VdpaDevice) {
    let (settings, complaint) = rest::settings(site, None);
    if settings.is_empty() && complaint.is_none() {
        return;
    }
    let (parent, index, function) = (site.function.parent(), site.function.index(), &site.function);
    let message = format!(
        "{function}: its vDPA device {} was not made by Ringway: delete it to let be put back what \
         was set of the function",
        foreign.name
    );
    plan.refuse_function(&parent, index, Reason::Foreign, message);
}

/// Whether it is taken over: if the device is exactly what its pool asks for. What the function is set
/// to at rest is put right after that, so that it must be possible beneath the device as it is.
fn may(site: &Site<'_>, pool: &Pool) -> bool {
    let free = site.of_the_node().is_none() || pool.attach == Attach::Host;
    let in_place = || {
        let (settings, _) = rest::settings(site, Some(pool));
        let steps = function::steps(site, Some(pool), &settings);
        steps.iter().all(|step| matches!(step, Step::SetVfSettings { .. }))
    };
    site.adopt && free && site.vdpa.len() == 1 && in_place()
}

fn words(site: &Site<'_>, pool: &Pool, foreign: &VdpaDevice) -> String {
    let (function, name) = (&site.function, &foreign.name);
    let way_out = match site.adopt {
        true => format!("it is not exactly what pool {} asks for, or not alone there", pool.name),
        false => "delete it to let the function be used".to_owned(),
    };
    format!(
        "{function}: its vDPA device {name} was not made by Ringway and is left alone: {way_out}"
    )
}
