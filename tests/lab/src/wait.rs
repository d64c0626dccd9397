//! Waiting for a state: polled, with a deadline that scales with the machine.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks.
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(3);

/// The boot of a machine on which deadlines are as they are written, in seconds: one that boots
/// a distribution's own initial RAM disk in 20 boots the lab's in so many.
const BOOT: f64 = 12.0;

/// How much slower this machine is: every deadline is multiplied by it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pace(f64);

impl Pace {
    /// For what does not depend on the machine.
    pub(crate) const NONE: Self = Self(1.0);

    /// Before the first boot nothing is known yet: be patient.
    pub(crate) const UNKNOWN: Self = Self(6.0);

    /// From a measured boot.
    pub(crate) fn of_boot(boot: Duration) -> Self {
        Self((boot.as_secs_f64() / BOOT).max(1.0))
    }

    /// As an environment variable's value for the tests.
    pub(crate) fn factor(self) -> f64 {
        self.0
    }

    /// Polls until `state` gives a value; `None` and the last reason at the deadline is an error.
    pub(crate) fn until<T>(
        self,
        what: &str,
        limit: Duration,
        mut state: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let began = Instant::now();
        let deadline = began + limit.mul_f64(self.0);
        loop {
            if let Some(value) = state()? {
                return Ok(value);
            }
            if Instant::now() >= deadline {
                bail!("{what}: not so within {:.0} s", limit.mul_f64(self.0).as_secs_f64());
            }
            // what is long in coming need not be asked for five times a second: asking costs CPU
            // that an emulated node could use
            thread::sleep((began.elapsed() / 20).clamp(SHORTEST, LONGEST));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_machine_gets_more_time() {
        assert_eq!(Pace::of_boot(Duration::from_secs(5)), Pace(1.0));
        assert_eq!(Pace::of_boot(Duration::from_secs(30)), Pace(2.5));
    }

    #[test]
    fn a_passed_deadline_says_what_was_awaited() {
        let never = Pace(1.0).until("a wonder", Duration::ZERO, || Ok(None::<()>));
        assert_eq!(never.unwrap_err().to_string(), "a wonder: not so within 0 s");
    }
}
