//! The command line: what a person can ask of the lab.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::accel::Accel;
use crate::bench;
use crate::cluster;
use crate::compare;
use crate::demo;
use crate::lab::{self, Lab, Wish};
use crate::monitor;
use crate::place::Place;
use crate::progress::{Progress, seconds};
use crate::test;
use crate::vm;

/// Ringway's lab: a real kernel with emulated SR-IOV cards and vDPA, on this machine, without
/// hardware.
///
/// It needs an x86-64 Debian or Ubuntu host, root, and Rust; it says what is missing. Everything
/// it builds is cached under $XDG_CACHE_HOME/ringway-lab (or ~/.cache/ringway-lab). The host's
/// network and packages stay as they are, but for build tools that apt installs by name.
#[derive(Debug, Parser)]
#[command(name = "cargo lab", bin_name = "cargo lab", max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Bring the lab up: build what is missing, boot the node, start the cluster around it.
    ///
    /// The first time builds Debian roots, kernel modules and Kubernetes (a quarter of an hour on
    /// two cores); later it takes as long as a boot. Interrupting it leaves nothing running. A lab that is up already stays
    /// as it is, unless what it was built from has changed.
    Up {
        /// Take today's package versions instead of those in the cache
        #[arg(long)]
        refresh: bool,
        /// Run the node with this instead of what a probe finds to work
        #[arg(long)]
        accel: Option<Accel>,
    },
    /// Take the lab down: every process, bridge and tap of it. The cache stays.
    Down,
    /// Show the product at work: pods and a virtual machine ping each other over vDPA.
    ///
    /// Brings the lab up, installs Ringway's chart, carves an emulated card by a DevicePolicy,
    /// starts pods and a virtual machine that ask for its devices, and ends with a table. Exit
    /// status 0 only if no ping was lost.
    Demo(demo::Options),
    /// Say whether the lab is up, and how fast it booted. Exit status 1 if it is not up.
    Status,
    /// Run a command in the node, or open a shell there.
    ///
    /// Example: cargo lab ssh vdpa dev show
    Ssh {
        /// The command and its arguments; none opens a shell
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run kubectl as the cluster's administrator.
    ///
    /// Example: cargo lab kubectl get pods --all-namespaces
    Kubectl {
        /// kubectl's own arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run helm as the cluster's administrator.
    ///
    /// Example: cargo lab helm list --all-namespaces
    Helm {
        /// helm's own arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Say a line to the monitor of the node's QEMU, such as to pull a card out of its slot.
    ///
    /// Examples: cargo lab monitor info pci | cargo lab monitor device_del igb
    #[command(verbatim_doc_comment)]
    Monitor {
        /// The line
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        line: Vec<String>,
    },
    /// Show a log of the lab.
    Logs {
        /// Which one
        what: Log,
        /// Go on as it grows
        #[arg(short, long)]
        follow: bool,
    },
    /// Run the tests: style and hermetic ones first, then those on the node's kernel and in its
    /// cluster.
    ///
    /// Brings the lab up if a selected test needs it, and takes down only what it brought up.
    /// Shows each test's name and time as it ends. The last line is `N passed, N failed`.
    Test(test::Options),
    /// Measure: the demo by step, and what the product costs in memory, CPU time and size.
    ///
    /// Prints a row for each figure, with what it is held against: a bar, an aim, or a peer that was
    /// measured in the same run. Nothing is asserted: the exit status is a failure only if something
    /// could not be measured. Brings the lab up if a figure needs it, and takes down only what it
    /// brought up.
    ///
    /// demo.*       seconds by step: the last demo from an empty cache, and one from a full one
    /// cni.*        CPU time of the CNI plugin's verbs, beside an empty static binary, the kernel's
    ///              calls alone, and sriov-cni
    /// node.*       time and CPU time of carving a card and changing a function by the agent, beside
    ///              the kernel's calls alone
    /// *.rss        memory in use by agent, plugin and operator, with four functions carved
    /// image.size   the archive of the image with all binaries
    ///
    /// Examples: cargo lab bench cni | cargo lab bench image.size --format json
    #[command(verbatim_doc_comment)]
    Bench(bench::Options),
    /// Show what our device plugin and sriov-network-device-plugin answer for the same devices.
    ///
    /// Both are started in the node, one after the other, with one configuration, before the same
    /// kubelet. Prints a row for each answer that differs: docs/from-sriovdp.md says why. A program
    /// of that project is built by hand: CGO_ENABLED=0 go build ./cmd/sriovdp
    Compare(compare::Options),
    /// Print the completion script for a shell (for use as `cargo-lab`).
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Log {
    /// The node's serial console
    Console,
    /// The node's system journal
    Journal,
    /// What QEMU said
    Qemu,
    /// The API server
    Apiserver,
    /// The scheduler
    Scheduler,
    /// The node's kubelet
    Kubelet,
    /// The node's containerd
    Containerd,
    /// Multus
    Multus,
}

/// Runs what the command line asks for.
pub fn run() -> Result<ExitCode> {
    let args = Args::parse();
    let place = Place::find()?;
    match args.verb {
        Verb::Up { refresh, accel } => up(&place, Wish { refresh, accel, ..Wish::default() }),
        Verb::Down => {
            let was_up = lab::down(&place)?;
            let word = if was_up { "is down" } else { "was not up" };
            print(&format!("the lab {} {word}\n", place.name))
        }
        Verb::Demo(options) => demo::run(&place, &options),
        Verb::Status => {
            let (text, up) = lab::status(&place);
            print(&format!("{text}\n"))?;
            Ok(if up { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Verb::Ssh { command } => become_process(Lab::need(&place)?.node.command(command)),
        Verb::Kubectl { args } => become_process(Lab::need(&place)?.cluster.kubectl(args)),
        Verb::Helm { args } => {
            let mut helm = Lab::need(&place)?.helm();
            helm.args(args);
            become_process(helm)
        }
        Verb::Monitor { line } => {
            Lab::need(&place)?;
            print(&monitor::say(&place, &line.join(" "))?)
        }
        Verb::Logs { what, follow } => logs(&place, what, follow),
        Verb::Test(options) => test::run(&place, &options),
        Verb::Bench(options) => bench::run(&place, &options),
        Verb::Compare(options) => compare::run(&place, &options),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "cargo-lab", &mut script);
            print(&String::from_utf8(script)?)
        }
    }
}

fn up(place: &Place, wish: Wish<'_>) -> Result<ExitCode> {
    let progress = Progress::new();
    progress.say(&format!("the lab {}: parts in {}", place.name, place.cache.display()));
    let (_, lease) = Lab::up(place, &progress, wish)?;
    if let Some(lease) = lease {
        lease.keep()?;
    }
    progress.say(&format!("up after {}", seconds(progress.elapsed())));
    print("next: cargo lab test | cargo lab ssh | cargo lab down\n")
}

fn logs(place: &Place, what: Log, follow: bool) -> Result<ExitCode> {
    let lab = Lab::need(place)?;
    let tail = |path: PathBuf| {
        let mut command = std::process::Command::new("tail");
        command.args(["--lines=+1"]).args(follow.then_some("--follow=name")).arg(path);
        command
    };
    let unit = |unit: &str| {
        let follow = if follow { " --follow --lines=all" } else { "" };
        lab.node.command([format!("journalctl --no-pager{follow}{unit}")])
    };
    let plane = |name: &str| tail(cluster::dir(place).join(format!("{name}.log")));
    become_process(match what {
        Log::Console => tail(vm::console(place)),
        Log::Qemu => tail(place.state.join("qemu.log")),
        Log::Apiserver => plane("kube-apiserver"),
        Log::Scheduler => plane("kube-scheduler"),
        Log::Journal => unit(""),
        Log::Kubelet => unit(" --unit=kubelet"),
        Log::Containerd => unit(" --unit=containerd"),
        Log::Multus => lab.node.command(["cat /var/log/multus.log"]),
    })
}

/// Hands this process's terminal and exit status over to another command.
fn become_process(mut command: std::process::Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec()).with_context(|| format!("start {}", command.get_program().display()))
}

/// Prints a result; a reader that has seen enough and left is no error.
fn print(text: &str) -> Result<ExitCode> {
    match stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }
}
