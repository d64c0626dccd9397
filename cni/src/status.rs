//! STATUS: whether an ADD could be served now.

use std::path::PathBuf;

use crate::{
    error::{Code, Error, Result},
    grant,
    ipam::Ipam,
    netconf::NetConf,
    world::World,
};

/// Looks for what every ADD needs: the node's pools, and the IPAM plugin where there is one, which is
/// asked in its turn. Attachments that there are go on working, so that it is never code 51.
pub fn status(world: &World, conf: &NetConf, path: &[PathBuf]) -> Result<()> {
    grant::read_pools(world).map_err(unavailable)?;
    if let Some(kind) = conf.ipam.as_deref() {
        let ipam = Ipam { kind, path, conf: &conf.raw, args: "" };
        ipam.status().map_err(unavailable)?;
    }
    Ok(())
}

fn unavailable(error: Error) -> Error {
    Error::because(Code::Unavailable, "ringway is not ready")(error)
}
