//! What networks of tenants may ask of a pool's devices: written by the agent into `pools.json`, kept
//! to by the CNI binary.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The highest VLAN (IEEE 802.1Q keeps 4095 for itself); 0 is none.
const MAX_VLAN: u16 = 4094;

/// What may be asked for beyond what a device is at rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// The namespaces whose pods may have a device; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// VLANs; absent: none but the one it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlans: Option<Vlans>,
    /// Whether functions may be trusted; absent: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<bool>,
    /// Whether the spoof check must stay on; absent: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spoof_check: Option<bool>,
    /// The highest rate, in Mbit/s; absent: what it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<u32>,
}

impl Limits {
    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// VLANs and ranges of them: `0,100-199`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vlans(Vec<RangeInclusive<u16>>);

impl Vlans {
    /// Whether a VLAN is one of them; 0 is none.
    pub fn contains(&self, id: u16) -> bool {
        self.0.iter().any(|range| range.contains(&id))
    }
}

impl FromStr for Vlans {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| {
                let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let number = text.parse().ok().filter(|id| plain && *id <= MAX_VLAN);
                number.ok_or_else(|| format!("{text:?} is no VLAN: 0 (none) to {MAX_VLAN}"))
            };
            let range = number(first)?..=number(last)?;
            match range.is_empty() {
                true => Err(format!("{part:?} ends before it begins")),
                false => Ok(range),
            }
        };
        text.split(',').map(part).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Vlans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            match range.start() == range.end() {
                true => write!(f, "{comma}{}", range.start())?,
                false => write!(f, "{comma}{}-{}", range.start(), range.end())?,
            }
        }
        Ok(())
    }
}

impl Serialize for Vlans {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Vlans {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vlans_are_numbers_and_ranges() {
        let vlans: Vlans = "0,100-199,7".parse().unwrap();
        assert_eq!(vlans.to_string(), "0,100-199,7");
        for (id, is) in [(0, true), (1, false), (99, false), (100, true), (199, true), (7, true)] {
            assert_eq!(vlans.contains(id), is, "{id}");
        }
        for (bad, words) in [
            ("", "\"\" is no VLAN"),
            ("4095", "\"4095\" is no VLAN: 0 (none) to 4094"),
            ("+5", "\"+5\" is no VLAN"),
            ("1,,2", "\"\" is no VLAN"),
            ("9-3", "\"9-3\" ends before it begins"),
            ("1-2-3", "\"2-3\" is no VLAN"),
            ("100 - 199", "\"100 \" is no VLAN"),
        ] {
            let error = bad.parse::<Vlans>().unwrap_err();
            assert!(error.contains(words), "{bad}: {error}");
        }
    }

    #[test]
    fn they_are_written_as_they_are_read() {
        let text =
            r#"{"namespaces":["a"],"vlans":"5","trust":true,"spoofCheck":false,"maxRate":9}"#;
        let limits: Limits = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&limits).unwrap(), text);
        assert!(Limits::default().is_default() && !limits.is_default());
        assert_eq!(serde_json::to_string(&Limits::default()).unwrap(), "{}");
    }
}
