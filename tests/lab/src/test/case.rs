//! One test: a process whose exit status is the verdict.

use std::process::{Command, Stdio};
use std::time::Instant;

/// The rings in the order they run.
pub(crate) const RINGS: [&str; 5] = ["style", "hermetic", "kernel", "faults", "cluster"];

/// How a test ended.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// The test.
    pub(crate) case: Case,
    /// Wall-clock time.
    pub(crate) seconds: f64,
    /// What it said, if it failed.
    pub(crate) failure: Option<String>,
    /// What it has to show even so: its lines that begin with [`SHOWN`], without that.
    pub(crate) shown: Vec<String>,
}

/// Begins a line of a test's output that is of interest when all went well too.
const SHOWN: &str = "shown: ";

/// A test that can be run.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The ring it belongs to.
    pub(crate) ring: &'static str,
    /// The crate and binary it is in.
    pub(crate) suite: String,
    /// Its path in there.
    pub(crate) test: String,
}

impl Case {
    /// The whole name, by which it can be selected.
    pub(crate) fn name(&self) -> String {
        format!("{}/{} {}", self.ring, self.suite, self.test)
    }

    /// Whether a filter, a ring's name or a part of a test's, selects it.
    pub(crate) fn selected(&self, filter: Option<&str>) -> bool {
        // a ring's name may be a part of other rings' tests' names
        filter.is_none_or(
            |f| if RINGS.contains(&f) { f == self.ring } else { self.name().contains(f) },
        )
    }

    /// Runs it by this command; a complaint after a good end is a failure too.
    pub(crate) fn run(
        &self,
        mut command: Command,
        complaint: impl FnOnce() -> Option<String>,
    ) -> Outcome {
        let began = Instant::now();
        let output = command.stdin(Stdio::null()).output();
        let seconds = began.elapsed().as_secs_f64();
        let stdout = output.as_ref().map(|out| String::from_utf8_lossy(&out.stdout));
        let lines = stdout.iter().flat_map(|text| text.lines());
        let shown = lines.filter_map(|line| line.strip_prefix(SHOWN)).map(str::to_owned).collect();
        let said = match &output {
            Ok(out) if out.status.success() => None,
            Ok(out) => Some(format!(
                "{}{}\n{}",
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&out.stderr),
                out.status
            )),
            Err(error) => Some(format!("it did not start: {error}")),
        };
        let failure = match (said, complaint()) {
            (said, Some(complaint)) => Some(said.unwrap_or_default() + &complaint),
            (said, None) => said,
        };
        Outcome { case: self.clone(), seconds, failure, shown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Case {
        Case { ring: "kernel", suite: "kernel".into(), test: "vdpa::create".into() }
    }

    fn shell(line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        command
    }

    #[test]
    fn a_filter_is_a_ring_or_a_part_of_a_name() {
        for (filter, selected) in
            [(None, true), (Some("kernel"), true), (Some("vdpa::"), true), (Some("style"), false)]
        {
            assert_eq!(case().selected(filter), selected, "{filter:?}");
        }
        let other = Case { ring: "faults", suite: "tests/kernel:kernel".into(), ..case() };
        assert!(!other.selected(Some("kernel")) && other.selected(Some("kernel:kernel")));
    }

    #[test]
    fn what_a_test_has_to_show_is_kept() {
        let outcome = case().run(shell("echo no; echo shown: 7 of 7"), || None);
        assert_eq!((outcome.shown, outcome.failure), (vec!["7 of 7".to_owned()], None));
    }

    #[test]
    fn the_exit_status_is_the_verdict() {
        assert!(case().run(shell("exit 0"), || None).failure.is_none());
        let failure = case().run(shell("echo why; exit 1"), || None).failure.unwrap();
        assert!(failure.contains("why") && failure.contains("exit status: 1"), "{failure}");
    }

    #[test]
    fn a_kernel_bug_fails_a_test_that_passed() {
        let failure = case().run(shell("exit 0"), || Some("Oops: 0002".into())).failure;
        assert_eq!(failure.as_deref(), Some("Oops: 0002"));
    }
}
