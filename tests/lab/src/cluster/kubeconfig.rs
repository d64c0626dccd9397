//! How clients of the cluster find it and say who they are.

use std::path::Path;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cluster::pki::{self, Authority};

/// Writes a kubeconfig with a client certificate of its own in it.
pub(super) fn write(path: &Path, ca: &Authority, user: &str, group: Option<&str>) -> Result<()> {
    pki::write_secret(path, &render(ca, user, group)?)
}

/// JSON is YAML: no quoting to get wrong.
fn render(ca: &Authority, user: &str, group: Option<&str>) -> Result<String> {
    let pair = ca.client(user, group)?;
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {
            "server": "https://10.77.0.1:6443",
            "certificate-authority-data": STANDARD.encode(&ca.certificate),
        }}],
        "users": [{"name": user, "user": {
            "client-certificate-data": STANDARD.encode(&pair.certificate),
            "client-key-data": STANDARD.encode(&pair.key),
        }}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
        "current-context": "lab",
    });
    Ok(serde_json::to_string_pretty(&config)?)
}
