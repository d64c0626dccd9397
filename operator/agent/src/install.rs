//! `install`: puts what works at boot on the host: two programs, and the units that start them.

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

/// Installs, and enables the units for the next start of the machine. What is as it shall be is left
/// alone; a unit that is not asked for goes.
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
    let mut unit = |name, text: String, wanted_by: Option<&str>| -> Result<()> {
        written.extend(write_unit(&args.units, name, &text)?);
        if let Some(target) = wanted_by {
            written.extend(enable(&args.units, name, target)?);
        }
        Ok(())
    };
    let start = Some(unit::WANTED_BY);
    unit(unit::CARVE, unit::carve(args, state), start)?;
    match args.device_plugin {
        true => unit(unit::DEVICE_PLUGIN, unit::device_plugin(args, state), start)?,
        false => remove(&args.units, unit::DEVICE_PLUGIN)?,
    }
    unit(unit::COLLECT, unit::collect(&args.cni_bin), None)?;
    unit(unit::COLLECT_TIMER, unit::collect_timer(), Some(unit::TIMER_WANTED_BY))?;
    let lines = written.iter().map(|path| format!("{} written\n", path.display()));
    let text = lines.collect::<String>();
    local::print(if text.is_empty() { "everything is there already\n" } else { &text })
}

fn write_unit(units: &Path, name: &str, text: &str) -> Result<Option<PathBuf>> {
    let path = units.join(name);
    if atomic::read(&path, MAX_SIZE).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(None);
    }
    atomic::write(&path, text.as_bytes(), 0o644).context("write the unit")?;
    Ok(Some(path))
}

/// What `systemctl enable` does.
fn enable(units: &Path, name: &str, target: &str) -> Result<Option<PathBuf>> {
    let wants = wants(units, target);
    fs::create_dir_all(&wants).with_context(|| format!("make {}", wants.display()))?;
    let (link, unit) = (wants.join(name), Path::new("..").join(name));
    match symlink(&unit, &link) {
        Ok(()) => Ok(Some(link)),
        // somebody's own `systemctl enable` writes the whole path
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error).with_context(|| format!("enable {}", link.display())),
    }
}

fn wants(units: &Path, target: &str) -> PathBuf {
    units.join(format!("{target}.wants"))
}

fn remove(units: &Path, name: &str) -> Result<()> {
    for path in [wants(units, unit::WANTED_BY).join(name), units.join(name)] {
        atomic::remove(&path).context("remove the unit")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_written_and_enabled_once_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let units = dir.path();
        assert_eq!(
            write_unit(units, unit::CARVE, "text").unwrap(),
            Some(units.join("ringway.service"))
        );
        assert_eq!(write_unit(units, unit::CARVE, "text").unwrap(), None);
        let link = units.join("multi-user.target.wants/ringway.service");
        assert_eq!(enable(units, unit::CARVE, unit::WANTED_BY).unwrap(), Some(link.clone()));
        assert_eq!(enable(units, unit::CARVE, unit::WANTED_BY).unwrap(), None);
        assert_eq!(fs::read_to_string(&link).unwrap(), "text");
        assert!(write_unit(units, unit::CARVE, "other").unwrap().is_some());
        for _ in 0..2 {
            remove(units, unit::CARVE).unwrap();
            assert!(!link.is_symlink() && !units.join(unit::CARVE).exists());
        }
    }
}
