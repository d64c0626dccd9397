//! Programs of tests/bench and of the product, brought to the node and run there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::lab::Lab;
use crate::product;
use crate::run;

/// Brings programs to the node, each under its name, and gives what `ringway-bench VERB` prints there.
pub(crate) fn run(
    lab: &Lab,
    programs: (&[PathBuf], &[&str]),
    verb: &str,
    limit: Duration,
) -> Result<String> {
    for (path, name) in programs.0.iter().zip(programs.1) {
        lab.install(path, name)?;
    }
    // not in memory alone, as /tmp is: records are flushed to a disk
    let inside = format!("TMPDIR=/var/tmp /opt/lab/{} {verb}", product::BENCH[0]);
    let command = run::limited(&lab.node.command([inside]), limit.mul_f64(lab.pace.factor()));
    run::output(command)
}

/// As [`run`], with a program that was built by hand beside ours, under a name: the verb's last word.
pub(crate) fn run_beside(
    lab: &Lab,
    programs: (&[PathBuf], &[&str]),
    verb: &str,
    (peer, name): (Option<&Path>, &str),
    limit: Duration,
) -> Result<String> {
    match peer {
        Some(program) => {
            lab.install(program, name)?;
            run(lab, programs, &format!("{verb} /opt/lab/{name}"), limit)
        }
        None => run(lab, programs, verb, limit),
    }
}
