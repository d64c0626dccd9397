//! virt-launcher's side (`pkg/hooks/manager.go` of KubeVirt): it looks for sockets, asks each what
//! it can, takes the highest version that it knows, and dials anew for every call.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringway_proto::kubevirt::info::InfoParams;
use ringway_proto::kubevirt::info::info_client::InfoClient;
use ringway_proto::kubevirt::v1alpha3::callbacks_client::CallbacksClient;
use ringway_proto::kubevirt::v1alpha3::{OnDefineDomainParams, ShutdownParams};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// Versions that KubeVirt speaks, the newest first.
const VERSIONS: [&str; 3] = ["v1alpha3", "v1alpha2", "v1alpha1"];

/// A hook that has said what it can.
pub(crate) struct Manager {
    socket: PathBuf,
    pub(crate) version: &'static str,
    pub(crate) hook_points: Vec<String>,
}

impl Manager {
    /// Waits for the socket `name` in the directory, and asks.
    pub(crate) async fn collect(hooks: &Path, name: &str) -> Self {
        let socket = hooks.join(name);
        let deadline = Instant::now() + Duration::from_secs(30);
        let channel = loop {
            match dial(&socket).await {
                Ok(channel) => break channel,
                Err(e) => assert!(Instant::now() < deadline, "{}: {e}", socket.display()),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let info = InfoClient::new(channel).info(InfoParams {}).await.unwrap().into_inner();
        let spoken = VERSIONS.iter().find(|v| info.versions.iter().any(|spoken| spoken == *v));
        Self {
            socket,
            version: spoken.unwrap(),
            hook_points: info.hook_points.into_iter().map(|point| point.name).collect(),
        }
    }

    pub(crate) async fn define(&self, domain: &str, vmi: &str) -> Result<String, Status> {
        let params =
            OnDefineDomainParams { domain_xml: domain.into(), vmi: vmi.as_bytes().to_vec() };
        let answer = self.client().await.on_define_domain(params).await?;
        Ok(String::from_utf8(answer.into_inner().domain_xml).unwrap())
    }

    pub(crate) async fn shutdown(&self) -> Result<(), Status> {
        self.client().await.shutdown(ShutdownParams {}).await.map(drop)
    }

    async fn client(&self) -> CallbacksClient<Channel> {
        CallbacksClient::new(dial(&self.socket).await.unwrap())
    }
}

async fn dial(socket: &Path) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("unix://{}", socket.display()))?.connect().await
}
