//! What the device plugin costs, by the configuration of the SR-IOV network device plugin, which can
//! run beside it: started, asked and left alone by what they take for kubelet.
//!
//! First with the functions of the node's igb card, then with 1,024 in 32 resources: no emulated card
//! has as many, so that those are a tree like sysfs's in the program's own `/sys`.

mod answers;
mod kubelet;
mod process;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ringway_kernel::{Root, pci, sriov};
use ringway_kernel_tests::node::{Node, ip, modprobe};
use serde::Serialize;
use serde_json::json;

pub(crate) use self::answers::compare;
use self::kubelet::Kubelet;
use self::process::Process;
use crate::cost;
use crate::tree::{DRIVER, FUNCTIONS, Tree};

/// igb has no more (drivers/net/ethernet/intel/igb/igb_main.c, `igb_probe_vfs`).
const FEW: u16 = 7;
const ALLOCATIONS: u32 = 1000;
const CHANGES: usize = 21;
const REST: Duration = Duration::from_secs(10);
/// The plugin's looks have a share of a processor, and save some of it up: after so long without one they
/// have all that they may (plugin/kubelet/src/budget.rs), and one change is not held up by the last.
const QUIET: Duration = Duration::from_secs(1);
/// As what is below /run is: specs and device-info are.
const MEMORY: &str = "/dev/shm";
const CARDS: usize = 4;
const RESOURCES: usize = 32;
const EACH: usize = CARDS * FUNCTIONS / RESOURCES;

/// Samples of ours, and of the other one where there is one.
#[derive(Debug, Serialize)]
pub(crate) struct Samples {
    ours: OfOne,
    peer: Option<OfOne>,
}

/// Times in microseconds, memory in bytes.
#[derive(Debug, Default, Serialize)]
struct OfOne {
    functions: Start,
    /// CPU time of one allocation.
    allocate: f64,
    /// Wakeups per second.
    wakeups: f64,
    /// From the end of an unbind to the list that tells of it, each from rest; the other one tells nobody.
    changes: Vec<f64>,
    many: Option<Start>,
}

/// From the start of the process to the last resource's first list.
#[derive(Debug, Default, Serialize)]
struct Start {
    time: f64,
    cpu: f64,
    memory: u64,
}

pub(crate) fn measure(peer: Option<&str>) -> Result<Samples> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ours = crate::beside_this("ringway-device-plugin")?;
    let peer = peer.map(PathBuf::from);
    let node = Node::at_rest();
    modprobe("igbvf");
    sriov::set_drivers_autoprobe(&node.root, node.igb, false)?;
    sriov::set_numvfs(&node.root, node.igb, FEW)?;
    let functions = sriov::functions(&node.root, node.igb)?;
    for function in &functions {
        pci::bind_unpinned(&node.root, function.address, "igbvf")?;
    }
    let cards = Cards::new()?;
    runtime.block_on(async {
        let mut samples = Samples { ours: few(&ours, true, &functions).await?, peer: None };
        samples.ours.many = Some(many(&ours, true, &cards).await.context("ours, many")?);
        if let Some(peer) = &peer {
            let mut of_peer = few(peer, false, &functions).await.context("the other one")?;
            // not all of them can be had to take a tree for sysfs
            of_peer.many = match many(peer, false, &cards).await {
                Ok(start) => Some(start),
                Err(error) => {
                    eprintln!("the other one, many: {error:#}");
                    None
                }
            };
            samples.peer = Some(of_peer);
        }
        Ok(samples)
    })
}

/// Cards of which the interfaces are real, and nothing else.
struct Cards {
    tree: Tree,
    /// The addresses of all functions.
    functions: Vec<String>,
}

impl Cards {
    fn new() -> Result<Self> {
        let mut cards = Self { tree: Tree::new()?, functions: Vec::new() };
        for card in 0..CARDS {
            let interface = interface(card);
            ip(&format!("link add {interface} type dummy"));
            // each has two buses: its functions begin with the third routing ID
            let (_, functions) = cards.tree.card(0x41 + 2 * card, &interface, Some(DRIVER))?;
            cards.functions.extend(functions);
        }
        Ok(cards)
    }
}

impl Drop for Cards {
    fn drop(&mut self) {
        for card in 0..CARDS {
            let _ = Command::new("ip").args(["link", "delete", &interface(card)]).status();
        }
    }
}

fn interface(card: usize) -> String {
    format!("pf{card}")
}

/// With the functions of the igb card in one resource.
async fn few(program: &Path, is_ours: bool, functions: &[sriov::Function]) -> Result<OfOne> {
    let home = tempfile::tempdir_in(MEMORY)?;
    let config = json!({"resourceList": [
        {"resourceName": "functions", "selectors": [{"vendors": ["8086"], "drivers": ["igbvf"]}]},
    ]});
    let mut kubelet = Kubelet::start(home.path())?;
    let process = start(program, (is_ours, false), home.path(), &config, None)?;
    let all = |lists: &BTreeMap<String, kubelet::List>| {
        lists.values().map(|list| list.len()).sum::<usize>() == functions.len()
    };
    let functions_start = started(&process, &mut kubelet, all).await?;
    let before = process.cpu()?;
    let mut client = kubelet.client("functions").await?;
    for n in 0..ALLOCATIONS {
        let function = &functions[n as usize % functions.len()];
        client.allocate(&function.address.to_string()).await?;
    }
    let allocate = cost::micros(process.cpu()?.saturating_sub(before)) / f64::from(ALLOCATIONS);
    let wakeups = process.wakeups()?;
    tokio::time::sleep(REST).await;
    let wakeups = f64::from(process.wakeups()?.saturating_sub(wakeups)) / REST.as_secs_f64();
    let mut changes = Vec::new();
    if is_ours {
        let (root, address) = (Root::new("/"), functions[0].address);
        for _ in 0..CHANGES {
            come_to_rest(&process).await?;
            pci::unbind(&root, address)?;
            let told = Instant::now();
            let sick = |list: &kubelet::List| {
                list.get(&address.to_string()).is_none_or(|healthy| !healthy)
            };
            kubelet.until(|lists| lists.values().any(sick)).await?;
            changes.push(cost::micros(told.elapsed()));
            pci::bind_unpinned(&root, address, "igbvf")?;
            kubelet.until(|lists| !lists.values().any(sick)).await?;
        }
    }
    Ok(OfOne { functions: functions_start, allocate, wakeups, changes, many: None })
}

/// Waits until it has done nothing for a while: one change asks for some looks.
async fn come_to_rest(process: &Process) -> Result<()> {
    let (mut cpu, mut since) = (process.cpu()?, Instant::now());
    while since.elapsed() < QUIET {
        tokio::time::sleep(QUIET / 10).await;
        let now = process.cpu()?;
        if now != cpu {
            (cpu, since) = (now, Instant::now());
        }
    }
    Ok(())
}

/// With 1,024 functions in 32 resources.
async fn many(program: &Path, is_ours: bool, cards: &Cards) -> Result<Start> {
    let home = tempfile::tempdir_in(MEMORY)?;
    let resource = |(n, addresses): (usize, &[String])| json!({"resourceName": format!("many{n}"), "selectors": [{"pciAddresses": addresses}]});
    let resources: Vec<_> = cards.functions.chunks(EACH).enumerate().map(resource).collect();
    let config = json!({"resourceList": resources});
    let mut kubelet = Kubelet::start(home.path())?;
    let sys = cards.tree.path("sys");
    let process = start(program, (is_ours, false), home.path(), &config, Some(&sys))?;
    let all = |lists: &BTreeMap<String, kubelet::List>| {
        lists.len() == RESOURCES && lists.values().all(|list| list.len() == EACH)
    };
    started(&process, &mut kubelet, all).await
}

fn start(
    program: &Path,
    (is_ours, cdi): (bool, bool),
    home: &Path,
    config: &serde_json::Value,
    sys: Option<&Path>,
) -> Result<Process> {
    // it ends without names for vendors; that it gets few costs it the less
    fs::write(
        home.join("pci.ids"),
        "15b3  Mellanox\n\t101d  MT2892\n1af4  Red Hat\n\t1041  Virtio\n8086  Intel\n\t10ca  82576\n",
    )?;
    let file = home.join("config.json");
    fs::write(&file, config.to_string())?;
    let path = |name: &str| home.join(name).display().to_string();
    let mut args = match is_ours {
        true => vec![
            "--sriovdp-config".to_owned(),
            file.display().to_string(),
            "--cdi-dir".to_owned(),
            path("cdi"),
            "--devinfo-dir".to_owned(),
            path("devinfo"),
            "--lock-dir".to_owned(),
            path("lock"),
        ],
        false => vec!["--config-file".to_owned(), file.display().to_string()],
    };
    if cdi {
        args.push("--use-cdi".to_owned());
    }
    Process::start(program, &args, home, sys)
}

async fn started(
    process: &Process,
    kubelet: &mut Kubelet,
    all: impl Fn(&BTreeMap<String, kubelet::List>) -> bool,
) -> Result<Start> {
    let said = kubelet.until(all).await;
    let time = cost::micros(process.since());
    said.with_context(|| process.said())?;
    let (cpu, memory) = (cost::micros(process.cpu()?), process.memory()?);
    ensure!(memory > 0, "no memory");
    Ok(Start { time, cpu, memory })
}
