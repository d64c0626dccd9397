//! When kubelet is to be told of a resource: pure.

use std::time::{Duration, Instant};

use crate::endpoint::Identity;

/// How long kubelet may take from the end of Register to watching the list. It has connected by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two registrations of which the first one's stream ended at once; doubled each time.
const SHORTEST_GAP: Duration = Duration::from_millis(100);

/// How often it is doubled at most: 12.8 s.
const MOST_DOUBLINGS: u32 = 7;

/// A stream that lived so long was a good one.
const GOOD: Duration = Duration::from_secs(10);

/// A registration that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// With which kubelet.
    pub kubelet: Identity,
    /// When.
    pub when: Instant,
    /// How many streams there had been before.
    pub streams: u64,
    /// How many registrations in a row ended soon.
    pub failures: u32,
}

/// What the streams of a resource are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// How many are open.
    pub open: usize,
    /// How many there have ever been.
    pub opened: u64,
    /// How long the last one that ended was open.
    pub last_lived: Option<Duration>,
}

/// When to register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// There is no reason to.
    No,
    /// It was never done with this kubelet, which therefore knows nothing of us.
    New,
    /// Kubelet has let go of us: from then on, unless another instance took our place.
    Lost(Instant),
}

/// Whether and when `kubelet` is to be told.
///
/// Kubelet does not connect again by itself when a stream ends.
pub fn due(registered: Option<&Registered>, kubelet: Identity, watched: Watched) -> Due {
    let Some(registered) = registered.filter(|registered| registered.kubelet == kubelet) else {
        return Due::New;
    };
    if watched.open > 0 {
        return Due::No;
    }
    if watched.opened == registered.streams {
        return Due::Lost(registered.when + PATIENCE);
    }
    let doublings = failures(registered, watched);
    let gap = match doublings {
        0 => Duration::ZERO,
        n => SHORTEST_GAP * 2_u32.pow(n.min(MOST_DOUBLINGS)),
    };
    Due::Lost(registered.when + gap)
}

/// How many registrations in a row ended soon, with the one that has just ended.
pub fn failures(registered: &Registered, watched: Watched) -> u32 {
    let good = watched.last_lived.is_some_and(|lived| lived >= GOOD);
    if good { 0 } else { registered.failures.saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubelet(name: &str) -> Identity {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, "").unwrap();
        crate::endpoint::identity(&path).unwrap()
    }

    #[test]
    fn a_kubelet_that_was_not_told_is_told_at_once() {
        let (old, new) = (kubelet("a"), kubelet("b"));
        let (when, streams) = (Instant::now(), 0);
        let registered = Registered { kubelet: old, when, streams, failures: 0 };
        let watched = Watched { open: 1, opened: 1, last_lived: None };
        assert_eq!(due(None, new, watched), Due::New);
        assert_eq!(due(Some(&registered), new, watched), Due::New);
        assert_eq!(due(Some(&registered), old, watched), Due::No);
    }

    #[test]
    fn a_stream_that_ended_is_asked_for_anew_soon_and_ever_later_if_that_does_not_help() {
        let kubelet = kubelet("a");
        let when = Instant::now();
        let mut registered = Registered { kubelet, when, streams: 3, failures: 0 };
        let at = |registered: &Registered, opened, last_lived| match due(
            Some(registered),
            kubelet,
            Watched { open: 0, opened, last_lived },
        ) {
            Due::Lost(at) => at - when,
            other => panic!("{other:?}"),
        };
        // kubelet has not come yet
        assert_eq!(at(&registered, 3, None), PATIENCE);
        assert_eq!(at(&registered, 4, Some(GOOD)), Duration::ZERO);
        let mut gaps = Vec::new();
        for _ in 0..9 {
            gaps.push(at(&registered, 4, Some(Duration::ZERO)).as_millis());
            let watched = Watched { open: 0, opened: 4, last_lived: Some(Duration::ZERO) };
            registered.failures = failures(&registered, watched);
        }
        assert_eq!(gaps, [200, 400, 800, 1600, 3200, 6400, 12800, 12800, 12800]);
        assert_eq!(at(&registered, 4, Some(GOOD)), Duration::ZERO);
    }
}
