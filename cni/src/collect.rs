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
    /// How many have their namespaces.
    pub live: usize,
}

impl Collected {
    fn undone(&mut self, record: &Record) {
        let holder = record.label();
        tracing::info!(device = %record.device, holder, "taken back");
        self.undone.push(who(record));
    }

    fn kept(&mut self, record: &Record, why: &str) {
        let holder = record.label();
        tracing::warn!(device = %record.device, holder, reason = why, "left");
        self.kept.push(format!("{}: {why}", who(record)));
    }
}

fn who(record: &Record) -> String {
    format!("{} of {}", record.device, record.label())
}

/// Undoes attachments whose namespace was gone before `grace` and is so after it, IPAM included.
pub fn collect(world: &World, path: &[PathBuf], grace: Duration) -> Result<Collected> {
    let mut collected = Collected::default();
    let dead = dead(world, &mut collected)?;
    if !dead.is_empty() {
        thread::sleep(grace);
    }
    for record in dead {
        // another attachment of this name, or none, is somebody else's
        let known = Record::read(&world.paths.attachments, &record.target())?;
        let same = |now: &Record| (&now.device, now.since) == (&record.device, record.since);
        if !known.as_ref().is_some_and(same) {
            let (holder, reason) = (record.label(), "its DEL has come meanwhile");
            tracing::info!(device = %record.device, holder, reason, "left");
            continue;
        }
        let errors = gc::collect(world, &record, path).unwrap_or_else(|error| vec![error]);
        let left = Record::read(&world.paths.attachments, &record.target())?.is_some();
        match (errors.first(), left) {
            (Some(error), _) => collected.kept(&record, &error.chain()),
            (None, true) => collected.kept(&record, "the kernel has it still on its way"),
            (None, false) => collected.undone(&record),
        }
    }
    let Collected { undone, kept, live } = &collected;
    tracing::info!(undone = undone.len(), kept = kept.len(), live, "collected");
    Ok(collected)
}

fn dead(world: &World, collected: &mut Collected) -> Result<Vec<Record>> {
    let (records, unreadable) = Record::list_all(&world.paths.attachments)?;
    for error in unreadable.iter().map(Error::chain) {
        tracing::warn!(reason = error, "left");
        collected.kept.push(error);
    }
    let mut dead = Vec::new();
    for record in records {
        match gc::has_namespace(world, &record) {
            Ok(true) => collected.live += 1,
            Ok(false) => dead.push(record),
            Err(error) => collected.kept(&record, &error.chain()),
        }
    }
    Ok(dead)
}
