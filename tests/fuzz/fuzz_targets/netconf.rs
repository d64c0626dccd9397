//! NetConf, as a runtime writes it to standard input: an error that says something, or a network.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway::netconf::NetConf;

fuzz_target!(|bytes: &[u8]| match NetConf::parse(bytes) {
    Ok(conf) => assert!(!conf.name.is_empty()),
    Err(error) => assert!(!error.chain().is_empty()),
});
