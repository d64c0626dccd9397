//! Reaping, in a process of its own: it waits for every child there is.

#![allow(clippy::unwrap_used, reason = "what fails in a test ends the test")]

use std::process::Command;

use ringway_launcher::reap;
use rustix::io::Errno;
use rustix::process::{WaitOptions, getpid, set_child_subreaper, wait};

/// One test, since two would take each other's children.
#[tokio::test]
async fn the_work_ends_with_its_code_and_orphans_are_waited_for() {
    set_child_subreaper(Some(getpid())).unwrap();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("kill -KILL $$", 137),
        // an orphan that ends before the work does
        ("(sh -c 'exit 1' &); sleep 0.3", 0),
    ] {
        let mut work = Command::new("sh");
        work.args(["-c", script]);
        assert_eq!(reap::run(work).await.unwrap(), code, "{script}");
        assert_eq!(wait(WaitOptions::NOHANG).unwrap_err(), Errno::CHILD, "{script}");
    }
    let missing = reap::run(Command::new("/nonexistent")).await.unwrap_err();
    assert_eq!(missing.to_string(), "start \"/nonexistent\"");
}
