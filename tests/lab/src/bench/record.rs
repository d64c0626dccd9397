//! How long the demo took, step by step: it writes that down itself, in the cache, so that a cold
//! run's figures outlive the run.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::row::Row;
use crate::parts;
use crate::store;

/// What the demo is to take, in seconds, on two processors without KVM.
const COLD: f64 = 1200.0;
const WARM: f64 = 240.0;
/// Words of a step's name that its slug does without.
const FILLERS: [&str; 15] = [
    "a", "an", "and", "both", "for", "from", "is", "it", "its", "let", "of", "the", "to", "until",
    "whether",
];
/// Words of a slug.
const LONGEST: usize = 3;

/// Where a run of the demo began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With no part at all.
    Cold,
    /// With every part it needed.
    Warm,
    /// With some: its figures are comparable with no other's, and are not kept.
    Between,
}

/// The last run of each kind.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Records {
    cold: Option<Record>,
    warm: Option<Record>,
}

/// One run.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    /// From its start to its end, in seconds: a bit more than its steps together.
    total: f64,
    steps: Vec<Step>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Step {
    what: String,
    seconds: f64,
}

impl Start {
    /// From the parts that the cache held before the run, and after.
    pub(crate) fn of(before: &BTreeSet<PathBuf>, after: &BTreeSet<PathBuf>) -> Self {
        let ours = |dir: &&PathBuf| store::name_of(dir).is_some_and(|n| parts::NAMES.contains(&n));
        if after.difference(before).filter(ours).count() == 0 {
            return Self::Warm;
        }
        if before.iter().filter(ours).count() == 0 { Self::Cold } else { Self::Between }
    }
}

/// Remembers a run, unless it began in between.
pub(crate) fn keep(
    cache: &Path,
    start: Start,
    steps: &[(String, Duration)],
    total: Duration,
) -> Result<()> {
    // what a killed or older program left is no reason to fail: it is written anew
    let mut records = read(cache).unwrap_or_default();
    let steps = steps.iter().map(|(what, took)| Step { what: what.clone(), seconds: exact(*took) });
    let record = Some(Record { total: exact(total), steps: steps.collect() });
    match start {
        Start::Cold => records.cold = record,
        Start::Warm => records.warm = record,
        Start::Between => return Ok(()),
    }
    write(&file(cache), &serde_json::to_vec_pretty(&records)?)
}

/// What is remembered.
pub(super) fn read(cache: &Path) -> Result<Records> {
    let path = file(cache);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .with_context(|| format!("{}: not as `cargo lab demo` writes it", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Records::default()),
        Err(e) => Err(e).with_context(|| format!("read {}", path.display())),
    }
}

impl Records {
    /// The cold run. Where there was none, each part still knows how long its own build took:
    /// `built` is asked for that.
    pub(super) fn cold(&self, built: impl Fn(&str) -> Option<f64>) -> Vec<Row> {
        if let Some(record) = &self.cold {
            return record.rows("demo.cold", COLD);
        }
        let row = |name| Some(Row::new(format!("demo.cold.build-{name}"), built(name)?, "s"));
        parts::NAMES.into_iter().filter_map(row).collect()
    }

    /// Whether there was a cold run.
    pub(super) fn has_cold(&self) -> bool {
        self.cold.is_some()
    }

    /// The warm run.
    pub(super) fn warm(&self) -> Vec<Row> {
        self.warm.as_ref().map(|record| record.rows("demo.warm", WARM)).unwrap_or_default()
    }
}

impl Record {
    /// A row for each step, in order, and one for all; equal steps are one.
    fn rows(&self, prefix: &str, aim: f64) -> Vec<Row> {
        let mut steps: Vec<(String, f64)> = Vec::new();
        for Step { what, seconds } in &self.steps {
            let slug = slug(what);
            match steps.iter_mut().find(|(known, _)| *known == slug) {
                Some((_, sum)) => *sum += seconds,
                None => steps.push((slug, *seconds)),
            }
        }
        let steps = steps.into_iter();
        let mut rows: Vec<_> =
            steps.map(|(slug, sum)| Row::new(format!("{prefix}.{slug}"), sum, "s")).collect();
        rows.push(Row::new(format!("{prefix}.total"), self.total, "s").against("aim", aim));
        rows
    }
}

/// The first words of a step's name that say something: `boot the node (tcg)` gives `boot-node`.
fn slug(step: &str) -> String {
    let said = step.split(" (").next().unwrap_or_default().to_lowercase();
    let letters = |word: &str| -> String {
        let word = word.strip_suffix("'s").unwrap_or(word);
        word.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
    };
    let words = said.split_whitespace().map(letters);
    let words = words.filter(|word| !word.is_empty() && !FILLERS.contains(&word.as_str()));
    words.take(LONGEST).collect::<Vec<_>>().join("-")
}

/// Seconds, to the millisecond.
fn exact(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

fn file(cache: &Path) -> PathBuf {
    cache.join("demo.json")
}

/// Whole or not at all: another lab may read it at any time, and a run can be killed.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension(format!("json.{}", std::process::id()));
    let whole = || -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    whole()
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests;
