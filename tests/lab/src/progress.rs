//! What a person sees while something long runs: one line per step, with its time.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Prints steps to standard error, each with its time.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
    terminal: bool,
    done: Mutex<Vec<(String, Duration)>>,
}

impl Progress {
    /// Starts the clock.
    pub(crate) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { start: Instant::now(), terminal, done: Mutex::default() }
    }

    /// Prints one line with the time since the start.
    pub(crate) fn say(&self, line: &str) {
        eprintln!("{} {line}", self.clock());
    }

    /// Runs one step: says that it began, that it still runs, and how long it took.
    pub(crate) fn step<T>(&self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        self.say(&format!("{what} ..."));
        let (done, ended) = mpsc::channel::<()>();
        let result = thread::scope(|scope| {
            scope.spawn(|| self.tick(what, began, ended));
            let result = work();
            drop(done);
            result
        });
        let took = began.elapsed();
        let word = if result.is_ok() { "done" } else { "FAILED" };
        self.say(&format!("{what}: {word} in {}", seconds(took)));
        if result.is_ok()
            && let Ok(mut done) = self.done.lock()
        {
            done.push((what.to_owned(), took));
        }
        result
    }

    /// The steps that are done, in the order of their ends, with the time that each took.
    pub(crate) fn done(&self) -> Vec<(String, Duration)> {
        self.done.lock().map(|done| done.clone()).unwrap_or_default()
    }

    /// The time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn tick(&self, what: &str, began: Instant, ended: mpsc::Receiver<()>) {
        // a terminal's line is rewritten each second; a log gets a line each half minute
        let every = Duration::from_secs(if self.terminal { 1 } else { 30 });
        while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            let line = format!("{} {what} ... {}", self.clock(), seconds(began.elapsed()));
            if self.terminal {
                eprint!("\r\x1b[K{line}");
                let _ = std::io::stderr().flush();
            } else {
                eprintln!("{line}");
            }
        }
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }

    fn clock(&self) -> String {
        format!("[{:>8}]", seconds(self.start.elapsed()))
    }
}

/// A duration as a person reads it: `4.2 s`, `3 m 05 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    let s = duration.as_secs_f64();
    if s < 100.0 {
        format!("{s:.1} s")
    } else {
        format!("{} m {:02} s", duration.as_secs() / 60, duration.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_not_done() {
        let progress = Progress::new();
        progress.step("a", || Ok(())).unwrap();
        progress.step("b", || anyhow::bail!("no luck") as Result<()>).unwrap_err();
        progress.step("c", || Ok(())).unwrap();
        let names: Vec<_> = progress.done().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "c"]);
    }
}
