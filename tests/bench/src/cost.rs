//! The CPU time of a process.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// The user and system time, together, of every process that `work` starts and waits for: all their
/// threads, and whatever they waited for themselves.
///
/// This is what `wait4` says of each, and it is exact for a process of a millisecond, so that no
/// batches are needed: the kernel guesses how time is shared between user and system by looking at
/// each tick (`CONFIG_VIRT_CPU_ACCOUNTING_GEN` is idle without `nohz_full`), but scales the two so
/// that their sum is the run time that the scheduler has counted in nanoseconds (`cputime_adjust` in
/// kernel/sched/cputime.c, called by `wait_task_zombie` in kernel/exit.c). Hence the sum, and not
/// the two.
pub(crate) fn of(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let before = children()?;
    work()?;
    Ok(children()?.saturating_sub(before))
}

/// A time as samples have it.
pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The user and system time of this process, all its threads together.
pub(crate) fn own() -> Result<Duration> {
    used(UsageWho::RUSAGE_SELF)
}

fn children() -> Result<Duration> {
    used(UsageWho::RUSAGE_CHILDREN)
}

fn used(who: UsageWho) -> Result<Duration> {
    let usage = getrusage(who).context("ask what processes have cost")?;
    Ok(duration(usage.user_time())? + duration(usage.system_time())?)
}

fn duration(time: TimeVal) -> Result<Duration> {
    let seconds = u64::try_from(time.tv_sec()).context("a time is positive")?;
    let micros = u64::try_from(time.tv_usec()).context("a time is positive")?;
    Ok(Duration::from_secs(seconds) + Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_a_process_waits_for_counts_as_its_own() {
        let shell = |line: &str| {
            let status = Command::new("sh").args(["-c", line]).status()?;
            anyhow::ensure!(status.success());
            Ok(())
        };
        let little = of(|| shell("exit 0")).unwrap();
        assert!(little > Duration::ZERO);
        let inner = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        let much = of(|| shell(&format!("sh -c '{inner}'; exit 0"))).unwrap();
        assert!(much > little, "{much:?} {little:?}");
        of(|| shell("exit 1")).unwrap_err();
    }
}
