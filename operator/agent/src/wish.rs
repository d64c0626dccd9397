//! `node.json`: what the node shall be by the last word of the cluster. It holds until the API
//! server answers, and at boot before anybody does.

use anyhow::{Context, Result};
use ringway_api::node_devices::NodeDevicesSpec;
use ringway_node::atomic;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::files::Files;

/// A spec that was accepted once is far smaller.
const MAX_SIZE: u64 = 4 << 20;

/// What the node shall be, and which generation of its object says so.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// Of the object; `None` before there was one.
    pub generation: Option<i64>,
    /// What it shall be.
    pub spec: NodeDevicesSpec,
    /// Whether the node is to be left. Only while the cluster says so: it is not remembered.
    #[serde(skip)]
    pub leaving: bool,
}

impl Wish {
    /// The last accepted one, or none if it cannot be known: what holds until the API server
    /// answers.
    pub(crate) fn remembered(files: &Files) -> Option<Self> {
        let wish = read(files);
        wish.inspect_err(|error| warn!(error = format!("{error:#}"), "it is not known"))
            .ok()
            .flatten()
    }
}

/// The last accepted wish; `None` if there never was one.
///
/// # Errors
/// The file is there and cannot be read or understood.
pub fn read(files: &Files) -> Result<Option<Wish>> {
    let path = &files.shared.node;
    let bytes = match atomic::read(path, MAX_SIZE) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error).context("read the last wish"),
    };
    let wish = serde_json::from_slice(&bytes);
    wish.map(Some).with_context(|| format!("parse the last wish {}", path.display()))
}

/// Keeps a wish for the next start, which may come before the API server answers.
///
/// # Errors
/// The file cannot be written.
pub fn remember(files: &Files, wish: &Wish) -> Result<()> {
    let (path, bytes) = (&files.shared.node, serde_json::to_vec_pretty(wish)?);
    if atomic::read(path, MAX_SIZE).ok().as_ref() != Some(&bytes) {
        atomic::write(path, &bytes, 0o600).context("remember the wish")?;
    }
    Ok(())
}

/// Forgets what is wished of some parents, or all of it.
///
/// # Errors
/// The file cannot be read, understood or written.
pub fn forget(files: &Files, parents: Option<&[String]>) -> Result<()> {
    let Some(parents) = parents else {
        return Ok(atomic::remove(&files.shared.node)?);
    };
    let Some(mut wish) = read(files)? else { return Ok(()) };
    wish.spec.parents.retain(|parent| !parents.contains(&parent.name));
    remember(files, &wish)
}
