//! `cargo lab`: builds and drives the lab.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringway_lab::cli::run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
