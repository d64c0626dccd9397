//! etcd, API server, controller manager and scheduler, run natively in the lab's network: they
//! answer after some seconds, where in the node they would take minutes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
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
}

impl<'a> ControlPlane<'a> {
    /// Makes certificates and starts the processes.
    pub(super) fn start(dir: &Path, holder: &'a Holder, parts: &'a Parts) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let authority = Authority::new()?;
        let plane = Self { dir: dir.to_owned(), authority, holder, parts };
        plane.credentials()?;
        plane.etcd()?;
        plane.api_server()?;
        plane.controller_manager()?;
        plane.spawn(
            "kube-scheduler",
            &["--kubeconfig=scheduler.kubeconfig", "--leader-elect=false"],
        )?;
        Ok(plane)
    }

    /// Waits until the API server says that it is ready.
    pub(super) fn ready(&self) -> Result<()> {
        let ready = Pace::UNKNOWN.until("the API server is ready", Duration::from_secs(20), || {
            let mut kubectl = self.holder.command(&self.kubectl());
            kubectl.arg("--kubeconfig").arg(self.dir.join("admin.kubeconfig"));
            kubectl.args(["--request-timeout=2s", "get", "--raw", "/readyz"]);
            Ok(run::output(kubectl).ok())
        });
        ready.map(drop).with_context(|| run::tail(&self.dir.join("kube-apiserver.log"), 10))
    }

    fn kubectl(&self) -> String {
        self.parts.programs.kubernetes.path("bin/kubectl").display().to_string()
    }

    fn credentials(&self) -> Result<()> {
        let (dir, ca) = (&self.dir, &self.authority);
        pki::write_secret(&dir.join("ca.crt"), &ca.certificate)?;
        pki::write_secret(&dir.join("ca.key"), &ca.key)?;
        pki::write_secret(&dir.join("tokens.key"), &pki::signing_key()?)?;
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

    fn etcd(&self) -> Result<()> {
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

    fn api_server(&self) -> Result<()> {
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
                "--service-account-key-file=tokens.key",
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

    fn controller_manager(&self) -> Result<()> {
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

    fn spawn(&self, program: &str, args: &[&str]) -> Result<()> {
        let path = self.parts.programs.kubernetes.path("bin").join(program);
        let mut command = self.holder.resident(path);
        command.args(args);
        self.launch(program, command)
    }

    fn launch(&self, name: &str, mut command: std::process::Command) -> Result<()> {
        let log = File::create(self.dir.join(format!("{name}.log")))?;
        let mut child = command
            .current_dir(&self.dir)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        match child.try_wait()? {
            Some(status) => bail!("{name} ended with {status}"),
            None => Ok(()),
        }
    }
}
