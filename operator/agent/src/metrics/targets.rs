//! Of what the kernel is asked for numbers: what the last round has found.

use ringway_kernel::inventory::{Inventory, VdpaDevice};

/// An Ethernet controller by its PCI class, without the programming interface.
const ETHERNET: u32 = 0x0200;

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Targets {
    pub(super) cards: Vec<Card>,
    pub(super) vdpa: Vec<Vdpa>,
}

/// A card with interfaces here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Card {
    pub(super) parent: String,
    /// Interfaces by ifindex and name.
    pub(super) links: Vec<(u32, String)>,
    /// VFs by number and device id; none where they must not be asked for.
    pub(super) functions: Vec<(u32, String)>,
}

/// A vDPA device that a driver has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vdpa {
    /// The device id.
    pub(super) device: String,
    pub(super) name: String,
    /// The number of its virtqueues for data.
    pub(super) queues: u32,
}

impl Targets {
    pub(super) fn of(inventory: &Inventory) -> Self {
        let cards = inventory.parents.iter().map(|parent| {
            let link = |netdev: &ringway_kernel::inventory::Netdev| {
                Some((netdev.index?, netdev.name.clone()))
            };
            let countable = parent.ids.class >> 8 == ETHERNET
                && parent.functions.len() <= ringway_kernel::link::MOST_VFS;
            let functions = parent.functions.iter().filter(|_| countable);
            Card {
                parent: parent.address.to_string(),
                links: parent.netdevs.iter().filter_map(link).collect(),
                functions: functions.map(|f| (f.index, f.address.to_string())).collect(),
            }
        });
        let on_cards = inventory.parents.iter().flat_map(|parent| &parent.functions);
        let on_cards = on_cards.flat_map(|f| f.vdpa.iter().map(|v| (f.address.to_string(), v)));
        let simulated = inventory.simulators.iter().flat_map(|s| &s.vdpa);
        let vdpa = on_cards.chain(simulated.map(|v| (v.name.clone(), v)));
        Self { cards: cards.collect(), vdpa: vdpa.filter_map(served).collect() }
    }
}

fn served((device, vdpa): (String, &VdpaDevice)) -> Option<Vdpa> {
    vdpa.driver.as_ref()?;
    let queues = 2 * u32::from(vdpa.max_queue_pairs?);
    Some(Vdpa { device, name: vdpa.name.clone(), queues })
}
