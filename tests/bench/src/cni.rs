//! What the CNI binary's ADD and DEL cost on a real virtual function, beside a program that does
//! nothing: started alike, each right before the other, in one run.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringway_kernel_tests::node::Node;
use ringway_kernel_tests::stand::{self, Plugin, Pod, Stand};
use serde::Serialize;
use serde_json::json;

use crate::cost;

/// Before anything counts: files come into memory, modules are loaded.
const WARM_UP: usize = 5;
/// Attachments that count. An odd number: its median is one of them.
const ROUNDS: usize = 61;

/// Samples of both verbs.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Samples {
    add: Pairs,
    del: Pairs,
}

/// CPU time in microseconds, pair by pair.
#[derive(Debug, Default, Serialize)]
struct Pairs {
    ours: Vec<f64>,
    empty: Vec<f64>,
}

/// Attaches a virtio-vdpa netdev to a pod, without IPAM and without a log, and takes it back; again
/// and again.
pub(crate) fn measure() -> Result<Samples> {
    let empty = crate::beside_this("empty")?;
    let node = Node::at_rest();
    let stand = Stand::new(&node, Plugin::Installed);
    let before = stand.netdevs(&node);
    let pod = Pod::new("rw-bench");
    let mut samples = Samples::default();
    for round in 0..WARM_UP + ROUNDS {
        for (verb, pairs) in [("ADD", &mut samples.add), ("DEL", &mut samples.del)] {
            // what the verb before has set off is not to run beside this one
            stand::settle();
            let (ours, conf) = stand.invocation(
                verb,
                &pod.target(),
                Some(&pod.path()),
                0,
                &json!({"logFile": null}),
            );
            let floor = run(twin(&ours, &empty), &conf)?;
            let cost = run(ours, &conf).context(verb)?;
            if round >= WARM_UP {
                pairs.empty.push(cost::micros(floor));
                pairs.ours.push(cost::micros(cost));
            }
        }
        ensure!(stand.netdevs(&node) == before, "DEL has not put back what ADD found");
    }
    Ok(samples)
}

fn run(mut command: Command, input: &str) -> Result<Duration> {
    cost::of(|| {
        let output = stand::talk(&mut command, input);
        ensure!(output.status.success(), "{}", stand::shown(&output));
        Ok(())
    })
}

/// Another program, started as that one: an environment costs, too.
fn twin(command: &Command, program: &Path) -> Command {
    let mut twin = Command::new(program);
    twin.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => twin.env(name, value),
            None => twin.env_remove(name),
        };
    }
    twin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_differs_in_its_program_alone() {
        let mut ours = Command::new("ours");
        ours.arg("a").env("B", "c").env_remove("D");
        let twin = twin(&ours, Path::new("other"));
        assert_eq!(twin.get_program(), "other");
        assert!(twin.get_args().eq(ours.get_args()) && twin.get_envs().eq(ours.get_envs()));
    }

    #[test]
    fn no_other_machine_is_touched() {
        let error = measure().unwrap_err().to_string();
        assert!(error.contains("not in /opt/lab"), "{error}");
    }

    #[test]
    fn what_fails_is_no_figure() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "read line; echo no $line; exit 3"]);
        let error = run(shell, "luck\n").unwrap_err().to_string();
        assert!(error.contains("no luck") && error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn the_samples_are_as_the_lab_reads_them() {
        let mut samples = Samples::default();
        samples.add.ours.push(cost::micros(Duration::from_micros(1500)));
        samples.add.empty.push(cost::micros(Duration::from_micros(400)));
        assert_eq!(
            serde_json::to_value(&samples).unwrap(),
            json!({"add": {"ours": [1500.0], "empty": [400.0]}, "del": {"ours": [], "empty": []}})
        );
    }
}
