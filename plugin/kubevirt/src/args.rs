//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::hook::Config;

/// KubeVirt hook sidecar of Ringway: gives a VM the vhost-vdpa devices of its pod.
///
/// KubeVirt starts it beside virt-launcher for a VM with an interface `binding: {name: ringway}`,
/// once the binding is registered (KubeVirt resource, spec.configuration.network.binding):
///
///   ringway: {sidecarImage: IMAGE, downwardAPI: device-info}
///
/// It answers on a socket in the hooks directory, reads network-info and makes symbolic links to
/// devices. It needs no capability and no root, and every flag has the value that fits KubeVirt.
#[derive(Debug, Parser)]
#[command(version, name = "ringway-kubevirt", verbatim_doc_comment)]
pub struct Args {
    /// The binding whose interfaces are served: their `binding.name` in the VMI. KubeVirt sets the
    /// variable. The socket is named after it, because virt-launcher counts sidecars by the names
    /// of their sockets.
    #[arg(long, value_name = "NAME", env = "NETWORK_BINDING_PLUGIN_NAME", default_value = "ringway",
          value_parser = name)]
    binding: String,

    /// This container's name, by which virt-launcher's container sees our directory:
    /// /var/run/kubevirt-hooks/NAME. KubeVirt sets the variable.
    #[arg(long, value_name = "NAME", env = "CONTAINER_NAME", default_value = "hook-sidecar-0",
          value_parser = name)]
    container_name: String,

    /// Where the socket and the links go: the directory that is shared with virt-launcher.
    #[arg(long, value_name = "DIR", default_value = "/var/run/kubevirt-hooks")]
    hooks_dir: PathBuf,

    /// Which devices the pod's networks got: the annotation kubevirt.io/network-info, mounted by
    /// the downward API. KubeVirt mounts it for a binding with `downwardAPI: device-info`.
    #[arg(long, value_name = "FILE", default_value = "/etc/podinfo/network-info")]
    network_info: PathBuf,

    /// Seconds to wait until that file names a device for each interface. It comes a moment after
    /// the pod has started; virt-launcher gives a hook one minute for everything.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    device_info_timeout: Duration,

    /// How to log to standard error. What is logged: RUST_LOG, such as
    /// `info,ringway_kubevirt=debug`.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
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
            binding: self.binding,
            container_name: self.container_name,
            hooks_dir: self.hooks_dir,
            network_info: self.network_info,
            device_info_timeout: self.device_info_timeout,
        }
    }
}

/// A name becomes part of a path.
fn name(text: &str) -> Result<String, String> {
    let fits = (1..=63).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if fits {
        Ok(text.to_owned())
    } else {
        Err("1 to 63 of letters, digits and `._-`, no dot in front".to_owned())
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|timeout| *timeout <= Duration::from_secs(55))
        .ok_or_else(|| "between 0 and 55 seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::path::Path;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn defaults_fit_kubevirt() {
        let config = Args::try_parse_from(["ringway-kubevirt"]).unwrap().config();
        assert_eq!(config.hooks_dir, Path::new("/var/run/kubevirt-hooks"));
        assert_eq!(config.network_info, Path::new("/etc/podinfo/network-info"));
        assert_eq!(config.device_info_timeout, Duration::from_secs(30));
    }

    #[test]
    fn odd_values_are_refused() {
        for args in [
            ["--binding", "a/b"],
            ["--binding", ""],
            ["--container-name", ".."],
            ["--device-info-timeout", "56"],
            ["--device-info-timeout", "-1"],
            ["--device-info-timeout", "soon"],
        ] {
            assert!(Args::try_parse_from([&["ringway-kubevirt"], &args[..]].concat()).is_err());
        }
    }
}
