//! `cargo lab demo`: from nothing to pods and a virtual machine that talk over vDPA, and a table of
//! what there is.

mod vm;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::bench::record::{self, Start};
use crate::deploy;
use crate::image::Image;
use crate::lab::{self, Lab, Wish};
use crate::network_info::NETWORK_STATUS;
use crate::place::Place;
use crate::product;
use crate::progress::{Progress, seconds};
use crate::store;
use crate::table::table;

/// The pods of the example.
const PODS: [&str; 2] = ["rings-a", "rings-b"];
/// How often each pings each.
const PINGS: u32 = 10;

/// What `cargo lab demo` may be asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave the lab and the example running, to look around
    #[arg(long)]
    keep: bool,
}

/// One end of the example.
#[derive(Debug, PartialEq, Eq)]
struct End {
    name: String,
    device: String,
    attach: String,
    mac: String,
    ip: String,
}

/// What one ping said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ping {
    sent: u32,
    received: u32,
}

/// What a run of the example showed.
#[derive(Debug)]
pub(crate) struct Shown {
    tables: String,
    /// No ping was lost.
    pub(crate) lossless: bool,
    /// Which parts there were when it began.
    pub(crate) start: Start,
    took: Duration,
    /// The lab is still there.
    stays: bool,
}

/// Runs the example. Succeeds only if no ping was lost.
pub(crate) fn run(place: &Place, options: &Options) -> Result<ExitCode> {
    let shown = show(place, options.keep)?;
    println!("\n{}", shown.tables);
    println!("took {}", seconds(shown.took));
    if shown.stays {
        println!(
            "\nnext:\n  cargo lab kubectl get devicepolicies,nodedevices -o wide\n  \
             cargo lab kubectl describe nodedevices node1\n  cargo lab kubectl exec {} -- ip addr\n  \
             cargo lab ssh vdpa dev show\n  cargo lab down",
            PODS[0]
        );
    } else {
        println!("\nnext: `cargo lab demo --keep` leaves it running, to look around");
    }
    Ok(if shown.lossless { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The example from its beginning to its end. How long its steps took is written down if all of
/// them were there: a lab that was up has not been started.
pub(crate) fn show(place: &Place, keep: bool) -> Result<Shown> {
    let progress = Progress::new();
    progress.say(&format!("the lab {}: parts in {}", place.name, place.cache.display()));
    let before = store::parts(&place.cache);
    let image = deploy::image(place, &progress)?;
    let launcher = product::build(place, &progress, &[product::LAUNCHER])?.remove(0);
    let (lab, lease) = Lab::up(place, &progress, Wish { images: &[&image], ..Wish::default() })?;
    let was_up = lease.is_none();
    let result = example(place, &lab, &image, launcher, &progress);
    match lease {
        Some(lease) if keep => lease.keep()?,
        Some(lease) => {
            drop(lease);
            progress.step("take the lab down", || lab::down(place).map(drop))?;
        }
        None => {}
    }
    let (tables, lossless) = result?;
    let (start, took) = (Start::of(&before, &store::parts(&place.cache)), progress.elapsed());
    if lossless && !was_up {
        record::keep(&place.cache, start, &progress.done(), took)?;
    }
    Ok(Shown { tables, lossless, start, took, stays: was_up || keep })
}

fn example(
    place: &Place,
    lab: &Lab,
    image: &Image,
    launcher: PathBuf,
    progress: &Progress,
) -> Result<(String, bool)> {
    deploy::product(place, lab, image, progress)?;
    deploy::policy(place, lab, progress)?;
    progress.step("start two pods", || {
        for file in ["network.yaml", "vm-network.yaml", "pods.yaml"] {
            lab.cluster.apply(&place.checkout.join("deploy/examples").join(file))?;
        }
        // needed next, and the node has time for it now
        vm::image(place, lab, launcher)?.import(&lab.node, &lab.share())?;
        lab.pace
            .until("the pods run", Duration::from_secs(60), || {
                let ready = PODS.iter().all(|pod| ready(lab, pod));
                Ok(ready.then_some(()))
            })
            .with_context(|| why_not(lab))
    })?;
    let mut ends: Vec<End> = PODS.iter().map(|pod| end(lab, pod)).collect::<Result<_>>()?;
    progress.step("create a virtual machine", || {
        let targets: Vec<_> = ends.iter().map(|end| end.ip.as_str()).collect();
        vm::create(place, lab, &image.name, &targets)
    })?;
    let mut pings = Vec::new();
    for (from, to) in [(0, 1), (1, 0)] {
        let what = format!("ping {} from {}", ends[to].name, ends[from].name);
        let ping = progress.step(&what, || ping(lab, &ends[from].name, &ends[to].ip))?;
        pings.push((from, to, ping));
    }
    ends.push(progress.step("attach the machine", || vm::attached(lab))?);
    let figures = progress.step("boot it, and let it ping both pods", || vm::finish(lab))?;
    ensure!(figures.len() == PODS.len(), "the machine pinged {} of {}", figures.len(), PODS.len());
    pings.extend(figures.into_iter().enumerate().map(|(to, ping)| (PODS.len(), to, ping)));
    let lossless = pings.iter().all(|(_, _, ping)| ping.received == ping.sent && ping.sent > 0);
    Ok((render(&ends, &pings), lossless))
}

fn render(ends: &[End], pings: &[(usize, usize, Ping)]) -> String {
    let mut rows = vec![["NAME", "DEVICE", "ATTACH", "MAC", "IP"].map(str::to_owned)];
    for End { name, device, attach, mac, ip } in ends {
        rows.push([name, device, attach, mac, ip].map(Clone::clone));
    }
    let mut text = table(&rows) + "\n";
    let mut rows = vec![["PING", "SENT", "RECEIVED", "LOSS"].map(str::to_owned)];
    for (from, to, Ping { sent, received }) in pings {
        let loss = 100.0 * f64::from(sent.saturating_sub(*received)) / f64::from((*sent).max(1));
        rows.push([
            format!("{} -> {}", ends[*from].name, ends[*to].name),
            sent.to_string(),
            received.to_string(),
            format!("{loss:.0} %"),
        ]);
    }
    text += &table(&rows);
    text
}

fn ready(lab: &Lab, pod: &str) -> bool {
    let line =
        format!("get pod {pod} -o jsonpath={{.status.conditions[?(@.type==\"Ready\")].status}}");
    lab.cluster.get(&line).is_ok_and(|text| text == "True")
}

/// What a person would look at first.
fn why_not(lab: &Lab) -> String {
    let show = |line: &str| lab.cluster.get(line).unwrap_or_else(|error| format!("{error:#}"));
    format!("{}\n{}", show("get pods -A -o wide"), show("get events -A --sort-by=.lastTimestamp"))
}

fn end(lab: &Lab, pod: &str) -> Result<End> {
    let text = lab.cluster.get(&format!("get pod {pod} -o json"))?;
    let object = serde_json::from_str(&text)?;
    end_of(pod, &object).with_context(|| format!("read what pod {pod} was given"))
}

fn end_of(pod: &str, object: &serde_json::Value) -> Result<End> {
    let status = object["metadata"]["annotations"][NETWORK_STATUS].as_str();
    let status: Vec<serde_json::Value> =
        serde_json::from_str(status.context("Multus has written no network-status")?)?;
    let ours = status
        .iter()
        .find(|network| network["device-info"]["type"] == "vdpa")
        .context("no network has a vDPA device")?;
    let info = &ours["device-info"]["vdpa"];
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    Ok(End {
        name: pod.to_owned(),
        device: text(&info["parent-device"]),
        attach: format!("{}-vdpa", text(&info["driver"])),
        mac: text(&ours["mac"]),
        ip: text(&ours["ips"][0]),
    })
}

fn ping(lab: &Lab, pod: &str, ip: &str) -> Result<Ping> {
    let count = PINGS.to_string();
    // ping's exit status tells of a loss too; the figures tell how much
    let output = lab
        .cluster
        .kubectl(["exec", pod, "--", "ping", "-c", &count, "-i", "0.2", "-W", "5", ip])
        .output()
        .context("start kubectl")?;
    let text = String::from_utf8_lossy(&output.stdout);
    match parse_ping(&text) {
        Some(ping) => Ok(ping),
        None => bail!("ping {ip} from {pod}: {text}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// `10 packets transmitted, 10 packets received, 0% packet loss`, as busybox and iputils have it.
fn parse_ping(text: &str) -> Option<Ping> {
    let line = text.lines().find(|line| line.contains("packets transmitted"))?;
    let mut numbers = line.split(", ").map(|part| part.split(' ').next()?.parse().ok());
    Some(Ping { sent: numbers.next()??, received: numbers.next()?? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_pings_are_understood() {
        for text in [
            "PING x\n\n--- x ping statistics ---\n10 packets transmitted, 9 packets received, 10% packet loss\n",
            "10 packets transmitted, 9 received, 10% packet loss, time 9ms\n",
        ] {
            assert_eq!(parse_ping(text), Some(Ping { sent: 10, received: 9 }));
        }
        assert_eq!(parse_ping("ping: bad address\n"), None);
    }

    #[test]
    fn an_end_is_read_from_the_network_status() {
        let status = r#"[{"name":"pod","ips":["10.77.1.4"]},{"name":"default/pod-rings","mac":"52:54:01:00:00:03",
            "ips":["10.88.0.11"],"device-info":{"type":"vdpa","vdpa":{"parent-device":"vdpa:0000:01:00.3","driver":"virtio"}}}]"#;
        let object = serde_json::json!({"metadata": {"annotations": {NETWORK_STATUS: status}}});
        let end = end_of("a", &object).unwrap();
        assert_eq!(end.device, "vdpa:0000:01:00.3");
        assert_eq!((end.attach.as_str(), end.ip.as_str()), ("virtio-vdpa", "10.88.0.11"));
    }

    #[test]
    fn a_loss_is_shown() {
        let end = |name: &str| End {
            name: name.into(),
            device: "d".into(),
            attach: "virtio-vdpa".into(),
            mac: "m".into(),
            ip: "i".into(),
        };
        let text = render(&[end("a"), end("b")], &[(0, 1, Ping { sent: 10, received: 9 })]);
        assert!(text.contains("a -> b  10    9         10 %"), "{text}");
    }
}
