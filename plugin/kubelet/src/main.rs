//! See [`ringway_device_plugin`].

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use ringway_device_plugin::args::{Args, LogFormat, Output, Verb};
use ringway_device_plugin::offer::Offers;
use ringway_device_plugin::source::{self, Source};
use ringway_device_plugin::{check, plugin, publish, sriovdp};
use ringway_metrics::probe;
use ringway_node::pools;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The status with which `check` ends if there is something to look at.
const ATTENTION: u8 = 3;

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    log_to_stderr(args.log_format);
    match args.verb.clone() {
        Some(Verb::Publish) => publish_once(&args.config()).map(|()| ExitCode::SUCCESS),
        Some(Verb::Check { output, .. }) => check(&args.config(), output),
        Some(Verb::Probe { question }) => {
            let socket = args.status_socket.context("probe: --status-socket is missing")?;
            probe::ask(&socket, question.page())?;
            Ok(ExitCode::SUCCESS)
        }
        None => serve(args.config()).map(|()| ExitCode::SUCCESS),
    }
}

fn serve(config: plugin::Config) -> anyhow::Result<()> {
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
            plugin::run(config, shutdown).await;
            Ok(())
        })
}

/// What is offered nowhere needs no files.
fn publish_once(config: &plugin::Config) -> anyhow::Result<()> {
    let offers = match config.observe() {
        Err(source::Error::Pools(pools::Error::File(error))) if error.is_not_found() => {
            Offers::new()
        }
        observed => observed.context("see what is offered")?,
    };
    let ours = config.source.ours(&offers.keys().cloned().collect());
    publish::specs(&config.cdi_dir, &offers, config.hook.as_deref(), &ours)
        .context("write CDI specs")?;
    let infos = publish::infos(&config.devinfo_dir, &offers, &ours).context("write device-info")?;
    // before kubelet starts no container runs that could need them
    infos.remove(|_| false).context("remove what nothing stands behind")?;
    tracing::info!(resources = offers.len(), "published");
    Ok(())
}

fn check(config: &plugin::Config, output: Output) -> anyhow::Result<ExitCode> {
    let mut told = config.source.read(&config.root).context("see what would be offered")?;
    if matches!(config.source, Source::Pools(_)) {
        let (routes, packages) = (sriovdp::Routes::read(), sriovdp::Packages::default());
        let functions =
            sriovdp::functions(&config.root, &routes, &packages, sriovdp::Asks::default())
                .context("find the machine's functions")?;
        told.left_out = check::not_in_pools(&told.supplies, &functions);
    }
    let report = check::report(&told, &config.offers(&told.supplies));
    let text = match output {
        Output::Table => report.table(),
        Output::Json => {
            let json = serde_json::to_string_pretty(&report).context("write JSON")?;
            format!("{json}\n")
        }
    };
    std::io::stdout().write_all(text.as_bytes()).context("write to standard output")?;
    Ok(if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::from(ATTENTION) })
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
