//! The extended resource that a pool serves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An extended resource of ours: `ringway.dev/vm-rings`.
///
/// The part behind the slash is a Kubernetes qualified name: 1 to 63 of `[A-Za-z0-9._-]`,
/// beginning and ending with a letter or digit (`apimachinery/pkg/util/validation`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Resource(String);

/// A text that is not a resource of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{value:?} is not a resource: `ringway.dev/` and a name of 1 to 63 letters, digits and `._-`, \
     beginning and ending with a letter or digit"
)]
pub struct Invalid {
    value: String,
}

impl Resource {
    /// The prefix that all of our resources share; also the vendor of our CDI kinds.
    pub const PREFIX: &str = "ringway.dev";

    /// The whole name, as in a pod's `resources`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part behind the slash.
    pub fn name(&self) -> &str {
        &self.0[Self::PREFIX.len() + 1..]
    }

    /// The name as part of a file name: `ringway.dev-vm-rings` (device-info 1.1.0, section "File
    /// naming": `/` becomes `-`).
    pub fn file_stem(&self) -> String {
        self.0.replace('/', "-")
    }
}

impl FromStr for Resource {
    type Err = Invalid;

    fn from_str(value: &str) -> Result<Self, Invalid> {
        let name = value.strip_prefix(Self::PREFIX).and_then(|rest| rest.strip_prefix('/'));
        match name.is_some_and(is_qualified_name) {
            true => Ok(Self(value.to_owned())),
            false => Err(Invalid { value: value.chars().take(120).collect() }),
        }
    }
}

fn is_qualified_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.len() <= 63
        && ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

impl TryFrom<String> for Resource {
    type Error = Invalid;

    fn try_from(value: String) -> Result<Self, Invalid> {
        value.parse()
    }
}

impl From<Resource> for String {
    fn from(resource: Resource) -> Self {
        resource.0
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_knows_its_parts() {
        let resource: Resource = "ringway.dev/vm-rings".parse().unwrap();
        assert_eq!(resource.name(), "vm-rings");
        assert_eq!(resource.file_stem(), "ringway.dev-vm-rings");
    }

    #[test]
    fn other_names_are_refused() {
        let long = format!("ringway.dev/{}", "x".repeat(64));
        for bad in [
            "",
            "ringway.dev",
            "ringway.dev/",
            "vm-rings",
            "intel.com/x",
            "ringway.dev/a/b",
            "ringway.dev/-a",
            "ringway.dev/a.",
            "ringway.dev/a b",
            "ringway.dev/..",
            &long,
        ] {
            assert!(bad.parse::<Resource>().is_err(), "{bad:?}");
        }
    }
}
