//! The way to the API server.

use anyhow::{Context, Result};
use kube::Client;
use tokio::sync::OnceCell;

/// The agent's name as a writer of objects, and as who reports events.
pub const MANAGER: &str = "ringway-agent";

/// The cluster that the node belongs to. Its client is made when it is first needed, which may be
/// long after the agent started: what the node was asked for last does not wait for it.
#[derive(Debug, Default)]
pub struct Cluster {
    client: OnceCell<NoDebug>,
}

/// The client has no words for itself.
struct NoDebug(Client);

impl std::fmt::Debug for NoDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Cluster {
    /// The cluster that a client reaches.
    pub fn of(client: Client) -> Self {
        Self { client: OnceCell::new_with(Some(NoDebug(client))) }
    }

    /// A client: with the pod's service account or, outside a cluster, with KUBECONFIG.
    pub async fn client(&self) -> Result<Client> {
        let found = self.client.get_or_try_init(|| async {
            Client::try_default().await.map(NoDebug).context("find the API server")
        });
        Ok(found.await?.0.clone())
    }
}
