//! See [`ringway_kubevirt`].

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use ringway_kubevirt::args::{Args, LogFormat};
use ringway_kubevirt::hook::Config;
use ringway_kubevirt::server;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = Args::parse();
    log_to_stderr(args.log_format);
    match run(args.config()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the hook cannot be served");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?
        .block_on(async {
            let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
            let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
            let shutdown = async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            Ok(server::run(config, shutdown).await?)
        })
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
