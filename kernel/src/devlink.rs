//! The generic netlink family "devlink": which devices have an eswitch, its mode, and what its ports
//! say of the functions behind them (include/uapi/linux/devlink.h, net/devlink).
//!
//! The family is part of the kernel (`CONFIG_NET_DEVLINK`), not of a module, and shows the devices
//! of the caller's network namespace. Every call on a device takes that device's devlink lock
//! (`devlink_get_from_attrs_lock`, net/devlink/netlink.c): it waits while somebody else's change of
//! the mode, reload or firmware update is under way. [`Devlink::set_eswitch_mode`] itself takes
//! seconds on hardware, since the driver makes or removes a representor for every function. So it
//! goes through [`crate::stuck`], and reading is done in a thread with a deadline.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{error::Error, pci::Address};

mod calls;
mod explain;
mod port;
pub mod wire;

pub use calls::Devlink;
pub use port::{RateChange, VfPort};

/// The name of a devlink device: `pci/0000:65:00.0`, `netdevsim/netdevsim1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Handle {
    /// `pci`, `auxiliary`, `netdevsim`.
    pub bus: String,
    /// The name on that bus.
    pub name: String,
}

/// How a card's embedded switch connects its functions (`DEVLINK_ATTR_ESWITCH_MODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EswitchMode {
    /// By MAC address and VLAN, by itself.
    Legacy,
    /// As the host says, which has a representor of each function for that.
    Switchdev,
}

impl EswitchMode {
    /// As `devlink dev eswitch` calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Switchdev => "switchdev",
        }
    }

    fn number(self) -> u16 {
        match self {
            Self::Legacy => wire::mode::LEGACY,
            Self::Switchdev => wire::mode::SWITCHDEV,
        }
    }

    fn from_number(number: u16) -> Option<Self> {
        [Self::Legacy, Self::Switchdev].into_iter().find(|mode| mode.number() == number)
    }
}

impl fmt::Display for EswitchMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Handle {
    /// The devlink device of a PCI function.
    pub fn pci(address: Address) -> Self {
        Self { bus: "pci".to_owned(), name: address.to_string() }
    }

    /// The PCI function that this is, if it is one.
    pub fn pci_address(&self) -> Option<Address> {
        if self.bus == "pci" { self.name.parse().ok() } else { None }
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bus, self.name)
    }
}

impl FromStr for Handle {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once('/') {
            Some((bus, name)) if !bus.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { bus: bus.to_owned(), name: name.to_owned() })
            }
            _ => Err(Error::parse("devlink device", text, "BUS/NAME")),
        }
    }
}

impl TryFrom<String> for Handle {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Handle> for String {
    fn from(handle: Handle) -> Self {
        handle.to_string()
    }
}

/// Whether an interface of this `phys_port_name` stands for another function (a representor), and
/// is not an uplink's: `pf0vf3`, `pf1sf88`, with `c1` in front where the function is another
/// machine's, and `pf0` alone for the PF of the host of a card that is a computer itself. An uplink
/// is `p0`, or `p0s1` where it is split (`__devlink_port_phys_port_name_get`, net/devlink/port.c;
/// `bnxt_vf_rep_get_phys_port_name` and `nfp_port_get_phys_port_name` say the same by themselves).
pub fn is_representor(phys_port_name: &str) -> bool {
    let other_machine = phys_port_name.strip_prefix('c').and_then(after_number);
    other_machine.unwrap_or(phys_port_name).strip_prefix("pf").and_then(after_number).is_some()
}

/// The number of the VF that an interface of this `phys_port_name` stands for, if it is one of this
/// machine's: `pf0vf3`.
pub fn represented_vf(phys_port_name: &str) -> Option<u32> {
    let vf = phys_port_name.strip_prefix("pf").and_then(after_number)?.strip_prefix("vf")?;
    // no sign, which a number may have
    vf.bytes().all(|byte| byte.is_ascii_digit()).then(|| vf.parse().ok()).flatten()
}

/// What follows a number at the start of a text; `None` if there is no number.
fn after_number(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
}

#[cfg(test)]
mod tests;
