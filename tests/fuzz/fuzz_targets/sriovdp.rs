//! The SR-IOV network device plugin's configuration: an error that says something, or resources that
//! each have a name of their own.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use ringway_device_plugin::sriovdp::Config;

fuzz_target!(|bytes: &[u8]| match Config::parse(bytes, "intel.com") {
    Ok(config) => {
        let names: BTreeSet<_> = config.resources.iter().map(|r| r.resource.clone()).collect();
        assert_eq!(names.len(), config.resources.len());
    }
    Err(error) => assert!(!error.to_string().is_empty()),
});
