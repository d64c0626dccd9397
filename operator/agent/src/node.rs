//! The edge to the node: read everything, do one thing.

use std::collections::{BTreeMap, BTreeSet};

use ringway_kernel::inventory::{Inventory, Parent, VdpaDevice, VirtualFunction};
use ringway_kernel::pci::Address;

use crate::attachments::Attached;
use crate::step::{Function, Step};
use crate::wanted::ParentName;

/// A node as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Its devices.
    pub inventory: Inventory,
    /// Which of the kernel modules that a plan may need are there.
    pub modules: BTreeSet<&'static str>,
    /// The vDPA bus's `drivers_autoprobe`; `None` while there is no such bus.
    pub vdpa_autoprobe: Option<bool>,
    /// What the CNI plugin has attached to pods.
    pub attached: Attached,
}

impl Observed {
    /// Every vDPA device, whoever made it.
    pub fn vdpa(&self) -> impl Iterator<Item = &VdpaDevice> {
        let Inventory { parents, simulators, other_vdpa, .. } = &self.inventory;
        let cards = parents.iter().flat_map(|parent| &parent.functions).flat_map(|f| &f.vdpa);
        cards.chain(simulators.iter().flat_map(|s| &s.vdpa)).chain(other_vdpa)
    }

    /// A card; `None` for one that is not there, and for whatever is no card.
    pub fn parent(&self, name: &ParentName) -> Option<&Parent> {
        let ParentName::Pci(pf) = name else { return None };
        self.inventory.parents.iter().find(|parent| parent.address == *pf)
    }

    /// A function of a card; `None` for one that does not exist, and for simulated devices.
    pub fn function(&self, function: &Function) -> Option<&VirtualFunction> {
        let Function::Vf { pf, index } = function else { return None };
        let parent = self.parent(&ParentName::Pci(*pf))?;
        parent.functions.iter().find(|function| function.index == *index)
    }
}

/// A node, real or of a test.
pub trait Node {
    /// Reads it.
    fn observe(&mut self) -> ringway_kernel::Result<Observed>;

    /// The functions of a card that only one driver may bind (`driver_override`), by index, with
    /// that driver. Not observed with the rest: to read it takes the function's lock, which a call
    /// that sleeps may hold.
    fn overrides(&mut self, pf: Address) -> ringway_kernel::Result<BTreeMap<u32, String>>;

    /// Does one step. A failed step may have been done in part: observe again.
    fn apply(&mut self, step: &Step) -> ringway_kernel::Result<()>;
}
