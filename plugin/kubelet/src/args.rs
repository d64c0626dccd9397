//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand, ValueEnum};
use ringway_kernel::Root;
use ringway_node::Paths;
use ringway_node::pools::Carrier;

use crate::plugin::Config;
use crate::source::Source;
use crate::supply::Delivery;

/// Kubelet device plugin of Ringway: makes the devices that the agent prepared schedulable.
///
/// Reads pools.json, which ringway-agent writes, and offers each resource in it to kubelet; or, with
/// --sriovdp-config, the configuration of the SR-IOV network device plugin, in whose place it then
/// stands (docs/from-sriovdp.md). `ringway-device-plugin check` says what would be offered, and why
/// other devices would not.
///
/// A container that gets a vhost-vdpa device finds it as /dev/ringway/DEVICE-ID, by a CDI spec
/// that this program keeps up to date; other devices are moved into the pod by the CNI binary.
///
/// Needs: to read sysfs, /dev, pools.json and kubelet's pod-resources socket; to write in kubelet's
/// device-plugins directory, the CDI directory, the device-info directory and the lock directory. No capability, no API server.
/// It is equal to root all the same, since container runtimes run what CDI specs tell them to.
#[derive(Debug, Parser)]
#[command(version, name = "ringway-device-plugin")]
pub struct Args {
    /// What to do instead of serving kubelet.
    #[command(subcommand)]
    pub verb: Option<Verb>,

    /// Kubelet's directory: its socket is device-plugins/kubelet.sock below, and ours go beside
    /// it. k3s, RKE2 and microk8s have it elsewhere.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kubelet")]
    kubelet_dir: PathBuf,

    /// What to offer, as ringway-agent writes it (docs/pools.md). Watched: changes apply at once.
    /// While it is absent or wrong, the last good content goes on to be offered and every
    /// allocation is refused with the reason.
    #[arg(long, global = true, value_name = "FILE", default_value_os_t = Paths::default().pools)]
    pools: PathBuf,

    /// What to offer, as the SR-IOV network device plugin is told it (its --config-file), instead of
    /// pools.json. Watched: changes apply at once, and the last good content goes on to be offered
    /// while it is wrong. Containers find device nodes under the host's names. The process must be in
    /// the host's network namespace (hostNetwork) to know who carries the default route; elsewhere
    /// only VFs are offered.
    #[arg(long, global = true, value_name = "FILE")]
    sriovdp_config: Option<PathBuf>,

    /// With --sriovdp-config: what comes before the slash in the names of resources that have no
    /// resourcePrefix of their own.
    #[arg(long, global = true, value_name = "DOMAIN", default_value = "intel.com")]
    resource_prefix: String,

    /// With --sriovdp-config, the same as --cdi=always.
    #[arg(long, global = true)]
    use_cdi: bool,

    /// Whether nodes get into containers by CDI, which containerd 1.7 and CRI-O 1.23 do if told to, and
    /// later ones always. auto: with pools.json, and with --use-cdi. never: kubelet is told the nodes with
    /// each allocation, and keeps that for as long as the pod lives, also when the machine's restart has
    /// given their numbers to other devices; and nothing lifts the limit on locked memory.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Cdi::Auto, conflicts_with = "use_cdi")]
    cdi: Cdi,

    /// With --sriovdp-config: what becomes of functions while their PF's interface has no carrier.
    /// Ignore: nothing. Report: it is told in log and metrics. Require: they are unhealthy, so that
    /// kubelet refuses pods that were given one and have not started, for good.
    #[arg(long, global = true, value_enum, value_name = "WHAT", default_value_t = CarrierArg::Ignore)]
    carrier: CarrierArg,

    /// Where container runtimes look for CDI specs (containerd: cdi_spec_dirs). One file
    /// ringway.dev-RESOURCE.json per resource with device nodes.
    #[arg(long, value_name = "DIR", default_value_os_t = Paths::default().cdi)]
    cdi_dir: PathBuf,

    /// Where Multus looks for device-info; one file per device goes into dp/ below.
    #[arg(long, value_name = "DIR", default_value_os_t = Paths::default().devinfo)]
    devinfo_dir: PathBuf,

    /// Directory of device locks, shared with the agent and the CNI binary: an allocation waits
    /// while a device is being changed, and keeps it from being changed.
    #[arg(long, value_name = "DIR", default_value_os_t = Paths::default().locks)]
    lock_dir: PathBuf,

    /// Where the host's sysfs is mounted.
    #[arg(long, global = true, value_name = "DIR", default_value = "/sys")]
    sys: PathBuf,

    /// Where the host's device nodes are. CDI specs name them as /dev/..., the runtime's view.
    #[arg(long, global = true, value_name = "DIR", default_value = "/dev")]
    dev: PathBuf,

    /// Path of the ringway binary on the host, such as /opt/cni/bin/ringway. CDI specs then make
    /// the runtime run `ringway hook memlock` for each container with a vhost-vdpa device, which
    /// lifts its limit on locked memory; without it, guests fail with "DMA mapping failed" unless
    /// something else lifts the limit.
    #[arg(long, value_name = "PATH")]
    hook: Option<PathBuf>,

    /// Part of our sockets' names that tells two running plugins of one node apart, as during a
    /// rolling update. Default: process id and start time, since in a pod the id is always 1.
    #[arg(long, value_name = "NAME", value_parser = instance)]
    instance: Option<String>,

    /// End once another instance serves all that this one does. For the start of the machine: pods
    /// that kubelet finds on its node get their devices before any pod can run that serves them.
    #[arg(long)]
    until_replaced: bool,

    /// Seconds between looks at sysfs. 0: a look when something changes, and every 5 seconds only
    /// where nothing tells of a change: for carriers that count, nodes of uio and RDMA, and while
    /// something is wrong. With --sriovdp-config every 60 seconds at least, for default routes.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    health_interval: Duration,

    /// Where to answer Prometheus's scrapes by HTTP, at /metrics (docs/metrics.md), such as
    /// 127.0.0.1:9810; nowhere if absent. There is no authentication.
    #[arg(long, value_name = "HOST:PORT")]
    metrics_address: Option<SocketAddr>,

    /// A Unix socket on which /livez, /readyz and /metrics are answered by HTTP; `probe` asks there. It
    /// is ready once kubelet knows all that is offered.
    #[arg(long, global = true, value_name = "PATH")]
    pub status_socket: Option<PathBuf>,

    /// How to log to standard error. What is logged: RUST_LOG, such as
    /// `info,ringway_device_plugin=debug`.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// What to do instead of serving kubelet.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Write CDI specs and device-info once, for what pools.json offers now, and end. For the start
    /// of the machine, before kubelet starts containers that were given devices before.
    Publish,
    /// Ask the plugin that serves how it is, on its --status-socket, and end: with status 0 if it is
    /// well, else with 1 and the reason on standard error.
    Probe {
        /// What to ask.
        #[arg(value_enum)]
        question: Question,
    },
    /// Say what would be advertised and why other devices would not, and end.
    ///
    /// Changes nothing, needs no kubelet, and may run beside a plugin that serves. Ends with status 0
    /// if all is well; 1 if the file cannot be used, with the reason on standard error; 3 if it can,
    /// and there is a warning, or a device that would be advertised as unhealthy.
    ///
    /// Example: ringway-device-plugin check --config config.json --resource-prefix openshift.io
    Check {
        /// The SR-IOV network device plugin's configuration; the same as --sriovdp-config. Without
        /// either: pools.json.
        #[arg(long, value_name = "FILE", conflicts_with = "sriovdp_config")]
        config: Option<PathBuf>,

        /// A table for people, or JSON for programs.
        #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Output::Table)]
        output: Output,
    },
}

/// What a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Question {
    /// Whether it is stuck.
    Live,
    /// Whether kubelet knows all that it offers.
    Ready,
}

impl Question {
    /// The page that answers it.
    pub fn page(self) -> &'static str {
        match self {
            Self::Live => "/livez",
            Self::Ready => "/readyz",
        }
    }
}

/// Whether nodes get into containers by CDI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Cdi {
    /// As the source of what to offer has it.
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

/// What becomes of functions while their PF's interface has no carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CarrierArg {
    /// Nothing.
    Ignore,
    /// It is told.
    Report,
    /// They are unhealthy.
    Require,
}

impl From<CarrierArg> for Carrier {
    fn from(arg: CarrierArg) -> Self {
        match arg {
            CarrierArg::Ignore => Self::Ignore,
            CarrierArg::Report => Self::Report,
            CarrierArg::Require => Self::Require,
        }
    }
}

/// How `check` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Aligned columns.
    Table,
    /// One JSON object.
    Json,
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
    /// The same, ready to run with.
    pub fn config(self) -> Config {
        let checked = match self.verb {
            Some(Verb::Check { config, .. }) => config,
            Some(Verb::Publish | Verb::Probe { .. }) | None => None,
        };
        let delivery = if self.use_cdi { Delivery::Cdi } else { Delivery::Nodes };
        let source = match checked.or(self.sriovdp_config) {
            Some(file) => {
                let (prefix, carrier) = (self.resource_prefix, self.carrier.into());
                Source::Sriovdp { file, prefix, delivery, carrier }
            }
            None => Source::Pools(self.pools),
        };
        Config {
            plugins_dir: self.kubelet_dir.join("device-plugins"),
            source,
            delivery: match self.cdi {
                Cdi::Auto => None,
                Cdi::Always => Some(Delivery::Cdi),
                Cdi::Never => Some(Delivery::Nodes),
            },
            cdi_dir: self.cdi_dir,
            devinfo_dir: self.devinfo_dir,
            pod_resources: self.kubelet_dir.join("pod-resources/kubelet.sock"),
            lock_dir: self.lock_dir,
            root: Root::default().with_sys(self.sys).with_dev(self.dev),
            hook: self.hook,
            instance: self.instance.unwrap_or_else(default_instance),
            until_replaced: self.until_replaced,
            metrics_address: self.metrics_address,
            status_socket: self.status_socket,
            health_interval: Some(self.health_interval).filter(|interval| !interval.is_zero()),
        }
    }
}

fn default_instance() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // The low bits of milliseconds: 50 days until they come again.
    format!("{}.{:x}", std::process::id(), now.as_millis() & 0xffff_ffff)
}

fn instance(text: &str) -> Result<String, String> {
    let fits = (1..=40).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b));
    // a hyphen ends the resource before it in a socket's name
    if fits { Ok(text.to_owned()) } else { Err("1 to 40 of letters, digits and `._`".to_owned()) }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|interval| {
            interval.is_zero()
                || (Duration::from_millis(10)..=Duration::from_secs(3600)).contains(interval)
        })
        .ok_or_else(|| "0, or between 0.01 and 3600 seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::path::Path;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from([&["ringway-device-plugin"], args].concat())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_a_node() {
        let config = parse(&[]).unwrap().config();
        assert_eq!(config.plugins_dir, Path::new("/var/lib/kubelet/device-plugins"));
        assert_eq!(config.source, Source::Pools("/var/lib/ringway/pools.json".into()));
        assert_eq!(config.hook, None);
        assert!(config.instance.starts_with(&format!("{}.", std::process::id())));
    }

    #[test]
    fn without_a_verb_it_serves() {
        assert_eq!(parse(&["--hook", "/x"]).unwrap().verb, None);
        assert_eq!(parse(&["--hook", "/x", "publish"]).unwrap().verb, Some(Verb::Publish));
    }

    #[test]
    fn the_other_configuration_takes_the_place_of_the_pools() {
        let source = |args: &[&str]| parse(args).unwrap().config().source;
        let other = |prefix: &str, delivery| Source::Sriovdp {
            file: "/c".into(),
            prefix: prefix.to_owned(),
            delivery,
            carrier: Carrier::Ignore,
        };
        let plain = other("intel.com", Delivery::Nodes);
        assert_eq!(source(&["--sriovdp-config", "/c"]), plain);
        assert_eq!(source(&["check", "--config", "/c"]), plain);
        assert_eq!(source(&["check", "--sriovdp-config", "/c"]), plain);
        assert_eq!(
            source(&["--sriovdp-config", "/c", "--resource-prefix", "x.org", "--use-cdi"]),
            other("x.org", Delivery::Cdi)
        );
        assert_eq!(source(&["check", "--pools", "/p"]), Source::Pools("/p".into()));
        assert!(parse(&["check", "--config", "/c", "--sriovdp-config", "/c"]).is_err());
    }

    #[test]
    fn who_starts_it_says_whether_nodes_come_by_cdi() {
        let delivery = |args: &[&str]| parse(args).unwrap().config().delivery;
        assert_eq!(delivery(&[]), None);
        assert_eq!(delivery(&["--cdi", "always"]), Some(Delivery::Cdi));
        assert_eq!(delivery(&["--cdi", "never"]), Some(Delivery::Nodes));
        assert!(parse(&["--cdi", "never", "--use-cdi"]).is_err());
    }

    #[test]
    fn odd_values_are_refused() {
        for args in [
            ["--instance", "a/b"],
            ["--instance", "a-b"],
            ["--instance", ""],
            ["--health-interval", "0.001"],
            ["--health-interval", "-1"],
            ["--health-interval", "soon"],
            ["--log-format", "xml"],
        ] {
            assert!(parse(&args).is_err(), "{args:?}");
        }
    }
}
