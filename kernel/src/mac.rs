//! Ethernet addresses.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// An Ethernet MAC address, written and serialized as `52:54:00:12:34:56`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address of these bytes; `None` unless they are six.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Whether a device can have this address: neither zero nor a group address
    /// (`is_valid_ether_addr`, include/linux/etherdevice.h).
    pub fn is_unicast(self) -> bool {
        self.0 != [0; 6] && self.0[0] & 1 == 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = Error;

    /// Six pairs of hexadecimal digits, of either case, with colons between.
    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let mut bytes = [0; 6];
            let mut pairs = text.split(':');
            for byte in &mut bytes {
                let pair = pairs.next()?;
                if pair.len() != 2 || !pair.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return None;
                }
                *byte = u8::from_str_radix(pair, 16).ok()?;
            }
            pairs.next().is_none().then_some(Self(bytes))
        };
        parse().ok_or_else(|| Error::parse("MAC address", text, "six pairs like 52:54:00:12:34:56"))
    }
}

impl TryFrom<String> for Mac {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses() {
        let check = |text: &str, expected: Option<&str>| {
            let found = text.parse::<Mac>().ok().map(|mac| mac.to_string());
            assert_eq!(found.as_deref(), expected, "{text:?}");
        };
        check("52:54:00:AB:cd:ef", Some("52:54:00:ab:cd:ef"));
        check("52:54:00:ab:cd", None);
        check("52:54:00:ab:cd:ef:01", None);
        check("52:54:0:ab:cd:ef", None);
        check("52-54-00-ab-cd-ef", None);
        check("+2:54:00:ab:cd:ef", None);
        check("", None);
    }

    #[test]
    fn unicast() {
        let check = |text: &str, expected| {
            assert_eq!(text.parse::<Mac>().unwrap().is_unicast(), expected, "{text}");
        };
        check("52:54:00:12:34:56", true);
        check("00:00:00:00:00:00", false);
        check("01:00:5e:00:00:01", false);
        check("ff:ff:ff:ff:ff:ff", false);
    }
}
