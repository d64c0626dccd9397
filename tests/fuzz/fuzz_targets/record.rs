//! A record of an attachment: an error that says something, or one that is read the same when written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway::record;

fuzz_target!(|bytes: &[u8]| match record::parse(bytes, "record") {
    Ok(found) => {
        let written = serde_json::to_vec(&found).unwrap();
        assert_eq!(record::parse(&written, "record").unwrap(), found);
    }
    Err(error) => assert!(!error.chain().is_empty()),
});
