//! `ringway-agent`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match ringway_agent::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
