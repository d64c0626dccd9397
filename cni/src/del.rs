//! DEL: a device becomes the node's again. It collects what goes wrong and goes on, and succeeds
//! when things are gone.

use crate::{
    add::Call,
    error::{Error, Result},
    grant,
    record::Record,
    undo,
    world::World,
};

/// Detaches.
pub fn del(world: &World, call: Call<'_>) -> Result<()> {
    let dir = &world.paths.attachments;
    Record::remove_leftovers(dir);
    let (record, mut errors) = match Record::read(dir, call.target) {
        Ok(record) => (record, Vec::new()),
        // The addresses can be given back all the same.
        Err(error) => (None, vec![error]),
    };
    let Some(record) = record else {
        if let Some(ipam) = call.ipam() {
            errors.extend(ipam.del(call.target).err());
        }
        return finish(errors);
    };
    let _lock = grant::lock(world, &record.device)?;
    // Again: whoever held the lock may have undone it, or be an ADD that has now come so far.
    if let Some(mut record) = Record::read(dir, call.target)? {
        // What the runtime says now is newer than what ADD was told.
        if let (Some(ipam), Some(recorded)) = (call.ipam(), record.ipam.as_mut()) {
            ipam.kind.clone_into(&mut recorded.kind);
            ipam.args.clone_into(&mut recorded.args);
            recorded.conf.clone_from(ipam.conf);
        }
        errors.extend(undo::undo(world, &mut record, call.path));
        tracing::info!(device = %record.device, vdpa = record.place.vdpa(), errors = errors.len(), "detached");
    }
    finish(errors)
}

fn finish(errors: Vec<Error>) -> Result<()> {
    Error::all(errors).map_or(Ok(()), Err)
}
