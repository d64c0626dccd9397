//! Undoing what an attachment changed: for DEL, for GC, and for an ADD that failed or died.

use ringway_kernel::{netns::Netns, stuck};

use crate::{
    deviceinfo,
    error::{Code, Error, Result},
    ipam::Ipam,
    netdev::{self, Home, Outcome},
    record::{IpamRecord, Phase, Record},
    vf::{self, Change},
    world::World,
};

use std::path::PathBuf;

/// Undoes an attachment as far as it can, and removes its record when nothing is left. The
/// device's lock must be held.
///
/// Gives all that went wrong. Without an error the record may still be there, [`Phase::Away`]: the
/// kernel has the netdev still on its way, and the next one to lock the device finishes.
pub fn undo(world: &World, record: &mut Record, path: &[PathBuf]) -> Vec<Error> {
    undo_in(world, record, path, None)
}

/// As [`undo`], by one that has the pod's namespace open: it lives, whatever became of its path, and the
/// kernel brings nothing back until it is closed.
fn undo_in(
    world: &World,
    record: &mut Record,
    path: &[PathBuf],
    open: Option<&Netns>,
) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut phase = record.phase;
    // While the interface is still in the pod: dhcp says there that the address is free.
    if let Some(IpamRecord { kind, args, conf }) = &record.ipam {
        let target = record.target();
        match (Ipam { kind, path, conf, args }).del(&target) {
            Ok(()) => record.ipam = None,
            Err(error) => errors.push(error),
        }
    }
    match detach(world, record, open) {
        Ok(Outcome::Restored) => phase = Phase::Detached,
        Ok(Outcome::Away) => phase = Phase::Away,
        Err(error) => errors.push(error),
    }
    if let Some(name) = &record.device_info {
        match deviceinfo::remove(world, name) {
            Ok(()) => record.device_info = None,
            Err(error) => errors.push(error),
        }
    }
    let dir = &world.paths.attachments;
    let done = errors.is_empty() && phase == Phase::Detached;
    if !done {
        tracing::warn!(device = %record.device, phase = ?phase, "kept a record");
    }
    let changed = phase != record.phase;
    record.phase = phase;
    let kept = match (done, changed || errors.is_empty()) {
        (true, _) => record.remove(dir),
        (false, true) => record.write(dir),
        (false, false) => Ok(()),
    };
    errors.extend(kept.err());
    errors
}

/// The device's part.
fn detach(world: &World, record: &Record, open: Option<&Netns>) -> Result<Outcome> {
    if record.phase == Phase::Detached || !record.of_this_boot(&world.root)? {
        return Ok(Outcome::Restored);
    }
    let moves = record.attachment.moves_interface().then_some(record.before.as_ref()).flatten();
    if moves.is_none() && record.function.is_none() {
        // Nothing was changed.
        return Ok(Outcome::Restored);
    }
    let device = record.device.as_str();
    stuck::check(&world.paths.stuck, device, "detach", stuck::Reach::Device)?;
    let home = match moves {
        Some(before) => {
            let found = if open.is_none() { record.netns.find()? } else { None };
            let netns = open.or(found.as_ref());
            netdev::bring_home(&world.root, &record.place, netns, &before.name)?
        }
        None => Home::Gone,
    };
    if home == Home::Away {
        // It stays in the pod's VLAN for as long as somebody else has it.
        return Ok(Outcome::Away);
    }
    // The PF's part first: its function's interface has the address back only after that.
    let mut errors = match &record.function {
        Some(change) => vf::restore(world, change),
        None => Vec::new(),
    };
    if let (Home::Here(link), Some(before)) = (home, moves) {
        let by_pf = record.function.as_ref().is_some_and(Change::sets_mac);
        errors.extend(netdev::make_as_before(&record.place, &link, before, by_pf).err());
    }
    Error::all(errors).map_or(Ok(Outcome::Restored), Err)
}

/// Undoes an ADD unless told that it succeeded.
#[derive(Debug)]
pub struct Guard<'a> {
    world: &'a World,
    path: &'a [PathBuf],
    netns: &'a Netns,
    record: Record,
    armed: bool,
}

impl<'a> Guard<'a> {
    /// Writes the record of an ADD that begins, and undoes it when dropped.
    pub fn arm(
        world: &'a World,
        path: &'a [PathBuf],
        netns: &'a Netns,
        record: Record,
    ) -> Result<Self> {
        let guard = Self { world, path, netns, record, armed: true };
        guard.record.write(&world.paths.attachments)?;
        Ok(guard)
    }

    /// The record, to be completed.
    pub fn record(&mut self) -> &mut Record {
        &mut self.record
    }

    /// Has what the record says so far on the disk.
    pub fn write(&self) -> Result<()> {
        self.record.write(&self.world.paths.attachments)
    }

    /// Writes that the ADD succeeded; only then nothing is undone any more. An error if the pod's
    /// namespace went away meanwhile: nobody would use the device.
    pub fn disarm(mut self) -> Result<()> {
        if self.record.netns.find()?.is_none() {
            let path = self.record.netns.path.display();
            let text = format!("namespace {path} went away while its device was attached");
            return Err(Error::new(Code::TryAgain, text).advise("the pod has ended"));
        }
        self.record.phase = Phase::Attached;
        self.write()?;
        self.armed = false;
        Ok(())
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.armed {
            for error in undo_in(self.world, &mut self.record, self.path, Some(self.netns)) {
                tracing::error!(error = error.chain(), "undo of a failed ADD");
            }
        }
    }
}

/// Undoes what is left of earlier attachments of the record's device.
///
/// An error if one of them is still used, or something could not be put back.
pub fn remains(world: &World, record: &Record, path: &[PathBuf]) -> Result<()> {
    Record::remove_leftovers(&world.paths.attachments);
    for mut other in Record::list(&world.paths.attachments)? {
        if other.device != record.device || other.phase == Phase::Detached {
            continue;
        }
        if other.is_live(&world.root)? {
            let text = format!(
                "device {} is attached as {} in {}",
                other.device,
                other.label(),
                other.netns.path.display()
            );
            return Err(Error::new(Code::TryAgain, text));
        }
        tracing::info!(device = %other.device, holder = other.label(), "undoing remains");
        let errors = undo(world, &mut other, path);
        match other.phase {
            Phase::Detached => {
                for error in errors {
                    tracing::warn!(error = error.chain(), "the device is free, its record stays");
                }
            }
            _ => return Err(Error::all(errors).unwrap_or_else(|| away(&other))),
        }
    }
    Ok(())
}

fn away(record: &Record) -> Error {
    let text = format!(
        "device {}: its interface has not come back from {} of {}",
        record.device,
        record.netns.path.display(),
        record.label()
    );
    Error::new(Code::TryAgain, text)
}
