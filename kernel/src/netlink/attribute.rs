//! Netlink attributes: length, type, value, aligned to four bytes, in the machine's byte order
//! (`struct nlattr`, include/uapi/linux/netlink.h).

use crate::error::{Error, Result};

/// Length of `struct nlattr`.
const HEADER: usize = 4;
/// `NLA_TYPE_MASK`: without the flags for nesting and byte order.
const TYPE_MASK: u16 = 0x3fff;
/// `NLA_F_NESTED`: the value is attributes.
const NESTED: u16 = 0x8000;

/// One attribute of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The type without flags.
    pub kind: u16,
    /// The value without padding.
    pub value: &'a [u8],
}

impl Attribute<'_> {
    /// The value as text, without the final zero.
    pub fn string(&self) -> Result<String> {
        let text = self.value.split(|byte| *byte == 0).next().unwrap_or_default();
        match std::str::from_utf8(text) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.bad("a UTF-8 string")),
        }
    }

    /// The value as a 16-bit number.
    pub fn u16(&self) -> Result<u16> {
        self.number().map(u16::from_ne_bytes).ok_or_else(|| self.bad("2 bytes"))
    }

    /// The value as a 32-bit number.
    pub fn u32(&self) -> Result<u32> {
        self.number().map(u32::from_ne_bytes).ok_or_else(|| self.bad("4 bytes"))
    }

    /// The value as a 64-bit number.
    pub fn u64(&self) -> Result<u64> {
        self.number().map(u64::from_ne_bytes).ok_or_else(|| self.bad("8 bytes"))
    }

    /// The error for a value of another form than its type has.
    pub fn bad(&self, expected: &'static str) -> Error {
        let name = format!("netlink attribute {}", self.kind);
        Error::parse(name, &format!("{:02x?}", self.value), expected)
    }

    fn number<const N: usize>(&self) -> Option<[u8; N]> {
        self.value.try_into().ok()
    }
}

/// The attributes in a message's body, in order. After the first broken one it ends.
pub fn parse(bytes: &[u8]) -> impl Iterator<Item = Result<Attribute<'_>>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let split = split(rest);
        rest = split.as_ref().map_or(&[], |(_, rest)| rest);
        let truncated = || Error::parse("netlink attributes", "a cut attribute", "whole ones");
        Some(split.map(|(attribute, _)| attribute).ok_or_else(truncated))
    })
}

fn split(bytes: &[u8]) -> Option<(Attribute<'_>, &[u8])> {
    let [l0, l1, k0, k1] = *bytes.first_chunk::<HEADER>()?;
    let length = usize::from(u16::from_ne_bytes([l0, l1]));
    let value = bytes.get(HEADER..length)?;
    let kind = u16::from_ne_bytes([k0, k1]) & TYPE_MASK;
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((Attribute { kind, value }, rest))
}

/// Appends an attribute with padding. A value above 64 KiB cannot be said and is cut.
pub fn push(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX) - HEADER)];
    let length = u16::try_from(HEADER + value.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Appends a string with its final zero.
pub fn push_string(bytes: &mut Vec<u8>, kind: u16, value: &str) {
    let mut text = value.as_bytes().to_vec();
    text.push(0);
    push(bytes, kind, &text);
}

/// Appends an attribute that holds these attributes.
pub fn push_nested(bytes: &mut Vec<u8>, kind: u16, attributes: &[u8]) {
    push(bytes, kind | NESTED, attributes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_to_four() {
        let mut bytes = Vec::new();
        push_string(&mut bytes, 4, "vdpa0");
        push(&mut bytes, 13, &1500_u16.to_ne_bytes());
        let mut expected = Vec::new();
        expected.extend(10_u16.to_ne_bytes()); // 4 + 5 + the zero
        expected.extend(4_u16.to_ne_bytes());
        expected.extend(b"vdpa0\0\0\0"); // two bytes of padding
        expected.extend(6_u16.to_ne_bytes());
        expected.extend(13_u16.to_ne_bytes());
        expected.extend(1500_u16.to_ne_bytes());
        expected.extend([0, 0]);
        assert_eq!(bytes, expected);

        let found: Vec<_> = parse(&bytes).map(Result::unwrap).collect();
        assert_eq!(found[0].string().unwrap(), "vdpa0");
        assert_eq!(found[1].u16().unwrap(), 1500);
    }

    #[test]
    fn broken_attributes_are_errors_and_end_the_list() {
        let check = |bytes: &[u8]| {
            let found: Vec<_> = parse(bytes).collect();
            assert_eq!(found.len(), 1, "{bytes:?}");
            assert!(found[0].is_err(), "{bytes:?}");
        };
        check(&[8, 0, 1, 0]); // says 8, has 4
        check(&[3, 0, 1, 0]); // shorter than its own header
        check(&[0, 0, 0, 0]); // would never advance
        check(&[4, 0]);
    }

    #[test]
    fn wrong_lengths_are_errors() {
        let attribute = Attribute { kind: 11, value: &[1] };
        assert_eq!(
            attribute.u16().unwrap_err().to_string(),
            "parse netlink attribute 11: found \"[01]\", expected 2 bytes"
        );
        assert!(attribute.u32().is_err());
        assert!(attribute.u64().is_err());
        assert!(Attribute { kind: 4, value: &[0xff] }.string().is_err());
    }

    #[test]
    fn nesting_flag_is_no_part_of_the_type() {
        let bytes = [4_u16.to_ne_bytes(), 0x8006_u16.to_ne_bytes()].concat();
        assert_eq!(parse(&bytes).next().unwrap().unwrap().kind, 6);
    }
}
