//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

/// Configures this node's SR-IOV functions and vDPA devices.
///
/// In a cluster, `run` takes the node's NodeDevices object for the wish and answers in its status.
/// Without one, `observe`, `plan` and `apply --file` do the same by hand.
#[derive(Debug, Parser)]
#[command(name = "ringway-agent", version, max_term_width = 100)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// Where the node's file systems are.
    #[command(flatten)]
    pub paths: Paths,
    /// How to log to standard error. What is logged: RUST_LOG, such as
    /// `info,ringway_agent=debug`.
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show what this node has: cards with SR-IOV, their functions, vDPA devices, simulators.
    Observe {
        /// How.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Show what `apply` would do, and whom each step disturbs. Changes nothing.
    Plan(File),
    /// Make this node what a file says. A step that would disturb a device in use is not done.
    ///
    /// Can be run again at any time: what is as wanted already is left alone. Exit status 0 only
    /// if everything is as wanted.
    Apply(File),
    /// Serve a cluster: follow this node's NodeDevices object until told to stop.
    Run(Run),
}

/// The wish.
#[derive(Debug, Group)]
pub struct File {
    /// A NodeDevices object, as YAML or JSON: `spec.parents` says what shall be. `-` reads
    /// standard input.
    #[arg(short, long)]
    pub file: PathBuf,
}

/// How to serve a cluster.
#[derive(Debug, Group)]
pub struct Run {
    /// This node's name in the cluster.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: String,
    /// kubelet's directory; its `pod-resources` tells which pods hold devices.
    #[arg(long, default_value = "/var/lib/kubelet")]
    pub kubelet_dir: PathBuf,
    /// How often the node is looked at without a reason, in seconds.
    #[arg(long, default_value = "30", value_parser = seconds)]
    pub resync: Duration,
}

/// Where the node's file systems are: in a container they may be mounted elsewhere.
#[derive(Debug, Group)]
pub struct Paths {
    /// sysfs, writable.
    #[arg(long, global = true, default_value = "/sys")]
    pub sys: PathBuf,
    /// The kernel's modules.
    #[arg(long, global = true, default_value = "/lib/modules")]
    pub modules: PathBuf,
    /// What must survive a reboot: the node's record, its wish, and what it offers.
    #[arg(long, global = true, default_value = "/var/lib/ringway")]
    pub state_dir: PathBuf,
    /// What must not: locks, and markers of calls that have not come back.
    #[arg(long, global = true, default_value = "/run/ringway")]
    pub run_dir: PathBuf,
}

/// How `observe` prints.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs: the whole inventory.
    Json,
}

/// How to log.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// A line of text for a person.
    Text,
    /// A JSON object per line for a collector.
    Json,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(n @ 1..=3600) => Ok(Duration::from_secs(n)),
        _ => Err("a number of seconds from 1 to 3600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }
}
