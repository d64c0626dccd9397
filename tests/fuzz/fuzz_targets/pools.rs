//! `pools.json`: an error that says something, or pools that are read the same when written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_node::pools::Pools;

fuzz_target!(|bytes: &[u8]| match Pools::parse(bytes) {
    Ok(pools) => {
        let written = serde_json::to_vec(&pools).unwrap();
        assert_eq!(Pools::parse(&written).unwrap(), pools);
    }
    Err(error) => assert!(!error.to_string().is_empty()),
});
