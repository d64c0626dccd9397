//! `observe`, `plan` and `apply`: the agent without a cluster.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use ringway_api::NodeDevicesSpec;
use ringway_kernel::Root;
use ringway_kernel::inventory::{Inventory, VdpaDevice, VirtualFunction};
use ringway_node::lock::Locks;
use rustix::fs::FlockOperation;
use serde::Deserialize;

use crate::args::Output;
use crate::before::Before;
use crate::drain::{Draining, Look};
use crate::files::Files;
use crate::holders::{self, Holders};
use crate::host::Host;
use crate::node::{Node as _, Observed};
use crate::offer;
use crate::plan::{Plan, Planned, plan};
use crate::reconcile::{Gate, Report, reconcile};
use crate::wanted::Wanted;

/// What a person may hand over is small; a file that is not is a mistake.
const MAX_FILE: u64 = 4 << 20;

/// Prints what the node has.
pub fn observe(host: &mut Host, output: Output) -> Result<()> {
    let observed = host.observe()?;
    let text = match output {
        Output::Table => table(&observed.inventory),
        Output::Json => serde_json::to_string_pretty(&observed.inventory)? + "\n",
    };
    print(&text)
}

/// Prints what [`apply`] would do.
pub fn dry_run(host: &mut Host, files: &Files, file: &Path) -> Result<()> {
    let wanted = Wanted::of(&read(file)?);
    let before = Before::read(&files.shared.before)?;
    let observed = host.observe()?;
    let plan = plan(&files.node, &wanted, &observed, &before);
    let holders = holders::of_kernel(&host.root, &observed.inventory);
    print(&told(&plan, &holders, "everything is as wanted\n"))
}

/// A plan as text for a person, or what is said of an empty one.
pub(crate) fn told(plan: &Plan, holders: &Holders, nothing: &str) -> String {
    let mut text = String::new();
    for refusal in &plan.refusals {
        text += &format!("refused  {} ({})\n", refusal.message, refusal.reason.as_str());
    }
    for planned in &plan.steps {
        let disturbs: Vec<_> = planned
            .disturbs
            .iter()
            .map(|id| match holders.get(id.as_str()) {
                Some(holder) => format!("{id} (in use: {holder})"),
                None => id.to_string(),
            })
            .collect();
        let disturbs = match &disturbs[..] {
            [] => String::new(),
            ids => format!("; disturbs {}", ids.join(", ")),
        };
        text += &format!("to do    {}: {}{disturbs}\n", planned.parent, planned.step);
    }
    if text.is_empty() { nothing.to_owned() } else { text }
}

/// Makes the node what a file says, and writes what it then offers.
pub fn apply(host: &mut Host, files: &Files, file: &Path) -> Result<()> {
    let wanted = Wanted::of(&read(file)?);
    let _alone = alone(files)?;
    let mut before = Before::read(&files.shared.before)?;
    let (root, locks) = (host.root.clone(), Locks::at(&files.shared.locks));
    let save = |before: &Before| before.write(&files.shared.before);
    let mut draining = Draining::default();
    let gate = |planned: &Planned, observed: &Observed| {
        gate(&root, &locks, &mut draining, planned, observed)
    };
    let report = reconcile(&files.node, host, &wanted, &mut before, save, gate)?;
    let last = files.last_pools().ok().flatten();
    let (none, last) = (Default::default(), last.as_ref());
    if let Some(pools) = offer::pools(&files.node, &wanted, &report, &none, last) {
        files.write_pools(pools)?;
    }
    finish(&report)
}

/// Whether a step may be done now where nobody can be given a device, because there is no cluster:
/// what the kernel shows to be in use counts.
pub(crate) fn gate(
    root: &Root,
    locks: &Locks,
    draining: &mut Draining,
    planned: &Planned,
    observed: &Observed,
) -> Gate {
    let (nobody, holders) = (BTreeMap::new(), holders::in_the_way(root, planned, observed));
    let (offered, holders) = (Ok(&nobody), &holders);
    let (kubelet, asked) = (Err("there is no cluster"), Instant::now());
    draining.gate(planned, &Look { offered, kubelet, holders, locks, asked })
}

/// What is refused, and what is left to do, in words.
pub(crate) fn problems(report: &Report) -> Vec<String> {
    let refused = report.plan.refusals.iter().map(|refusal| refusal.message.clone());
    let left = report.plan.steps.iter().zip(&report.waits);
    let left = left.map(|(planned, wait)| format!("{}: {}: {wait}", planned.parent, planned.step));
    refused.chain(left).collect()
}

/// Says how it ended; an error if not everything is as wanted.
pub(crate) fn finish(report: &Report) -> Result<()> {
    let problems = problems(report);
    if !problems.is_empty() {
        bail!(
            "{} steps done, not everything is as wanted:\n  - {}",
            report.done,
            problems.join("\n  - ")
        );
    }
    print(&format!("{} steps done, everything is as wanted\n", report.done))
}

/// One agent per node: two would undo each other's work.
pub fn alone(files: &Files) -> Result<fs::File> {
    let path = files.run_dir.join("agent.lock");
    fs::create_dir_all(&files.run_dir)
        .with_context(|| format!("make {}", files.run_dir.display()))?;
    let file = fs::File::create(&path).with_context(|| format!("open {}", path.display()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            files.remove_leftovers()?;
            Ok(file)
        }
        Err(_) => bail!("another ringway-agent works on this node (it holds {})", path.display()),
    }
}

/// Only what matters of a NodeDevices object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    api_version: String,
    kind: String,
    spec: NodeDevicesSpec,
}

fn read(file: &Path) -> Result<NodeDevicesSpec> {
    let mut text = String::new();
    let input: Box<dyn std::io::Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(fs::File::open(file).with_context(|| format!("open {}", file.display()))?)
    };
    input.take(MAX_FILE + 1).read_to_string(&mut text).context("read the wish")?;
    if text.len() as u64 > MAX_FILE {
        bail!("{} is larger than {MAX_FILE} bytes", file.display());
    }
    parse(&text).with_context(|| format!("parse {}", file.display()))
}

fn parse(text: &str) -> Result<NodeDevicesSpec> {
    let object: Object = serde_saphyr::from_str(text)?;
    if (object.api_version.as_str(), object.kind.as_str())
        != ("ringway.dev/v1alpha1", "NodeDevices")
    {
        bail!(
            "found {} {}, expected ringway.dev/v1alpha1 NodeDevices",
            object.api_version,
            object.kind
        );
    }
    Ok(object.spec)
}

fn table(inventory: &Inventory) -> String {
    let mut rows = vec![
        ["PARENT", "INDEX", "DEVICE", "DRIVER", "VDPA", "REACHED BY", "NOTE"].map(String::from),
    ];
    let dash = || "-".to_owned();
    for parent in &inventory.parents {
        let names: Vec<_> = parent.netdevs.iter().map(|n| n.name.clone()).collect();
        let driver = parent.driver.clone().unwrap_or_else(dash);
        let note = crate::plan::card::off_limits(parent).map_or_else(
            || format!("{} of {} functions", parent.numvfs, parent.totalvfs),
            |reason| format!("off limits: {reason}"),
        );
        rows.push([
            parent.address.to_string(),
            dash(),
            dash(),
            driver,
            dash(),
            names.join(","),
            note,
        ]);
        for function in &parent.functions {
            let driver = function.driver.clone().unwrap_or_else(dash);
            let (vdpa, reached) = match function.vdpa.first() {
                Some(device) => vdpa_words(device),
                None => (dash(), reached(function)),
            };
            let (index, id) = (function.index.to_string(), function.address.to_string());
            rows.push([
                parent.address.to_string(),
                index,
                id,
                driver,
                vdpa,
                reached,
                String::new(),
            ]);
        }
    }
    for simulator in &inventory.simulators {
        let name = simulator.management_device.handle.to_string();
        rows.push([name.clone(), dash(), dash(), dash(), dash(), dash(), "simulator".into()]);
        for device in &simulator.vdpa {
            let (vdpa, reached) = vdpa_words(device);
            rows.push([
                name.clone(),
                dash(),
                device.name.clone(),
                dash(),
                vdpa,
                reached,
                String::new(),
            ]);
        }
    }
    let mut text = align(&rows);
    for note in &inventory.notes {
        text += &format!("note: {note}\n");
    }
    text
}

/// By what a function without a vDPA device is reached.
fn reached(function: &VirtualFunction) -> String {
    let names: Vec<_> = function.netdevs.iter().map(|netdev| netdev.name.clone()).collect();
    match &function.vfio {
        Some(vfio) => vfio.group.path.display().to_string(),
        None if names.is_empty() => "-".to_owned(),
        None => names.join(","),
    }
}

fn vdpa_words(device: &VdpaDevice) -> (String, String) {
    let reached = match (&device.char_device, device.netdevs.first()) {
        (Some(char_device), _) => char_device.path.display().to_string(),
        (None, Some(netdev)) => netdev.name.clone(),
        (None, None) => "-".to_owned(),
    };
    (device.driver.clone().unwrap_or_else(|| "unbound".to_owned()), reached)
}

/// Columns as wide as their widest cell.
fn align<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Prints; that nobody reads it is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_read_from_yaml() {
        let text = "apiVersion: ringway.dev/v1alpha1\nkind: NodeDevices\nspec:\n  parents:\n  \
                    - name: 0000:01:00.0\n    policy: by-hand\n    functionCount: 2\n    pools:\n    \
                    - {name: vms, resource: ringway.dev/vms, range: 0-1, attach: vhost-vdpa}\n";
        let spec = parse(text).unwrap();
        assert_eq!(spec.parents[0].pools[0].range, "0-1");
        let error = parse(&text.replace("NodeDevices", "Pod")).unwrap_err();
        assert!(error.to_string().contains("expected ringway.dev/v1alpha1 NodeDevices"), "{error}");
        assert!(parse(&text.replace("vhost-vdpa", "magic")).is_err());
    }
}
