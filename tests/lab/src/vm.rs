//! The node: a virtual machine with emulated SR-IOV cards, run by the QEMU of a Debian root.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result};

use crate::accel::Accel;
use crate::holder::Holder;
use crate::monitor;
use crate::parts::Parts;
use crate::place::Place;
use crate::run;

/// Virtual functions of the virtio card. The product's examples carve all four.
const VFS: u32 = 4;
/// Without these the VFs cannot sit behind the IOMMU, and vhost-vdpa refuses to open.
const BEHIND_IOMMU: &str = "iommu_platform=on,ats=on,disable-legacy=on";
/// The IOMMU passes the host's own traffic through; each VF still gets a group of its own.
const CMDLINE: &str = "root=/dev/vda rw console=ttyS0 intel_iommu=on iommu=pt apparmor=1 \
                       security=apparmor systemd.show_status=0 quiet";

/// QEMU's own loader: it runs straight out of its root, with that root's libraries.
pub(crate) fn loader(parts: &Parts) -> PathBuf {
    parts.qemu.path("root/lib64/ld-linux-x86-64.so.2")
}

/// Adds the program and where it finds what belongs to it.
pub(crate) fn qemu_program(command: &mut Command, parts: &Parts) {
    let usr = parts.qemu.path("root/usr");
    command
        .env("QEMU_MODULE_DIR", usr.join("lib/x86_64-linux-gnu/qemu"))
        .arg("--library-path")
        .arg(usr.join("lib/x86_64-linux-gnu"))
        .arg(usr.join("bin/qemu-system-x86_64"));
    for data in ["share/qemu", "share/seabios"] {
        command.arg("-L").arg(usr.join(data));
    }
}

/// Starts the machine on a fresh overlay of the disk image.
pub(crate) fn start(place: &Place, parts: &Parts, holder: &Holder, accel: Accel) -> Result<Child> {
    let disk = overlay(place, parts)?;
    fs::create_dir_all(share(place))?;
    let log = File::create(place.state.join("qemu.log"))?;
    let mut command = holder.resident(loader(parts));
    qemu_program(&mut command, parts);
    machine(&mut command, parts, accel)?;
    command
        .arg("-drive")
        .arg(format!("file={},if=none,id=disk,format=qcow2,cache=unsafe", disk.display()));
    command.args(["-device", "virtio-blk-pci,drive=disk"]);
    command
        .arg("-virtfs")
        .arg(format!("local,path={},mount_tag=lab,security_model=none", share(place).display()));
    let monitor = monitor::socket(place);
    command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", monitor.display()));
    command.arg("-serial").arg(format!("file:{}", console(place).display()));
    command.args(["-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on"]);
    management(&mut command);
    cards(&mut command);
    command.stdout(log.try_clone()?).stderr(log).spawn().context("start QEMU")
}

/// What host and node share while the machine runs: `/lab` in the node.
pub(crate) fn share(place: &Place) -> PathBuf {
    place.state.join("share")
}

/// The node's serial console.
pub(crate) fn console(place: &Place) -> PathBuf {
    place.state.join("console.log")
}

fn overlay(place: &Place, parts: &Parts) -> Result<PathBuf> {
    let disk = place.state.join("disk.qcow2");
    fs::remove_file(&disk).ok();
    let usr = parts.qemu.path("root/usr");
    let mut command = run::contained(loader(parts));
    command
        .arg("--library-path")
        .arg(usr.join("lib/x86_64-linux-gnu"))
        .arg(usr.join("bin/qemu-img"))
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
        .arg(parts.disk.path("root.img"))
        .arg(&disk);
    run::logged(command, &place.state.join("qemu.log"))?;
    Ok(disk)
}

fn machine(command: &mut Command, parts: &Parts, accel: Accel) -> Result<()> {
    let (kernel, initrd) = parts.boots()?;
    let (accel, cpu) = match accel {
        Accel::Kvm => ("kvm", "host"),
        // SVM would be emulated too and a nested KVM guest can panic the node
        Accel::Tcg => ("tcg,thread=multi", "max,-svm"),
    };
    command
        .args(["-name", "node1", "-machine", "q35,kernel-irqchip=split", "-accel", accel])
        .args(["-cpu", cpu, "-smp", "2", "-m", "6144"])
        .args(["-nodefaults", "-display", "none", "-append", CMDLINE])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initrd);
    Ok(())
}

fn management(command: &mut Command) {
    command
        .args(["-netdev", "tap,id=mgmt,ifname=mgmt1,script=no,downscript=no"])
        .args(["-device", "virtio-net-pci,netdev=mgmt,mac=52:54:00:00:00:11"]);
}

/// The two cards on the fabric: every function has a network backend of its own, and a hub joins
/// them with the tap. PCI address 01:00.* is virtio with SR-IOV, 02:00.0 an igb (82576).
fn cards(command: &mut Command) {
    command.args(["-netdev", "tap,id=fabric,ifname=fabric1,script=no,downscript=no"]);
    hub_port(command, "uplink", Some("fabric"));
    // QEMU 11.1 ends with SIGSEGV if an igb comes after a virtio card with `sriov-pf`, so it comes
    // first; buses are numbered by the ports' addresses.
    hub_port(command, "igb", None);
    command.args(["-device", "pcie-root-port,id=slot2,slot=2,addr=0x1a"]);
    command.args(["-device", "igb,id=igb,bus=slot2,netdev=igb,mac=52:54:02:00:00:00"]);
    command.args(["-device", "pcie-root-port,id=slot1,slot=1,addr=0x19"]);
    // QEMU wants a card's virtual functions before their physical one
    for vf in 1..=VFS {
        hub_port(command, &format!("vf{vf}"), None);
        command.arg("-device").arg(format!(
            "virtio-net-pci,bus=slot1,addr=0x0.{vf:#x},netdev=vf{vf},sriov-pf=pf0,{BEHIND_IOMMU},\
             mac=52:54:01:00:00:{vf:02x}"
        ));
    }
    hub_port(command, "pf", None);
    command.arg("-device").arg(format!(
        "virtio-net-pci,bus=slot1,addr=0x0.0x0,netdev=pf,id=pf0,multifunction=on,{BEHIND_IOMMU},\
         mac=52:54:01:00:00:00"
    ));
}

fn hub_port(command: &mut Command, id: &str, netdev: Option<&str>) {
    let netdev = netdev.map(|n| format!(",netdev={n}")).unwrap_or_default();
    command.arg("-netdev").arg(format!("hubport,id={id},hubid=0{netdev}"));
}

/// Makes the lab's network: `mgmt` between control plane and node, `fabric` between the cards.
pub(crate) fn network(holder: &Holder, log: &Path) -> Result<()> {
    for bridge in ["mgmt", "fabric"] {
        let tap = format!("{bridge}1");
        for line in [
            format!("link add {bridge} type bridge"),
            format!("link set {bridge} up"),
            format!("tuntap add dev {tap} mode tap"),
            format!("link set {tap} master {bridge} up"),
        ] {
            ip(holder, &line, log)?;
        }
    }
    ip(holder, "address add 10.77.0.1/24 dev mgmt", log)?;
    ip(holder, "route add 10.77.1.0/24 via 10.77.0.11", log)
}

fn ip(holder: &Holder, line: &str, log: &Path) -> Result<()> {
    let mut command = holder.command("ip");
    command.args(line.split(' '));
    run::logged(command, log)
}
