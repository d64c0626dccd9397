//! What the device plugin and the SR-IOV network device plugin say of the same devices, asked in the
//! same words.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use ringway_kernel::vdpa::{Handle, NewDevice};
use ringway_kernel::vdpa_bus::{self, Driver};
use ringway_kernel::{pci, sriov, vfio};
use ringway_kernel_tests::node::{Node, modprobe};
use ringway_proto::kubelet::deviceplugin as dp;
use serde::Serialize;
use serde_json::{Value, json};
use tonic::Status;

use super::kubelet::{self, Kubelet};
use super::start;

/// Far more than a start takes; a resource that has not come by then does not come.
const SOON: Duration = Duration::from_secs(30);
/// An id that no device has.
const NOBODY: &str = "0000:00:00.7";

/// One thing that can be asked, and the two answers; none where the one has no such thing.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    what: String,
    ours: Option<String>,
    peer: Option<String>,
}

/// Answers by what was asked.
type Answers = BTreeMap<String, String>;

pub(crate) fn compare(peer: &str) -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ours = crate::beside_this("ringway-device-plugin")?;
    let node = Node::at_rest();
    let config = devices(&node)?;
    let mut rows = Vec::new();
    for cdi in [false, true] {
        let ask =
            |program: &Path, is_ours| runtime.block_on(answers(program, is_ours, cdi, &config));
        let (ours, peer) = (ask(&ours, true)?, ask(Path::new(peer), false)?);
        let all: BTreeSet<&String> = ours.keys().chain(peer.keys()).collect();
        let mode = if cdi { "with CDI: " } else { "" };
        rows.extend(all.into_iter().map(|what| Row {
            what: format!("{mode}{what}"),
            ours: ours.get(what).cloned(),
            peer: peer.get(what).cloned(),
        }));
    }
    Ok(rows)
}

/// A device of each kind that the other one knows, and the configuration that offers each as a
/// resource.
fn devices(node: &Node) -> Result<Value> {
    let root = &node.root;
    ["igbvf", "vfio-pci", "vp-vdpa", "vhost-vdpa", "virtio-vdpa"].into_iter().for_each(modprobe);
    for pf in [node.igb, node.virtio] {
        sriov::set_drivers_autoprobe(root, pf, false)?;
    }
    vdpa_bus::set_drivers_autoprobe(root, false)?;
    sriov::set_numvfs(root, node.igb, 3)?;
    sriov::set_numvfs(root, node.virtio, 2)?;
    let of = |pf| sriov::functions(root, pf);
    let (igb, virtio) = (of(node.igb)?, of(node.virtio)?);
    pci::bind_unpinned(root, igb[0].address, "igbvf")?;
    vfio::bind(root, igb[1].address)?;
    pci::bind_unpinned(root, igb[2].address, "igbvf")?;
    for (function, driver) in virtio.iter().zip([Driver::VhostVdpa, Driver::VirtioVdpa]) {
        let name = format!("vdpa:{}", function.address);
        pci::bind(root, function.address, "vp-vdpa")?;
        node.vdpa().create(&NewDevice::new(&name, Handle::pci(function.address)))?;
        vdpa_bus::bind(root, &name, driver)?;
    }
    let last = igb[2].address.to_string();
    Ok(json!({"resourceList": [
        {"resourceName": "vhost-net", "additionalInfo": {"*": {"speed": "1"}},
         "selectors": {"pciAddresses": [last], "needVhostNet": true}},
        {"resourceName": "nic", "selectors": {"vendors": ["8086"], "drivers": ["igbvf"]}},
        {"resourceName": "vfio", "selectors": [{"drivers": ["vfio-pci"]}]},
        {"resourceName": "vhost_vdpa", "selectors": {"vdpaType": "vhost"}},
        {"resourceName": "virtio_vdpa", "selectors": {"vdpaType": "virtio"}},
    ]}))
}

async fn answers(program: &Path, is_ours: bool, cdi: bool, config: &Value) -> Result<Answers> {
    let home = tempfile::tempdir()?;
    let mut kubelet = Kubelet::start(home.path())?;
    let process = start(program, (is_ours, cdi), home.path(), config, None)?;
    let resources = config["resourceList"].as_array().context("resources")?;
    let names: Vec<&str> = resources.iter().filter_map(|r| r["resourceName"].as_str()).collect();
    // a resource that does not come is an answer, too
    let all = |lists: &BTreeMap<String, kubelet::List>| {
        names.iter().all(|name| lists.get(*name).is_some_and(|list| !list.is_empty()))
    };
    let came = tokio::time::timeout(SOON, kubelet.until(all)).await;
    let mut found = Answers::new();
    for name in names {
        match kubelet.client(name).await {
            Ok(client) => of_resource(name, client, &mut found).await?,
            Err(error) => drop(found.insert(format!("{name}: served"), format!("{error:#}"))),
        }
    }
    if came.is_err() {
        eprintln!("{}: {}", program.display(), process.said());
    }
    for dir in ["devinfo", "cdi"] {
        for path in files(&home.path().join(dir))? {
            let name = path.file_name().unwrap_or_default().display().to_string();
            found.insert(format!("file {dir}/{name}"), one_line(&fs::read(&path)?));
        }
    }
    Ok(found)
}

/// All below a directory: one of the two has a directory of its own there.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}

async fn of_resource(name: &str, mut client: kubelet::Client, found: &mut Answers) -> Result<()> {
    let options = client.options().await?;
    let mut told = |what: &str, answer: String| found.insert(format!("{name}: {what}"), answer);
    told("preStartRequired", options.pre_start_required.to_string());
    told("getPreferredAllocation", options.get_preferred_allocation_available.to_string());
    let devices = match client.list().await {
        Ok(devices) => devices,
        Err(status) => {
            told("ListAndWatch", words(&status));
            return Ok(());
        }
    };
    for device in &devices {
        let nodes = device.topology.iter().flat_map(|topology| &topology.nodes);
        let numa: Vec<String> = nodes.map(|node| node.id.to_string()).collect();
        told(&format!("device {}", device.id), format!("{} NUMA {numa:?}", device.health));
    }
    let Some(first) = devices.first() else { return Ok(()) };
    let answers = (client.allocate(&first.id).await, client.allocate(&first.id).await);
    let (answer, again) = match answers {
        (Ok(answer), Ok(again)) => (answer, again),
        (Err(status), _) | (_, Err(status)) => {
            told("Allocate", words(&status));
            return Ok(());
        }
    };
    for (what, value) in parts(&answer) {
        told(&format!("Allocate: {what}"), value);
    }
    let (first, second) = (parts(&answer), parts(&again));
    let same = if first == second { "the same" } else { "another answer" };
    told("Allocate once more", same.to_owned());
    for (what, value) in second.into_iter().filter(|(what, value)| first.get(what) != Some(value)) {
        told(&format!("Allocate once more: {what}"), value);
    }
    let of_nobody = match client.allocate(NOBODY).await {
        Ok(answer) => format!("{:?}", parts(&answer)),
        Err(status) => words(&status),
    };
    told(&format!("Allocate {NOBODY}"), of_nobody);
    Ok(())
}

fn words(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

/// All that an answer has.
fn parts(answer: &dp::ContainerAllocateResponse) -> Answers {
    let envs = answer.envs.iter().map(|(name, value)| (format!("env {name}"), value.clone()));
    let notes = answer.annotations.iter();
    let notes = notes.map(|(name, value)| (format!("annotation {name}"), value.clone()));
    let nodes = answer.devices.iter().map(|node| {
        let inside = format!("as {} {}", node.container_path, node.permissions);
        (format!("node {}", node.host_path), inside)
    });
    let mounts = answer.mounts.iter();
    let mounts = mounts.map(|m| (format!("mount {}", m.host_path), m.container_path.clone()));
    let cdi = answer.cdi_devices.iter().map(|cdi| ("CDI device".to_owned(), cdi.name.clone()));
    envs.chain(notes).chain(nodes).chain(mounts).chain(cdi).collect()
}

fn one_line(bytes: &[u8]) -> String {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) => value.to_string(),
        Err(_) => String::from_utf8_lossy(bytes).split_whitespace().collect::<Vec<_>>().join(" "),
    }
}
