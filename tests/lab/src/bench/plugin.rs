//! What the device plugin costs: measured in the node by tests/bench, made to rows here; beside the
//! SR-IOV network device plugin, if one was given.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::inside;
use super::row::{Row, median};
use crate::lab::Lab;
use crate::product;

/// What the node needs: who measures, and what is measured.
pub(super) const BINARIES: [&str; 2] = [product::BENCH[0], "ringway-device-plugin"];
/// The rows, in order, and what each is to be below where there is nothing to hold it against.
const ROWS: [(&str, &str, Option<f64>); 8] = [
    ("plugin.few.start", "ms", None),
    ("plugin.few.rss", "MiB", Some(8.0)),
    ("plugin.few.wakeups", "per s", Some(0.0)),
    ("plugin.allocate.cpu", "µs", None),
    ("plugin.change.time", "ms", Some(50.0)),
    ("plugin.many.start", "ms", None),
    ("plugin.many.cpu", "ms", None),
    ("plugin.many.rss", "MiB", None),
];
/// The other one as the node knows it.
const PEER: &str = "peer-device-plugin";
/// Two plugins, a thousand allocations each, under emulation.
const LIMIT: Duration = Duration::from_secs(600);

/// What `ringway-bench plugin` prints: times in microseconds, memory in bytes.
#[derive(Debug, Deserialize)]
struct Samples {
    ours: OfOne,
    peer: Option<OfOne>,
}

#[derive(Debug, Deserialize)]
struct OfOne {
    functions: Start,
    allocate: f64,
    wakeups: f64,
    changes: Vec<f64>,
    many: Option<Start>,
}

#[derive(Debug, Deserialize)]
struct Start {
    time: f64,
    cpu: f64,
    memory: f64,
}

impl OfOne {
    /// In the order of the rows.
    fn figures(&self) -> [Option<f64>; ROWS.len()] {
        let many = |figure: fn(&Start) -> f64| self.many.as_ref().map(figure);
        [
            Some(self.functions.time / 1e3),
            Some(self.functions.memory / super::MIB),
            Some(self.wakeups),
            Some(self.allocate),
            median(&self.changes).map(|micros| micros / 1e3),
            many(|start| start.time / 1e3),
            many(|start| start.cpu / 1e3),
            many(|start| start.memory / super::MIB),
        ]
    }
}

pub(super) fn figures() -> [&'static str; ROWS.len()] {
    ROWS.map(|(name, ..)| name)
}

pub(super) fn measure(lab: &Lab, binaries: &[PathBuf], beside: Option<&Path>) -> Result<Vec<Row>> {
    let programs = (binaries, &BINARIES[..]);
    rows(&inside::run_beside(lab, programs, "plugin", (beside, PEER), LIMIT)?)
}

fn rows(said: &str) -> Result<Vec<Row>> {
    let Samples { ours, peer } = serde_json::from_str(said).context("read what was measured")?;
    let others = peer.map(|peer| peer.figures()).unwrap_or_default();
    let row = |(((name, unit, bar), value), other): (((_, _, _), Option<f64>), Option<f64>)| {
        let row = Row::new(name, value.with_context(|| format!("{name}: no sample"))?, unit);
        Ok(match (other, bar) {
            (Some(other), _) => row.against("sriov-network-device-plugin", other),
            (None, Some(bar)) => row.against("bar", bar),
            (None, None) => row,
        })
    };
    ROWS.into_iter().zip(ours.figures()).zip(others).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = r#"{"functions": {"time": 90000, "cpu": 40000, "memory": 5242880},
        "allocate": 900, "wakeups": 2, "changes": [30000, 10000, 20000],
        "many": {"time": 800000, "cpu": 500000, "memory": 10485760}}"#;

    #[test]
    fn samples_become_rows_beside_a_peers_or_a_bar() {
        let alone = rows(&format!(r#"{{"ours": {OURS}, "peer": null}}"#)).unwrap();
        assert_eq!(alone[0], Row::new("plugin.few.start", 90.0, "ms"));
        assert_eq!(alone[1], Row::new("plugin.few.rss", 5.0, "MiB").against("bar", 8.0));
        assert_eq!(alone[4], Row::new("plugin.change.time", 20.0, "ms").against("bar", 50.0));
        let peer = OURS.replace("[30000, 10000, 20000]", "[]").replace("900,", "4500,");
        let beside = rows(&format!(r#"{{"ours": {OURS}, "peer": {peer}}}"#)).unwrap();
        let name = "sriov-network-device-plugin";
        assert_eq!(beside[3], Row::new("plugin.allocate.cpu", 900.0, "µs").against(name, 4500.0));
        assert_eq!(beside[4], alone[4], "the other one tells of no change");
        let error = rows(&format!(r#"{{"ours": {peer}}}"#)).unwrap_err().to_string();
        assert_eq!(error, "plugin.change.time: no sample");
    }
}
