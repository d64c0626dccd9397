//! Which devices pods hold, as kubelet tells: their device-info stays as long. A CDI spec does not: it
//! would go on to name a node whose number may be another device's by then.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringway_node::devinfo;
use ringway_proto::kubelet::podresources::ListPodResourcesRequest;
use ringway_proto::kubelet::podresources::pod_resources_lister_client::PodResourcesListerClient;
use tonic::transport::Endpoint;

/// Kubelet answers from memory; one that does not within this time does not answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// Kubelet's own bound for this service (`pkg/kubelet/apis/podresources/constants.go`).
const MAX_ANSWER: usize = 16 << 20;

/// Names of device-info files of devices that pods hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held(BTreeSet<String>);

/// Why it is not known who holds what.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kubelet's socket does not answer.
    #[error("connect to kubelet at {}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// The transport's answer.
        source: tonic::transport::Error,
    },
    /// Kubelet does not say.
    #[error("ask kubelet which pods hold devices: {}", .0.message())]
    Refused(Box<tonic::Status>),
}

impl Held {
    /// A device of a resource.
    pub fn insert(&mut self, resource: &str, id: &str) {
        self.0.insert(devinfo::file_name(&resource.replace('/', "-"), id));
    }

    /// Whether a file of this name is about one.
    pub fn has(&self, file: &str) -> bool {
        self.0.contains(file)
    }
}

/// Asks the kubelet behind `socket`.
///
/// # Errors
/// It does not answer.
pub async fn held(socket: &Path) -> Result<Held, Error> {
    let connect = async {
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
        endpoint.connect_timeout(DEADLINE).timeout(DEADLINE).connect().await
    };
    let channel =
        connect.await.map_err(|source| Error::Connect { socket: socket.to_owned(), source })?;
    let mut client = PodResourcesListerClient::new(channel).max_decoding_message_size(MAX_ANSWER);
    let pods = client.list(ListPodResourcesRequest {}).await;
    let pods = pods.map_err(|status| Error::Refused(Box::new(status)))?.into_inner();
    let mut held = Held::default();
    let containers = pods.pod_resources.iter().flat_map(|pod| &pod.containers);
    for devices in containers.flat_map(|container| &container.devices) {
        devices.device_ids.iter().for_each(|id| held.insert(&devices.resource_name, id));
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_about_held_devices_are_known_by_name() {
        let mut held = Held::default();
        held.insert("ringway.dev/vm-rings", "0000:01:00.1");
        held.insert("intel.com/nics", "0000:01:00.2");
        for name in [
            "ringway.dev-vm-rings-0000:01:00.1-device.json",
            "intel.com-nics-0000:01:00.2-device.json",
        ] {
            assert!(held.has(name), "{name}");
        }
        assert!(!held.has("ringway.dev-vm-rings-0000:01:00.2-device.json"));
    }
}
