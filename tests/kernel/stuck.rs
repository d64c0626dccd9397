//! A call that sleeps in the kernel: unbinding vhost_vdpa while its character device is open.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ringway_kernel::stuck::{self, Call, Reach};
use ringway_kernel::vdpa_bus::{self, Driver};
use ringway_kernel::{Error, Root};

use crate::node::Node;
use crate::stand::simulate;

/// Set in the process that makes the call: the same test, started again.
const CALLER: &str = "RINGWAY_TEST_STUCK_DIR";
const NAME: &str = "stuck::the_marker_of_a_sleeping_call_outlives_its_process";
const LONGEST: Duration = Duration::from_secs(120);

#[test]
fn the_marker_of_a_sleeping_call_outlives_its_process() {
    if let Some(dir) = std::env::var_os(CALLER) {
        return call(Path::new(&dir));
    }
    let node = Node::at_rest();
    vdpa_bus::set_drivers_autoprobe(&node.root, false).unwrap();
    simulate(&node, "02:00:00:00:00:01", 1500, Driver::VhostVdpa);
    let path = vdpa_bus::char_device(&node.root, "sim0").unwrap().unwrap().path;
    let dir = tempfile::tempdir().unwrap();

    let mut holder = start(Command::new("sh").args([
        "-c",
        "exec 3<>\"$0\" && echo open && exec sleep 600",
        path.to_str().unwrap(),
    ]));
    wait_for_line(&mut holder, "open");
    let mut caller = start(
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(CALLER, dir.path()),
    );
    wait_for_line(&mut caller, "deadline");
    assert_eq!(live(dir.path()), ["sim0"]);

    // it cannot be reaped while its thread sleeps: so look at its main thread
    caller.0.kill().unwrap();
    poll("the caller's end", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", caller.0.id())).unwrap();
        stat.contains(") Z ")
    });
    assert_eq!(live(dir.path()), ["sim0"], "the call outlives its process");
    let error = stuck::check(dir.path(), "sim0", "attach", Reach::Device).unwrap_err();
    assert!(matches!(error, Error::Stuck { .. }), "{error}");

    holder.0.kill().unwrap();
    holder.0.wait().unwrap();
    caller.0.wait().unwrap();
    poll("the marker's end", || live(dir.path()).is_empty());
    assert_eq!(vdpa_bus::driver(&node.root, "sim0").unwrap(), None, "it was unbound in the end");
}

#[test]
fn a_call_that_comes_back_leaves_no_marker() {
    let node = Node::at_rest();
    vdpa_bus::set_drivers_autoprobe(&node.root, false).unwrap();
    simulate(&node, "02:00:00:00:00:01", 1500, Driver::VhostVdpa);
    let dir = tempfile::tempdir().unwrap();
    unbind(dir.path(), LONGEST).unwrap();
    assert_eq!(vdpa_bus::driver(&node.root, "sim0").unwrap(), None);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

fn call(dir: &Path) {
    let error = unbind(dir, Duration::from_secs(2)).unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    println!("\ndeadline");
    thread::sleep(Duration::from_secs(600));
}

fn unbind(dir: &Path, deadline: Duration) -> ringway_kernel::Result<()> {
    let root = Root::new("/");
    let op = "unbind vhost_vdpa of";
    let call = Call { dir, device: "sim0", op, reach: Reach::Device, deadline };
    stuck::run(&root.clone(), call, move || vdpa_bus::unbind(&root, "sim0"))
}

fn live(dir: &Path) -> Vec<String> {
    stuck::live(dir).unwrap().into_iter().map(|live| live.device).collect()
}

/// Killed when dropped: what holds the device must not outlive a failed test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

fn start(command: &mut Command) -> Process {
    Process(command.stdout(Stdio::piped()).spawn().unwrap())
}

fn wait_for_line(process: &mut Process, wanted: &str) {
    // the pipe stays open: the process would die of a closed one
    let out = BufReader::new(process.0.stdout.as_mut().unwrap());
    let found = out.lines().any(|line| line.unwrap() == wanted);
    assert!(found, "the process ended without {wanted:?}");
}

fn poll(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONGEST, "{what}: not after {} s", LONGEST.as_secs());
        thread::sleep(Duration::from_millis(10));
    }
}
