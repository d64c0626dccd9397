//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Test equipment: stands in for KubeVirt's virt-launcher in Ringway's lab.
///
/// Asks the hook sidecars of its pod for a domain as KubeVirt's manager does, boots it with
/// libvirtd in session mode, prints the guest's console, and ends with 0 if the guest's pings lost
/// nothing. /usr of the node is mounted read-only.
#[derive(Debug, Parser)]
#[command(version, name = "ringway-launcher")]
pub struct Args {
    /// The VirtualMachineInstance as JSON, as hooks are given it.
    #[arg(long, value_name = "JSON", env = "VMI")]
    pub vmi: String,

    /// The guest's address with its prefix length.
    #[arg(long, value_name = "ADDRESS", env = "VM_ADDRESS", value_parser = address)]
    pub address: String,

    /// What the guest pings, separated by spaces.
    #[arg(long, value_name = "ADDRESSES", env = "VM_PING_TARGETS", value_delimiter = ' ',
          value_parser = address)]
    pub ping_targets: Vec<String>,

    /// Below it each hook sidecar has a directory with its socket.
    #[arg(long, value_name = "DIR", default_value = "/var/run/kubevirt-hooks")]
    pub hooks_dir: PathBuf,

    /// How many hook sidecars there are.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub hook_sidecars: usize,

    /// Where libvirt, QEMU and this program write.
    #[arg(long, value_name = "DIR", default_value = "/run/vm")]
    pub run_dir: PathBuf,

    /// The guest's kernel, as the lab builds it.
    #[arg(long, value_name = "FILE", default_value = "/vm/vmlinux")]
    pub kernel: PathBuf,

    /// The guest's initial RAM file system, as the lab writes it.
    #[arg(long, value_name = "FILE", default_value = "/vm/initramfs.cpio")]
    pub initramfs: PathBuf,

    /// Seconds that hooks, and then the guest, may take.
    #[arg(long, value_name = "SECONDS", env = "VM_DEADLINE", default_value = "900",
          value_parser = seconds)]
    pub deadline: Duration,
}

/// It becomes a word on the guest's kernel command line.
fn address(text: &str) -> Result<String, String> {
    let fits =
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit() || b"./:".contains(&b));
    if fits { Ok(text.to_owned()) } else { Err("an address such as 10.88.0.50/24".to_owned()) }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|_| "a number of seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(address: &str, targets: &str) -> Result<Args, clap::Error> {
        let args = ["x", "--vmi={}", "--address", address, "--ping-targets", targets];
        Args::try_parse_from(args)
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn targets_are_a_list() {
        let args = parse("10.88.0.50/24", "10.88.0.1 10.88.0.3").unwrap();
        assert_eq!(args.ping_targets, ["10.88.0.1", "10.88.0.3"]);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        assert!(parse("10.88.0.50 init=/x", "10.88.0.1").is_err());
        assert!(parse("10.88.0.50/24", "10.88.0.1,x").is_err());
        assert!(parse("", "10.88.0.1").is_err());
    }
}
