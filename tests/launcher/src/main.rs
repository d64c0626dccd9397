//! See [`ringway_launcher`].

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use ringway_launcher::args::Args;
use ringway_launcher::{reap, story};
use rustix::process::{Pid, getpid};

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    if getpid() == Pid::INIT {
        // a second process does the work, so that this one can reap whatever ends
        let mut work = Command::new("/proc/self/exe");
        work.args(std::env::args_os().skip(1));
        return runtime.block_on(reap::run(work));
    }
    story::run(args, &runtime).map(|()| 0)
}
