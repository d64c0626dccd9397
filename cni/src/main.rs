//! The entry point: a CNI verb if the runtime names one, else a command of the host's.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::var_os("CNI_COMMAND") {
        Some(_) => ringway::protocol::main(),
        None => ringway::host::main(std::env::args_os().skip(1)),
    }
}
