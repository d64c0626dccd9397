//! See [`ringway_device_plugin`].

use anyhow::Context;
use clap::Parser;
use ringway_device_plugin::args::{Args, LogFormat, Verb};
use ringway_device_plugin::offer::Offers;
use ringway_device_plugin::{plugin, publish};
use ringway_node::pools;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    log_to_stderr(args.log_format);
    if let Some(Verb::Publish) = args.verb {
        return publish_once(&args.config());
    }
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
            plugin::run(args.config(), shutdown).await;
            Ok(())
        })
}

/// What is offered nowhere needs no files.
fn publish_once(config: &plugin::Config) -> anyhow::Result<()> {
    let offers = match config.observe() {
        Err(pools::Error::File(error)) if error.is_not_found() => Offers::new(),
        observed => observed.context("see what is offered")?,
    };
    publish::specs(&config.cdi_dir, &offers, config.hook.as_deref()).context("write CDI specs")?;
    publish::infos(&config.devinfo_dir, &offers).context("write device-info")?;
    tracing::info!(resources = offers.len(), "published");
    Ok(())
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
