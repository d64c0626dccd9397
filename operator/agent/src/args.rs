//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

/// Configures this node's SR-IOV functions and vDPA devices.
///
/// In a cluster, `run` takes the node's NodeDevices object for the wish and answers in its status.
/// Without one, `observe`, `plan` and `apply --file` do the same by hand: see what there is, write
/// down what shall be, look at what that would do, do it.
#[derive(Debug, Parser)]
#[command(name = "ringway-agent", version, max_term_width = 100, after_long_help = EXAMPLES)]
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

const EXAMPLES: &str = "\
Examples:
  What is there, and what is off limits:
    ringway-agent observe

  Two functions for virtual machines and two for containers:
    cat > node.yaml <<'END'
    apiVersion: ringway.dev/v1alpha1
    kind: NodeDevices
    spec:
      parents:
      - name: '0000:01:00.0'       # as `observe` calls it
        policy: by-hand
        functionCount: 4
        pools:
        - {name: vms, resource: ringway.dev/vms, range: 0-1, attach: vhost-vdpa}
        - {name: pods, resource: ringway.dev/pods, range: 2-3, attach: virtio-vdpa}
    END
    ringway-agent plan --file node.yaml
    ringway-agent apply --file node.yaml

  And back to what it was before:
    echo '{apiVersion: ringway.dev/v1alpha1, kind: NodeDevices, spec: {parents: []}}' |
      ringway-agent apply --file -";

const OBSERVE: &str = "\
A line for each parent (a card with SR-IOV, a simulator), and below it one for each of its functions:
  DEVICE      address and interfaces of a parent; index and device id of a function
  DRIVER      of the card or function itself; `vp-vdpa` makes vDPA devices of virtio functions
  VDPA        the driver of the vDPA bus that has the function's device: `vhost_vdpa` gives it to a
              virtual machine, `virtio_vdpa` makes an interface of it
  REACHED BY  the device node, or the interface
  NOTE        why it is off limits or of no use, or who has it open

Reading needs no privileges, but only root sees whose files are open.

Examples:
  ringway-agent observe
  ringway-agent observe -o json | jq '.parents[].functions[].vdpa[].name'";

const PLAN: &str = "\
A step that disturbs a device in use is shown with its user; `apply` leaves it undone. What is
refused is left as it is, with the reason.

Examples:
  ringway-agent plan --file node.yaml
  ringway-agent plan --file node.yaml -o json | jq '.steps[] | select(.waits)'";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show what this node has: cards with SR-IOV, their functions, vDPA devices, simulators.
    #[command(after_long_help = OBSERVE)]
    Observe {
        /// How to print.
        #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Output::Table)]
        output: Output,
    },
    /// Show what `apply` would do, and whom each step disturbs. Changes nothing.
    #[command(after_long_help = PLAN)]
    Plan {
        /// What shall be.
        #[command(flatten)]
        wish: File,
        /// How to print.
        #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Output::Table)]
        output: Output,
    },
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
    /// Where to answer Prometheus's scrapes by HTTP, at /metrics, such as 127.0.0.1:9809; nowhere if
    /// absent. Whoever reaches it can read the names of devices and what they count.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics_address: Option<SocketAddr>,
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
    /// Where udev reads rules that do not survive a reboot: one keeps NetworkManager and
    /// systemd-networkd off functions that are for pods and virtual machines.
    #[arg(long, global = true, default_value = "/run/udev/rules.d")]
    pub udev_rules_dir: PathBuf,
}

/// How `observe` and `plan` print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs: everything.
    Json,
    /// The same as YAML.
    Yaml,
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
