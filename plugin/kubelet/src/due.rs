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
    /// What its streams had been before.
    pub before: Watched,
    /// How many registrations in a row ended soon.
    pub failures: u32,
}

/// What the streams of a resource are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// How many there have ever been.
    pub opened: u64,
    /// How many of them have ended.
    pub ended: u64,
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
/// Kubelet does not connect again by itself when a stream ends. Whichever of several it is, it lets go of
/// the one that was asked for last (runClient, `pkg/kubelet/cm/devicemanager/plugin/v1beta1/handler.go`):
/// that others are open means nothing.
pub fn due(registered: Option<&Registered>, kubelet: Identity, watched: Watched) -> Due {
    let Some(registered) = registered.filter(|registered| registered.kubelet == kubelet) else {
        return Due::New;
    };
    if watched.ended == registered.before.ended {
        return match watched.opened == registered.before.opened {
            true => Due::Lost(registered.when + PATIENCE),
            false => Due::No,
        };
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

    fn streams(opened: u64, ended: u64, last_lived: Option<Duration>) -> Watched {
        Watched { opened, ended, last_lived }
    }

    #[test]
    fn a_kubelet_that_was_not_told_is_told_at_once() {
        let (old, new) = (kubelet("a"), kubelet("b"));
        let (when, before) = (Instant::now(), streams(0, 0, None));
        let registered = Registered { kubelet: old, when, before, failures: 0 };
        let watched = streams(1, 0, None);
        assert_eq!(due(None, new, watched), Due::New);
        assert_eq!(due(Some(&registered), new, watched), Due::New);
        assert_eq!(due(Some(&registered), old, watched), Due::No);
    }

    #[test]
    fn a_stream_that_ended_is_asked_for_anew_soon_and_ever_later_if_that_does_not_help() {
        let kubelet = kubelet("a");
        let when = Instant::now();
        let mut registered = Registered { kubelet, when, before: streams(3, 3, None), failures: 0 };
        let at = |registered: &Registered, watched| match due(Some(registered), kubelet, watched) {
            Due::Lost(at) => at - when,
            other => panic!("{other:?}"),
        };
        // kubelet has not come yet
        assert_eq!(at(&registered, streams(3, 3, None)), PATIENCE);
        assert_eq!(at(&registered, streams(4, 4, Some(GOOD))), Duration::ZERO);
        let mut gaps = Vec::new();
        for _ in 0..9 {
            let watched = streams(4, 4, Some(Duration::ZERO));
            gaps.push(at(&registered, watched).as_millis());
            registered.failures = failures(&registered, watched);
        }
        assert_eq!(gaps, [200, 400, 800, 1600, 3200, 6400, 12800, 12800, 12800]);
        assert_eq!(at(&registered, streams(4, 4, Some(GOOD))), Duration::ZERO);
    }

    #[test]
    fn a_stream_from_before_does_not_stand_for_the_one_that_was_asked_for() {
        let kubelet = kubelet("a");
        let when = Instant::now();
        // the second registration beside a stream that stays
        let registered = Registered { kubelet, when, before: streams(1, 0, None), failures: 0 };
        let due = |watched| due(Some(&registered), kubelet, watched);
        assert_eq!(due(streams(1, 0, None)), Due::Lost(when + PATIENCE));
        assert_eq!(due(streams(2, 0, None)), Due::No);
        assert_eq!(due(streams(2, 1, Some(GOOD))), Due::Lost(when));
    }
}
