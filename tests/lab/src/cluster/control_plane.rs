//! etcd, API server, controller manager and scheduler, run natively in the lab's network: they
//! answer after some seconds, where in the node they would take minutes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cluster::kubeconfig;
use crate::cluster::pki::{self, Authority};
use crate::holder::Holder;
use crate::parts::Parts;
use crate::run;
use crate::vm;
use crate::wait::Pace;

/// A starting or running control plane.
pub(super) struct ControlPlane<'a> {
    pub(super) dir: PathBuf,
    pub(super) authority: Authority,
    holder: &'a Holder,
    parts: &'a Parts,
    running: Vec<(String, Child)>,
}

impl<'a> ControlPlane<'a> {
    /// Makes certificates and starts the processes.
    pub(super) fn start(dir: &Path, holder: &'a Holder, parts: &'a Parts) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let authority = Authority::new()?;
        let mut plane = Self { dir: dir.to_owned(), authority, holder, parts, running: vec![] };
        plane.credentials()?;
        plane.etcd()?;
        plane.api_server()?;
        Ok(plane)
    }

    /// Waits until the API server says that it is ready, then starts what needs it.
    pub(super) fn ready(&mut self) -> Result<()> {
        Pace::UNKNOWN
            .until("the API server is ready", Duration::from_secs(20), || {
                self.alive()?;
                let mut kubectl = self.holder.command(&self.kubectl());
                kubectl.arg("--kubeconfig").arg(self.dir.join("admin.kubeconfig"));
                kubectl.args(["--request-timeout=2s", "get", "--raw", "/readyz"]);
                Ok(run::output(kubectl).ok())
            })
            .with_context(|| run::tail(&self.dir.join("kube-apiserver.log"), 10))?;
        self.controller_manager()?;
        self.spawn("kube-scheduler", &["--kubeconfig=scheduler.kubeconfig", "--leader-elect=false"])
    }

    /// An error that names the first process that has ended, with the end of its log.
    fn alive(&mut self) -> Result<()> {
        for (name, child) in &mut self.running {
            if let Some(status) = child.try_wait()? {
                let log = self.dir.join(format!("{name}.log"));
                bail!("{name} ended with {status}\n{}", run::tail(&log, 10));
            }
        }
        Ok(())
    }

    fn kubectl(&self) -> String {
        self.parts.programs.kubernetes.path("bin/kubectl").display().to_string()
    }

    fn credentials(&self) -> Result<()> {
        let (dir, ca) = (&self.dir, &self.authority);
        pki::write_secret(&dir.join("ca.crt"), &ca.certificate)?;
        pki::write_secret(&dir.join("ca.key"), &ca.key)?;
        pki::write_token_keys(dir)?;
        let addresses = ["10.77.0.1", "127.0.0.1", "10.96.0.1"];
        let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        ca.server("kube-apiserver", &addresses, &names)?.write(dir, "apiserver")?;
        ca.client("kube-apiserver-kubelet", Some("system:masters"))?
            .write(dir, "kubelet-client")?;
        for (file, user, group) in [
            ("admin", "admin", Some("system:masters")),
            ("controller-manager", "system:kube-controller-manager", None),
            ("scheduler", "system:kube-scheduler", None),
        ] {
            kubeconfig::write(&dir.join(format!("{file}.kubeconfig")), ca, user, group)?;
        }
        Ok(())
    }

    fn etcd(&mut self) -> Result<()> {
        let root = self.parts.qemu.path("root");
        let mut etcd = self.holder.resident(vm::loader(self.parts));
        etcd.arg("--library-path").arg(root.join("usr/lib/x86_64-linux-gnu"));
        etcd.arg(root.join("usr/bin/etcd"));
        // a lab does not outlive a crash of its host, so neither need its data
        etcd.args(["--data-dir=etcd", "--unsafe-no-fsync", "--log-level=warn"]);
        etcd.args(["--listen-client-urls=http://127.0.0.1:2379"]);
        etcd.args(["--advertise-client-urls=http://127.0.0.1:2379"]);
        etcd.args(["--listen-peer-urls=http://127.0.0.1:2380"]);
        self.launch("etcd", etcd)
    }

    fn api_server(&mut self) -> Result<()> {
        self.spawn(
            "kube-apiserver",
            &[
                "--etcd-servers=http://127.0.0.1:2379",
                "--bind-address=0.0.0.0",
                "--advertise-address=10.77.0.1",
                "--secure-port=6443",
                "--tls-cert-file=apiserver.crt",
                "--tls-private-key-file=apiserver.key",
                "--client-ca-file=ca.crt",
                "--service-account-key-file=tokens.pub",
                "--service-account-signing-key-file=tokens.key",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                // webhooks are called at their pods' addresses: the host has no kube-proxy
                "--enable-aggregator-routing=true",
                "--allow-privileged=true",
                "--kubelet-client-certificate=kubelet-client.crt",
                "--kubelet-client-key=kubelet-client.key",
                "--kubelet-preferred-address-types=InternalIP",
            ],
        )
    }

    fn controller_manager(&mut self) -> Result<()> {
        self.spawn(
            "kube-controller-manager",
            &[
                "--kubeconfig=controller-manager.kubeconfig",
                "--service-account-private-key-file=tokens.key",
                "--root-ca-file=ca.crt",
                "--cluster-signing-cert-file=ca.crt",
                "--cluster-signing-key-file=ca.key",
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                // an emulated node may be late without being dead
                "--node-monitor-grace-period=5m",
            ],
        )
    }

    fn spawn(&mut self, program: &str, args: &[&str]) -> Result<()> {
        let path = self.parts.programs.kubernetes.path("bin").join(program);
        let mut command = self.holder.resident(path);
        command.args(args);
        self.launch(program, command)
    }

    fn launch(&mut self, name: &str, mut command: Command) -> Result<()> {
        let log = File::create(self.dir.join(format!("{name}.log")))?;
        let child = command
            .current_dir(&self.dir)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        self.running.push((name.to_owned(), child));
        Ok(())
    }
}
