//! Fields that we cannot ignore.
//!
//! The specification lets a plugin ignore fields it does not know, and runtimes, Multus and people
//! add such. Two kinds are refused all the same: what others would do and we do not (to ignore `trunk`
//! would put a pod into a network it does not belong to), and what is spelled almost like a field of
//! ours, which then would have no effect (`deviceId`, `mtus`).

use serde_json::{Map, Value};

use crate::error::{Code, Error, Result};

/// Ours: what a misspelt field may have meant.
const OURS: [&str; 18] = [
    "deviceID",
    "mtu",
    "mac",
    "ipam",
    "vdpa",
    "runtimeConfig",
    "prevResult",
    "logLevel",
    "logFile",
    "pciBusID",
    "vlan",
    "vlanQoS",
    "vlanProto",
    "min_tx_rate",
    "max_tx_rate",
    "spoofchk",
    "trust",
    "link_state",
];

/// The specification's, its conventions', Multus's: never refused.
const STANDARD: [&str; 18] = [
    "cniVersion",
    "cniVersions",
    "name",
    "type",
    "args",
    "capabilities",
    "dns",
    "ipMasq",
    "disableCheck",
    "disableGC",
    "loadOnlyInlinedPlugins",
    "plugins",
    "resourceName",
    "deviceInfo",
    "master",
    "mode",
    "bandwidth",
    "ips",
];

/// That change what the pod gets, and that we do not do: of sriov-cni's forks, and of
/// accelerated-bridge-cni and ovs-cni.
const NOT_OURS: [&str; 3] = ["rdmaIsolation", "trunk", "vlan_trunk"];

pub(super) fn check(raw: &Map<String, Value>) -> Result<()> {
    for (name, value) in raw {
        let name = name.as_str();
        if OURS.contains(&name) || STANDARD.contains(&name) || name.starts_with("cni.dev/") {
            continue;
        }
        if NOT_OURS.contains(&name) {
            if asks_for_nothing(value) {
                continue;
            }
            let error = unsupported("", name, value, "this plugin cannot do it");
            return Err(error.advise("take the field out of the network configuration"));
        }
        if let Some(meant) = OURS.into_iter().find(|ours| is_near(name, ours)) {
            return Err(unsupported("", name, value, &format!("is {meant:?} meant?")));
        }
    }
    Ok(())
}

/// Operators render what is not set as 0 or empty.
fn asks_for_nothing(value: &Value) -> bool {
    value.is_null() || *value == 0 || *value == ""
}

/// Section "Error" wants the key and the value in the text of code 2. `parent` is as in [`field_in`].
///
/// [`field_in`]: super::field_in
pub(super) fn unsupported(parent: &str, name: &str, value: &Value, why: &str) -> Error {
    let name: String = name.chars().take(80).collect();
    let value: String = value.to_string().chars().take(80).collect();
    let text = format!(
        "network configuration: unsupported field {parent}{name:?} with value {value}: {why}"
    );
    Error::new(Code::UnsupportedField, text)
}

fn is_near(name: &str, ours: &str) -> bool {
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let allowed = if ours.len() <= 4 { 1 } else { 2 };
    name.len() <= 32 && distance(&plain(name), &plain(ours)) <= allowed
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(name: &str, value: Value) -> Result<()> {
        check(&Map::from_iter([(name.to_owned(), value)]))
    }

    #[test]
    fn misspelt_and_unsupported_fields_are_named_with_their_value() {
        for (name, value, told) in [
            ("deviceId", "0000:01:00.1".into(), "is \"deviceID\" meant?"),
            ("device_id", "x".into(), "is \"deviceID\" meant?"),
            ("mtus", 1500.into(), "is \"mtu\" meant?"),
            ("MTU", 1500.into(), "is \"mtu\" meant?"),
            ("logfile", "a".into(), "is \"logFile\" meant?"),
            ("runtimeConfg", Value::Null, "is \"runtimeConfig\" meant?"),
            ("vlanqos", 3.into(), "is \"vlanQoS\" meant?"),
            ("spoofCheck", "off".into(), "is \"spoofchk\" meant?"),
            ("rdmaIsolation", true.into(), "cannot do it"),
            ("trunk", Value::Array(vec![5.into()]), "cannot do it"),
            ("vlan_trunk", "2,4".into(), "cannot do it"),
        ] {
            let error = check_one(name, value.clone()).unwrap_err();
            assert_eq!(error.code(), Code::UnsupportedField);
            let text = error.to_string();
            assert!(text.contains(told) && text.contains(name), "{text}");
            assert!(text.contains(&value.to_string()), "{text}");
        }
    }

    #[test]
    fn standard_and_foreign_fields_are_let_be() {
        let known = OURS.iter().chain(&STANDARD).copied();
        let foreign = ["cni.dev/valid-attachments", "delegates", "x", "promiscMode", "isGateway"];
        for name in known.chain(foreign) {
            check_one(name, "anything".into()).unwrap();
        }
        for nothing in [0.into(), "".into(), Value::Null] {
            check_one("trunk", nothing).unwrap();
        }
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 2), ("a", "", 1)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
