//! The hook's process with its directories.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A running hook; killed when dropped.
pub(crate) struct Sidecar {
    process: Child,
    pub(crate) hooks: PathBuf,
    pub(crate) network_info: PathBuf,
    _dir: TempDir,
}

impl Sidecar {
    /// Starts it; `kubevirt` is the environment's binding and container.
    pub(crate) fn start(flags: &[&str], kubevirt: Option<(&str, &str)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (hooks, network_info) = (dir.path().to_owned(), dir.path().join("network-info"));
        let process = spawn(&hooks, &network_info, flags, kubevirt);
        Self { process, hooks, network_info, _dir: dir }
    }

    /// Starts it again in the same directories.
    pub(crate) fn restart(&mut self, flags: &[&str], kubevirt: Option<(&str, &str)>) {
        self.process = spawn(&self.hooks, &self.network_info, flags, kubevirt);
    }

    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits until it ends; the code that it ends with.
    pub(crate) async fn exit(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it goes on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn spawn(
    hooks: &std::path::Path,
    network_info: &std::path::Path,
    flags: &[&str],
    kubevirt: Option<(&str, &str)>,
) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway-kubevirt"));
    command.env_clear().stdin(Stdio::null());
    command.arg("--hooks-dir").arg(hooks).arg("--network-info").arg(network_info).args(flags);
    if let Some((binding, container)) = kubevirt {
        command.env("NETWORK_BINDING_PLUGIN_NAME", binding).env("CONTAINER_NAME", container);
    }
    command.spawn().unwrap()
}
