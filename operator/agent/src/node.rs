//! The edge to the node: read everything, do one thing.

use std::collections::BTreeSet;

use ringway_kernel::inventory::Inventory;

use crate::step::Step;

/// A node as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Its devices.
    pub inventory: Inventory,
    /// Which of the kernel modules that a plan may need are there.
    pub modules: BTreeSet<&'static str>,
    /// The vDPA bus's `drivers_autoprobe`; `None` while there is no such bus.
    pub vdpa_autoprobe: Option<bool>,
}

/// A node, real or of a test.
pub trait Node {
    /// Reads it.
    fn observe(&mut self) -> ringway_kernel::Result<Observed>;

    /// Does one step. A failed step may have been done in part: observe again.
    fn apply(&mut self, step: &Step) -> ringway_kernel::Result<()>;
}
