//! The eswitches of PFs, as the devlink family tells them: its devices in one dump, and then the
//! mode of each that is a PF, for which the family has no dump.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use super::ask::Asker;
use crate::{
    devlink::{Devlink, EswitchMode, Handle},
    error::{Error, Result},
    pci::Address,
    root::Root,
    sriov,
};

/// How long all questions may take. A change of a mode holds its device's lock for seconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// A PF's embedded switch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Eswitch {
    /// It has none whose mode could be chosen: its driver has no devlink device, or one without.
    #[default]
    None,
    /// It works by itself.
    Legacy,
    /// It does as the host says, by way of representors.
    Switchdev,
    /// Its mode was not told, and why. Nothing may be concluded from that.
    Unknown(String),
}

impl Eswitch {
    /// The mode, where there is one and it is known.
    pub fn mode(&self) -> Option<EswitchMode> {
        match self {
            Self::Legacy => Some(EswitchMode::Legacy),
            Self::Switchdev => Some(EswitchMode::Switchdev),
            Self::None | Self::Unknown(_) => None,
        }
    }
}

impl From<EswitchMode> for Eswitch {
    fn from(mode: EswitchMode) -> Self {
        match mode {
            EswitchMode::Legacy => Self::Legacy,
            EswitchMode::Switchdev => Self::Switchdev,
        }
    }
}

/// What the devlink family said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Eswitches {
    /// The eswitches by PF; one that is not here has none. Empty without the family.
    Known(BTreeMap<Address, Eswitch>),
    /// It was not asked, or did not answer.
    Unknown(String),
}

impl Default for Eswitches {
    fn default() -> Self {
        Self::Known(BTreeMap::new())
    }
}

impl Eswitches {
    pub(super) fn of(&self, pf: Address) -> Eswitch {
        match self {
            Self::Known(known) => known.get(&pf).cloned().unwrap_or_default(),
            Self::Unknown(why) => Eswitch::Unknown(why.clone()),
        }
    }

    /// What could not be read, in words.
    pub(super) fn note(&self) -> Option<String> {
        match self {
            Self::Known(known) => known.iter().find_map(|(pf, eswitch)| match eswitch {
                Eswitch::Unknown(why) => Some(format!("the eswitch mode of {pf}: {why}")),
                _ => None,
            }),
            Self::Unknown(why) => Some(format!("the eswitch modes of cards: {why}")),
        }
    }
}

static DEVLINK: Asker = Asker::new("the devlink family");

pub(super) fn read(root: &Root, stuck: &Path) -> Result<Eswitches> {
    let root = root.clone();
    match DEVLINK.ask(stuck, DEADLINE, move || ask(&root)) {
        Ok(known) => Ok(Eswitches::Known(known)),
        Err(error @ (Error::Stuck { .. } | Error::Deadline { .. })) => {
            Ok(Eswitches::Unknown(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

fn ask(root: &Root) -> Result<BTreeMap<Address, Eswitch>> {
    let mut known = BTreeMap::new();
    let Some(devlink) = Devlink::open()? else { return Ok(known) };
    for address in devlink.devices()?.iter().filter_map(Handle::pci_address) {
        // VFs and cards without SR-IOV have devlink devices too
        if sriov::totalvfs(root, address)?.unwrap_or_default() == 0 {
            continue;
        }
        let eswitch = match devlink.eswitch_mode(&Handle::pci(address)) {
            Ok(mode) => mode.map_or(Eswitch::None, Eswitch::from),
            Err(error) if error.is_missing() => continue,
            Err(error) => Eswitch::Unknown(error.to_string()),
        };
        known.insert(address, eswitch);
    }
    Ok(known)
}
