//! `run`: leads, works while it leads, and gives the lease back at the end.

use anyhow::{Context as _, Result, anyhow};
use kube::{Api, Client};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::args::Run;
use crate::lease::Candidate;
use crate::{controller, health};

/// Works until SIGTERM or SIGINT. An error if the lease was lost: the process must then end, as
/// another replica may already be writing.
pub async fn run(args: Run) -> Result<()> {
    let timing = args.timing().map_err(|error| anyhow!(error))?;
    let client = Client::try_default().await.context("find the API server")?;
    let identity = args.identity.clone().map_or_else(host_name, Ok)?;
    let namespace = args.namespace.clone();
    let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    if let Some(address) = args.health {
        let listener = health::listen(address)
            .await
            .with_context(|| format!("listen on {address} for probes"))?;
        tokio::spawn(health::serve(listener));
    }
    let leases = Api::namespaced(client.clone(), &namespace);
    let mut candidate = Candidate::new(leases, args.lease, identity, timing);
    let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
    let ended = tokio::select! {
        ended = lead(client, &mut candidate) => ended,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    if ended.is_ok() {
        info!("told to end");
        candidate.release().await;
    }
    ended
}

/// Works from when the lease is held until it is lost.
pub async fn lead(client: Client, candidate: &mut Candidate) -> Result<()> {
    candidate.acquire().await;
    tokio::select! {
        lost = candidate.hold() => Err(lost.into()),
        () = controller::run(client) => Ok(()),
    }
}

fn host_name() -> Result<String> {
    let path = "/proc/sys/kernel/hostname";
    let name = std::fs::read_to_string(path)
        .with_context(|| format!("read {path}: name this replica with --identity"))?;
    Ok(name.trim_end().to_owned())
}
