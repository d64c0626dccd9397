//! The versions of the CNI specification that we speak.

use std::{fmt, str::FromStr};

use crate::error::{Code, Error};

/// A version of the specification; later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.3.1: ADD, DEL, VERSION.
    V0_3_1,
    /// 0.4.0 brought CHECK.
    V0_4_0,
    /// 1.0.0 took `version` from a result's addresses.
    V1_0_0,
    /// 1.1.0 brought GC and STATUS, and `mtu`, `socketPath` and `pciID` in a result.
    V1_1_0,
}

impl Version {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// As `cniVersion` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// All of them as text.
    pub fn names() -> [&'static str; 4] {
        Self::ALL.map(Self::as_str)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or_else(|| {
            let text = format!("cniVersion {text:?} is not one of {}", Self::names().join(", "));
            Error::new(Code::Version, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        for version in Version::ALL {
            assert_eq!(version.as_str().parse::<Version>().unwrap(), version);
        }
        assert!(Version::V0_4_0 < Version::V1_1_0);
        for bad in ["", "1.2.0", "1.0", "0.2.0", "1.1.0 "] {
            let error = bad.parse::<Version>().unwrap_err();
            assert_eq!(error.code(), Code::Version);
            assert!(error.to_string().contains("0.3.1, 0.4.0, 1.0.0, 1.1.0"), "{error}");
        }
    }
}
