//! Where it is written down what to offer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ringway_kernel::Root;
use ringway_node::pools::{self, Carrier, Pools};
use ringway_node::{DeviceId, Resource};

use crate::kept::Kept;
use crate::publish::Ours;
use crate::sriovdp::{self, Config, Function, Packages, Routes};
use crate::supply::{self, Delivery, Supply};

/// Where it is written down what to offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `pools.json`, which the agent writes.
    Pools(PathBuf),
    /// The SR-IOV network device plugin's configuration, which people write.
    Sriovdp {
        /// The file.
        file: PathBuf,
        /// The prefix of resources that have none of their own.
        prefix: String,
        /// How nodes get into a container.
        delivery: Delivery,
        /// What becomes of functions while their PF's interface has no carrier.
        carrier: Carrier,
    },
}

/// What a source says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// What to offer.
    pub supplies: Vec<Supply>,
    /// What a person should know, in words.
    pub warnings: Vec<String>,
    /// Devices that are on the machine and not to be offered, and why.
    pub left_out: Vec<LeftOut>,
}

/// What a source said when it was last read.
#[derive(Debug, Default)]
pub struct Known {
    pools: Kept<Vec<Supply>>,
    config: Kept<Config>,
}

/// A device that is not to be offered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct LeftOut {
    /// Its PCI address.
    pub device: String,
    /// Why, in words: one, or one for each resource that it might have been in.
    pub reasons: Vec<String>,
}

/// Why it is not known what to offer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `pools.json` cannot be read or is wrong.
    #[error(transparent)]
    Pools(#[from] pools::Error),
    /// The configuration cannot be read or is wrong.
    #[error(transparent)]
    Sriovdp(#[from] sriovdp::Error),
    /// The machine cannot be looked at.
    #[error("find the machine's functions")]
    Functions(#[from] ringway_kernel::Error),
}

impl Error {
    /// Whether there is no file.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Pools(pools::Error::File(error)) => error.is_not_found(),
            Self::Pools(_) | Self::Functions(_) => false,
            Self::Sriovdp(error) => error.is_absent(),
        }
    }
}

impl Source {
    /// The file that it is read from.
    pub fn path(&self) -> &Path {
        match self {
            Self::Pools(file) | Self::Sriovdp { file, .. } => file,
        }
    }

    /// Reads it, and looks at the machine as far as it speaks of that.
    ///
    /// # Errors
    /// The file cannot be read or is wrong, or the machine cannot be looked at.
    pub fn read(&self, root: &Root) -> Result<Told, Error> {
        match self {
            Self::Pools(file) => {
                let supplies = supply::of(&Pools::read(file)?);
                Ok(Told { supplies, ..Told::default() })
            }
            Self::Sriovdp { file, prefix, delivery, carrier } => {
                let config = Config::read(file, prefix)?;
                let (asks, routes) = (config.asks(), Routes::read());
                let functions = sriovdp::functions(root, &routes, &packages(&config), asks)?;
                let mut told = select(&config, &functions, *delivery, *carrier);
                told.warnings.extend(routes.problem.map(|e| format!("read default routes: {e}")));
                Ok(told)
            }
        }
    }

    /// What it says of these devices of one resource. What becomes of a device does not depend on
    /// others: no other is looked at, nor what only a list tells of these. A file that is as it was is
    /// not read again.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_of(
        &self,
        root: &Root,
        known: &Known,
        resource: &Resource,
        ids: &BTreeSet<DeviceId>,
    ) -> Result<Vec<Supply>, Error> {
        let of = |supply: &&Supply| supply.resource == *resource;
        let these = |supply: &Supply| {
            let entries = supply.entries.iter().filter(|entry| ids.contains(&entry.device.id));
            Supply { resource: resource.clone(), entries: entries.cloned().collect(), ..*supply }
        };
        match self {
            Self::Pools(file) => {
                // a link in its place is refused: it is looked at itself
                let about = file.symlink_metadata().ok();
                let read = || Pools::read(file).map(|pools| supply::of(&pools));
                let supplies = known.pools.get_or(about.as_ref(), read)?;
                Ok(supplies.iter().filter(of).map(these).collect())
            }
            Self::Sriovdp { file, prefix, delivery, carrier } => {
                let about = file.metadata().ok();
                let read = || Config::read(file, prefix);
                let config = known.config.get_or(about.as_ref(), read)?;
                let addresses: Vec<_> =
                    ids.iter().filter_map(|id| id.as_str().parse().ok()).collect();
                let (packages, asks) = (packages(&config), config.asks());
                let functions =
                    sriovdp::functions_at(root, Routes::of, &packages, asks, &addresses)?;
                let told = select(&config, &functions, *delivery, *carrier);
                Ok(told.supplies.iter().filter(of).map(these).collect())
            }
        }
    }

    /// Which of the files that others read are ours, of a process that has offered `resources`.
    pub fn ours(&self, resources: &BTreeSet<Resource>) -> Ours {
        match self {
            Self::Pools(_) => Ours::Own,
            Self::Sriovdp { .. } => Ours::Others(resources.clone()),
        }
    }
}

fn select(config: &Config, functions: &[Function], delivery: Delivery, carrier: Carrier) -> Told {
    let mut told = sriovdp::select(config, functions, delivery);
    let entries = told.supplies.iter_mut().flat_map(|supply| &mut supply.entries);
    entries.for_each(|entry| entry.carrier = carrier);
    told
}

fn packages(config: &Config) -> Packages {
    if config.asks().packages { Packages::read() } else { Packages::default() }
}
