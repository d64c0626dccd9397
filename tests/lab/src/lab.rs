//! A running lab: brought up from its parts, found again, taken down.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::accel::{self, Accel};
use crate::cluster::Cluster;
use crate::console::Console;
use crate::holder::{Holder, Lease};
use crate::host;
use crate::image::Image;
use crate::node::Node;
use crate::parts::{self, Parts};
use crate::place::Place;
use crate::progress::{Progress, seconds};
use crate::run;
use crate::vm;
use crate::wait::Pace;

/// What `up` may be asked for.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// Take today's package versions.
    pub(crate) refresh: bool,
    /// Overrides the probe.
    pub(crate) accel: Option<Accel>,
    /// Images to bring to a node that starts: best while its kubelet starts.
    pub(crate) images: &'a [&'a Image],
}

/// A lab that answers.
#[derive(Debug)]
pub(crate) struct Lab {
    /// Commands in its node.
    pub(crate) node: Node,
    /// Its cluster.
    pub(crate) cluster: Cluster,
    /// Its measured speed.
    pub(crate) pace: Pace,
    /// The root that its node's disk was made from.
    pub(crate) node_root: PathBuf,
    /// The kernel of its guests.
    pub(crate) guest_kernel: PathBuf,
    helm: PathBuf,
    place: Place,
}

/// What is written once a lab is whole; a lab without it is a ruin.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    boot_seconds: f64,
    accel: String,
    disk: String,
    key: PathBuf,
    kubectl: PathBuf,
    helm: PathBuf,
    node_root: PathBuf,
    guest_kernel: PathBuf,
}

impl Lab {
    /// Finds this checkout's lab, or brings it up. The lease ends a lab that was brought up here
    /// unless it is told to keep it.
    pub(crate) fn up(
        place: &Place,
        progress: &Progress,
        wish: Wish<'_>,
    ) -> Result<(Self, Option<Lease>)> {
        host::preflight(place)?;
        host::make_cache(place)?;
        host::packages(place, progress)?;
        if wish.refresh {
            parts::refresh(&place.cache)?;
        }
        let parts = Parts::build(place, progress)?;
        if let Some(lab) = Self::find(place) {
            if !wish.refresh && lab.runs(&parts) {
                progress.say(&format!("the lab {} is up", place.name));
                return Ok((lab, None));
            }
            progress.say("the lab was built from other parts: it starts anew");
        }
        down(place)?;
        let accel = match wish.accel {
            Some(accel) => accel,
            None => accel::choose(place, &parts, progress)?,
        };
        let (lab, lease) = Self::boot(place, progress, &parts, accel, wish.images)?;
        Ok((lab, Some(lease)))
    }

    /// This checkout's lab, if it is up and whole.
    pub(crate) fn find(place: &Place) -> Option<Self> {
        let holder = Holder::find(place)?;
        let ready = ready(place)?;
        let pace = Pace::of_boot(Duration::from_secs_f64(ready.boot_seconds));
        let node = Node::new(place, &ready.key, &holder);
        let cluster = Cluster::of(place, &holder, &ready.kubectl);
        Some(Self {
            node,
            cluster,
            pace,
            node_root: ready.node_root,
            guest_kernel: ready.guest_kernel,
            helm: ready.helm,
            place: place.clone(),
        })
    }

    /// This checkout's lab, or an error that says how to get one.
    pub(crate) fn need(place: &Place) -> Result<Self> {
        Self::find(place)
            .with_context(|| format!("the lab {} is not up: `cargo lab up` first", place.name))
    }

    /// The console of its node, from the beginning.
    pub(crate) fn console(&self) -> Console {
        Console::new(vm::console(&self.place))
    }

    /// The directory that the node sees as `/lab`.
    pub(crate) fn share(&self) -> PathBuf {
        vm::share(&self.place)
    }

    /// Helm as the cluster's administrator.
    pub(crate) fn helm(&self) -> std::process::Command {
        self.cluster.client(&self.helm)
    }

    /// Copies a program to the node's own disk, as `/opt/lab/NAME`: started from the share it
    /// would take a second.
    pub(crate) fn install(&self, program: &Path, name: &str) -> Result<()> {
        fs::copy(program, self.share().join(name)).context("put a program on the share")?;
        // a file that runs cannot be written, but it can be replaced
        self.node.run(&format!(
            "mkdir -p /opt/lab && cp /lab/{name} /opt/lab/.{name} && chmod 755 /opt/lab/.{name} \
             && mv /opt/lab/.{name} /opt/lab/{name} && rm /lab/{name}"
        ))?;
        Ok(())
    }

    fn runs(&self, parts: &Parts) -> bool {
        ready(&self.place).is_some_and(|r| r.disk == parts.disk.key)
            && self.node.run("true").is_ok()
    }

    fn boot(
        place: &Place,
        progress: &Progress,
        parts: &Parts,
        accel: Accel,
        images: &[&Image],
    ) -> Result<(Self, Lease)> {
        fs::create_dir_all(&place.state)?;
        let (holder, lease) = Holder::start(place)?;
        vm::network(&holder, &place.state.join("network.log"))?;
        let starting = Cluster::start(place, &holder, parts)?;
        let key = Node::key(parts);
        let node = Node::new(place, &key, &holder);
        let what = format!("boot the node ({})", accel.name());
        let boot = progress.step(&what, || {
            let began = Instant::now();
            let mut qemu = vm::start(place, parts, &holder, accel)?;
            let log = place.state.join("qemu.log");
            let mut console = Console::new(vm::console(place));
            node.connect(Pace::UNKNOWN, || {
                if let Some(status) = qemu.try_wait()? {
                    bail!("QEMU ended with {status}\n{}", run::tail(&log, 10));
                }
                match console.broken() {
                    Some(oops) => bail!("the node's kernel broke:\n{oops}"),
                    None => Ok(()),
                }
            })
            .with_context(|| format!("the console:\n{}", run::tail(&vm::console(place), 10)))?;
            Ok(began.elapsed())
        })?;
        let pace = Pace::of_boot(boot);
        let cluster = starting.join(place, parts, &node, pace, images, progress)?;
        let ready = Ready {
            boot_seconds: boot.as_secs_f64(),
            accel: accel.name().into(),
            disk: parts.disk.key.clone(),
            key,
            helm: parts.helm(),
            node_root: parts.node.path("root"),
            guest_kernel: parts.guest_kernel(),
            kubectl: parts.kubectl(),
        };
        fs::write(ready_file(place), serde_json::to_vec_pretty(&ready)?)?;
        Ok((Self { node, cluster, ..Self::need(place)? }, lease))
    }
}

/// Takes this checkout's lab down, whole or not. Says whether there was one.
pub(crate) fn down(place: &Place) -> Result<bool> {
    let holder = Holder::find(place);
    if let Some(holder) = &holder {
        holder.end()?;
    }
    for dir in [&place.state, &place.sockets] {
        match fs::remove_dir_all(dir) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).with_context(|| format!("remove {}", dir.display())),
        }
    }
    Ok(holder.is_some())
}

/// What `cargo lab status` says, and whether the lab is up.
pub(crate) fn status(place: &Place) -> (String, bool) {
    let Some(holder) = Holder::find(place) else {
        return (format!("the lab {} is down; `cargo lab up` starts it", place.name), false);
    };
    let Some(ready) = ready(place) else {
        return (format!("the lab {} is coming up, or was interrupted", place.name), false);
    };
    let node = Node::new(place, &ready.key, &holder);
    let kernel = node.run("uname -r; cut -d. -f1 /proc/uptime");
    let (text, up) = match kernel {
        Ok(text) => {
            let (kernel, uptime) = text.split_once('\n').unwrap_or((&text, "0"));
            let up = Duration::from_secs(uptime.parse().unwrap_or(0));
            (format!("answers, kernel {kernel}, up {}", seconds(up)), true)
        }
        Err(error) => (format!("does not answer: {error:#}"), false),
    };
    let lines = format!(
        "lab    {}\nnode   {text}\nboot   {:.1} s with {}\nstate  {}\nparts  {}",
        place.name,
        ready.boot_seconds,
        ready.accel,
        place.state.display(),
        place.cache.join("parts").display(),
    );
    (lines, up)
}

fn ready(place: &Place) -> Option<Ready> {
    serde_json::from_slice(&fs::read(ready_file(place)).ok()?).ok()
}

fn ready_file(place: &Place) -> PathBuf {
    place.state.join("ready.json")
}
