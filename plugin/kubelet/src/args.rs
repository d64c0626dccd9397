//! The command line.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand, ValueEnum};
use ringway_kernel::Root;
use ringway_node::Paths;

use crate::plugin::Config;

/// Kubelet device plugin of Ringway: makes the devices that the agent prepared schedulable.
///
/// Reads pools.json, which ringway-agent writes, and offers each resource in it to kubelet. A
/// container that gets a vhost-vdpa device finds it as /dev/ringway/DEVICE-ID, by a CDI spec
/// that this program keeps up to date; other devices are moved into the pod by the CNI binary.
///
/// Needs: to read sysfs, /dev and pools.json; to write in kubelet's device-plugins directory, the
/// CDI directory, the device-info directory and the lock directory. No capability, no API server.
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
    #[arg(long, value_name = "FILE", default_value_os_t = Paths::default().pools)]
    pools: PathBuf,

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
    #[arg(long, value_name = "DIR", default_value = "/sys")]
    sys: PathBuf,

    /// Where the host's device nodes are. CDI specs name them as /dev/..., the runtime's view.
    #[arg(long, value_name = "DIR", default_value = "/dev")]
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

    /// Seconds between looks at sysfs, which tells nobody when a driver is unbound.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    health_interval: Duration,

    /// How to log to standard error. What is logged: RUST_LOG, such as
    /// `info,ringway_device_plugin=debug`.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// What to do instead of serving kubelet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Write CDI specs and device-info once, for what pools.json offers now, and end. For the start
    /// of the machine, before kubelet starts containers that were given devices before.
    Publish,
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
        Config {
            plugins_dir: self.kubelet_dir.join("device-plugins"),
            pools: self.pools,
            cdi_dir: self.cdi_dir,
            devinfo_dir: self.devinfo_dir,
            lock_dir: self.lock_dir,
            root: Root::default().with_sys(self.sys).with_dev(self.dev),
            hook: self.hook,
            instance: self.instance.unwrap_or_else(default_instance),
            health_interval: self.health_interval,
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
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if fits { Ok(text.to_owned()) } else { Err("1 to 40 of letters, digits and `._-`".to_owned()) }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|interval| {
            (Duration::from_millis(10)..=Duration::from_secs(3600)).contains(interval)
        })
        .ok_or_else(|| "between 0.01 and 3600 seconds".to_owned())
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
        assert_eq!(config.pools, Path::new("/var/lib/ringway/pools.json"));
        assert_eq!(config.hook, None);
        assert!(config.instance.starts_with(&format!("{}.", std::process::id())));
    }

    #[test]
    fn without_a_verb_it_serves() {
        assert_eq!(parse(&["--hook", "/x"]).unwrap().verb, None);
        assert_eq!(parse(&["--hook", "/x", "publish"]).unwrap().verb, Some(Verb::Publish));
    }

    #[test]
    fn odd_values_are_refused() {
        for args in [
            ["--instance", "a/b"],
            ["--instance", ""],
            ["--health-interval", "0"],
            ["--health-interval", "-1"],
            ["--health-interval", "soon"],
            ["--log-format", "xml"],
        ] {
            assert!(parse(&args).is_err(), "{args:?}");
        }
    }
}
