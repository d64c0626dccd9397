//! Told to stop, the daemon ends after the step that it does. A process, because the signal is.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode};
use rustix::process::{Pid, Signal, kill_process};

use crate::world::World;

/// Two functions without a driver: each is to be bound.
const BARE: &str = "
    0000:01:00.0 virtio-pci pf totalvfs=2
    0000:01:00.1 vf-of=0000:01:00.0
    0000:01:00.2 vf-of=0000:01:00.0
";

#[test]
fn it_ends_after_the_step() {
    let world = World::with(BARE);
    world.remember();
    // a step that takes as long as we like: nobody reads what it writes
    let probe = world.tree.path("sys/bus/pci/drivers_probe");
    fs::remove_file(&probe).unwrap();
    rustix::fs::mknodat(CWD, &probe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let path = |path: &std::path::Path| path.display().to_string();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_ringway-agent"))
        .args(["run", "--node-name", "a", "--sys", &path(&world.tree.path("sys"))])
        .args(["--state-dir", &path(&world.state()), "--run-dir", &path(&world.run_dir())])
        .args(["--kubelet-dir", &path(&world.run().kubelet_dir)])
        .env("KUBECONFIG", "/nonexistent")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let driver_of = |index: u32| {
        world.tree.read(&format!("sys/bus/pci/devices/0000:01:00.{index}/driver_override"))
    };
    until(|| driver_of(1) == "vp-vdpa");
    kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();
    let mut log = BufReader::new(agent.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("told to stop")), "never told so");
    assert!(agent.try_wait().unwrap().is_none(), "the step is left alone");
    // the step comes to its end
    world.tree.link("sys/bus/pci/devices/0000:01:00.1/driver", "sys/bus/pci/drivers/vp-vdpa");
    let mut written = String::new();
    File::open(&probe).unwrap().read_to_string(&mut written).unwrap();
    assert_eq!(written, "0000:01:00.1");
    assert!(agent.wait().unwrap().success());
    assert_eq!(driver_of(2), "(null)\n", "and no other is begun");
}

/// Until it is so; a minute is more than anything here takes.
fn until(so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(60), "not so within a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
}
