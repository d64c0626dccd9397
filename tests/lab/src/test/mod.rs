//! `cargo lab test`: all rings in one run, one line per test, one total.

mod case;
mod junit;
mod rings;

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::place::Place;
use crate::progress::Progress;
use crate::test::case::Outcome;
use crate::test::rings::Rings;

/// What `cargo lab test` may be asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A ring (style, hermetic, kernel, faults, cluster) or a part of a test's name; none runs everything
    filter: Option<String>,
    /// Name the selected tests without running them
    #[arg(long)]
    list: bool,
    /// Also write the results to this file as JUnit XML
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Runs the selected tests. The exit status is a failure if any of them failed, or none was found.
pub(crate) fn run(place: &Place, options: &Options) -> Result<ExitCode> {
    let progress = Progress::new();
    let rings = Rings::select(place, &progress, options.filter.as_deref())?;
    if options.list {
        let names: String = rings.names().map(|n| format!("{n}\n")).collect();
        stdout().write_all(names.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let outcomes = rings.run(place, &progress, &show)?;
    if let Some(file) = &options.report {
        junit::write(file, &outcomes).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(total(&outcomes))
}

/// One line per test as it ends; what it has to show, and a failure's output, below it.
fn show(outcome: &Outcome) {
    let word = if outcome.failure.is_none() { "ok    " } else { "FAILED" };
    let mut text = format!("{word} {:>7.2} s  {}\n", outcome.seconds, outcome.case.name());
    let shown = outcome.shown.iter().map(String::as_str);
    for line in shown.chain(outcome.failure.iter().flat_map(|failure| failure.lines())) {
        text += &format!("       | {line}\n");
    }
    stderr().write_all(text.as_bytes()).ok();
}

fn total(outcomes: &[Outcome]) -> ExitCode {
    let failed: Vec<_> = outcomes.iter().filter(|o| o.failure.is_some()).collect();
    for outcome in &failed {
        eprintln!("failed: {}", outcome.case.name());
    }
    println!("{} passed, {} failed", outcomes.len() - failed.len(), failed.len());
    if failed.is_empty() && !outcomes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
