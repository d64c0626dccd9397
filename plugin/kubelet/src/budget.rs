//! How soon after one look the next may come. A change is looked at at once, and what changes all the time
//! has a quarter of a processor.

use std::time::{Duration, Instant};

/// Each look is paid for by so many times what it took: a quarter of the time is theirs.
const SHARE: u32 = 3;

/// What may be saved up: some looks in a row, as when a driver goes and its interfaces before it.
const MOST: Duration = Duration::from_millis(200);

/// Between two looks, however little they take: what happens together is looked at once.
const SHORTEST_REST: Duration = Duration::from_millis(20);

/// And however much: kubelet's answer may have been waited for.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// The time that looks may take.
#[derive(Debug)]
pub(crate) struct Budget {
    credit: Duration,
    /// Since when it grows.
    since: Instant,
}

impl Budget {
    /// One that nothing was taken of.
    pub(crate) fn new(now: Instant) -> Self {
        Self { credit: MOST, since: now }
    }

    /// A look took from `start` to `end`. Gives when the next may come.
    pub(crate) fn spend(&mut self, start: Instant, end: Instant) -> Instant {
        let gained = start.saturating_duration_since(self.since) / SHARE;
        let credit = (self.credit + gained).min(MOST);
        let took = end.saturating_duration_since(start);
        let owed = took.saturating_sub(credit) * SHARE;
        let next = end + owed.clamp(SHORTEST_REST, LONGEST_REST);
        self.credit = credit.saturating_sub(took);
        // what is paid off by waiting is not saved up, too
        self.since = if owed.is_zero() { end } else { next };
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn some_looks_in_a_row_come_at_once_and_then_they_have_a_quarter() {
        let begun = Instant::now();
        let mut budget = Budget::new(begun);
        let (mut now, mut rests) = (begun, Vec::new());
        for _ in 0..20 {
            let end = now + 50 * MS;
            let next = budget.spend(now, end);
            rests.push(next - end);
            now = next;
        }
        assert_eq!(rests[..4], [SHORTEST_REST; 4]);
        assert!(rests[6..].iter().all(|rest| *rest == 150 * MS), "{rests:?}");
        let share = (now - begun).as_secs_f64() / (20.0 * 0.05);
        assert!(share > 3.0, "one in {share}");
        // what nothing is taken of for long is there again
        let later = now + 10_000 * MS;
        assert_eq!(budget.spend(later, later + 50 * MS), later + 50 * MS + SHORTEST_REST);
    }

    #[test]
    fn no_look_is_waited_for_for_long() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let end = now + 10_000 * MS;
        assert_eq!(budget.spend(now, end), end + LONGEST_REST);
        let next = end + LONGEST_REST;
        assert_eq!(budget.spend(next, next + MS), next + MS + SHORTEST_REST);
    }
}
