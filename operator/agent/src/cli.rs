//! From the command line to the work.

use anyhow::Result;
use clap::Parser as _;
use ringway_kernel::Root;
use ringway_metrics::probe;
use tracing_subscriber::EnvFilter;

use crate::args::{Args, LogFormat, Verb};
use crate::boot;
use crate::files::Files;
use crate::host::Host;
use crate::install;
use crate::local;
use crate::metrics;
use crate::reset;
use crate::selftest;
use crate::serve;

/// Does what the command line asks for.
pub fn run() -> Result<()> {
    let args = Args::parse();
    log_to_stderr(args.log_format);
    let paths = &args.paths;
    let root = Root::new("/").with_sys(&paths.sys).with_modules(&paths.modules);
    let mut host = Host {
        root: root.clone(),
        stuck: paths.run_dir.join("stuck"),
        attachments: paths.state_dir.join("attachments"),
    };
    let files =
        |node: &str| Files::below(node, &paths.state_dir, &paths.run_dir, &paths.udev_rules_dir);
    match &args.verb {
        Verb::Observe { output } => local::observe(&mut host, *output),
        Verb::Plan { wish, output } => {
            local::dry_run(&mut host, &files(&node_name())?, &wish.file, *output)
        }
        Verb::Apply(wish) => local::apply(&mut host, &files(&node_name())?, &wish.file),
        Verb::Boot(args) => boot::boot(&mut host, &root, files(&node_name())?, args),
        Verb::Install(args) => install::install(args, &paths.state_dir),
        Verb::Reset(args) => reset::reset(&mut host, &root, &files(&node_name())?, args),
        Verb::Selftest(args) => selftest::run(&mut host, &root, &files(&node_name())?, args),
        Verb::Run(run) => serve::run(host, files(&run.node_name)?, run),
        Verb::Probe { status_socket } => Ok(probe::ask(status_socket, metrics::READY)?),
    }
}

fn node_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
