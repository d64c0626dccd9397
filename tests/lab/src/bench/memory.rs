//! Memory: what each of the product's daemons has in use, seen from the node.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::row::{Row, median};
use crate::lab::Lab;

/// Each figure, its program, and the bar in MiB.
const DAEMONS: [(&str, &str, f64); 3] = [
    ("agent.rss", "ringway-agent", 10.0),
    ("plugin.rss", "ringway-device-plugin", 8.0),
    ("operator.rss", "ringway-operator", 64.0),
];
/// Looks, a second apart; each daemon is looked at each time.
const SAMPLES: usize = 9;

/// Reads the memory of all three as they run now.
pub(super) fn measure(lab: &Lab) -> Result<Vec<Row>> {
    rows(&lab.node.run(&script())?)
}

/// For the node's shell: first who they are, then several looks. A process is known by its program:
/// a name in `comm` ends after 15 letters.
fn script() -> String {
    let patterns: Vec<_> = DAEMONS.iter().map(|(_, program, _)| format!("*/{program}")).collect();
    let mut script = String::new();
    let _ = write!(
        script,
        "set --; for p in /proc/[0-9]*; do case $(readlink $p/exe) in {}) set -- \"$@\" $p;; esac; \
         done; for i in $(seq {SAMPLES}); do for p; do \
         echo ${{p#/proc/}} $(grep VmRSS: $p/status) $(readlink $p/exe); done; sleep 1; done",
        patterns.join("|")
    );
    script
}

fn rows(said: &str) -> Result<Vec<Row>> {
    let row = |(name, program, bar): (&str, &str, f64)| {
        let samples = samples(said, program)?;
        let value = median(&samples).context("no sample")?;
        Ok(Row::new(name, value, "MiB").against("bar", bar))
    };
    DAEMONS.into_iter().map(row).collect()
}

/// One process' memory in MiB, look by look, from lines such as
/// `1234 VmRSS: 7604 kB /bin/ringway-agent` (proc(5): `kB` are KiB).
fn samples(said: &str, program: &str) -> Result<Vec<f64>> {
    let mut processes = Vec::new();
    let mut samples = Vec::new();
    for line in said.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let [process, "VmRSS:", kib, "kB", exe, ..] = words[..] else {
            bail!("a daemon ended while it was looked at: {line:?}; `cargo lab bench` once more");
        };
        if Path::new(exe).file_name().is_some_and(|name| name == program) {
            samples.push(kib.parse::<f64>().with_context(|| format!("read {line:?}"))? / 1024.0);
            processes.push(process);
        }
    }
    processes.dedup();
    processes.sort_unstable();
    processes.dedup();
    let count = processes.len();
    ensure!(
        count == 1,
        "{count} processes of {program} in the node, not one: `cargo lab kubectl get pods \
         --namespace ringway-system` shows why"
    );
    let looks = samples.len();
    ensure!(looks == SAMPLES, "{program} was seen {looks} times of {SAMPLES}");
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn said(lines: &[&str]) -> String {
        format!("{}\n", lines.join("\n")).repeat(SAMPLES)
    }

    const AGENT: &str = "812 VmRSS: 7168 kB /bin/ringway-agent";
    const PLUGIN: &str = "813 VmRSS: 5120 kB /bin/ringway-device-plugin";
    const OPERATOR: &str = "99 VmRSS: 16896 kB /bin/ringway-operator (deleted)";

    #[test]
    fn each_daemon_is_held_against_its_bar() {
        assert_eq!(
            rows(&said(&[AGENT, PLUGIN, OPERATOR])).unwrap(),
            [
                Row::new("agent.rss", 7.0, "MiB").against("bar", 10.0),
                Row::new("plugin.rss", 5.0, "MiB").against("bar", 8.0),
                Row::new("operator.rss", 16.5, "MiB").against("bar", 64.0),
            ]
        );
    }

    #[test]
    fn what_is_not_as_expected_is_told() {
        let check = |said: &str, expected: &str| {
            let error = format!("{:#}", rows(said).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check("", "0 processes of ringway-agent");
        check(&said(&[AGENT, PLUGIN]), "0 processes of ringway-operator");
        let another = AGENT.replace("812", "900");
        check(&said(&[AGENT, PLUGIN, OPERATOR, &another]), "2 processes of ringway-agent");
        check(AGENT, "seen 1 times of 9");
        check(&said(&[AGENT, "813"]), "ended while it was looked at: \"813\"");
        check(&said(&[&AGENT.replace("7168", "?")]), "read \"812 VmRSS: ?");
    }

    /// On this machine, with a program of another name: the shell's part of it.
    #[test]
    fn the_script_finds_a_process_by_its_program() {
        let dir = std::env::temp_dir().join(format!("ringway-memory-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let program = dir.join(format!("agent-{}", std::process::id()));
        std::fs::copy("/bin/sleep", &program).unwrap();
        let mut daemon = Command::new(&program).arg("60").spawn().unwrap();
        let name = program.file_name().unwrap().to_str().unwrap();
        let script = script()
            .replace("ringway-agent", name)
            .replace(&format!("seq {SAMPLES}"), "seq 2")
            .replace("sleep 1", "true");
        let output = Command::new("sh").args(["-c", &script]).output();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        let lines: Vec<_> = said.lines().filter(|line| line.ends_with(name)).collect();
        assert_eq!(lines.len(), 2, "{said}");
        assert!(lines[0].starts_with(&format!("{} VmRSS: ", daemon.id())), "{said}");
    }
}
