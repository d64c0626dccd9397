//! What the agent takes to carve a card and to change one function, beside the kernel's calls alone
//! (`bare`): each right before the other, in one run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use ringway_kernel_tests::node::{Node, VIRTIO};
use serde::Serialize;

use crate::cost;

/// Rounds that count, after one that does not. An odd number: its median is one of them.
const ROUNDS: usize = 11;
/// As many as the lab's card has.
const FUNCTIONS: usize = 4;

/// Samples of both.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Samples {
    carve: Pairs,
    change: Pairs,
}

/// Pair by pair, in microseconds.
#[derive(Debug, Default, Serialize)]
struct Pairs {
    ours: Costs,
    bare: Costs,
}

/// From start to end of the process, and the time of processors that it took.
#[derive(Debug, Default, Serialize)]
struct Costs {
    time: Vec<f64>,
    cpu: Vec<f64>,
}

/// A wish for the card: vDPA devices for virtual machines, but for the first function if it is
/// changed.
fn wish(changed: bool) -> String {
    let pool = |name: &str, range: &str, attach: &str| {
        format!(
            "  - {{name: {name}, resource: ringway.dev/{name}, range: {range}, attach: {attach}}}\n"
        )
    };
    let pools = match changed {
        true => pool("pods", "'0'", "virtio-vdpa") + &pool("vms", "1-3", "vhost-vdpa"),
        false => pool("vms", "0-3", "vhost-vdpa"),
    };
    format!(
        "apiVersion: ringway.dev/v1alpha1\nkind: NodeDevices\nspec:\n  parents:\n  \
         - name: '{VIRTIO}'\n    policy: bench\n    functionCount: {FUNCTIONS}\n    pools:\n{}",
        pools.replace("  - ", "    - ")
    )
}

/// Carves and changes, again and again.
pub(crate) fn measure() -> Result<Samples> {
    let bare = crate::beside_this("bare")?;
    let node = Node::at_rest();
    let mut samples = Samples::default();
    for round in 0..=ROUNDS {
        let counts = round > 0;
        node.rest();
        let home = Home::new(round)?;
        home.write("all", &wish(false))?;
        home.write("one", &wish(true))?;
        let call = |args: &[&str]| {
            let mut command = Command::new(&bare);
            command.args(args);
            command
        };
        samples.carve.bare.take(counts, call(&["carve", VIRTIO, &FUNCTIONS.to_string()]))?;
        node.rest();
        samples.carve.ours.take(counts, home.apply("all")?)?;
        // the last function, so that the agent's change is not beside one of its own
        samples.change.ours.take(counts, home.apply("one")?)?;
        samples.change.bare.take(counts, call(&["change", "vdpa:0000:01:00.4"]))?;
    }
    Ok(samples)
}

impl Costs {
    fn take(&mut self, counts: bool, mut command: Command) -> Result<()> {
        let begun = Instant::now();
        let cpu = cost::of(|| {
            let output = command.output().context("start")?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{command:?}: {said}");
            Ok(())
        })?;
        if counts {
            self.time.push(cost::micros(begun.elapsed()));
            self.cpu.push(cost::micros(cpu));
        }
        Ok(())
    }
}

/// The agent's directories in one round, where they are on a node: what it keeps on a disk, so that it is
/// flushed, and what need not outlive a reboot in memory.
struct Home {
    disk: PathBuf,
    memory: PathBuf,
}

impl Home {
    fn new(round: usize) -> Result<Self> {
        let name = format!("ringway-bench-{}-{round}", std::process::id());
        let home =
            Self { disk: std::env::temp_dir().join(&name), memory: Path::new("/run").join(name) };
        for dir in [&home.disk, &home.memory] {
            std::fs::create_dir(dir).with_context(|| format!("make {}", dir.display()))?;
        }
        Ok(home)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        std::fs::write(self.disk.join(name), text).context("write a wish")
    }

    fn apply(&self, wish: &str) -> Result<Command> {
        let Self { disk, memory } = self;
        let mut command = Command::new(crate::beside_this("ringway-agent")?);
        for (option, dir) in [
            ("--state-dir", disk.join("state")),
            ("--run-dir", memory.join("ringway")),
            ("--udev-rules-dir", memory.join("rules.d")),
        ] {
            command.arg(option).arg(dir);
        }
        command.args([Path::new("apply"), Path::new("--file"), &disk.join(wish)]);
        Ok(command)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for dir in [&self.disk, &self.memory] {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}
