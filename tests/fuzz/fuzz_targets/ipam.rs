//! What an IPAM plugin answers: an error that says something, or addresses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway::ipam;

fuzz_target!(|bytes: &[u8]| match ipam::parse(bytes, "plugin") {
    Ok(found) => assert!(!found.ips.is_empty()),
    Err(error) => assert!(!error.chain().is_empty()),
});
