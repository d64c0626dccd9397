//! Objects that the scenarios begin with.

use ringway_fake_api_server::ApiServer;
use serde_json::{Value, json};

/// The card that node `a` has.
pub(crate) const CARD: &str = "0000:01:00.0";

/// A cluster with a node `a` that has a virtio card, and a policy `edge` for it.
pub(crate) fn cluster() -> ApiServer {
    let server = ApiServer::default();
    server.put(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}));
    server.put(json!({
        "apiVersion": "ringway.dev/v1alpha1", "kind": "NodeDevices", "metadata": {"name": "a"},
        "spec": {"parents": []},
        "status": {"observedGeneration": 1, "parents": [{
            "name": CARD, "driver": "virtio-pci", "maxFunctions": 4,
            "identity": {"vendor": "1af4", "device": "1041", "mac": "52:54:00:00:00:01"},
            "attach": ["vhost-vdpa", "virtio-vdpa"],
        }]},
    }));
    server.put(json!({
        "apiVersion": "ringway.dev/v1alpha1", "kind": "DevicePolicy", "metadata": {"name": "edge"},
        "spec": {
            "parents": [{"pci": {"vendor": "1af4"}}], "functionCount": 4,
            "pools": [{"name": "vms", "resource": "vms", "range": "0-3", "attach": "vhost-vdpa"}],
        },
    }));
    server
}

/// A network `apps/n` for that policy.
pub(crate) fn network() -> Value {
    json!({
        "apiVersion": "ringway.dev/v1alpha1", "kind": "DeviceNetwork",
        "metadata": {"name": "n", "namespace": "apps"}, "spec": {"resource": "vms"},
    })
}

/// The reason of an object's `Ready`, or nothing.
pub(crate) fn ready(server: &ApiServer, path: &str) -> Option<String> {
    let object = server.get(path)?;
    let conditions = object["status"]["conditions"].as_array()?;
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
    Some(ready["reason"].as_str()?.to_owned())
}

/// Until it is ready for this reason.
pub(crate) async fn until_ready(server: &ApiServer, path: &str, reason: &str) {
    let look = |server: &ApiServer| ready(server, path);
    server.until(look, |seen| seen.as_deref() == Some(reason)).await;
}
