//! The example's virtual machine: a pod as KubeVirt makes it, with the product's hook in it, real
//! libvirt and real QEMU. Only virt-launcher itself is played, by tests/launcher.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{End, Ping, end};
use crate::guest;
use crate::image::Image;
use crate::lab::Lab;
use crate::network_info::{NETWORK_INFO, NETWORK_STATUS, network_info};
use crate::place::Place;

/// The pod, and the network of its interface (assets/vm-pod.yaml).
const POD: &str = "vm";
const INTERFACE: &str = "rings";
const ADDRESS: &str = "10.88.0.50";
/// A machine in an emulated machine: its kernel alone takes minutes.
const DEADLINE: Duration = Duration::from_secs(600);
/// libvirt's start before it, and the launcher's own words about its end.
const MARGIN: Duration = Duration::from_secs(180);

/// The stand-in launcher's image: the launcher, a guest, and who runs it.
pub(super) fn image(place: &Place, lab: &Lab, launcher: std::path::PathBuf) -> Result<Image> {
    let initramfs = place.state.join("initramfs.cpio");
    guest::write(&lab.node_root, &place.asset("guest-init"), &initramfs)?;
    let text = |text: &str, path: &str| (text.to_owned(), path.to_owned());
    Ok(Image {
        name: "lab/launcher:1".into(),
        entry: vec!["/bin/ringway-launcher".into()],
        files: vec![
            (launcher, "bin/ringway-launcher".into()),
            (lab.guest_kernel.clone(), "vm/vmlinux".into()),
            (initramfs, "vm/initramfs.cpio".into()),
        ],
        texts: vec![
            text("root:x:0:0::/root:/bin/sh\nqemu:x:107:107::/run/vm:/bin/sh\n", "etc/passwd"),
            text("root:x:0:\nqemu:x:107:\n", "etc/group"),
        ],
        // the node's own programs, mounted at /usr
        links: vec![
            text("usr/lib", "lib"),
            text("usr/lib64", "lib64"),
            text("../usr/bin/sh", "bin/sh"),
        ],
    })
}

/// Creates the machine's pod.
pub(super) fn create(place: &Place, lab: &Lab, image: &str, targets: &[&str]) -> Result<()> {
    let pod = fs::read_to_string(place.asset("vm-pod.yaml")).context("read the pod")?;
    let deadline = DEADLINE.mul_f64(lab.pace.factor()).as_secs();
    let pod = pod
        .replace("@image@", image)
        .replace("@targets@", &targets.join(" "))
        .replace("@deadline@", &deadline.to_string());
    let file = place.state.join("vm-pod.yaml");
    fs::write(&file, pod)?;
    lab.cluster.apply(&file)
}

/// Waits for the machine's interface, and does what KubeVirt's controller does: tells the pod its
/// network-info.
pub(super) fn attached(lab: &Lab) -> Result<End> {
    let what = "Multus says what it attached to the machine's pod";
    let info = lab.pace.until(what, Duration::from_secs(60), || {
        let object: serde_json::Value =
            serde_json::from_str(&lab.cluster.get(&format!("get pod {POD} -o json"))?)?;
        match object["metadata"]["annotations"][NETWORK_STATUS].as_str() {
            Some(status) => network_info(status, &[INTERFACE]),
            None => Ok(None),
        }
    })?;
    let annotate = lab.cluster.kubectl([
        "annotate",
        "pod",
        POD,
        "--overwrite",
        &format!("{NETWORK_INFO}={info}"),
    ]);
    crate::run::output(annotate)?;
    Ok(End { ip: ADDRESS.into(), ..end(lab, POD)? })
}

/// Waits for the machine's end and gives what its pings said, in the order of its targets.
pub(super) fn finish(lab: &Lab) -> Result<Vec<Ping>> {
    let phase = lab.pace.until("the machine has ended", DEADLINE + MARGIN, || {
        let phase = lab.cluster.get(&format!("get pod {POD} -o jsonpath={{.status.phase}}"))?;
        Ok(matches!(phase.as_str(), "Succeeded" | "Failed").then_some(phase))
    });
    let said = lab.cluster.get(&format!("logs {POD} -c compute"))?;
    let phase = phase.with_context(|| said.clone())?;
    let pings: Vec<_> = said.lines().filter_map(parse).collect();
    if pings.is_empty() {
        let hook = lab.cluster.get(&format!("logs {POD} -c hook-sidecar-0")).unwrap_or_default();
        bail!("the machine has not come to its pings ({phase}):\n{said}\nthe hook:\n{hook}");
    }
    Ok(pings)
}

/// `guest | ping 10.88.0.1: 5 sent, 5 received`
fn parse(line: &str) -> Option<Ping> {
    let (_, figures) = line.split_once("ping ")?.1.split_once(": ")?;
    let (sent, rest) = figures.split_once(" sent, ")?;
    let received = rest.split_once(" received")?.0;
    Some(Ping { sent: sent.trim().parse().ok()?, received: received.trim().parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_figures_are_understood() {
        let line = "[ 95.2 s] guest | ping 10.88.0.100: 5 sent, 4 received";
        assert_eq!(parse(line), Some(Ping { sent: 5, received: 4 }));
        assert_eq!(parse("guest | starting"), None);
    }
}
