//! What the agent's look at 256 functions and a plan for them cost: measured in the node by
//! tests/bench, made to rows here.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::inside;
use super::row::{Row, median};
use crate::lab::Lab;
use crate::product;

/// What the node needs: who measures has the agent's library in it.
pub(super) const BINARIES: [&str; 1] = [product::BENCH[0]];
/// The rows, with what each is to be below, in milliseconds.
const BARS: [(&str, f64); 2] = [("agent.observe.cpu", 50.0), ("agent.plan.cpu", 5.0)];
/// A second each under emulation.
const LIMIT: Duration = Duration::from_secs(120);

/// What `ringway-bench observe` prints, in microseconds.
#[derive(Debug, Deserialize)]
struct Samples {
    observe: Vec<f64>,
    plan: Vec<f64>,
}

pub(super) fn figures() -> [&'static str; 2] {
    BARS.map(|(name, _)| name)
}

pub(super) fn measure(lab: &Lab, binaries: &[PathBuf]) -> Result<Vec<Row>> {
    rows(&inside::run(lab, (binaries, &BINARIES), "observe", LIMIT)?)
}

fn rows(said: &str) -> Result<Vec<Row>> {
    let samples: Samples = serde_json::from_str(said).context("read what was measured")?;
    let row = |((name, bar), samples): ((&str, f64), &Vec<f64>)| {
        let micros = median(samples).with_context(|| format!("{name}: no sample"))?;
        Ok(Row::new(name, micros / 1000.0, "ms").against("bar", bar))
    };
    BARS.into_iter().zip([&samples.observe, &samples.plan]).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_become_rows_in_milliseconds() {
        let samples =
            |observe: &str, plan: &str| format!(r#"{{"observe":{observe},"plan":{plan}}}"#);
        assert_eq!(
            rows(&samples("[9000, 7000, 8000]", "[400]")).unwrap(),
            [
                Row::new("agent.observe.cpu", 8.0, "ms").against("bar", 50.0),
                Row::new("agent.plan.cpu", 0.4, "ms").against("bar", 5.0),
            ]
        );
        let error = rows(&samples("[1]", "[]")).unwrap_err().to_string();
        assert_eq!(error, "agent.plan.cpu: no sample");
    }
}
