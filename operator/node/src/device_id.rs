//! The name of one schedulable thing, in a grammar that is safe everywhere it goes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The id of a device: the PCI address of its function, else its auxiliary device name
/// (`mlx5_core.sf.4`), else its vDPA device name.
///
/// It arrives in files and in network configurations that tenants write, and it becomes a file
/// name, a sysfs name, a CDI device name and a container path. So: 1 to 63 characters (the bound
/// of kubelet's `Device.ID`) of `[A-Za-z0-9:._-]`, the first and the last of them a letter or a
/// digit (CDI's rule for device names; it also rules out `.`, `..` and hidden files).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId(String);

/// A text that is not a device id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{value:?} is not a device id: 1 to 63 of letters, digits and `:._-`, \
     beginning and ending with a letter or digit"
)]
pub struct Invalid {
    value: String,
}

impl DeviceId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = Invalid;

    fn from_str(value: &str) -> Result<Self, Invalid> {
        match is_device_name(value) {
            true => Ok(Self(value.to_owned())),
            false => Err(Invalid { value: value.chars().take(80).collect() }),
        }
    }
}

impl TryFrom<String> for DeviceId {
    type Error = Invalid;

    fn try_from(value: String) -> Result<Self, Invalid> {
        value.parse()
    }
}

impl From<DeviceId> for String {
    fn from(id: DeviceId) -> Self {
        id.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `name` has the grammar of [`DeviceId`], which parents share.
pub(crate) fn is_device_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.len() <= 63
        && ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b":._-".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_each_kind_are_accepted() {
        for id in ["0000:01:00.1", "mlx5_core.sf.4", "vdpa:0000:01:00.1", "vdpa0", "a", "7"] {
            assert_eq!(id.parse::<DeviceId>().unwrap().as_str(), id);
        }
        assert!("x".repeat(63).parse::<DeviceId>().is_ok());
    }

    #[test]
    fn what_could_leave_its_directory_or_confuse_is_refused() {
        let long = "x".repeat(64);
        for id in [
            "", ".", "..", "../a", "a/b", "/a", ".a", "a.", "-a", "a-", ":a", "a b", "a\n", "a\0",
            "ä", "a,b", "a=b", &long,
        ] {
            assert!(id.parse::<DeviceId>().is_err(), "{id:?}");
        }
    }

    #[test]
    fn the_error_names_the_value_but_not_a_flood_of_it() {
        let error = "a/b".parse::<DeviceId>().unwrap_err().to_string();
        assert!(error.starts_with("\"a/b\" is not a device id"), "{error}");
        assert!("/".repeat(100_000).parse::<DeviceId>().unwrap_err().to_string().len() < 300);
    }
}
