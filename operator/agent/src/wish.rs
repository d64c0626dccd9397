//! What the node shall be, and that it is known before the API server answers.

use anyhow::{Context, Result};
use ringway_api::node_devices::NodeDevicesSpec;
use ringway_node::atomic;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::files::Files;

/// A spec that was accepted once is far smaller.
const MAX_WISH: u64 = 4 << 20;

/// What the node shall be, and which generation of its object says so.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// The generation; absent if no object said it.
    pub generation: Option<i64>,
    /// The spec.
    pub spec: NodeDevicesSpec,
}

impl Wish {
    /// The last accepted one: what holds until the API server answers.
    pub fn remembered(files: &Files) -> Option<Self> {
        let bytes = match atomic::read(&files.shared.node, MAX_WISH) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return None,
            Err(error) => {
                warn!(error = %error, "the last wish cannot be read");
                return None;
            }
        };
        serde_json::from_slice(&bytes)
            .inspect_err(|error| warn!(%error, "the last wish cannot be understood"))
            .ok()
    }

    /// Keeps it for the next start.
    pub fn remember(&self, files: &Files) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(self)?;
        if atomic::read(&files.shared.node, MAX_WISH).ok().as_ref() != Some(&bytes) {
            atomic::write(&files.shared.node, &bytes, 0o600).context("remember the wish")?;
        }
        Ok(())
    }
}
