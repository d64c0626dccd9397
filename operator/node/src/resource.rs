//! The extended resource that a pool serves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An extended resource: `ringway.dev/vm-rings`.
///
/// What is read from files and requests of ours is under [`Resource::PREFIX`]; one of another prefix
/// is made by [`Resource::of`] alone. The part behind the slash is a Kubernetes qualified name: 1 to 63 of `[A-Za-z0-9._-]`,
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

/// Two texts that make no resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{value:?} is not a resource that kubelet takes: a domain name of lower case of at most 244 \
     characters that is not Kubernetes's own, a slash, and a name of 1 to 63 letters, digits and \
     `._-`, beginning and ending with a letter or digit"
)]
pub struct InvalidParts {
    value: String,
}

impl Resource {
    /// The prefix of our own resources; also the vendor of their CDI kinds.
    pub const PREFIX: &str = "ringway.dev";

    /// The whole name, as in a pod's `resources`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part behind the slash.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    /// The part before the slash.
    pub fn prefix(&self) -> &str {
        self.0.split_once('/').map_or("", |(prefix, _)| prefix)
    }

    /// `prefix/name`, for whoever asks for resources of another prefix than ours.
    ///
    /// # Errors
    /// Kubelet would refuse it as an extended resource (`IsExtendedResourceName`,
    /// `pkg/apis/core/v1/helper/helpers.go`): a prefix that is no domain name or is one of
    /// Kubernetes's own, or a name that is none.
    pub fn of(prefix: &str, name: &str) -> Result<Self, InvalidParts> {
        match is_domain(prefix) && is_qualified_name(name) {
            true => Ok(Self(format!("{prefix}/{name}"))),
            false => {
                Err(InvalidParts { value: format!("{prefix}/{name}").chars().take(160).collect() })
            }
        }
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

/// A DNS subdomain (RFC 1123) that still is one with `requests.` before it, for quotas.
fn is_domain(prefix: &str) -> bool {
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        ends.iter().all(|end| end.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
    };
    let own = prefix.ends_with("kubernetes.io") || prefix.starts_with("requests.");
    prefix.len() <= 244 && !own && prefix.split('.').all(is_label)
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
    fn another_prefix_is_had_by_its_parts_only() {
        let resource = Resource::of("intel.com", "intel_sriov").unwrap();
        assert_eq!(resource.as_str(), "intel.com/intel_sriov");
        assert_eq!((resource.prefix(), resource.name()), ("intel.com", "intel_sriov"));
        assert_eq!(resource.file_stem(), "intel.com-intel_sriov");
        assert_eq!(Resource::of("ringway.dev", "x").unwrap(), "ringway.dev/x".parse().unwrap());
        let long = "x".repeat(64);
        for (prefix, name) in [
            ("", "x"),
            ("Intel.com", "x"),
            ("intel..com", "x"),
            ("intel.com/", "x"),
            ("-intel.com", "x"),
            ("requests.intel.com", "x"),
            ("kubernetes.io", "x"),
            ("node.kubernetes.io", "x"),
            ("intel.com", ""),
            ("intel.com", "x_"),
            ("intel.com", "a/b"),
            ("intel.com", &long),
        ] {
            assert!(Resource::of(prefix, name).is_err(), "{prefix}/{name}");
        }
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
