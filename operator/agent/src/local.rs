//! `observe`, `plan` and `apply`: the agent without a cluster.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use ringway_api::NodeDevicesSpec;
use ringway_kernel::Root;
use ringway_node::lock::Locks;
use ringway_node::paths::Paths;
use rustix::fs::FlockOperation;
use serde::Deserialize;

use crate::args::Output;
use crate::before::Before;
use crate::drain::{Draining, Look};
use crate::files::Files;
use crate::holders;
use crate::host::Host;
use crate::node::{Node as _, Observed};
use crate::offer;
use crate::plan::{Planned, plan};
use crate::preview::Preview;
use crate::reconcile::{Gate, Report, reconcile};
use crate::show::{as_data, inventory_table};
use crate::udev;
use crate::wanted::Wanted;

/// What a person may hand over is small; a file that is not is a mistake.
const MAX_FILE: u64 = 4 << 20;

/// Prints what the node has.
pub fn observe(host: &mut Host, output: Output) -> Result<()> {
    let inventory = host.observe()?.inventory;
    print(&match output {
        Output::Table => inventory_table(&inventory, &holders::of_kernel(&host.root, &inventory)),
        data => as_data(&inventory, data)?,
    })
}

/// Prints what [`apply`] would do.
pub fn dry_run(host: &mut Host, files: &Files, file: &Path, output: Output) -> Result<()> {
    let wanted = Wanted::of(&read(file)?);
    let before = Before::read(&files.shared.before)?;
    let observed = host.observe()?;
    let plan = plan(&files.node, &wanted, &observed, &before);
    let preview = Preview::of(&plan, &holders::of_kernel(&host.root, &observed.inventory));
    print(&match output {
        Output::Table => preview.to_string(),
        data => as_data(&preview, data)?,
    })
}

/// Makes the node what a file says, and writes what it then offers.
pub fn apply(host: &mut Host, files: &Files, file: &Path) -> Result<()> {
    let wanted = Wanted::of(&read(file)?);
    let _alone = alone(files)?;
    let mut before = Before::read(&files.shared.before)?;
    let root = host.root.clone();
    let save = |before: &Before| before.write(&files.shared.before);
    let mut draining = Draining::default();
    let last = files.last_pools().ok().flatten();
    let last = last.as_ref();
    let mut managers = files.managers();
    let gate = |planned: &Planned, observed: &Observed| {
        managers.keep_off_first(udev::rules(&wanted, observed, last));
        gate(&root, &files.shared, &mut draining, planned, observed)
    };
    let report = reconcile(&files.node, host, &wanted, &mut before, save, gate)?;
    if let Some(pools) = offer::pools(&files.node, &wanted, &report, &Default::default(), last) {
        files.keep_managers_off(udev::rules(&wanted, &report.observed, Some(&pools)).as_deref());
        files.write_pools(pools)?;
    }
    finish(&report)
}

/// Whether a step may be done now where nobody can be given a device, because there is no cluster:
/// what the kernel shows to be in use counts.
pub(crate) fn gate(
    root: &Root,
    paths: &Paths,
    draining: &mut Draining,
    planned: &Planned,
    observed: &Observed,
) -> Gate {
    let (nobody, locks) = (BTreeMap::new(), Locks::at(&paths.locks));
    let holders = holders::in_the_way(root, &paths.attachments, planned, observed);
    let (offered, holders, locks) = (Ok(&nobody), &holders, &locks);
    let (kubelet, asked) = (Err("there is no cluster"), Instant::now());
    draining.gate(planned, &Look { offered, kubelet, holders, locks, asked })
}

/// What is refused or waited for, and what is left to do, in words.
pub(crate) fn problems(report: &Report) -> Vec<String> {
    let refused = report.plan.refusals.iter().chain(&report.plan.awaits);
    let mut refused: Vec<_> = refused.map(|refusal| refusal.message.clone()).collect();
    // functions wait for the same
    refused.dedup();
    let left = report.plan.steps.iter().zip(&report.waits);
    let left = left.map(|(planned, wait)| format!("{}: {}: {wait}", planned.parent, planned.step));
    refused.into_iter().chain(left).collect()
}

/// Says how it ended; an error if not everything is as wanted.
pub(crate) fn finish(report: &Report) -> Result<()> {
    let problems = problems(report);
    if !problems.is_empty() {
        bail!(
            "{} steps done, not everything is as wanted:\n  - {}",
            report.done.len(),
            problems.join("\n  - ")
        );
    }
    print(&format!("{} steps done, everything is as wanted\n", report.done.len()))
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
