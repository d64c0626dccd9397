//! What kubelet says about devices: which it may hand out, and which pods hold.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use ringway_proto::kubelet::podresources::pod_resources_lister_client::PodResourcesListerClient;
use ringway_proto::kubelet::podresources::{
    AllocatableResourcesRequest, ContainerDevices, ListPodResourcesRequest,
};
use tonic::transport::Endpoint;

use crate::holders::Holders;

/// Kubelet answers from memory; one that does not within this time does not answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Kubelet's own bound for this service (`pkg/kubelet/apis/podresources/constants.go`).
const MAX_ANSWER: usize = 16 << 20;
/// Only our resources matter.
const PREFIX: &str = "ringway.dev/";

/// Kubelet's view of our devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Devices that it may hand out, or has handed out.
    pub allocatable: BTreeSet<String>,
    /// Devices that pods hold, with the pods.
    pub held: Holders,
}

/// Where kubelet tells which pods hold devices, below its own directory.
pub fn directory(kubelet: &Path) -> PathBuf {
    kubelet.join("pod-resources")
}

fn socket(kubelet: &Path) -> PathBuf {
    directory(kubelet).join("kubelet.sock")
}

/// Whether a kubelet has ever run here: it makes the directory, and leaves it when it stops.
pub fn is_installed(kubelet: &Path) -> bool {
    directory(kubelet).exists()
}

/// Whether a kubelet runs now: not if its socket is not there, or nobody listens on it.
///
/// # Errors
/// It cannot be told.
pub fn runs(kubelet: &Path) -> Result<bool> {
    let socket = socket(kubelet);
    match UnixStream::connect(&socket) {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => Ok(false),
            _ => Err(error).with_context(|| format!("connect to kubelet at {}", socket.display())),
        },
    }
}

/// Asks kubelet, through `pod-resources/kubelet.sock` below its directory.
pub async fn view(kubelet: &Path) -> Result<View> {
    let socket = socket(kubelet);
    let channel = Endpoint::from_shared(format!("unix://{}", socket.display()))?
        .connect_timeout(DEADLINE)
        .timeout(DEADLINE)
        .connect()
        .await
        .with_context(|| format!("connect to kubelet at {}", socket.display()))?;
    let mut client = PodResourcesListerClient::new(channel).max_decoding_message_size(MAX_ANSWER);
    let allocatable = client
        .get_allocatable_resources(AllocatableResourcesRequest {})
        .await
        .context("ask kubelet what it may hand out")?
        .into_inner();
    let pods = client
        .list(ListPodResourcesRequest {})
        .await
        .context("ask kubelet which pods hold devices")?
        .into_inner();
    let mut view = View { allocatable: ours(&allocatable.devices).collect(), ..View::default() };
    for pod in pods.pod_resources {
        for container in &pod.containers {
            for id in ours(&container.devices) {
                view.held.insert(id, format!("pod {}/{} holds it", pod.namespace, pod.name));
            }
        }
    }
    Ok(view)
}

fn ours(devices: &[ContainerDevices]) -> impl Iterator<Item = String> {
    devices
        .iter()
        .filter(|devices| devices.resource_name.starts_with(PREFIX))
        .flat_map(|devices| devices.device_ids.iter().cloned())
}
