//! Features that all functions with a resource have in common, on all nodes: what this node's can be
//! given is told (`crate::abilities`), and until the answer is there no vDPA device is made.

use ringway_api::conditions::Reason;
use ringway_kernel::vdpa::ManagementDevice;

use super::Plan;
use super::card::Complaint;
use super::function::Site;
use crate::cards::Simulator;
use crate::wanted::{Common, Pool, Refusal};

/// Says what a function waits for, or why it can tell nothing.
pub(super) fn plan(plan: &mut Plan, site: &Site<'_>, pool: &Pool) {
    if pool.settings.common != Common::Awaited {
        return;
    }
    let (function, parent) = (&site.function, site.function.parent());
    match site.management.map(can_tell) {
        Some(Err(why)) => {
            let message =
                format!("{function}: {why}: name them in vdpa.features of pool {}", pool.name);
            plan.refuse_function(&parent, function.index(), Reason::SettingsUnsupported, message);
        }
        told => {
            let resource = pool.resource.as_ref().map(ToString::to_string).unwrap_or_default();
            let waits = match told {
                Some(_) => "its own are told",
                None => "nothing makes vDPA devices of the function yet, which would tell its own",
            };
            let message = format!(
                "{parent}: waits for the features that all with {resource} have in common: {waits}"
            );
            // in the same words for all, so that equal functions share an entry of the status
            let (parent, function) = (parent.to_string(), Some(function.index()));
            let reason = Reason::AwaitingFeatures;
            plan.awaits.push(Refusal { parent, function, reason, message });
        }
    }
}

/// Whether it is known what features devices can be given.
fn can_tell(management: &ManagementDevice) -> Result<(), &'static str> {
    match management.features {
        // VDPA_ATTR_DEV_SUPPORTED_FEATURES (drivers/vdpa/vdpa.c)
        None => {
            Err("the kernel does not say what features its devices can be given (from 5.17 on)")
        }
        // VDUSE: whoever runs the device chooses them (drivers/vdpa/vdpa_user/vduse_dev.c)
        Some(features) if features.0 == 0 => Err("its devices can be given no features"),
        Some(_) => Ok(()),
    }
}

/// What a simulator's devices cannot be given is refused before anything is touched.
pub(super) fn lacks(
    known: Simulator,
    pool: &Pool,
    management: Option<&ManagementDevice>,
) -> Result<(), Complaint> {
    let able = management.and_then(|management| management.features);
    let (Some(wanted), Some(able)) = (pool.settings.features, able) else { return Ok(()) };
    if able.contains(wanted) {
        return Ok(());
    }
    let (missing, able) = ((wanted - able).names().join(","), able.names().join(","));
    let message = format!(
        "{}: pool {}: vdpa.features: it lacks {missing}; it has {able}",
        known.name, pool.name,
    );
    Err((Reason::SettingsUnsupported, message))
}
