//! Where a function is: on the PCI bus, or, as a subfunction, on the auxiliary bus. What is read below a
//! function's directory is read alike for both.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::{
    auxiliary,
    error::{Error, Result},
    pci,
    root::Root,
    sysfs,
    vdpa::Handle,
};

/// The address of a function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A PF or VF.
    Pci(pci::Address),
    /// A subfunction.
    Auxiliary(auxiliary::Name),
}

impl Address {
    /// On the PCI bus.
    pub fn pci(&self) -> Option<pci::Address> {
        match self {
            Self::Pci(address) => Some(*address),
            Self::Auxiliary(_) => None,
        }
    }

    /// The name of the bus, as sysfs and netlink spell it.
    pub fn bus(&self) -> &'static str {
        match self {
            Self::Pci(_) => "pci",
            Self::Auxiliary(_) => "auxiliary",
        }
    }

    /// The directory of the function. It is a symbolic link into `/sys/devices`.
    pub fn dir(&self, root: &Root) -> PathBuf {
        match self {
            Self::Pci(address) => pci::dir(root, *address),
            Self::Auxiliary(name) => auxiliary::dir(root, name),
        }
    }

    /// Whether the function exists now.
    pub fn exists(&self, root: &Root) -> bool {
        self.dir(root).exists()
    }

    /// The name of the bound driver.
    pub fn driver(&self, root: &Root) -> Result<Option<String>> {
        match self {
            Self::Pci(address) => pci::driver(root, *address),
            Self::Auxiliary(name) => auxiliary::driver(root, name),
        }
    }

    /// The interface names of the function in the namespace of the sysfs mount.
    pub fn netdevs(&self, root: &Root) -> Result<Vec<String>> {
        sysfs::netdevs(&self.dir(root))
    }

    /// What makes vDPA devices on it, if something does.
    pub fn management_device(&self) -> Handle {
        Handle { bus: Some(self.bus().to_owned()), name: self.to_string() }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Pci(address));
        }
        match text.parse::<auxiliary::Name>() {
            Ok(name) if name.is_subfunction() => Ok(Self::Auxiliary(name)),
            Ok(_) | Err(_) => {
                let rule = "an address like 0000:3b:00.2, or a subfunction like mlx5_core.sf.4";
                Err(Error::parse("function", text, rule))
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(address) => address.fmt(f),
            Self::Auxiliary(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn functions_of_both_buses_are_read_alike() {
        let tree = Tree::new(
            "0000:01:00.0 mlx5_core pf totalvfs=4 net=p0
             mlx5_core.sf.4 sf-of=0000:01:00.0 mlx5_core.sf sfnum=88 net=eth4",
        );
        for (text, driver, netdev, bus) in [
            ("0000:01:00.0", "mlx5_core", "p0", "pci"),
            ("mlx5_core.sf.4", "mlx5_core.sf", "eth4", "auxiliary"),
        ] {
            let address: Address = text.parse().unwrap();
            assert!(address.exists(&tree.root()));
            assert_eq!(address.driver(&tree.root()).unwrap().as_deref(), Some(driver));
            assert_eq!(address.netdevs(&tree.root()).unwrap(), [netdev]);
            assert_eq!(address.management_device().to_string(), format!("{bus}/{text}"));
        }
        for other in ["vdpasim_net", "pds_core.vDPA.0"] {
            assert!(other.parse::<Address>().is_err(), "{other}");
        }
        let gone: Address = "mlx5_core.sf.5".parse().unwrap();
        assert!(!gone.exists(&tree.root()));
        assert_eq!(gone.driver(&tree.root()).unwrap(), None);
    }
}
