//! What the agent takes for a card and for one function: measured in the node by tests/bench, made
//! to rows here.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::inside;
use super::row::{Row, median};
use crate::lab::Lab;
use crate::product;

/// What the node needs: who measures, what is measured, and the kernel's calls alone.
pub(super) const BINARIES: [&str; 3] = [product::BENCH[0], product::BENCH[2], "ringway-agent"];
/// The rows, in order.
pub(super) const FIGURES: [&str; 4] =
    ["node.carve.time", "node.carve.cpu", "node.change.time", "node.change.cpu"];
/// A dozen rounds of seconds each under emulation.
const LIMIT: Duration = Duration::from_secs(600);
/// Fewer are not worth a median.
const FEWEST: usize = 11;

/// What `ringway-bench node` prints.
#[derive(Debug, Deserialize)]
struct Samples {
    carve: Pairs,
    change: Pairs,
}

/// Pair by pair, in microseconds.
#[derive(Debug, Deserialize)]
struct Pairs {
    ours: Costs,
    bare: Costs,
}

/// From start to end of the process, and the time of processors that it took.
#[derive(Debug, Deserialize)]
struct Costs {
    time: Vec<f64>,
    cpu: Vec<f64>,
}

pub(super) fn measure(lab: &Lab, binaries: &[PathBuf]) -> Result<Vec<Row>> {
    rows(&inside::run(lab, (binaries, &BINARIES), "node", LIMIT)?)
}

fn rows(said: &str) -> Result<Vec<Row>> {
    let Samples { carve, change } = serde_json::from_str(said).context("read what was measured")?;
    let pairs = [
        (carve.ours.time, carve.bare.time),
        (carve.ours.cpu, carve.bare.cpu),
        (change.ours.time, change.bare.time),
        (change.ours.cpu, change.bare.cpu),
    ];
    let row = |(name, (ours, bare)): (&str, (Vec<f64>, Vec<f64>))| {
        let (count, beside) = (ours.len(), bare.len());
        ensure!(
            count == beside && count >= FEWEST,
            "{name}: {count} samples beside {beside} of the bare calls: {FEWEST} pairs are wanted"
        );
        let millis = |samples: &[f64]| median(samples).map(|micros| micros / 1000.0);
        let (ours, bare) = millis(&ours).zip(millis(&bare)).context("no sample")?;
        Ok(Row::new(name, ours, "ms").against("kernel calls alone", bare))
    };
    FIGURES.into_iter().zip(pairs).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn medians_stand_beside_each_other() {
        let costs =
            |time: f64, cpu: f64| json!({"time": vec![time; FEWEST], "cpu": vec![cpu; FEWEST]});
        let pairs = |ours, bare| json!({"ours": ours, "bare": bare});
        let samples = json!({
            "carve": pairs(costs(1200.0, 600.0), costs(1000.0, 500.0)),
            "change": pairs(costs(90.0, 40.0), costs(80.0, 20.0)),
        });
        let alone = "kernel calls alone";
        assert_eq!(
            rows(&samples.to_string()).unwrap(),
            [
                Row::new("node.carve.time", 1.2, "ms").against(alone, 1.0),
                Row::new("node.carve.cpu", 0.6, "ms").against(alone, 0.5),
                Row::new("node.change.time", 0.09, "ms").against(alone, 0.08),
                Row::new("node.change.cpu", 0.04, "ms").against(alone, 0.02),
            ]
        );
        let few = samples.to_string().replacen("1000.0,", "", 1);
        let error = rows(&few).unwrap_err().to_string();
        assert!(error.contains("node.carve.time: 11 samples beside 10"), "{error}");
        assert!(rows("").unwrap_err().to_string().contains("read what was measured"));
    }
}
