//! How often each daemon runs while nothing happens, seen from the node.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::row::Row;
use crate::lab::Lab;

/// Each figure and its program, with the looks a minute that it takes without an event.
const DAEMONS: [(&str, &str, f64); 2] =
    [("agent.wakeups", "ringway-agent", 2.0), ("plugin.wakeups", "ringway-device-plugin", 0.0)];
/// Seconds between the two counts.
const SPAN: u32 = 120;

pub(super) fn figures() -> [&'static str; 2] {
    DAEMONS.map(|(name, ..)| name)
}

/// Counts twice how often the threads of each have gone to sleep, with nothing asked meanwhile.
pub(super) fn measure(lab: &Lab) -> Result<Vec<Row>> {
    rows(&lab.node.run(&script())?)
}

fn script() -> String {
    let patterns: Vec<_> = DAEMONS.iter().map(|(_, program, _)| format!("*/{program}")).collect();
    let mut script = String::new();
    let _ = write!(
        script,
        "count() {{ for p in /proc/[0-9]*; do e=$(readlink $p/exe); case $e in {}) \
         echo $1 ${{e% (deleted)}} $(cat $p/task/*/status | awk '/^voluntary/ {{ n += $2 }} END {{ print n }}');; \
         esac; done; }}; count first; sleep {SPAN}; count last",
        patterns.join("|")
    );
    script
}

fn rows(said: &str) -> Result<Vec<Row>> {
    let mut counts = BTreeMap::new();
    for line in said.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let [when, exe, count] = words[..] else { anyhow::bail!("read {line:?}") };
        let name = Path::new(exe).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let count: f64 = count.parse().with_context(|| format!("read {line:?}"))?;
        let twice = counts.insert((name, when), count);
        ensure!(twice.is_none(), "more than one process of {name} in the node");
    }
    let row = |(name, program, looks): (&str, &str, f64)| {
        let at = |when| {
            let found = counts.get(&(program, when)).copied();
            found.with_context(|| format!("{program} was not there at the {when} count"))
        };
        let rate = (at("last")? - at("first")?) * 60.0 / f64::from(SPAN);
        Ok(Row::new(name, rate, "1/min").against("looks without an event", looks))
    };
    DAEMONS.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_of_two_counts_becomes_a_rate() {
        let said = "first /bin/ringway-agent 100\nfirst /bin/ringway-device-plugin 50\n\
                    last /bin/ringway-device-plugin 74\nlast /bin/ringway-agent 108\n";
        let row = |name, value, looks| {
            Row::new(name, value, "1/min").against("looks without an event", looks)
        };
        let expected = [row("agent.wakeups", 4.0, 2.0), row("plugin.wakeups", 12.0, 0.0)];
        assert_eq!(rows(said).unwrap(), expected);
        for (from, to, words) in [
            ("last /bin/ringway-agent 108\n", "", "ringway-agent was not there at the last count"),
            ("last", "first", "more than one process of ringway"),
            ("108", "?", "read \"last /bin/ringway-agent ?\""),
            (" 50", "", "read \"first /bin/ringway-device-plugin\""),
        ] {
            let error = format!("{:#}", rows(&said.replace(from, to)).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }
}
