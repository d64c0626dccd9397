//! `ringway collect`: what GC would do for networks that no runtime sends GC for, which are all but
//! the default one where Multus is.
//!
//! An attachment whose namespace is gone has no pod any more; its DEL may still be on its way, or
//! never come. So it is looked for twice, and in between is the time that a DEL has.

use std::{path::PathBuf, thread, time::Duration};

use crate::{
    error::{Error, Result},
    gc,
    record::Record,
    world::World,
};

/// What became of it.
#[derive(Debug, Default)]
pub struct Collected {
    /// Whose attachments are undone.
    pub undone: Vec<String>,
    /// Those that could not be, or not yet: the next run tries again.
    pub kept: Vec<String>,
}

/// Undoes attachments whose namespace was gone before `grace` and is so after it, IPAM included.
pub fn collect(world: &World, path: &[PathBuf], grace: Duration) -> Result<Collected> {
    let mut collected = Collected::default();
    let dead = dead(world, &mut collected)?;
    if dead.is_empty() {
        return Ok(collected);
    }
    thread::sleep(grace);
    for record in dead {
        // another attachment of this name, or none, is somebody else's
        let known = Record::read(&world.paths.attachments, &record.target())?;
        let same = |now: &Record| (&now.device, now.since) == (&record.device, record.since);
        if !known.as_ref().is_some_and(same) {
            continue;
        }
        let who = format!("{} of {}", record.device, record.label());
        let errors = gc::collect(world, &record, path).unwrap_or_else(|error| vec![error]);
        let left = Record::read(&world.paths.attachments, &record.target())?.is_some();
        match (errors.first(), left) {
            (Some(error), _) => collected.kept.push(format!("{who}: {}", error.chain())),
            (None, true) => {
                collected.kept.push(format!("{who}: the kernel has it still on its way"))
            }
            (None, false) => collected.undone.push(who),
        }
    }
    Ok(collected)
}

fn dead(world: &World, collected: &mut Collected) -> Result<Vec<Record>> {
    let (records, unreadable) = Record::list_all(&world.paths.attachments)?;
    collected.kept.extend(unreadable.iter().map(Error::chain));
    let mut dead = Vec::new();
    for record in records {
        match gc::has_namespace(world, &record) {
            Ok(true) => {}
            Ok(false) => dead.push(record),
            Err(error) => {
                let who = format!("{} of {}", record.device, record.label());
                collected.kept.push(format!("{who}: {}", error.chain()));
            }
        }
    }
    Ok(dead)
}
