//! Keeps the host's network managers off functions that are for pods and virtual machines: rules of
//! udev's, which NetworkManager and systemd-networkd heed.
//!
//! - NetworkManager leaves alone what has `NM_UNMANAGED` (its own data/85-nm-unmanaged.rules sets it
//!   likewise).
//! - systemd-networkd leaves alone what has `ID_NET_MANAGED_BY` with another value than its own name
//!   (src/network/networkd-link.c, where it hears of a device from udev), from version 255 on.
//!   Before, it takes what a `.network` file matches.
//! - udevd reads rules anew by itself before an event if a file of theirs has changed, but looks for
//!   that every three seconds at most (`manager_reload`, src/udev/udev-manager.c, and
//!   `udev_rules_should_reload`, src/udev/udev-rules.c). So rules are written before
//!   anything is made, for functions that do not exist yet, and nothing is made until then.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use anyhow::{Context, Result};
use ringway_node::atomic;
use ringway_node::pools::Pools;
use tracing::debug;

use crate::node::Observed;
use crate::plan::Attach;
use crate::step::{Function, simulated_name};
use crate::wanted::{Maker, Parent, ParentName, Wanted};

const HEAD: &str =
    "# Written by ringway-agent: these functions are for pods and virtual machines\n";
/// From then on udevd has read them before the next event: see above.
pub const READ_AFTER: Duration = Duration::from_millis(3100);
/// The directory that udevd reads.
pub const DIRECTORY: &str = "/run/udev/rules.d";
/// Far more than a node's functions need.
const LONGEST: u64 = 1 << 20;

/// The rules for what is wanted, and for what was offered last and may still have a user; `None` if
/// that is nothing. What the host keeps is the host's to manage.
pub fn rules(wanted: &Wanted, observed: &Observed, offered: Option<&Pools>) -> Option<String> {
    let (mut ours, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    let listed = offered.iter().flat_map(|pools| &pools.pools).flat_map(|pool| &pool.devices);
    ours.extend(listed.map(|device| device.id.to_string()));
    for parent in &wanted.parents {
        for pool in &parent.pools {
            let names = pool.range.clone().filter_map(|index| name(parent, index, observed));
            // what others shape is theirs to keep managers off
            let left = pool.attach == Attach::Host || parent.maker == Maker::Others;
            if left { hosts.extend(names) } else { ours.extend(names) }
        }
    }
    // the interface of a vDPA device hangs below its function, or below the simulated device
    let rule = |name: &String| {
        format!(
            "SUBSYSTEM==\"net\", KERNELS==\"{name}\", ENV{{NM_UNMANAGED}}=\"1\", \
             ENV{{ID_NET_MANAGED_BY}}=\"ringway\"\n"
        )
    };
    let rules: String = ours.difference(&hosts).map(rule).collect();
    (!rules.is_empty()).then(|| format!("{HEAD}{rules}"))
}

/// What the kernel calls the device whose interface it will be.
fn name(parent: &Parent, index: u32, observed: &Observed) -> Option<String> {
    match &parent.name {
        ParentName::Simulator(simulator) => Some(simulated_name(simulator, index)),
        ParentName::VdpaBus => None,
        ParentName::Pci(pf) => {
            let found = observed.inventory.parents.iter().find(|found| found.address == *pf)?;
            let existing = observed.function(&Function::Vf { pf: *pf, index });
            let address = existing.map(|function| function.address);
            let address = address.or_else(|| found.layout?.address(*pf, index))?;
            Some(address.to_string())
        }
    }
}

/// Puts the rules in their place, or removes them, if they are not so already. Where there is no
/// udev there is nobody to be kept off. Says whether there are new rules, which udevd has yet to read.
pub fn write(path: &Path, rules: Option<&str>) -> Result<bool> {
    let last = match atomic::read(path, LONGEST) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error).context("read udev's rules"),
    };
    match rules {
        _ if last.as_deref() == rules.map(str::as_bytes) => Ok(false),
        None => {
            atomic::remove(path).context("remove udev's rules")?;
            Ok(false)
        }
        Some(rules) if directory(path)? => {
            atomic::write(path, rules.as_bytes(), 0o644).context("write udev's rules")?;
            Ok(true)
        }
        Some(_) => Ok(false),
    }
}

/// Whether there is a directory of rules, made if there is one of udev's.
fn directory(path: &Path) -> Result<bool> {
    static TOLD: Once = Once::new();
    let Some(dir) = path.parent() else { return Ok(false) };
    match std::fs::create_dir(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            TOLD.call_once(|| debug!(dir = %dir.display(), "no udev on this node"));
            Ok(false)
        }
        Err(error) => Err(error).with_context(|| format!("make {}", dir.display())),
    }
}

#[cfg(test)]
mod tests;
