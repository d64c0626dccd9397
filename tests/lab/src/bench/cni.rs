//! CPU time of the CNI plugin: measured in the node by tests/bench, made to rows here.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::inside;
use super::row::{Row, median};
use crate::lab::Lab;
use crate::product;

/// What the node needs: who measures, what is measured, and a program that does nothing.
pub(super) const BINARIES: [&str; 3] = [product::BENCH[0], product::BENCH[1], "ringway"];
/// Some hundred processes, each a tenth of a second under emulation.
const LIMIT: Duration = Duration::from_secs(300);
/// Fewer are not worth a median.
const FEWEST: usize = 50;

/// What `ringway-bench cni` prints.
#[derive(Debug, Deserialize)]
struct Samples {
    add: Pairs,
    del: Pairs,
}

/// CPU time in microseconds, pair by pair.
#[derive(Debug, Deserialize)]
struct Pairs {
    ours: Vec<f64>,
    empty: Vec<f64>,
}

pub(super) fn measure(lab: &Lab, binaries: &[PathBuf]) -> Result<Vec<Row>> {
    rows(&inside::run(lab, (binaries, &BINARIES), "cni", LIMIT)?)
}

fn rows(said: &str) -> Result<Vec<Row>> {
    let samples: Samples = serde_json::from_str(said).context("read what was measured")?;
    let row = |(name, Pairs { ours, empty }): (&str, Pairs)| {
        ensure!(
            ours.len() == empty.len() && ours.len() >= FEWEST,
            "{name}: {} samples beside {} of the empty binary: {FEWEST} pairs are wanted",
            ours.len(),
            empty.len()
        );
        let of = |samples: &[f64]| median(samples).context("no sample");
        Ok(Row::new(name, of(&ours)?, "µs").against("empty static binary", of(&empty)?))
    };
    [("cni.add.cpu", samples.add), ("cni.del.cpu", samples.del)].into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn medians_stand_beside_each_other() {
        let mut add = vec![1500.0; FEWEST];
        add[3] = 90_000.0;
        let samples = json!({
            "add": {"ours": add, "empty": vec![400.0; FEWEST]},
            "del": {"ours": vec![1200.0; FEWEST], "empty": vec![390.0; FEWEST]},
        });
        assert_eq!(
            rows(&samples.to_string()).unwrap(),
            [
                Row::new("cni.add.cpu", 1500.0, "µs").against("empty static binary", 400.0),
                Row::new("cni.del.cpu", 1200.0, "µs").against("empty static binary", 390.0),
            ]
        );
    }

    #[test]
    fn too_few_are_no_figure() {
        let pairs = |ours, empty| json!({"ours": vec![1.0; ours], "empty": vec![1.0; empty]});
        let check = |samples: &str, expected: &str| {
            let error = format!("{:#}", rows(samples).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        let whole = pairs(FEWEST, FEWEST);
        let few = json!({"add": pairs(49, 49), "del": whole});
        check(&few.to_string(), "cni.add.cpu: 49 samples beside 49");
        let odd = json!({"add": whole, "del": pairs(60, 59)});
        check(&odd.to_string(), "cni.del.cpu: 60 samples beside 59");
        check("", "read what was measured");
    }
}
