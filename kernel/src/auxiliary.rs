//! The auxiliary bus: parts of a PCI function that drivers of their own serve, subfunctions among them
//! (Documentation/driver-api/auxiliary_bus.rst).

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    pci,
    root::Root,
    sysfs,
    vdpa_bus::find::{pci_address, real},
};

/// The name of a device: module, device and number, `mlx5_core.sf.4` (`__auxiliary_device_add`,
/// drivers/base/auxiliary.c).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// Whether it is a subfunction's: `sf` is what the drivers that have some call them
    /// (drivers/net/ethernet/mellanox/mlx5/core/sf/dev/dev.h, drivers/net/ethernet/intel/ice/ice_sf_eth.c).
    pub fn is_subfunction(&self) -> bool {
        self.0.split('.').nth(1) == Some("sf")
    }

    /// As the bus spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let word = |part: &str, more: &[u8]| {
            let inside = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
            !part.is_empty() && part.bytes().all(inside)
        };
        let number = |part: &str| {
            // what the kernel's %d prints of a number
            part.parse::<u32>().is_ok_and(|number| number.to_string() == part)
        };
        match text.split('.').collect::<Vec<_>>()[..] {
            // a module has no hyphen in its name: KBUILD_MODNAME
            [module, device, id] if word(module, b"_") && word(device, b"_-") && number(id) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(Error::parse("auxiliary device", text, "a name like mlx5_core.sf.4")),
        }
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All subfunctions, in order of name.
pub fn subfunctions(root: &Root) -> Result<Vec<Name>> {
    subfunctions_in(&root.sys().join("bus/auxiliary/devices"))
}

/// The subfunctions that are part of a PCI function, in order of name: their directories are below its
/// own.
pub fn subfunctions_of(root: &Root, function: pci::Address) -> Result<Vec<Name>> {
    subfunctions_in(&pci::dir(root, function))
}

fn subfunctions_in(dir: &Path) -> Result<Vec<Name>> {
    let names = sysfs::names(dir)?;
    let names = names.iter().filter_map(|name| name.parse().ok());
    Ok(names.filter(Name::is_subfunction).collect())
}

/// The directory of a device. It is a symbolic link into `/sys/devices`.
pub fn dir(root: &Root, name: &Name) -> PathBuf {
    root.sys().join("bus/auxiliary/devices").join(name.as_str())
}

/// The name of the bound driver, for example `mlx5_core.sf`.
pub fn driver(root: &Root, name: &Name) -> Result<Option<String>> {
    sysfs::link_name(&dir(root, name).join("driver"))
}

/// The PCI function that a device is a part of.
///
/// # Errors
/// The device is not there, or is part of none.
pub fn function(root: &Root, name: &Name) -> Result<pci::Address> {
    let real = real(&dir(root, name))?;
    pci_address(&real).ok_or_else(|| Error::Unexpected {
        object: format!("auxiliary device {name}"),
        found: real.display().to_string(),
        expected: "a place below a PCI function".to_owned(),
    })
}

/// The number that whoever made a subfunction gave it, by which representors (`pf0sf88`) and
/// configurations speak of it; `None` where its driver does not tell.
pub fn sfnum(root: &Root, name: &Name) -> Result<Option<u32>> {
    sysfs::read_number_optional(&dir(root, name).join("sfnum"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn names_are_those_that_the_kernel_makes() {
        for name in ["mlx5_core.sf.4", "ice.sf.0", "mlx5_core.eth-rep.4294967295"] {
            assert_eq!(name.parse::<Name>().unwrap().as_str(), name);
        }
        for name in [
            "",
            "mlx5_core.sf",
            "mlx5_core.sf.",
            "mlx5_core.sf.x",
            "mlx5_core.sf.04",
            ".sf.4",
            "mlx5_core..4",
            "mlx5_core.sf.-1",
            "mlx5_core.sf.4.5",
            "a/b.sf.4",
            "a-b.sf.4",
            "..",
            "0000:01:00.1",
        ] {
            assert!(name.parse::<Name>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn subfunctions_are_told_from_other_parts() {
        let tree = Tree::new(
            "0000:01:00.0 mlx5_core pf totalvfs=4 net=p0
             mlx5_core.sf.4 sf-of=0000:01:00.0 mlx5_core.sf sfnum=88 net=eth4
             mlx5_core.eth.0 sf-of=0000:01:00.0
             mlx5_core.sf.12 sf-of=0000:01:00.0",
        );
        let root = tree.root();
        let found = subfunctions(&root).unwrap();
        let names: Vec<_> = found.iter().map(Name::as_str).collect();
        assert_eq!(names, ["mlx5_core.sf.12", "mlx5_core.sf.4"]);
        assert_eq!(subfunctions_of(&root, "0000:01:00.0".parse().unwrap()).unwrap(), found);
        assert_eq!(function(&root, &found[1]).unwrap().to_string(), "0000:01:00.0");
        assert_eq!(sfnum(&root, &found[1]).unwrap(), Some(88));
        assert_eq!(sfnum(&root, &found[0]).unwrap(), None);
        assert_eq!(sysfs::netdevs(&dir(&root, &found[1])).unwrap(), ["eth4"]);
        let gone = "mlx5_core.sf.9".parse().unwrap();
        assert!(function(&root, &gone).unwrap_err().is_missing());
    }
}
