//! What holds for the whole workspace, and for what is generated from it.

#![allow(clippy::unwrap_used, reason = "what fails in a test ends the test")]

mod chart; // the chart: its schema, its values, generated definitions
mod tidy; // crates: their edges, their files, what they may not do

use std::path::PathBuf;

/// The workspace's directory.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap().to_owned()
}
