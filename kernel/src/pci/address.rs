//! The address of a PCI function.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Domain, bus, device and function, written and serialized as `0000:3b:00.2`.
///
/// The order is that of the bus. Parsing accepts only the kernel's own spelling, so that an
/// address is also a safe file name and equal addresses are equal text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    domain: u16,
    bus: u8,
    /// Device in the upper five bits, function in the lower three (`PCI_DEVFN`,
    /// include/uapi/linux/pci.h).
    devfn: u8,
}

impl Address {
    /// The address that is so many routing IDs further on; `None` beyond the last bus.
    pub(crate) fn after(self, distance: u32) -> Option<Self> {
        let id = u32::from(self.bus) << 8 | u32::from(self.devfn);
        let [high, bus, devfn] = id.checked_add(distance)?.to_be_bytes()[1..] else { return None };
        (high == 0).then_some(Self { bus, devfn, ..self })
    }

    /// How many routing IDs further on another address is; `None` if it is not.
    pub(crate) fn distance(self, other: Self) -> Option<u32> {
        let id = |address: Self| u32::from(address.bus) << 8 | u32::from(address.devfn);
        if self.domain == other.domain { id(other).checked_sub(id(self)) } else { None }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, devfn } = self;
        write!(f, "{domain:04x}:{bus:02x}:{:02x}.{:x}", devfn >> 3, devfn & 7)
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (domain, rest) = text.split_once(':')?;
            let (bus, rest) = rest.split_once(':')?;
            let (device, function) = rest.split_once('.')?;
            let device = u8::try_from(hex(device, 2)?).ok().filter(|device| *device < 32)?;
            let function = u8::try_from(hex(function, 1)?).ok().filter(|function| *function < 8)?;
            Some(Self {
                domain: hex(domain, 4)?,
                bus: u8::try_from(hex(bus, 2)?).ok()?,
                devfn: device << 3 | function,
            })
        };
        parse().ok_or_else(|| {
            Error::parse("PCI address", text, "an address like 0000:3b:00.2 in lower case")
        })
    }
}

/// Exactly so many digits, as the kernel prints them.
fn hex(digits: &str, count: usize) -> Option<u16> {
    let kernel_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() == count && digits.bytes().all(kernel_digit) {
        u16::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

impl TryFrom<String> for Address {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_spelling() {
        let check = |text: &str, good: bool| match text.parse::<Address>() {
            Ok(address) => {
                assert!(good, "{text:?} parsed");
                assert_eq!(address.to_string(), text);
            }
            Err(error) => assert!(!good, "{error}"),
        };
        check("0000:01:00.0", true);
        check("ffff:ff:1f.7", true);
        check("0000:01:20.0", false); // 32 devices on a bus
        check("0000:01:00.8", false); // 8 functions of a device
        check("0000:3B:00.0", false);
        check("01:00.0", false);
        check("10000:01:00.0", false);
        check("0000:01:00.0 ", false);
        check("0000:01:00.0/..", false);
        check("0000:+1:00.0", false);
        check("", false);
    }

    #[test]
    fn in_order_of_the_bus() {
        let mut addresses: Vec<Address> = ["0001:00:00.0", "0000:02:00.0", "0000:01:10.2"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        addresses.sort();
        let texts: Vec<String> = addresses.iter().map(Address::to_string).collect();
        assert_eq!(texts, ["0000:01:10.2", "0000:02:00.0", "0001:00:00.0"]);
    }

    #[test]
    fn serialized_as_text() {
        let address: Address = "0000:01:00.1".parse().unwrap();
        assert_eq!(serde_json::to_string(&address).unwrap(), "\"0000:01:00.1\"");
        assert!(serde_json::from_str::<Address>("\"1\"").is_err());
    }
}
