//! Runs other programs: to completion with a log, or contained so that nothing outlives us.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::place::Place;

/// A command whose whole process tree and mounts vanish with it, and which vanishes with us: it is
/// the first process of a PID namespace of its own, with private mounts. Nobody has to clean up,
/// not even after SIGKILL.
pub(crate) fn contained(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .args(["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount", "--mount-proc", "--"])
        .arg(program);
    command
}

/// A cold compile of everything, on a slow machine.
pub(crate) const COMPILE: Duration = Duration::from_secs(40 * 60);

/// cargo, in the checkout, as a shell would start it. What `cargo run` has told us of our own
/// package would make build scripts that watch these variables (ring's does) run again, and all
/// that depends on them.
pub(crate) fn cargo(place: &Place) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&place.checkout);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// The same command under a time limit: coreutils' `timeout` ends its process group, then, and when
/// we are gone.
pub(crate) fn limited(command: &Command, limit: Duration) -> Command {
    let mut timeout = Command::new("setpriv");
    timeout.args(["--pdeathsig", "TERM", "timeout", "--kill-after=5"]);
    timeout.arg(format!("{:.0}", limit.as_secs_f64()));
    timeout.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timeout.env(name, value),
            None => timeout.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        timeout.current_dir(dir);
    }
    timeout
}

/// Runs a command with both outputs in a log file. A failure shows the log's end and its path.
pub(crate) fn logged(mut command: Command, log: &Path) -> Result<()> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("open the log {}", log.display()))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .with_context(|| format!("start {}", describe(&command)))?;
    if status.success() {
        return Ok(());
    }
    bail!("{} ended with {status}\n{}", describe(&command), tail(log, 15))
}

/// Runs a command and gives its standard output; the end of its standard error goes into the error.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}", describe(&command)))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if out.status.success() {
        return Ok(text(&out.stdout));
    }
    let said = text(&out.stderr);
    let lines: Vec<_> = said.lines().collect();
    let end = lines[lines.len().saturating_sub(40)..].join("\n");
    bail!("{} ended with {}: {end}", describe(&command), out.status)
}

/// The last lines of a log, indented, with its path.
pub(crate) fn tail(log: &Path, lines: usize) -> String {
    let text = fs::read(log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let all: Vec<_> = text.lines().collect();
    let end = all[all.len().saturating_sub(lines)..].join("\n    ");
    format!("    {end}\n  the whole log: {}", log.display())
}

/// A command as one would type it, without the containment in front.
fn describe(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    let from = words.iter().position(|w| w == "--").map_or(0, |i| i + 1);
    let line = words[from..].join(" ");
    match line.char_indices().nth(160) {
        Some((end, _)) => format!("`{} ...`", &line[..end]),
        None => format!("`{line}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_ends_what_hangs() {
        let mut hang = Command::new("sleep");
        hang.arg("1000").env("A", "b").current_dir("/");
        let status = limited(&hang, Duration::from_secs(1)).status().unwrap();
        assert_eq!(status.code(), Some(124));
    }

    #[test]
    fn a_failure_shows_the_end_of_the_log() {
        let log = std::env::temp_dir().join(format!("ringway-lab-run-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "seq 100; echo it broke >&2; exit 3"]);
        let error = format!("{:#}", logged(command, &log).unwrap_err());
        fs::remove_file(&log).unwrap();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("it broke"), "{error}");
        assert!(error.contains(&log.display().to_string()), "{error}");
        assert!(!error.contains("\n    42\n"), "{error}");
    }
}
