//! Kubelet's registration service.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ringway_node::Resource;
use ringway_proto::kubelet::deviceplugin as dp;
use ringway_proto::kubelet::deviceplugin::registration_client::RegistrationClient;
use tonic::transport::Endpoint;

use crate::service;

/// Kubelet connects back, for up to 10 s, before it answers
/// (`pkg/kubelet/cm/devicemanager/plugin/v1beta1/client.go`).
const DEADLINE: Duration = Duration::from_secs(15);

/// Why kubelet does not know a resource.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kubelet's socket does not answer.
    #[error("connect to kubelet at {}", socket.display())]
    Connect {
        /// Kubelet's socket.
        socket: PathBuf,
        /// The transport's answer.
        source: tonic::transport::Error,
    },
    /// Kubelet refused, or did not answer in time.
    #[error("register {resource} with kubelet: {}", status.message())]
    Refused {
        /// The resource.
        resource: Resource,
        /// Kubelet's answer.
        status: Box<tonic::Status>,
    },
}

/// Tells the kubelet behind `socket` that `resource` is served on the socket `endpoint` beside it.
///
/// # Errors
/// [`Error::Connect`] and [`Error::Refused`].
pub async fn register(socket: &Path, resource: &Resource, endpoint: &str) -> Result<(), Error> {
    let channel = async {
        Endpoint::from_shared(format!("unix://{}", socket.display()))?
            .connect_timeout(DEADLINE)
            .timeout(DEADLINE)
            .connect()
            .await
    };
    let channel =
        channel.await.map_err(|source| Error::Connect { socket: socket.to_owned(), source })?;
    let request = dp::RegisterRequest {
        version: dp::VERSION.to_owned(),
        endpoint: endpoint.to_owned(),
        resource_name: resource.to_string(),
        options: Some(service::options()),
    };
    RegistrationClient::new(channel).register(request).await.map_err(|status| Error::Refused {
        resource: resource.clone(),
        status: Box::new(status),
    })?;
    Ok(())
}
