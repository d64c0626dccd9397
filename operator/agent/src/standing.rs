//! How a function stands with its pool: what `pools.json` and the status both tell. Pure.

use ringway_kernel::inventory::VdpaDevice;

use crate::plan::{Attach, Planned, driver};
use crate::reconcile::Report;
use crate::wanted::{ParentName, Pool};

/// How a function stands with its pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It serves its pool, and nothing is left to do.
    AsWanted,
    /// It serves its pool, but something of its parent is not as wanted.
    Serving(String),
    /// It cannot be handed out.
    Failed(String),
}

impl Standing {
    /// Why it is not as wanted.
    pub fn reason(self) -> Option<String> {
        match self {
            Self::AsWanted => None,
            Self::Serving(why) | Self::Failed(why) => Some(why),
        }
    }
}

/// The standing of a function and of its vDPA device, after a reconciliation.
///
/// A step that is left for the function itself makes it unusable; one for its whole parent does
/// not, nor does a refusal of the parent: what works goes on working.
pub fn standing(
    report: &Report,
    parent: &ParentName,
    index: u32,
    pool: &Pool,
    vdpa: Option<&VdpaDevice>,
) -> Standing {
    let name = parent.to_string();
    let refusals = || report.plan.refusals.iter().filter(|refusal| refusal.parent == name);
    if let Some(refusal) = refusals().find(|refusal| refusal.function == Some(index)) {
        return Standing::Failed(refusal.message.clone());
    }
    let steps = || {
        let steps = report.plan.steps.iter().zip(&report.waits);
        steps.filter(|(planned, _)| {
            planned.parent == *parent && planned.function.is_none_or(|function| function == index)
        })
    };
    // the first one left is what the others wait for
    let left = steps().next().map(to_do);
    let own = steps().any(|(planned, _)| planned.function == Some(index));
    let refused = refusals().find(|refusal| refusal.function.is_none());
    let why = refused.map(|refusal| refusal.message.clone()).or(left);
    match (usable(vdpa, pool.attach), why) {
        (Ok(()), None) => Standing::AsWanted,
        (Ok(()), Some(why)) if !own => Standing::Serving(why),
        (_, Some(why)) => Standing::Failed(why),
        (Err(why), None) => Standing::Failed(why.to_owned()),
    }
}

fn to_do((planned, wait): (&Planned, &String)) -> String {
    format!("to do: {} ({wait})", planned.step)
}

/// Whether a device has all that its users need, and that `pools.json` demands of a ready one.
fn usable(vdpa: Option<&VdpaDevice>, attach: Attach) -> Result<(), &'static str> {
    let bound = vdpa.filter(|device| device.driver.as_deref() == Some(driver(attach).name()));
    let Some(device) = bound else { return Err("its vDPA device is not bound") };
    if attach == Attach::VhostVdpa && device.char_device.is_none() {
        return Err("its vDPA device has no character device");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
