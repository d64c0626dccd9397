//! `install`: puts what works at boot on the host: two programs, and the unit that starts them.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ringway_node::{atomic, program};

use crate::args::Install;
use crate::local;
use crate::unit;

/// The programs, which are beside each other in the image.
const PROGRAMS: [&str; 2] = ["ringway-agent", "ringway-device-plugin"];
/// The unit's text is far smaller.
const MAX_SIZE: u64 = 64 << 10;

/// Installs, and enables the unit for the next start of the machine. What is as it shall be is left
/// alone.
///
/// # Errors
/// A program is not beside this one, or a file cannot be written.
pub fn install(args: &Install, state: &Path) -> Result<()> {
    let own = std::env::current_exe().context("find the running program")?;
    let beside = own.parent().context("find the directory of the running program")?;
    let mut written = Vec::new();
    for name in PROGRAMS {
        let to = args.to.join(name);
        let new = program::install(&beside.join(name), &to);
        written.extend(new.with_context(|| format!("install {name}"))?.then_some(to));
    }
    written.extend(write_unit(&args.units, &unit::text(args, state))?);
    written.extend(enable(&args.units)?);
    let lines = written.iter().map(|path| format!("{} written\n", path.display()));
    let text = lines.collect::<String>();
    local::print(if text.is_empty() { "everything is there already\n" } else { &text })
}

fn write_unit(units: &Path, text: &str) -> Result<Option<PathBuf>> {
    let path = units.join(unit::NAME);
    if atomic::read(&path, MAX_SIZE).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(None);
    }
    atomic::write(&path, text.as_bytes(), 0o644).context("write the unit")?;
    Ok(Some(path))
}

/// What `systemctl enable` does.
fn enable(units: &Path) -> Result<Option<PathBuf>> {
    let wants = units.join(format!("{}.wants", unit::WANTED_BY));
    fs::create_dir_all(&wants).with_context(|| format!("make {}", wants.display()))?;
    let (link, target) = (wants.join(unit::NAME), Path::new("..").join(unit::NAME));
    match symlink(&target, &link) {
        Ok(()) => Ok(Some(link)),
        // somebody's own `systemctl enable` writes the whole path
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error).with_context(|| format!("enable {}", link.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_written_and_enabled_once() {
        let dir = tempfile::tempdir().unwrap();
        let units = dir.path();
        assert_eq!(write_unit(units, "text").unwrap(), Some(units.join("ringway.service")));
        assert_eq!(write_unit(units, "text").unwrap(), None);
        let link = units.join("multi-user.target.wants/ringway.service");
        assert_eq!(enable(units).unwrap(), Some(link.clone()));
        assert_eq!(enable(units).unwrap(), None);
        assert_eq!(fs::read_to_string(link).unwrap(), "text");
        assert!(write_unit(units, "other").unwrap().is_some());
    }
}
