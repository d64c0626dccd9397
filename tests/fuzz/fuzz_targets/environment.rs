//! The environment that a runtime starts the CNI binary with, a line for each variable.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway::invocation::Invocation;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

fuzz_target!(|bytes: &[u8]| {
    let get = |name: &str| {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let value = lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        value.map(|value| OsString::from_vec(value.to_vec()))
    };
    match Invocation::parse(get) {
        Ok(invocation) => {
            let target = invocation.target;
            assert!(target.is_none_or(|target| !target.container_id.contains('/')));
        }
        Err(error) => assert!(!error.chain().is_empty()),
    }
});
