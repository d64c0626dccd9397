//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

use crate::lease::Timing;

/// Operator of Ringway: turns DevicePolicy objects into each node's NodeDevices spec, and
/// DeviceNetwork objects into NetworkAttachmentDefinitions.
///
/// Talks to the API server only, with the pod's service account or, outside a cluster, with
/// KUBECONFIG. It never touches a node: ringway-agent does, by the NodeDevices of its node.
///
/// What is logged: RUST_LOG, such as `info,ringway_operator=debug`.
#[derive(Debug, Parser)]
#[command(version, name = "ringway-operator", args_conflicts_with_subcommands = true)]
pub struct Args {
    /// What to do; `run` if absent.
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    run: Run,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch the cluster and write what it lacks, until SIGTERM (default)
    Run(Run),
    /// Print the CustomResourceDefinitions as YAML: ringway-operator crds | kubectl apply -f -
    Crds,
    /// Tell whether an installation works, as a table; exit status 1 if it does not
    ///
    /// It works if our kinds are established, the agent of every node that has one reports Ready,
    /// and every resource of every policy can be allocated somewhere. `helm test` runs this.
    Check(Check),
    /// Take an installation down, all but its own objects: before `helm uninstall`, which runs this
    ///
    /// Refused while a pod has a device. Deletes every DevicePolicy, waits until each node is what it
    /// was before, and tells the agents to remove what is on their hosts. Needs operator and agents to
    /// run. Can be run again.
    Remove(Remove),
}

/// Options of `run`.
#[derive(Debug, Clone, Group)]
pub struct Run {
    /// How to log to standard error.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Name of the Lease by which replicas agree on who works.
    #[arg(long, value_name = "NAME", default_value = "ringway-operator")]
    pub lease: String,

    /// Namespace of the Lease. Default: the pod's own.
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// What tells this replica from others. Default: the host name, which in a pod is its name.
    #[arg(long, value_name = "NAME")]
    pub identity: Option<String>,

    /// After this many seconds without a renewal another replica takes over.
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    lease_duration: u32,

    /// After this many seconds without a renewal this replica stops. Less than the duration.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    renew_deadline: u32,

    /// Seconds between two tries to get or renew the Lease. Less than the deadline.
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    retry_period: u32,

    /// Where to answer liveness probes by HTTP, such as 0.0.0.0:8081; nowhere if absent.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub health: Option<SocketAddr>,
}

/// Options of `check`.
#[derive(Debug, Clone, Group)]
pub struct Check {
    /// Look again for this many seconds until all is well: agents need a moment after a change.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub wait: u32,
}

/// Options of `remove`.
#[derive(Debug, Clone, Group)]
pub struct Remove {
    /// How long nodes have, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 240)]
    pub wait: u32,
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line of text for a person.
    Text,
    /// A JSON object per line for a collector.
    Json,
}

impl Args {
    /// What to do.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Run(self.run))
    }
}

impl Run {
    /// How long things about the Lease may take; an error where that cannot work.
    pub fn timing(&self) -> Result<Timing, String> {
        let (duration, renew, retry) =
            (self.lease_duration, self.renew_deadline, self.retry_period);
        if retry == 0 || retry >= renew || renew >= duration {
            return Err(format!(
                "--retry-period {retry}, --renew-deadline {renew} and --lease-duration {duration}: \
                 each must be less than the next, and none 0"
            ));
        }
        let [duration, renew, retry] =
            [duration, renew, retry].map(|seconds| Duration::from_secs(seconds.into()));
        Ok(Timing { duration, renew, retry })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn run(args: &[&str]) -> Run {
        match Args::parse_from([&["ringway-operator"], args].concat()).into_command() {
            Command::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_runs() {
        for args in [&["--lease", "x"][..], &["run", "--lease", "x"]] {
            assert_eq!(run(args).lease, "x");
        }
        let parse =
            |args: &[&str]| Args::parse_from([&["ringway-operator"], args].concat()).into_command();
        assert!(matches!(parse(&["check", "--wait", "9"]), Command::Check(Check { wait: 9 })));
        assert!(matches!(parse(&["remove"]), Command::Remove(Remove { wait: 240 })));
        assert!(matches!(parse(&["crds"]), Command::Crds));
    }

    #[test]
    fn times_that_cannot_work_are_refused() {
        let seconds = Duration::from_secs;
        let timing = Timing { duration: seconds(15), renew: seconds(10), retry: seconds(2) };
        assert_eq!(run(&[]).timing(), Ok(timing));
        for args in [
            ["--retry-period", "0"],
            ["--retry-period", "10"],
            ["--renew-deadline", "15"],
            ["--lease-duration", "3"],
        ] {
            let error = run(&args).timing().unwrap_err();
            assert!(error.contains(args[0]), "{error}");
        }
    }
}
