//! The packages that cards run, which make them understand more protocols (Intel's DDP).

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ringway_kernel::Error;
use ringway_kernel::devlink::Devlink;
use ringway_kernel::pci::Address;

/// As drivers name it (Documentation/networking/devlink/ice.rst).
const NAME: &str = "fw.app.name";
/// Each question waits for the lock of its device, which somebody may hold for as long as an update of
/// firmware takes.
const DEADLINE: Duration = Duration::from_secs(2);

/// The package of each card that tells one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packages(BTreeMap<Address, String>);

impl Packages {
    /// Those of all cards now. Who does not answer in time has none that is known.
    pub fn read() -> Self {
        let (sender, answer) = mpsc::channel();
        let ask = move || {
            // nobody listens after the deadline
            let _ = sender.send(ask().unwrap_or_else(|error| {
                tracing::warn!(%error, "ask cards for their packages");
                BTreeMap::new()
            }));
        };
        let asked = thread::Builder::new().name("packages".to_owned()).spawn(ask);
        let answer = asked.ok().and_then(|_| answer.recv_timeout(DEADLINE).ok());
        Self(answer.unwrap_or_default())
    }

    /// That of a function, or else of its PF.
    pub fn of(&self, function: Address, pf: Option<Address>) -> Option<&str> {
        let own = self.0.get(&function);
        own.or_else(|| self.0.get(&pf?)).map(String::as_str)
    }
}

fn ask() -> Result<BTreeMap<Address, String>, Error> {
    let Some(devlink) = Devlink::open()? else { return Ok(BTreeMap::new()) };
    let mut packages = BTreeMap::new();
    for device in devlink.devices()? {
        let Some(address) = device.pci_address() else { continue };
        match devlink.running_versions(&device) {
            Ok(versions) => {
                let package = versions.into_iter().find(|(name, _)| name == NAME);
                packages.extend(package.map(|(_, package)| (address, package)));
            }
            // gone since it was listed, or its driver cannot tell now
            Err(error) => tracing::debug!(%error, "ask for a package"),
        }
    }
    Ok(packages)
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Packages {
    fn from(known: [(&str, &str); N]) -> Self {
        let known = known.into_iter();
        Self(known.map(|(address, name)| (address.parse().unwrap(), name.to_owned())).collect())
    }
}
