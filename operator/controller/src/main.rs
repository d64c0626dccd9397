//! See [`ringway_operator`].

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use ringway_operator::args::{Args, Command, LogFormat};
use ringway_operator::{check, crds, remove, run};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    match carry_out(Args::parse().into_command()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ringway-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    match command {
        Command::Crds => print!("{}", crds::all().context("print the definitions")?),
        Command::Run(args) => {
            log_to_stderr(args.log_format);
            runtime.block_on(run::run(args))?;
        }
        Command::Remove(args) => {
            log_to_stderr(LogFormat::Text);
            let wait = Duration::from_secs(args.wait.into());
            runtime.block_on(async {
                let client = kube::Client::try_default().await.context("find the API server")?;
                remove::remove(&client, wait).await
            })?;
        }
        Command::Check(args) => {
            log_to_stderr(LogFormat::Text);
            let wait = Duration::from_secs(args.wait.into());
            let report = runtime.block_on(check::check(wait))?;
            print!("{report}");
            return Ok(if report.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
