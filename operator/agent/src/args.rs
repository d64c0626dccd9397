//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use ringway_kernel::pci::Address;
use ringway_node::Paths as HostPaths;

/// Where kubelet has its files, unless told otherwise.
const KUBELET: &str = "/var/lib/kubelet";

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
    /// Make this node what the cluster wanted last, before kubelet starts: for the unit of `install`.
    Boot(Boot),
    /// Put this program, and what works at boot besides, on the host, with a systemd unit that is
    /// enabled. Can be run again at any time.
    Install(Install),
    /// Put this node back to what it was before Ringway changed anything.
    ///
    /// Refused while a device is in use, or an agent works on the node. Can be run again at any
    /// time. Exit status 0 only if everything is as it was before.
    Reset(Reset),
    /// Take a spare card through every attach kind that it can do, put it back, and print a report in
    /// Markdown.
    ///
    /// For cards that Ringway has not been run on: docs/hardware.md collects the reports. Refused for
    /// a card that has functions or carries the node's own traffic. Killed, it is undone by `reset`.
    Selftest(Selftest),
    /// Serve a cluster: follow this node's NodeDevices object until told to stop.
    Run(Run),
    /// Ask the agent that serves whether it has said how its node is, and end: with status 0 if so,
    /// else with 1 and the reason on standard error. For kubelet.
    Probe {
        /// The socket that it was told by --status-socket.
        #[arg(long, value_name = "PATH")]
        status_socket: PathBuf,
    },
}

/// The wish.
#[derive(Debug, Group)]
pub struct File {
    /// A NodeDevices object, as YAML or JSON: `spec.parents` says what shall be. `-` reads
    /// standard input.
    #[arg(short, long)]
    pub file: PathBuf,
}

/// How to work at boot.
#[derive(Debug, Group)]
pub struct Boot {
    /// kubelet's directory: it must not run.
    #[arg(long, default_value = KUBELET)]
    pub kubelet_dir: PathBuf,
    /// After this many seconds no step is begun any more: kubelet waits meanwhile.
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    pub within: Duration,
}

/// Where things go on the host, and where they are there. A container needs them mounted where the
/// host has them.
#[derive(Debug, Group)]
pub struct Install {
    /// The directory of programs.
    #[arg(long, value_name = "DIR", value_parser = plain_path)]
    pub to: PathBuf,
    /// The directory of systemd's units.
    #[arg(long, value_name = "DIR", default_value = "/etc/systemd/system", value_parser = plain_path)]
    pub units: PathBuf,
    /// kubelet's unit, or that of the program that kubelet is part of: k3s.service,
    /// rke2-agent.service, snap.microk8s.daemon-kubelite.service.
    #[arg(long, value_name = "UNIT", default_value = "kubelet.service", value_parser = unit_name)]
    pub kubelet_unit: String,
    /// kubelet's directory.
    #[arg(long, value_name = "DIR", default_value = KUBELET, value_parser = plain_path)]
    pub kubelet_dir: PathBuf,
    /// Where container runtimes look for CDI specs.
    #[arg(long, value_name = "DIR", default_value_os_t = HostPaths::default().cdi, value_parser = plain_path)]
    pub cdi_dir: PathBuf,
    /// Where Multus looks for device-info.
    #[arg(long, value_name = "DIR", default_value_os_t = HostPaths::default().devinfo, value_parser = plain_path)]
    pub devinfo_dir: PathBuf,
    /// The ringway binary that CDI specs name as a hook; none if absent.
    #[arg(long, value_name = "PATH", value_parser = plain_path)]
    pub hook: Option<PathBuf>,
    /// Where the container runtime looks for CNI binaries: a timer has the one there collect.
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin", value_parser = plain_path)]
    pub cni_bin: PathBuf,
    /// Also a unit that hands devices out from before kubelet starts until the device plugin's pod
    /// does: pods that nobody makes anew keep their devices over a reboot. Without this it is removed.
    #[arg(long)]
    pub device_plugin: bool,
}

/// What to put back.
#[derive(Debug, Group)]
pub struct Reset {
    /// Only this parent: a card's PCI address, or a simulator's name. More than once for several.
    #[arg(long = "parent", value_name = "ADDRESS")]
    pub parents: Vec<String>,
    /// Show what would be done, and whom each step disturbs. Changes nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// kubelet's directory, where it tells which pods hold devices.
    #[arg(long, default_value = KUBELET)]
    pub kubelet_dir: PathBuf,
    /// How long kubelet has to stop offering the devices, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub within: Duration,
}

/// What to test.
#[derive(Debug, Group)]
pub struct Selftest {
    /// The card: its PCI address, as `observe` shows it.
    #[arg(long, value_name = "ADDRESS")]
    pub parent: Address,
    /// How many functions to make, if the card can have as many.
    #[arg(long, value_name = "NUMBER", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub functions: u16,
}

/// How to serve a cluster.
#[derive(Debug, Group)]
pub struct Run {
    /// This node's name in the cluster.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: String,
    /// kubelet's directory; its `pod-resources` tells which pods hold devices.
    #[arg(long, default_value = KUBELET)]
    pub kubelet_dir: PathBuf,
    /// A file that the chart has put on the host, where the agent has it mounted: removed when the
    /// agent is told to leave the node. More than once, in the order in which they go.
    #[arg(long = "host-file", value_name = "PATH")]
    pub host_files: Vec<PathBuf>,
    /// How often the node is looked at without a reason, in seconds.
    #[arg(long, default_value = "30", value_parser = seconds)]
    pub resync: Duration,
    /// Where to answer Prometheus's scrapes by HTTP, at /metrics, such as 127.0.0.1:9809; nowhere if
    /// absent. Whoever reaches it can read the names of devices and what they count.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics_address: Option<SocketAddr>,
    /// A Unix socket on which /readyz is answered by HTTP; `probe` asks there. It is ready once the
    /// node's NodeDevices object tells what the agent has seen.
    #[arg(long, value_name = "PATH")]
    pub status_socket: Option<PathBuf>,
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

/// A path that stands in a unit as it is.
fn plain_path(text: &str) -> Result<PathBuf, String> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-:@+".contains(&b));
    match plain && text.starts_with('/') && !text.split('/').any(|part| part == "..") {
        true => Ok(PathBuf::from(text)),
        false => Err("an absolute path of letters, digits and `/._-:@+`, without `..`".to_owned()),
    }
}

fn unit_name(text: &str) -> Result<String, String> {
    let inside = |b: u8| b.is_ascii_alphanumeric() || b"._-:@\\".contains(&b);
    let stem = text.strip_suffix(".service").unwrap_or_default();
    match !stem.is_empty() && stem.bytes().all(inside) {
        true => Ok(text.to_owned()),
        false => Err("a unit that ends in .service".to_owned()),
    }
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
