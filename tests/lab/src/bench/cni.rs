//! CPU time of the CNI plugin: measured in the node by tests/bench, made to rows here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::inside;
use super::row::{Row, median};
use crate::lab::Lab;
use crate::product;

/// What the node needs: who measures, what is measured, a program that does nothing, and the kernel's
/// calls alone.
pub(super) const BINARIES: [&str; 4] =
    [product::BENCH[0], product::BENCH[1], product::BENCH[2], "ringway"];
/// The rows. `cost` is what is above an empty binary's.
pub(super) const FIGURES: [&str; 14] = [
    "cni.version.cpu",
    "cni.add.cpu",
    "cni.add.cost.calls",
    "cni.add.cost.peer",
    "cni.del.cpu",
    "cni.del.cost.calls",
    "cni.del.cost.peer",
    "cni.version.calls",
    "cni.add.calls",
    "cni.del.calls",
    "cni.version.peak",
    "cni.add.peak",
    "cni.del.peak",
    "cni.size",
];
/// The most memory that a verb may take, and the most that the binary may be large, in MiB.
const MEMORY_BAR: f64 = 4.0;
const SIZE_BAR: f64 = 4.0;
const MIB: f64 = 1_048_576.0;
/// sriov-cni as the node knows it.
const PEER: &str = "peer-cni";
/// Some hundred processes, each a tenth of a second under emulation.
const LIMIT: Duration = Duration::from_secs(600);
/// Fewer are not worth a median.
const FEWEST: usize = 50;

/// What `ringway-bench cni` prints: CPU time in microseconds round by round, system calls, and memory in
/// KiB.
#[derive(Debug, serde::Deserialize)]
struct Samples {
    cpu: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
    calls: BTreeMap<String, BTreeMap<String, f64>>,
    peak: BTreeMap<String, f64>,
}

pub(super) fn measure(lab: &Lab, binaries: &[PathBuf], beside: Option<&Path>) -> Result<Vec<Row>> {
    let programs = (binaries, &BINARIES[..]);
    let mut rows = rows(&inside::run_beside(lab, programs, "cni", (beside, PEER), LIMIT)?)?;
    rows.push(size(binaries)?);
    Ok(rows)
}

fn size(binaries: &[PathBuf]) -> Result<Row> {
    let of = |path: &&PathBuf| path.file_name().is_some_and(|name| name == BINARIES[3]);
    let binary = binaries.iter().find(of).context("no binary of the CNI plugin")?;
    let length = binary.metadata().with_context(|| format!("look at {}", binary.display()))?.len();
    Ok(Row::new("cni.size", length as f64 / MIB, "MiB").against("bar", SIZE_BAR))
}

fn rows(said: &str) -> Result<Vec<Row>> {
    let samples: Samples = serde_json::from_str(said).context("read what was measured")?;
    let of = |verb: &str, who: &str| -> Result<Option<f64>> {
        let Some(samples) = samples.cpu.get(verb).and_then(|by| by.get(who)) else {
            return Ok(None);
        };
        let count = samples.len();
        ensure!(count >= FEWEST, "cni.{verb}: {count} samples of {who}: {FEWEST} are wanted");
        Ok(median(samples))
    };
    let mut rows = Vec::new();
    for verb in ["version", "add", "del"] {
        let needed =
            |who| of(verb, who)?.with_context(|| format!("cni.{verb}: no sample of {who}"));
        let (ours, empty) = (needed("ours")?, needed("empty")?);
        let row = Row::new(format!("cni.{verb}.cpu"), ours, "µs");
        rows.push(row.against("empty static binary", empty));
        for (who, figure, name) in
            [("bare", "calls", "the kernel's calls alone"), ("peer", "peer", "sriov-cni")]
        {
            if let Some(other) = of(verb, who)? {
                let row = Row::new(format!("cni.{verb}.cost.{figure}"), ours - empty, "µs");
                rows.push(row.against(name, other - empty));
            }
        }
    }
    for (verb, by) in &samples.calls {
        let ours =
            by.get("ours").with_context(|| format!("cni.{verb}: its calls were not counted"))?;
        let row = Row::new(format!("cni.{verb}.calls"), *ours, "");
        rows.push(match by.get("bare") {
            Some(bare) => row.against("the kernel's calls alone", *bare),
            None => row,
        });
    }
    for (verb, peak) in &samples.peak {
        let row = Row::new(format!("cni.{verb}.peak"), peak / 1024.0, "MiB");
        rows.push(row.against("bar", MEMORY_BAR));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn samples(of: &[(&str, f64)]) -> Value {
        of.iter().map(|(who, value)| (who.to_string(), json!(vec![*value; FEWEST]))).collect()
    }

    #[test]
    fn medians_stand_beside_each_other() {
        let mut add =
            samples(&[("ours", 1500.0), ("empty", 400.0), ("bare", 900.0), ("peer", 9400.0)]);
        add["ours"][3] = json!(90_000.0);
        let del = samples(&[("ours", 1200.0), ("empty", 390.0), ("bare", 800.0)]);
        let version = samples(&[("ours", 420.0), ("empty", 400.0)]);
        let all = json!({
            "cpu": {"add": add, "del": del, "version": version},
            "calls": {"add": {"ours": 210, "bare": 70}, "version": {"ours": 20}},
            "peak": {"add": 2048},
        });
        let (empty, calls) = ("empty static binary", "the kernel's calls alone");
        assert_eq!(
            rows(&all.to_string()).unwrap(),
            [
                Row::new("cni.version.cpu", 420.0, "µs").against(empty, 400.0),
                Row::new("cni.add.cpu", 1500.0, "µs").against(empty, 400.0),
                Row::new("cni.add.cost.calls", 1100.0, "µs").against(calls, 500.0),
                Row::new("cni.add.cost.peer", 1100.0, "µs").against("sriov-cni", 9000.0),
                Row::new("cni.del.cpu", 1200.0, "µs").against(empty, 390.0),
                Row::new("cni.del.cost.calls", 810.0, "µs").against(calls, 410.0),
                Row::new("cni.add.calls", 210.0, "").against(calls, 70.0),
                Row::new("cni.version.calls", 20.0, ""),
                Row::new("cni.add.peak", 2.0, "MiB").against("bar", MEMORY_BAR),
            ]
        );
    }

    #[test]
    fn too_few_are_no_figure() {
        let check = |cpu: &Value, expected: &str| {
            let samples = json!({"cpu": cpu, "calls": {}, "peak": {}});
            let error = format!("{:#}", rows(&samples.to_string()).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        let whole = samples(&[("ours", 1.0), ("empty", 1.0)]);
        let few = json!({"version": whole, "add": {"ours": vec![1.0; 49], "empty": vec![1.0; 60]}});
        check(&few, "cni.add: 49 samples of ours");
        check(&json!({"version": whole}), "cni.add: no sample of ours");
        check(&json!(0), "read what was measured");
    }
}
