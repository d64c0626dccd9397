//! Addresses with the length of their network's prefix.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// An address in its network, written and serialized as `10.0.0.2/24` or `2001:db8::2/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IpPrefix {
    address: IpAddr,
    length: u8,
}

impl IpPrefix {
    /// An address and a prefix length in bits; `None` if the length is more than the address has.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        (length <= bits(address)).then_some(Self { address, length })
    }

    /// The address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The length of the prefix in bits.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Whether the address is good on its own link only: 169.254.0.0/16 and fe80::/10.
    pub fn is_link_local(self) -> bool {
        match self.address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for IpPrefix {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (address, length) = text.split_once('/')?;
            if !length.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            Self::new(address.parse().ok()?, length.parse().ok()?)
        };
        parse().ok_or_else(|| Error::parse("IP prefix", text, "ADDRESS/LENGTH like 10.0.0.2/24"))
    }
}

impl TryFrom<String> for IpPrefix {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<IpPrefix> for String {
    fn from(prefix: IpPrefix) -> Self {
        prefix.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses() {
        let check = |text: &str, good: bool| match text.parse::<IpPrefix>() {
            Ok(prefix) => assert!(good && prefix.to_string() == text, "{text:?}"),
            Err(error) => assert!(!good, "{error}"),
        };
        check("10.0.0.2/24", true);
        check("2001:db8::2/128", true);
        check("10.0.0.2/33", false);
        check("10.0.0.2", false);
        check("10.0.0.2/+8", false);
        check("10.0.0.2/", false);
        check("/8", false);
    }

    #[test]
    fn link_local() {
        let check = |text: &str, expected| {
            assert_eq!(text.parse::<IpPrefix>().unwrap().is_link_local(), expected, "{text}");
        };
        check("169.254.1.1/16", true);
        check("fe80::1/64", true);
        check("10.0.0.1/8", false);
        check("fd00::1/64", false);
    }
}
