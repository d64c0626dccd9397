//! Told to stop, the daemon ends after the step that it does. A process, because the signal is.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};

use rustix::fs::{CWD, FileType, Mode};
use rustix::process::{Pid, Signal, kill_process};

use crate::world::{World, until};

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
    let mut agent = world.spawn(&[]);
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
