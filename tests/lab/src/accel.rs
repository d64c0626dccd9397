//! KVM or TCG: what `/dev/kvm` promises is not believed until it has booted the node's kernel.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::parts::Parts;
use crate::place::Place;
use crate::progress::Progress;
use crate::run;
use crate::vm;
use crate::wait::Pace;

/// How QEMU runs the node's processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accel {
    /// The host's own processor.
    Kvm,
    /// QEMU's emulation: slower, works everywhere.
    Tcg,
}

impl Accel {
    /// As QEMU spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// Finds out once per boot of the host and node kernel, and remembers.
pub(crate) fn choose(place: &Place, parts: &Parts, progress: &Progress) -> Result<Accel> {
    if !Path::new("/dev/kvm").exists() {
        return Ok(Accel::Tcg);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("read the boot id")?;
    let memory = place.cache.join("accel");
    let question = format!("{} {}", boot.trim(), parts.node.key);
    if let Ok(text) = fs::read_to_string(&memory)
        && let Some(answer) = text.strip_prefix(&question)
    {
        return Ok(if answer.trim() == "kvm" { Accel::Kvm } else { Accel::Tcg });
    }
    let accel = progress.step("see whether KVM boots the node's kernel", || probe(parts))?;
    fs::write(&memory, format!("{question} {}", accel.name())).context("remember the answer")?;
    Ok(accel)
}

/// Boots the kernel into a panic for want of an init: how far it came is the answer.
fn probe(parts: &Parts) -> Result<Accel> {
    let (kernel, initrd) = parts.boots()?;
    let mut qemu = run::contained(vm::loader(parts));
    vm::qemu_program(&mut qemu, parts);
    let mut child = qemu
        .args(["-machine", "q35", "-accel", "kvm", "-cpu", "host", "-m", "512", "-nodefaults"])
        .args(["-no-reboot", "-display", "none", "-serial", "stdio", "-kernel"])
        .arg(kernel)
        .arg("-initrd")
        .arg(initrd)
        .args(["-append", "console=ttyS0 panic=-1 rdinit=/nonexistent init=/nonexistent"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start QEMU with KVM")?;
    // A KVM that works boots to that point in two seconds. One that does not may stop the machine
    // without ending QEMU.
    let limit = Duration::from_secs(15);
    if Pace::NONE.until("the end of the probe", limit, || Ok(child.try_wait()?)).is_err() {
        child.kill().ok();
    }
    let out = child.wait_with_output().context("read the probe's console")?;
    let booted = String::from_utf8_lossy(&out.stdout).contains("Freeing unused");
    Ok(if booted { Accel::Kvm } else { Accel::Tcg })
}
