//! What others write and root reads, changed at random a bounded number of times: an error that says
//! something, or a value that stays itself. The fuzz targets of tests/fuzz do the same without a bound.

#![allow(clippy::unwrap_used, reason = "all of it is a test")]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use ringway::chain::Previous;
use ringway::error::Result;
use ringway::invocation::Invocation;
use ringway::netconf::NetConf;
use ringway::{ipam, record};
use ringway_kernel::testing::Mutations;

const CHANGES: usize = 20_000;

/// Gives how many were right.
fn try_all<T>(corpus: &str, read: impl Fn(&[u8]) -> Result<T>, is_itself: impl Fn(T)) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(corpus);
    let mut right = 0;
    for bytes in Mutations::of(&seeds).take(CHANGES) {
        match read(&bytes) {
            Ok(value) => {
                right += 1;
                is_itself(value);
            }
            Err(error) => {
                let text = error.chain();
                assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
            }
        }
    }
    assert!(right > CHANGES / 100, "{corpus}: only {right} were right");
}

#[test]
fn network_configurations() {
    let read = |bytes: &[u8]| {
        let conf = NetConf::parse(bytes)?;
        Previous::of(&conf).map(|_| conf)
    };
    try_all("netconf", read, |conf| {
        assert!(!conf.name.is_empty());
        // a tenant's name becomes no path
        assert!(conf.ipam.as_deref().is_none_or(|kind| !kind.contains('/')));
    });
}

#[test]
fn environments() {
    let read = |bytes: &[u8]| {
        let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
        let pairs: Vec<_> = lines
            .filter_map(|line| {
                let at = line.iter().position(|byte| *byte == b'=')?;
                let name = String::from_utf8(line[..at].to_vec()).ok()?;
                Some((name, OsString::from_vec(line[at + 1..].to_vec())))
            })
            .collect();
        Invocation::parse(|name| pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()))
    };
    try_all("environment", read, |invocation| {
        let Some(target) = invocation.target else { return };
        for name in [&target.container_id, &target.ifname] {
            assert!(
                !name.contains(['/', '\0', '\n', ' ']) && name != "." && name != "..",
                "{name:?}"
            );
        }
    });
}

#[test]
fn records() {
    let read = |bytes: &[u8]| record::parse(bytes, "record");
    try_all("record", read, |found| {
        let written = serde_json::to_vec(&found).unwrap();
        assert_eq!(record::parse(&written, "record").unwrap(), found);
    });
}

#[test]
fn results_of_ipam_plugins() {
    try_all(
        "ipam",
        |bytes| ipam::parse(bytes, "plugin"),
        |found| {
            assert!(!found.ips.is_empty());
        },
    );
}
