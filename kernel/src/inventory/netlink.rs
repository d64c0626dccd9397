//! What netlink says, read in one go so that the rest is a function of values.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    ask::Asker,
    eswitch::{self, Eswitches},
};
use crate::{
    error::{Error, Result, errno},
    link::{Address, DefaultRoute, Link, Links},
    root::Root,
    vdpa::{Config, Device, ManagementDevice, NET, Vdpa},
};

/// How long the vdpa family has to answer all questions. It answers at once, unless somebody's
/// call sleeps with generic netlink's lock.
const VDPA_DEADLINE: Duration = Duration::from_secs(10);

/// Whether the vdpa family could be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum VdpaFamily {
    /// It answered.
    Present,
    /// It is not there: the `vdpa` module is not loaded.
    Absent,
    /// It was not asked, or did not answer. What is known of vDPA devices is incomplete, and
    /// nothing may be concluded from an absence.
    Unknown(String),
}

/// What netlink says about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netlink {
    /// The links of the namespace.
    pub links: Vec<Link>,
    /// Their addresses.
    pub addresses: Vec<Address>,
    /// The default routes by them.
    pub default_routes: Vec<DefaultRoute>,
    /// Whether the following come from the vdpa family.
    pub vdpa_family: VdpaFamily,
    /// What makes vDPA devices.
    pub management_devices: Vec<ManagementDevice>,
    /// The vDPA devices, with the configuration of network devices.
    pub vdpa_devices: Vec<(Device, Option<Config>)>,
    /// The eswitches of PFs.
    pub eswitches: Eswitches,
    /// What could not be read, in words.
    pub notes: Vec<String>,
}

impl Default for Netlink {
    /// Nothing there, and no vdpa family.
    fn default() -> Self {
        Self {
            links: Vec::new(),
            addresses: Vec::new(),
            default_routes: Vec::new(),
            vdpa_family: VdpaFamily::Absent,
            management_devices: Vec::new(),
            vdpa_devices: Vec::new(),
            eswitches: Eswitches::default(),
            notes: Vec::new(),
        }
    }
}

impl Netlink {
    /// Asks the kernel, but generic netlink only if no marker in `stuck` is live.
    pub(super) fn read(root: &Root, stuck: &Path, links: &mut Links) -> Result<Self> {
        let mut netlink = Self {
            links: links.list()?,
            addresses: links.addresses()?,
            default_routes: links.default_routes()?,
            eswitches: eswitch::read(root, stuck)?,
            ..Self::default()
        };
        match read_vdpa(stuck) {
            Ok(Some(vdpa)) => {
                netlink.vdpa_family = VdpaFamily::Present;
                netlink.management_devices = vdpa.management_devices;
                netlink.vdpa_devices = vdpa.devices;
            }
            Ok(None) => {
                let note = "the module vdpa is not loaded: no management devices".to_owned();
                netlink.notes.push(note);
            }
            Err(error @ (Error::Stuck { .. } | Error::Deadline { .. })) => {
                netlink.notes.push(error.to_string());
                netlink.vdpa_family = VdpaFamily::Unknown(error.to_string());
            }
            Err(error) => return Err(error),
        }
        netlink.notes.extend(netlink.eswitches.note());
        Ok(netlink)
    }
}

struct VdpaAnswers {
    management_devices: Vec<ManagementDevice>,
    devices: Vec<(Device, Option<Config>)>,
}

static VDPA: Asker = Asker::new("the vdpa family");

fn read_vdpa(stuck: &Path) -> Result<Option<VdpaAnswers>> {
    VDPA.ask(stuck, VDPA_DEADLINE, ask_vdpa)
}

fn ask_vdpa() -> Result<Option<VdpaAnswers>> {
    let Some(vdpa) = Vdpa::open()? else { return Ok(None) };
    let management_devices = vdpa.management_devices()?;
    let mut devices = Vec::new();
    for device in vdpa.devices()? {
        let config = match (device.device_id, vdpa.config(&device.name)) {
            (NET, Ok(config)) => Some(config),
            (_, Err(error)) if error.is_missing() => continue,
            // Kernels before 5.16 have no such command.
            (NET, Err(error)) if error.errno() == Some(errno::EOPNOTSUPP) => None,
            (NET, Err(error)) => return Err(error),
            (_, _) => None,
        };
        devices.push((device, config));
    }
    Ok(Some(VdpaAnswers { management_devices, devices }))
}
