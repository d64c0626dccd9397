//! The log: one JSON object a line, to the file that the network names. Without one, to the node's
//! journal if it has one; errors to standard error besides.
//!
//! Never to standard output, which is the protocol's. JSON, so that what a tenant wrote cannot
//! make a line of its own. A subscriber of our own, because the usual one would be a third of the
//! binary.

use std::{
    fs::{DirBuilder, File},
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::fs::{AtFlags, Mode, OFlags};
use serde_json::{Map, Value};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::{
    error::{Code, Error, Result},
    invocation::Target,
    netconf::{Level, bad},
    world::World,
};

mod journal;

use journal::Journal;

/// How large a file may be when a verb begins to write to it, in bytes.
const MOST: u64 = 10 << 20;

/// Starts logging for one verb. Without a file all goes to the journal, and errors alone to standard
/// error, which runtimes keep; so it is where the file cannot be written, which is no reason not to
/// detach a device.
///
/// An error for a name that a tenant may not choose.
pub fn start(
    world: &World,
    file: Option<&str>,
    level: Option<Level>,
    target: Option<&Target>,
) -> Result<()> {
    if let Some(name) = file {
        check(world, name)?;
    }
    let opened = file.map(|name| open(world, name)).transpose();
    let at = |default: Level| level.unwrap_or(default).into();
    let without_file = || {
        let errors = Sink { level: at(Level::Error), to: To::lines(std::io::stderr()) };
        std::iter::once(errors).chain(journal(world, at(Level::Info))).collect()
    };
    let (sinks, problem) = match opened {
        Ok(Some(file)) => (vec![Sink { level: at(Level::Info), to: To::lines(file) }], None),
        Ok(None) => (without_file(), None),
        Err(problem) => (without_file(), Some(problem)),
    };
    let mut fields = Map::new();
    if let Some(Target { container_id, ifname, .. }) = target {
        fields.insert("containerID".to_owned(), container_id.as_str().into());
        fields.insert("ifname".to_owned(), ifname.as_str().into());
    }
    set(Log { fields, sinks });
    if let Some(problem) = problem {
        tracing::error!(error = problem.chain(), "no log file");
    }
    Ok(())
}

/// Starts logging for a command of the host's: to the journal alone, for it tells the rest itself.
pub fn start_host(world: &World) {
    let sinks: Vec<_> = journal(world, Level::Info.into()).into_iter().collect();
    if !sinks.is_empty() {
        set(Log { fields: Map::new(), sinks });
    }
}

fn journal(world: &World, level: tracing::Level) -> Option<Sink> {
    Journal::open(&world.journal).map(|journal| Sink { level, to: To::Journal(journal) })
}

fn set(log: Log) {
    // One that is set already is a test's.
    let _ = tracing::subscriber::set_global_default(log);
}

/// Whether a tenant may name a log file so.
fn check(world: &World, name: &str) -> Result<()> {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let bare = !name.starts_with('.') && (1..=100).contains(&name.len());
    if !bare || !name.bytes().all(inside) {
        let rule = format!("must be the bare name of a file in {}", world.logs.display());
        return Err(bad("logFile", name, &rule));
    }
    Ok(())
}

/// A file of the log directory, made where it is missing, written at its end.
fn open(world: &World, name: &str) -> Result<File> {
    let path = world.logs.join(name);
    let failed = |op| format!("{op} log file {}", path.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&world.logs)
        .map_err(Error::because(Code::Io, failed("make the directory of")))?;
    let dir = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::open(&world.logs, dir, Mode::empty())
        .map_err(Error::because(Code::Io, failed("open the directory of")))?;
    let open = || {
        // NONBLOCK: a pipe in its place must not make us wait.
        let flags = OFlags::WRONLY
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(0o640));
        file.map(File::from).map_err(Error::because(Code::Io, failed("open")))
    };
    let file = open()?;
    match set_aside(&dir, name, &file).map_err(Error::because(Code::Io, failed("set aside")))? {
        true => open(),
        false => Ok(file),
    }
}

/// Gives a file that is full another name, in place of the one that had it: a tenant's log takes
/// twice [`MOST`] of the node's disk and no more.
fn set_aside(dir: &OwnedFd, name: &str, file: &File) -> io::Result<bool> {
    let full = file.metadata()?;
    if full.len() < MOST || !full.is_file() || file.try_lock().is_err() {
        return Ok(false);
    }
    // Another process may have done so since we opened it.
    let now = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if (now.st_dev, now.st_ino) == (full.dev(), full.ino()) {
        rustix::fs::renameat(dir, name, dir, format!("{name}.old"))?;
    }
    Ok(true)
}

struct Log {
    fields: Map<String, Value>,
    sinks: Vec<Sink>,
}

struct Sink {
    level: tracing::Level,
    to: To,
}

enum To {
    Lines(Mutex<Box<dyn Write + Send>>),
    Journal(Journal),
}

impl To {
    fn lines(file: impl Write + Send + 'static) -> Self {
        Self::Lines(Mutex::new(Box::new(file)))
    }

    fn write(&self, level: tracing::Level, fields: &Map<String, Value>) {
        let lines = match self {
            Self::Lines(lines) => lines,
            Self::Journal(journal) => return journal.send(level, fields),
        };
        let mut line = Map::new();
        line.insert("time".to_owned(), now().into());
        line.insert("level".to_owned(), level.as_str().into());
        line.extend(fields.clone());
        let mut bytes = Value::Object(line).to_string().into_bytes();
        bytes.push(b'\n');
        if let Ok(mut lines) = lines.lock() {
            // Whole lines, so that those of several processes do not mix.
            let _ = lines.write_all(&bytes);
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.sinks.iter().any(|sink| *metadata.level() <= sink.level)
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        self.sinks.iter().map(|sink| sink.level).max().map(Into::into)
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = self.fields.clone();
        event.record(&mut Fields(&mut fields));
        let level = *event.metadata().level();
        let wanted = self.sinks.iter().filter(|sink| level <= sink.level);
        wanted.for_each(|sink| sink.to.write(level, &fields));
    }

    // No spans: a verb is one.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl From<Level> for tracing::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warning => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format_time(since.as_secs(), since.subsec_millis())
}

/// RFC 3339 in UTC. The date is Hinnant's `civil_from_days`: years begin in March, so that the
/// leap day is the last.
fn format_time(seconds: u64, millis: u32) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_735_689_599, "2024-12-31T23:59:59.007Z"),
            (1_795_543_200, "2026-11-24T18:00:00.007Z"),
        ] {
            assert_eq!(format_time(seconds, 7), expected);
        }
    }

    #[test]
    fn a_log_file_is_a_bare_name() {
        let dir = tempfile::tempdir().unwrap();
        let world = World::under(dir.path());
        for bad in ["", ".", "..", "../x", "/etc/x", "a/b", ".hidden", "a b", "a\nb"] {
            let error = check(&world, bad).unwrap_err();
            assert_eq!(error.code(), Code::Config, "{bad:?}");
            assert!(error.to_string().contains("logFile"), "{error}");
        }
        open(&world, "net.log").unwrap();
        assert!(world.logs.join("net.log").exists());
        std::os::unix::fs::symlink("/dev/null", world.logs.join("link")).unwrap();
        assert_eq!(open(&world, "link").unwrap_err().code(), Code::Io);
    }

    #[test]
    fn a_full_file_is_set_aside_and_the_one_before_goes() {
        let dir = tempfile::tempdir().unwrap();
        let world = World::under(dir.path());
        let file = open(&world, "net.log").unwrap();
        let path = |name: &str| world.logs.join(name);
        let length = |name: &str| fs::metadata(path(name)).map(|meta| meta.len()).ok();
        file.set_len(MOST - 1).unwrap();
        drop(open(&world, "net.log").unwrap());
        assert_eq!((length("net.log"), length("net.log.old")), (Some(MOST - 1), None));
        file.set_len(MOST).unwrap();
        drop(open(&world, "net.log").unwrap());
        assert_eq!((length("net.log"), length("net.log.old")), (Some(0), Some(MOST)));
        // one whose writer came late
        let dir = OwnedFd::from(File::open(&world.logs).unwrap());
        assert!(set_aside(&dir, "net.log", &file).unwrap(), "it is another file by now");
        assert_eq!((length("net.log"), length("net.log.old")), (Some(0), Some(MOST)));
        drop(file);
        let file = open(&world, "net.log").unwrap();
        file.set_len(MOST + 1).unwrap();
        open(&world, "net.log").unwrap().write_all(b"x").unwrap();
        assert_eq!((length("net.log"), length("net.log.old")), (Some(1), Some(MOST + 1)));
    }
}
