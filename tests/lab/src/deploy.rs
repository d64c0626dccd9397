//! The product into the lab's cluster, as a user would bring it: image, chart, policy.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::image::Image;
use crate::lab::Lab;
use crate::place::{Place, hex};
use crate::product;
use crate::progress::Progress;
use crate::run;

/// What the product's image starts where nobody says more.
const ENTRY: &str = "/bin/ringway-kubevirt";
/// Where the chart is installed.
const NAMESPACE: &str = "ringway-system";

/// The product's image, with a tag of its content: another content is another image to Kubernetes.
pub(crate) fn image(place: &Place, progress: &Progress) -> Result<Image> {
    let binaries = product::build(place, progress, &product::BINARIES)?;
    let files = binaries.iter().zip(product::BINARIES);
    Ok(Image {
        name: format!("ringway:{}", tag(&binaries)?),
        entry: vec![ENTRY.into()],
        files: files.map(|(path, name)| (path.clone(), format!("bin/{name}"))).collect(),
        ..Image::default()
    })
}

/// Brings the image to the node, and installs the chart with it.
pub(crate) fn product(place: &Place, lab: &Lab, image: &Image, progress: &Progress) -> Result<()> {
    if !imported(lab, image)? {
        progress.step("bring the image to the node", || image.import(&lab.node, &lab.share()))?;
    }
    let (_, tag) = image.name.split_once(':').context("an image has a tag")?;
    progress.step("helm install", || {
        let mut helm = lab.helm();
        helm.args(["upgrade", "--install", "ringway"])
            .arg(place.checkout.join("charts/ringway"))
            .args(["--namespace", NAMESPACE, "--create-namespace", "--wait"])
            .arg(format!("--timeout={:.0}s", 180.0 * lab.pace.factor()))
            .arg("--values")
            .arg(place.asset("values.yaml"))
            .args(["--set", &format!("image.tag={tag}")]);
        run::output(helm).map(drop).with_context(|| state(lab))
    })
}

/// `helm test`: the product's own word on whether it works.
pub(crate) fn helm_test(lab: &Lab) -> std::process::Command {
    let mut helm = lab.helm();
    helm.args(["test", "ringway", "--namespace", NAMESPACE, "--logs"]);
    helm.arg(format!("--timeout={:.0}s", 120.0 * lab.pace.factor()));
    helm
}

/// Whether the node has the image; its tag is that of its content.
fn imported(lab: &Lab, image: &Image) -> Result<bool> {
    let names = lab.node.run("/opt/bin/ctr -n k8s.io images ls -q")?;
    Ok(names.lines().any(|name| name.ends_with(&format!("/{}", image.name))))
}

/// Carves the virtio card and waits until its functions can be asked for.
pub(crate) fn policy(place: &Place, lab: &Lab, progress: &Progress) -> Result<()> {
    progress.step("carve the card", || {
        lab.cluster.apply(&place.checkout.join("deploy/examples/policy.yaml"))?;
        lab.pace
            .until("the policy is ready and its resources are there", Duration::from_secs(60), || {
                let ready = lab.cluster.get(
                    "get devicepolicy rings -o jsonpath={.status.conditions[?(@.type==\"Ready\")].status}",
                );
                let counts = lab.cluster.get(
                    "get node node1 -o jsonpath={.status.allocatable.ringway\\.dev/vm-rings}+{.status.allocatable.ringway\\.dev/pod-rings}",
                );
                let whole = ready.is_ok_and(|text| text == "True");
                Ok((whole && counts.is_ok_and(|text| text == "2+2")).then_some(()))
            })
            .with_context(|| state(lab))
    })
}

/// Refuses a lab in which the product carves the card for somebody: whoever wants it for himself
/// would measure or test two at once.
pub(crate) fn card_is_free(lab: &Lab) -> Result<()> {
    let kinds =
        "get customresourcedefinitions devicepolicies.ringway.dev --ignore-not-found -o name";
    if lab.cluster.get(kinds)?.is_empty() {
        return Ok(());
    }
    free(&lab.cluster.get("get devicepolicies.ringway.dev -o name")?)
}

fn free(policies: &str) -> Result<()> {
    ensure!(
        policies.is_empty(),
        "the card is needed as it is at rest, and the lab's agent carves it for {}: `cargo lab \
         down` first",
        policies.split_whitespace().collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

/// What a person would look at first.
fn state(lab: &Lab) -> String {
    let show = |line: &str| lab.cluster.get(line).unwrap_or_else(|error| format!("{error:#}"));
    [
        show("get pods -A -o wide"),
        show("get devicepolicies,nodedevices -o wide"),
        show("get node node1 -o jsonpath={.status.allocatable}"),
        show("get events -n ringway-system --sort-by=.lastTimestamp"),
    ]
    .join("\n")
}

fn tag(binaries: &[std::path::PathBuf]) -> Result<String> {
    let mut hash = Sha256::new();
    for binary in binaries {
        hash.update(read(binary)?);
    }
    Ok(format!("lab-{}", hex(&hash.finalize()[..4])))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_containerfile_makes_the_same_image() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/Containerfile");
        let text = fs::read_to_string(file).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let copy = format!("COPY {} /bin/", product::BINARIES.join(" "));
        let entry = format!("ENTRYPOINT [{ENTRY:?}]");
        assert_eq!(lines, ["FROM scratch", &copy, &entry]);
    }

    #[test]
    fn a_carved_card_is_left_alone() {
        free("").unwrap();
        let error = free("devicepolicy.ringway.dev/rings\ndevicepolicy.ringway.dev/b\n");
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains(
                "for devicepolicy.ringway.dev/rings, devicepolicy.ringway.dev/b: `cargo lab down`"
            ),
            "{text}"
        );
    }
}
