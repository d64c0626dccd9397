//! What the CNI binary's verbs cost on a real virtual function, beside a program that does nothing,
//! the kernel's calls alone, and sriov-cni: on one function, in one run.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringway_kernel::link::Link;
use ringway_kernel_tests::node::Node;
use ringway_kernel_tests::stand::{self, Plugin, Pod, Stand};
use serde_json::json;

use crate::cost;
use crate::trace;

/// Before anything counts: files come into memory, modules are loaded.
const WARM_UP: usize = 5;
/// Attachments that count. An odd number: its median is one of them.
const ROUNDS: usize = 61;
/// As a runtime says them, and as the samples do.
const VERBS: [(&str, &str); 2] = [("ADD", "add"), ("DEL", "del")];
/// As in the stand's invocations.
const IFNAME: &str = "net1";

/// What was measured.
#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Samples {
    /// CPU time in microseconds by verb and by who did it, round by round.
    cpu: ByVerb<Vec<f64>>,
    /// System calls, traced once.
    calls: ByVerb<u32>,
    /// The most memory of the binary at a time, in KiB, by verb.
    peak: BTreeMap<&'static str, u32>,
}

type ByVerb<T> = BTreeMap<&'static str, BTreeMap<&'static str, T>>;

/// Attaches a function's own interface to a pod, without IPAM and without a log, and takes it back;
/// again and again: by the product, by the kernel's calls alone, and by sriov-cni, if there is one.
pub(crate) fn measure(peer: Option<&str>) -> Result<Samples> {
    let (empty, bare) = (crate::beside_this("empty")?, crate::beside_this("bare")?);
    let node = Node::at_rest();
    let stand = Stand::functions(&node, node.igb, "netdev", Plugin::Installed);
    let before = seen(&stand, &node);
    let pod = Pod::new("rw-bench");
    let mut samples = Samples::default();
    for round in 0..WARM_UP + ROUNDS {
        let mut record = |verb, who, cost| {
            if round >= WARM_UP {
                samples
                    .cpu
                    .entry(verb)
                    .or_default()
                    .entry(who)
                    .or_default()
                    .push(cost::micros(cost));
            }
        };
        let (ours, _) = stand.invocation("VERSION", "", None, 0, &json!({}));
        let asked = r#"{"cniVersion":"1.1.0"}"#;
        record("version", "empty", run(twin(&ours, &empty), asked)?);
        record("version", "ours", run(ours, asked)?);
        for (verb, name) in VERBS {
            let (ours, conf) = invocation(&stand, &pod, verb);
            // what the verb before has set off is not to run beside this one
            stand::settle();
            record(name, "empty", run(twin(&ours, &empty), &conf)?);
            record(name, "ours", run(ours, &conf).context(verb)?);
        }
        let after = seen(&stand, &node);
        ensure!(after == before, "DEL has left {after:?} of {before:?}");
        for (verb, name) in VERBS {
            stand::settle();
            record(name, "bare", run(alone(&bare, verb, &stand, &pod, &before[0]), "")?);
        }
        let Some(peer) = peer else { continue };
        for (verb, name) in VERBS {
            let (ours, conf) = invocation(&stand, &pod, verb);
            stand::settle();
            record(name, "peer", run(twin(&ours, Path::new(peer)), &conf).context("sriov-cni")?);
        }
        let after = seen(&stand, &node);
        ensure!(after == before, "sriov-cni has left {after:?} of {before:?}");
    }
    let (version, _) = stand.invocation("VERSION", "", None, 0, &json!({}));
    samples.trace("version", "ours", &version, r#"{"cniVersion":"1.1.0"}"#)?;
    for (verb, name) in VERBS {
        let (ours, conf) = invocation(&stand, &pod, verb);
        samples.trace(name, "ours", &ours, &conf)?;
        stand::settle();
    }
    for (verb, name) in VERBS {
        samples.trace(name, "bare", &alone(&bare, verb, &stand, &pod, &before[0]), "")?;
        stand::settle();
    }
    Ok(samples)
}

impl Samples {
    fn trace(
        &mut self,
        verb: &'static str,
        who: &'static str,
        command: &Command,
        input: &str,
    ) -> Result<()> {
        let trace = trace::of(command, input)?;
        self.calls.entry(verb).or_default().insert(who, trace.calls);
        if who == "ours" {
            self.peak.insert(verb, trace.peak);
        }
        Ok(())
    }
}

/// The kernel's calls alone for a verb.
fn alone(bare: &Path, verb: &str, stand: &Stand, pod: &Pod, before: &Link) -> Command {
    let mut alone = Command::new(bare);
    match verb {
        "ADD" => alone.args(["attach", &stand.ids[0]]).arg(pod.path()).arg(IFNAME),
        _ => alone.args(["detach", IFNAME]).arg(pod.path()).arg(&before.name),
    };
    alone
}

/// igbvf takes its PF's for the permanent address when it resets (igbvf_reset).
fn seen(stand: &Stand, node: &Node) -> Vec<Link> {
    let links = stand.netdevs(node).into_iter();
    links.map(|link| Link { permanent_mac: None, ..link }).collect()
}

fn invocation(stand: &Stand, pod: &Pod, verb: &str) -> (Command, String) {
    // sriov-cni has no 1.1.0, and knows `logFile` as another thing
    let change = json!({"cniVersion": "1.0.0", "logFile": null});
    stand.invocation(verb, &pod.target(), Some(&pod.path()), 0, &change)
}

fn run(mut command: Command, input: &str) -> Result<Duration> {
    cost::of(|| {
        let output = stand::talk(&mut command, input);
        ensure!(output.status.success(), "{}", stand::shown(&output));
        Ok(())
    })
}

/// Gives a command what another one has of an environment of its own.
pub(crate) fn give_environment(to: &mut Command, of: &Command) {
    for (name, value) in of.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
}

/// Another program, started as that one: an environment costs, too.
fn twin(command: &Command, program: &Path) -> Command {
    let mut twin = Command::new(program);
    twin.args(command.get_args());
    give_environment(&mut twin, command);
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
        let error = measure(None).unwrap_err().to_string();
        assert!(error.contains("not in /opt/lab"), "{error}");
    }

    #[test]
    fn what_fails_is_no_figure() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "read line; echo no $line; exit 3"]);
        let error = run(shell, "luck\n").unwrap_err().to_string();
        assert!(error.contains("no luck") && error.contains("exit status: 3"), "{error}");
    }
}
