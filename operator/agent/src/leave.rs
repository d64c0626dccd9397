//! Leaving a node: when the chart is removed, what it has put on the host goes last.
//!
//! The CNI plugin is needed until the last pod's interface is back, and the record of what the node
//! was until it is so again. So everything must be at rest first, and then it goes for good.

use std::path::PathBuf;

use anyhow::{Context, Result};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use ringway_api::conditions::{REMOVED, Reason};
use ringway_node::atomic;

use crate::before::Before;
use crate::files::Files;
use crate::kubelet::View;
use crate::reconcile::Report;
use crate::wish::Wish;

/// What is known of a node that is to be left.
#[derive(Debug)]
pub struct Rest<'a> {
    /// What it shall be.
    pub wish: &'a Wish,
    /// What was changed on it, and is not back yet.
    pub before: &'a Before,
    /// Where the last round ended.
    pub report: &'a Report,
    /// Kubelet's view, or why there is none.
    pub kubelet: Result<&'a View, &'a str>,
    /// Attachments of pods that are on record: the files' names.
    pub attachments: &'a [String],
}

/// What leaving waits for; nothing once the node is at rest. Pure.
pub fn waits_for(rest: &Rest<'_>) -> Option<String> {
    if let Some(parent) = rest.wish.spec.parents.first() {
        return Some(format!("{}: policy {} wants it carved", parent.name, parent.policy));
    }
    if let Some(refusal) = rest.report.plan.refusals.first() {
        return Some(refusal.message.clone());
    }
    if let Some((planned, wait)) = rest.report.plan.steps.iter().zip(&rest.report.waits).next() {
        return Some(format!("{}: {}: {wait}", planned.parent, planned.step));
    }
    if let Some(name) = rest.before.parents.keys().next() {
        return Some(format!("{name}: it is not known to be as it was before"));
    }
    let view = match rest.kubelet {
        Ok(view) => view,
        Err(why) => return Some(format!("kubelet does not say which pods hold devices: {why}")),
    };
    if let Some((id, holder)) = view.held.iter().next() {
        return Some(format!("{id} is in use: {holder}"));
    }
    if let Some(id) = view.allocatable.iter().next() {
        return Some(format!("kubelet may still hand out {id}"));
    }
    let first = rest.attachments.first()?;
    let many = rest.attachments.len();
    Some(format!("attachment {first} (1 of {many}) is still on record: it ends with its pod"))
}

/// The attachments that are on record, by their files.
///
/// # Errors
/// The directory is there and cannot be listed.
pub fn attachments(files: &Files) -> Result<Vec<String>> {
    let dir = &files.shared.attachments;
    let list = || -> std::io::Result<Vec<String>> {
        let name =
            |entry: std::io::Result<std::fs::DirEntry>| Ok(entry?.path().display().to_string());
        std::fs::read_dir(dir)?.map(name).collect()
    };
    match list() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.with_context(|| format!("list {}", dir.display())),
    }
}

/// Removes what the chart has put on the host, in this order, and then the agent's own files. What
/// is gone already is fine.
///
/// # Errors
/// A file cannot be removed; those before it are.
pub fn remove(files: &Files, of_the_chart: &[PathBuf]) -> Result<()> {
    let own = [&files.shared.node, &files.shared.before, &files.shared.pools];
    for path in of_the_chart.iter().chain(own) {
        atomic::remove(path).context("leave the node")?;
    }
    Ok(())
}

/// The condition that says how leaving goes.
pub fn condition(
    generation: Option<i64>,
    waits: Option<&str>,
    last: &[Condition],
    now: &Time,
) -> Condition {
    let (status, reason, message) = match waits {
        None => ("True", Reason::AsWanted, "nothing of Ringway is left on the node"),
        Some(why) => ("False", Reason::StepsPending, why),
    };
    let since = last.iter().find(|c| c.type_ == REMOVED && c.status == status);
    Condition {
        type_: REMOVED.to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: message.chars().take(1024).collect(),
        observed_generation: generation,
        last_transition_time: since.map_or_else(|| now.clone(), |c| c.last_transition_time.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::before::ParentBefore;
    use crate::fake::Fake;
    use crate::reconcile::{Gate, reconcile};
    use crate::wanted::Wanted;

    fn report() -> Report {
        let go = |_: &_, _: &_| Gate::Go(vec![]);
        let before = &mut Before::default();
        reconcile("n", &mut Fake::new(), &Wanted::default(), before, |_| Ok(()), go).unwrap()
    }

    #[test]
    fn a_node_is_left_when_all_is_at_rest_and_no_sooner() {
        let (wish, before, report) = (Wish::default(), Before::default(), report());
        let idle = View::default();
        let id = || "0000:01:00.1".to_owned();
        let holder = "pod a/b holds it".to_owned();
        let held = View { held: [(id(), holder)].into(), ..View::default() };
        let offered = View { allocatable: [id()].into(), ..View::default() };
        let rest = |kubelet, attachments| {
            let rest = Rest { wish: &wish, before: &before, report: &report, kubelet, attachments };
            waits_for(&rest)
        };
        assert_eq!(rest(Ok(&idle), &[]), None);
        let says = |said: Option<String>, words: &str| {
            assert!(said.as_ref().is_some_and(|said| said.contains(words)), "{words}: {said:?}");
        };
        let two = ["/a/c:net1.json".to_owned(), "/a/d:net1.json".to_owned()];
        says(rest(Ok(&idle), &two), "(1 of 2) is still on record");
        says(rest(Ok(&idle), &two), "attachment /a/c:net1.json");
        says(
            rest(Err("no socket"), &[]),
            "kubelet does not say which pods hold devices: no socket",
        );
        says(rest(Ok(&held), &[]), "0000:01:00.1 is in use: pod a/b");
        says(rest(Ok(&offered), &[]), "may still hand out");

        let mut before = before.clone();
        before.parents.insert("0000:01:00.0".into(), ParentBefore::default());
        let kubelet = Ok(&idle);
        let rest =
            Rest { wish: &wish, before: &before, report: &report, kubelet, attachments: &[] };
        says(waits_for(&rest), "0000:01:00.0: it is not known to be as it was");
        let spec = serde_json::from_value(serde_json::json!({"parents": [
            {"name": "0000:01:00.0", "policy": "edge", "functionCount": 1}]}));
        let wish = Wish { spec: spec.unwrap(), ..Wish::default() };
        says(waits_for(&Rest { wish: &wish, ..rest }), "policy edge wants it");
    }

    #[test]
    fn what_is_removed_is_gone_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let files = Files::below("n", &path("state"), &path("run"), &path("rules.d")).unwrap();
        let unit = dir.path().join("ringway.service");
        for path in [&unit, &files.shared.node, &files.shared.pools] {
            std::fs::write(path, "x").unwrap();
        }
        for _ in 0..2 {
            remove(&files, std::slice::from_ref(&unit)).unwrap();
            assert!(!unit.exists() && !files.shared.node.exists() && !files.shared.pools.exists());
        }
        assert_eq!(attachments(&files).unwrap(), Vec::<String>::new());
        std::fs::create_dir_all(&files.shared.attachments).unwrap();
        let record = files.shared.attachments.join("c:net1.json");
        std::fs::write(&record, "{}").unwrap();
        assert_eq!(attachments(&files).unwrap(), [record.display().to_string()]);
    }
}
