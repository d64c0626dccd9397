//! The cluster: a control plane on the host, the node in it, pods' networks through Multus.

mod control_plane;
mod kubeconfig;
mod pki;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::control_plane::ControlPlane;
use crate::holder::Holder;
use crate::image::Image;
use crate::node::Node;
use crate::parts::Parts;
use crate::place::Place;
use crate::progress::Progress;
use crate::run;
use crate::vm;
use crate::wait::Pace;

/// What CNI plugins may do that ask the cluster: Multus reads networks and pods and writes what it
/// attached, whereabouts keeps addresses.
const CNI_RIGHTS: &str = include_str!("../../assets/cni-rights.yaml");

/// The node before its kubelet registers it. Without it kubelet cannot write its CSINode object at
/// first, waits longer after each failure, and is not ready before it has: 15 seconds after all else
/// (pkg/volume/csi/csi_plugin.go, `initializeCSINode`).
const NODE: &str = include_str!("../../assets/node.yaml");

/// A running cluster as its administrator sees it.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    holder: Holder,
    kubectl: PathBuf,
    kubeconfig: PathBuf,
}

/// A control plane that starts while the node boots.
pub(crate) struct Starting<'a> {
    plane: ControlPlane<'a>,
    cluster: Cluster,
}

impl Cluster {
    /// Starts the control plane; it needs the CPU for some seconds, as the node does.
    pub(crate) fn start<'a>(
        place: &Place,
        holder: &'a Holder,
        parts: &'a Parts,
    ) -> Result<Starting<'a>> {
        let plane = ControlPlane::start(&dir(place), holder, parts)?;
        Ok(Starting { plane, cluster: Self::of(place, holder, &parts.kubectl()) })
    }

    /// The cluster of a lab that is up.
    pub(crate) fn of(place: &Place, holder: &Holder, kubectl: &std::path::Path) -> Self {
        Self {
            holder: holder.clone(),
            kubectl: kubectl.to_owned(),
            kubeconfig: dir(place).join("admin.kubeconfig"),
        }
    }

    /// kubectl as administrator.
    pub(crate) fn kubectl<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = self.holder.command(&self.kubectl.display().to_string());
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args);
        command
    }

    /// Another client of the cluster, as administrator.
    pub(crate) fn client(&self, program: &std::path::Path) -> Command {
        let mut command = self.holder.command(&program.display().to_string());
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs kubectl and gives its output.
    pub(crate) fn get(&self, line: &str) -> Result<String> {
        run::output(self.kubectl(line.split(' ')))
    }

    /// Applies a file of objects.
    pub(crate) fn apply(&self, file: &std::path::Path) -> Result<()> {
        let mut command = self.kubectl(["apply", "--server-side", "--force-conflicts", "-f"]);
        command.arg(file);
        run::output(command).map(drop)
    }
}

impl Starting<'_> {
    /// Joins the booted node to the control plane and waits until pods can run there.
    pub(crate) fn join(
        mut self,
        place: &Place,
        parts: &Parts,
        node: &Node,
        pace: Pace,
        more: &[&Image],
        progress: &Progress,
    ) -> Result<Cluster> {
        let cluster = self.cluster;
        progress.step("start the control plane", || self.plane.ready())?;
        progress.step("join the node", || {
            let ca = &self.plane.authority;
            let share = vm::share(place);
            pki::write_secret(&share.join("ca.crt"), &ca.certificate)?;
            let objects = place.state.join("objects.yaml");
            fs::write(&objects, format!("{NODE}---\n{CNI_RIGHTS}"))?;
            cluster.apply(&objects)?;
            for (file, user, group) in [
                ("kubelet", "system:node:node1", Some("system:nodes")),
                ("proxy", "system:kube-proxy", None),
                ("multus", "multus", None),
                ("whereabouts", "whereabouts", None),
            ] {
                kubeconfig::write(&share.join(format!("{file}.kubeconfig")), ca, user, group)?;
            }
            // from the next start of the machine on, the node starts them itself
            node.run(
                "install -m 600 /lab/ca.crt /lab/*.kubeconfig /etc/kubernetes/ && rm /lab/*.kubeconfig \
                 && cd /etc/systemd/system && ln -sfrt multi-user.target.wants kubelet.service \
                 kube-proxy.service && systemctl start --no-block kubelet kube-proxy \
                 && systemctl start containerd",
            )?;
            let crds = [
                parts.programs.multus.path("networks-crd.yaml"),
                parts.programs.whereabouts.path("whereabouts.cni.cncf.io_ippools.yaml"),
                parts
                    .programs
                    .whereabouts
                    .path("whereabouts.cni.cncf.io_overlappingrangeipreservations.yaml"),
            ];
            crds.iter().try_for_each(|file| cluster.apply(file))
        })?;
        // kubelet takes its time to start, and leaves a processor idle meanwhile
        progress.step("bring the images to the node", || {
            let images = images(parts);
            for image in images.iter().chain(more.iter().copied()) {
                image.import(node, &vm::share(place))?;
            }
            Ok(())
        })?;
        progress.step("wait until the node is ready", || {
            pace.until("the node is ready", Duration::from_secs(60), || {
                let ready = cluster.get(
                    "get node node1 -o jsonpath={.status.conditions[?(@.type==\"Ready\")].status}",
                );
                Ok(ready.is_ok_and(|text| text == "True").then_some(()))
            })
            .with_context(|| node.run("journalctl -n 10 --no-pager -u kubelet").unwrap_or_default())
        })?;
        Ok(cluster)
    }
}

/// Where the control plane lives.
pub(crate) fn dir(place: &Place) -> PathBuf {
    place.state.join("cluster")
}

/// The images that every lab has: the sandbox's, and one to run tests in.
fn images(parts: &Parts) -> [Image; 2] {
    let busybox = || (parts.node.path("root/usr/bin/busybox"), "bin/busybox".to_owned());
    let link = |name: &str| ("busybox".to_owned(), format!("bin/{name}"));
    let pause = Image {
        name: "lab/pause:1".into(),
        entry: vec!["/bin/sleep".into(), "inf".into()],
        files: vec![busybox()],
        links: vec![link("sleep")],
        ..Image::default()
    };
    let applets =
        ["sh", "sleep", "ping", "ip", "cat", "ls", "wget", "nc", "grep", "env", "id", "stat"];
    let busybox = Image {
        name: "lab/busybox:1".into(),
        entry: vec!["/bin/sh".into()],
        files: vec![busybox()],
        links: applets.map(link).into(),
        ..Image::default()
    };
    [pause, busybox]
}
