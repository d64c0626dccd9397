//! See [`ringway_launcher`].

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use ringway_launcher::args::Args;
use ringway_launcher::{reap, story};
use rustix::process::{Pid, getpid};

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    if getpid() == Pid::INIT {
        // a second process does the work, so that this one can reap whatever ends
        let mut work = Command::new("/proc/self/exe");
        work.args(std::env::args_os().skip(1));
        return Ok(ExitCode::from(runtime.block_on(reap::run(work))?));
    }
    story::run(&args, &runtime)?;
    Ok(ExitCode::SUCCESS)
}
