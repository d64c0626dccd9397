//! Durations, counted by length.

use std::time::Duration;

/// Upper bounds in seconds: a look at an idle node takes some milliseconds, a card with many
/// functions minutes.
const BOUNDS: [f64; 9] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];

/// How many durations there were, how long together, and how many up to each bound.
#[derive(Debug, Default)]
pub struct Histogram {
    /// By bound; those beyond the last are in `count` alone.
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl Histogram {
    /// One more.
    pub fn observe(&mut self, took: Duration) {
        self.count += 1;
        self.sum += took;
        let bucket = BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound);
        if let Some(bucket) = bucket {
            self.buckets[bucket] += 1;
        }
    }

    /// Each bound with the number of durations up to it; the last without a bound.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<f64>, u64)> {
        let mut below = 0;
        let bounded = BOUNDS.iter().zip(self.buckets).map(move |(bound, count)| {
            below += count;
            (Some(*bound), below)
        });
        bounded.chain([(None, self.count)])
    }

    /// In seconds.
    pub fn sum(&self) -> f64 {
        self.sum.as_secs_f64()
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count
    }
}
