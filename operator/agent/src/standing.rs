//! How a function stands with its pool: what `pools.json` and the status both tell. Pure.

use ringway_kernel::inventory::{VdpaDevice, VirtualFunction};
use ringway_kernel::vdpa_bus::Driver;
use ringway_kernel::vfio;

use crate::cards::{self, Card};
use crate::plan::{Attach, Planned};
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

/// What is seen of a function.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen<'a> {
    /// What is known of its card, if anything is.
    pub card: Option<&'static Card>,
    /// The function of a card; simulated devices are none.
    pub function: Option<&'a VirtualFunction>,
    /// The vDPA device on it.
    pub vdpa: Option<&'a VdpaDevice>,
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

/// The standing of a function, after a reconciliation.
///
/// A step that is left for the function itself makes it unusable; one for its whole parent does
/// not, nor does a refusal of the parent: what works goes on working.
pub fn standing(
    report: &Report,
    parent: &ParentName,
    index: u32,
    pool: &Pool,
    seen: Seen<'_>,
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
    let mut awaits = report.plan.awaits.iter();
    let awaited = awaits.find(|told| told.parent == name && told.function == Some(index));
    let refused = refused.map(|refusal| refusal.message.clone());
    let why = refused.or(left).or_else(|| awaited.map(|told| told.message.clone()));
    match (usable(seen, pool.attach), why) {
        (Ok(()), None) => Standing::AsWanted,
        (Ok(()), Some(why)) if !own => Standing::Serving(why),
        (_, Some(why)) => Standing::Failed(why),
        (Err(why), None) => Standing::Failed(why),
    }
}

fn to_do((planned, wait): (&Planned, &String)) -> String {
    format!("to do: {} ({wait})", planned.step)
}

/// Whether a function has all that its users need, and that `pools.json` demands of a ready one.
fn usable(seen: Seen<'_>, attach: Attach) -> Result<(), String> {
    match cards::bus_driver(attach) {
        Some(driver) => usable_vdpa(seen.vdpa, driver),
        None => usable_function(seen, attach),
    }
}

fn usable_vdpa(device: Option<&VdpaDevice>, driver: Driver) -> Result<(), String> {
    let bound = device.filter(|device| device.driver.as_deref() == Some(driver.name()));
    let Some(device) = bound else { return Err("its vDPA device is not bound".to_owned()) };
    if driver == Driver::VhostVdpa && device.char_device.is_none() {
        return Err("its vDPA device has no character device".to_owned());
    }
    if driver == Driver::VirtioVdpa && device.virtio_unbound {
        return Err("no driver has the virtio device of its vDPA device".to_owned());
    }
    Ok(())
}

/// An interface in another network namespace cannot be seen: that its driver is bound must do.
fn usable_function(Seen { card, function, .. }: Seen<'_>, attach: Attach) -> Result<(), String> {
    let Some((card, function)) = card.zip(function) else { return Err("it is not there".into()) };
    let wanted = card.function_driver(attach).map(|driver| driver.name);
    if function.driver.as_deref() != wanted {
        return Err(format!("it is not bound to {}", wanted.unwrap_or_default()));
    }
    if wanted == Some(vfio::DRIVER) {
        let no_node = || "vfio has no character device for its IOMMU group".to_owned();
        return function.vfio.as_ref().map(drop).ok_or_else(no_node);
    }
    match function.netdevs.is_empty() && !card.netdev.made_one(function) {
        true => Err(format!("{} has made no interface of it", card.netdev.module)),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
