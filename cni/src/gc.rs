//! GC: undoes attachments of one network that the runtime does not know any more.
//!
//! Only those whose namespace is gone, whatever the list says: a runtime's list may be wrong, and
//! Multus never sends GC to secondary networks at all. Without a list (libcni sends none where its
//! caller gave none) nothing is known to be valid.

use std::path::PathBuf;

use crate::{
    error::{Error, Result},
    grant,
    ipam::Ipam,
    netconf::{NetConf, ValidAttachment},
    record::Record,
    undo,
    world::World,
};

/// Collects.
pub fn gc(world: &World, conf: &NetConf, path: &[PathBuf]) -> Result<()> {
    let valid = conf.valid_attachments.as_deref().unwrap_or_default();
    let mut errors = Vec::new();
    Record::remove_leftovers(&world.paths.attachments);
    for record in Record::list(&world.paths.attachments)? {
        if !is_garbage(&record, conf, valid) {
            continue;
        }
        let collected = match has_namespace(world, &record) {
            Ok(true) => continue,
            Ok(false) => collect(world, &record, path),
            Err(error) => Err(error),
        };
        match collected {
            Ok(more) => errors.extend(more),
            Err(error) => errors.push(error),
        }
    }
    // Each record's own IPAM DEL has run. What else the plugin remembers of this network, it finds
    // itself, if it can; without a list it would take the addresses of living pods.
    if let (Some(kind), Some(_)) = (conf.ipam.as_deref(), &conf.valid_attachments) {
        let ipam = Ipam { kind, path, conf: &conf.raw, args: "" };
        errors.extend(ipam.gc().err());
    }
    Error::all(errors).map_or(Ok(()), Err)
}

fn is_garbage(record: &Record, conf: &NetConf, valid: &[ValidAttachment]) -> bool {
    let known = valid.iter().any(|attachment| {
        attachment.container_id == record.container_id && attachment.ifname == record.ifname
    });
    record.network == conf.name && !known
}

/// Whether an attachment's namespace is there.
pub(crate) fn has_namespace(world: &World, record: &Record) -> Result<bool> {
    Ok(record.of_this_boot(&world.root)? && record.netns.find()?.is_some())
}

/// Undoes one whose namespace is gone; gives all that went wrong.
pub(crate) fn collect(world: &World, record: &Record, path: &[PathBuf]) -> Result<Vec<Error>> {
    let _lock = grant::lock(world, &record.device)?;
    let Some(mut record) = Record::read(&world.paths.attachments, &record.target())? else {
        return Ok(Vec::new());
    };
    // Another may have taken its name while we waited.
    if has_namespace(world, &record)? {
        return Ok(Vec::new());
    }
    tracing::info!(device = %record.device, holder = record.label(), "collecting");
    Ok(undo::undo(world, &mut record, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn garbage_is_of_the_network_and_not_listed() {
        let conf = json!({"cniVersion": "1.1.0", "name": "default/net", "type": "ringway",
            "cni.dev/valid-attachments": [{"containerID": "c2", "ifname": "net1"}]});
        let conf = NetConf::parse(conf.to_string().as_bytes()).unwrap();
        let valid = conf.valid_attachments.clone().unwrap();
        let check = |network: &str, container: &str, ifname: &str, expected: bool| {
            let record = Record {
                network: network.into(),
                container_id: container.into(),
                ifname: ifname.into(),
                ..crate::record::tests::sample()
            };
            assert_eq!(is_garbage(&record, &conf, &valid), expected, "{network} {container}");
        };
        check("default/net", "c1", "net1", true);
        check("default/net", "c2", "net1", false);
        check("default/net", "c2", "net2", true);
        check("other", "c1", "net1", false);
    }
}
