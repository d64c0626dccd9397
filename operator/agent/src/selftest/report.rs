//! What a selftest found, as a page of Markdown that can be put into docs/hardware.md.

use std::fmt;
use std::time::Duration;

use ringway_kernel::inventory::Parent;

use crate::plan::card;

/// One thing that was tried.
#[derive(Debug)]
pub(super) struct Check {
    /// The attach kind, or the two between which a function was changed.
    pub(super) attach: String,
    /// What was tried.
    pub(super) what: String,
    /// How long it took.
    pub(super) took: Duration,
    /// Why it failed, if it did.
    pub(super) failure: Option<String>,
}

/// The whole page.
#[derive(Debug)]
pub(super) struct Report {
    /// The card and the machine, line by line.
    facts: Vec<String>,
    /// In the order in which they were done.
    pub(super) checks: Vec<Check>,
}

impl Report {
    /// Of this card; `unable` says why there are not more attach kinds.
    pub(super) fn of(card: &Parent, unable: Option<String>) -> Self {
        let text = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
        let mut facts = vec![
            format!(
                "card {} at {}, driver {}",
                card::ids(card),
                card.address,
                text(card.driver.clone())
            ),
            format!(
                "{} functions at most, NUMA node {}, IOMMU group {}",
                card.totalvfs,
                text(card.numa.map(|n| n.to_string())),
                text(card.iommu_group.map(|n| n.to_string())),
            ),
            format!(
                "Linux {}, Ringway {}",
                rustix::system::uname().release().to_string_lossy(),
                env!("CARGO_PKG_VERSION"),
            ),
        ];
        facts.extend(unable.map(|why| format!("not tried: {why}")));
        Self { facts, checks: Vec::new() }
    }

    /// How many checks failed.
    pub(super) fn failed(&self) -> usize {
        self.checks.iter().filter(|check| check.failure.is_some()).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fact in &self.facts {
            writeln!(f, "- {fact}")?;
        }
        writeln!(f, "\n| attach | check | result | seconds |\n|---|---|---|---|")?;
        for Check { attach, what, took, failure } in &self.checks {
            // a cell is one line, and ends at the next bar
            let result = failure.as_deref().map_or("ok".to_owned(), |why| {
                format!("FAILED: {}", why.replace('\n', " ").replace('|', "/"))
            });
            writeln!(f, "| {attach} | {what} | {result} | {:.2} |", took.as_secs_f64())?;
        }
        let passed = self.checks.len() - self.failed();
        writeln!(f, "\n{passed} of {} checks passed", self.checks.len())
    }
}
