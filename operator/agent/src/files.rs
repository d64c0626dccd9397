//! The agent's files on the node.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ringway_node::atomic;
use ringway_node::paths::Paths;
use ringway_node::pools::{self, Pools};
use tracing::warn;

use crate::udev;

/// Where they are, and whose node it is.
#[derive(Debug, Clone)]
pub struct Files {
    /// The node's name.
    pub node: String,
    /// Those that others read too.
    pub shared: Paths,
    /// What does not survive a reboot.
    pub run_dir: PathBuf,
}

impl Files {
    /// The files below a state and a run directory, which are made where they are missing, and
    /// udev's rules in another, which is not.
    pub fn below(node: &str, state: &Path, run: &Path, udev_rules: &Path) -> Result<Self> {
        for dir in [state, run] {
            std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        }
        let shared = Paths {
            node: state.join("node.json"),
            before: state.join("before.json"),
            pools: state.join("pools.json"),
            attachments: state.join("attachments"),
            locks: run.join("lock"),
            stuck: run.join("stuck"),
            udev_rules: udev_rules.join("10-ringway.rules"),
            ..Paths::default()
        };
        Ok(Self { node: node.to_owned(), shared, run_dir: run.to_owned() })
    }

    /// What the node offered last; `None` if it never did.
    pub fn last_pools(&self) -> Result<Option<Pools>, pools::Error> {
        match Pools::read(&self.shared.pools) {
            Ok(pools) => Ok(Some(pools)),
            Err(pools::Error::File(error)) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes what an agent that was killed while it wrote has left.
    pub fn remove_leftovers(&self) -> Result<()> {
        let Paths { node, before, pools, udev_rules, .. } = &self.shared;
        let files = [node, before, pools, udev_rules];
        let dirs: BTreeSet<_> = files.iter().filter_map(|file| file.parent()).collect();
        for dir in dirs {
            let ours = |target: &str| files.iter().any(|file| **file == dir.join(target));
            atomic::remove_leftovers(dir, ours).context("remove what a killed agent left")?;
        }
        Ok(())
    }

    /// Writes the rules that keep the host's network managers off, or removes them. The node is
    /// worked on without them too. Says whether there are new ones.
    pub fn keep_managers_off(&self, rules: Option<&str>) -> bool {
        udev::write(&self.shared.udev_rules, rules).unwrap_or_else(|error| {
            let error = format!("{error:#}");
            warn!(error, "network managers may take functions for theirs");
            false
        })
    }

    /// The same before an interface is made: returns when udevd is sure to have read them by then.
    fn keep_managers_off_first(&self, rules: Option<&str>) {
        let ours_to_udevd = self.shared.udev_rules.starts_with(udev::DIRECTORY);
        if self.keep_managers_off(rules) && ours_to_udevd {
            std::thread::sleep(udev::READ_AFTER);
        }
    }

    /// What keeps managers off before anything is made in a round.
    pub fn managers(&self) -> Managers<'_> {
        Managers { files: self, rules: None }
    }

    /// Writes what the node offers, with a new generation if anything changed.
    pub fn write_pools(&self, mut pools: Pools) -> Result<()> {
        let last = Pools::read(&self.shared.pools).ok();
        pools.generation = last.as_ref().map_or(1, |last| last.generation);
        if last.as_ref() == Some(&pools) {
            return Ok(());
        }
        pools.generation = last.map_or(1, |last| last.generation + 1);
        pools.write(&self.shared.pools).context("say what the node offers")
    }
}

/// Keeps network managers off what a round makes. Each step asks for that, and most of them for the
/// same.
#[derive(Debug)]
pub struct Managers<'a> {
    files: &'a Files,
    /// What was seen to last.
    rules: Option<Option<String>>,
}

impl Managers<'_> {
    /// Returns when rules are in place and udevd is sure to have read them.
    pub fn keep_off_first(&mut self, rules: Option<String>) {
        if self.rules.as_ref() != Some(&rules) {
            self.files.keep_managers_off_first(rules.as_deref());
            self.rules = Some(rules);
        }
    }
}
