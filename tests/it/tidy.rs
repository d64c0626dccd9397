//! Invariants of the source. Each fails with what breaks it and where.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::root;

/// Which of our crates each may use outside of its tests. Anything else is a change of the
/// architecture: docs/adr/0002-shared-files-crate.md tells of the latest.
const EDGES: &[(&str, &[&str])] = &[
    ("ringway-kernel", &[]),
    ("ringway-proto", &[]),
    ("ringway-api", &[]),
    ("ringway-node", &["ringway-kernel"]),
    ("ringway-metrics", &[]),
    ("ringway", &["ringway-kernel", "ringway-node"]),
    (
        "ringway-agent",
        &[
            "ringway",
            "ringway-api",
            "ringway-kernel",
            "ringway-metrics",
            "ringway-node",
            "ringway-proto",
        ],
    ),
    ("ringway-operator", &["ringway-api"]),
    (
        "ringway-device-plugin",
        &["ringway-kernel", "ringway-metrics", "ringway-node", "ringway-proto"],
    ),
    ("ringway-kubevirt", &["ringway-proto"]),
    ("kubectl-ringway", &["ringway-api"]),
    ("ringway-lab", &[]),
    ("ringway-fake-api-server", &[]),
    ("ringway-kernel-tests", &["ringway-kernel"]),
    (
        "ringway-bench",
        &["ringway-agent", "ringway-kernel", "ringway-kernel-tests", "ringway-proto"],
    ),
    ("ringway-e2e-tests", &[]),
];

/// Lines of a file, its tests not counted.
const LONGEST_FILE: usize = 600;

/// Where outside of tests and of the lab a process is started: IPAM plugins are programs (CNI
/// specification, section 4), and what asks generic netlink may have to be left behind.
const SPAWNS: [&str; 2] = ["cni/src/ipam", "cni/src/genl.rs"];

struct Package {
    name: String,
    dir: PathBuf,
    /// Of our crates, those used outside of tests.
    uses: Vec<String>,
    /// The root file of each target, with its kind.
    targets: Vec<(String, PathBuf)>,
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let package = |package: &Value| Package {
        name: text(&package["name"]),
        dir: PathBuf::from(text(&package["manifest_path"])).parent().unwrap().to_owned(),
        uses: package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| dependency["kind"] != "dev" && dependency["path"].is_string())
            .map(|dependency| text(&dependency["name"]))
            .collect(),
        targets: package["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|target| (text(&target["kind"][0]), PathBuf::from(text(&target["src_path"]))))
            .collect(),
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

#[test]
fn crates_use_only_what_they_may() {
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in packages() {
        if package.dir.starts_with(root().join("tests")) && !allowed.contains_key(&*package.name) {
            continue; // tests may use anything
        }
        let Some(allowed) = allowed.get(&*package.name) else {
            wrong.push(format!("{} is not in the list of crates", package.name));
            continue;
        };
        for used in package.uses.iter().filter(|used| !allowed.contains(&used.as_str())) {
            wrong.push(format!("{} uses {used}", package.name));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_file_belongs_to_its_crate() {
    let mut orphans = Vec::new();
    let packages = packages();
    for package in &packages {
        let mut reached = BTreeSet::new();
        for (_, file) in &package.targets {
            reach(file, true, &mut reached);
        }
        let others: Vec<&PathBuf> = packages
            .iter()
            .map(|other| &other.dir)
            .filter(|dir| **dir != package.dir && dir.starts_with(&package.dir))
            .collect();
        let files = rust_files(&package.dir);
        let mine = files.iter().filter(|file| !others.iter().any(|dir| file.starts_with(dir)));
        orphans.extend(mine.filter(|file| !reached.contains(*file)).map(|f| shown(f)));
    }
    assert_eq!(orphans, Vec::<String>::new(), "no `mod` reaches them");
}

/// Adds a file and the files of its `mod` items.
fn reach(file: &Path, is_root: bool, reached: &mut BTreeSet<PathBuf>) {
    let Ok(text) = fs::read_to_string(file) else { return };
    if !reached.insert(file.to_owned()) {
        return;
    }
    let dir = file.parent().unwrap();
    let stem = file.file_stem().unwrap();
    let children = if is_root || stem == "mod" { dir.to_owned() } else { dir.join(stem) };
    for line in text.lines() {
        let Some(name) = module(line) else { continue };
        for child in [children.join(format!("{name}.rs")), children.join(name).join("mod.rs")] {
            reach(&child, false, reached);
        }
    }
}

/// `pub(crate) mod name;` gives `name`.
fn module(line: &str) -> Option<&str> {
    let line = line.split("//").next().unwrap_or_default().trim();
    let item = line.strip_suffix(';')?;
    let (before, name) = item.split_once("mod ")?;
    let visible = before.is_empty() || (before.starts_with("pub") && before.ends_with(' '));
    visible.then_some(name)
}

#[test]
fn no_file_is_too_long() {
    let mut long = Vec::new();
    for package in packages() {
        for file in rust_files(&package.dir) {
            let text = fs::read_to_string(&file).unwrap();
            let lines = production(&text).count();
            if !is_test(&file) && lines > LONGEST_FILE {
                long.push(format!("{}: {lines} lines", shown(&file)));
            }
        }
    }
    assert_eq!(long, Vec::<String>::new(), "at most {LONGEST_FILE} without tests");
}

#[test]
fn no_process_is_started_but_for_ipam_and_generic_netlink() {
    let mut spawns = Vec::new();
    for package in packages() {
        if package.dir.starts_with(root().join("tests")) {
            continue;
        }
        for file in rust_files(&package.dir) {
            let text = fs::read_to_string(&file).unwrap();
            let spawns_there = production(&text).any(|line| {
                line.contains("process::Command")
                    || line.contains("process::{") && line.contains("Command")
            });
            let allowed = SPAWNS.iter().any(|place| shown(&file).starts_with(place));
            if spawns_there && !is_test(&file) && !allowed {
                spawns.push(shown(&file));
            }
        }
    }
    assert_eq!(spawns, Vec::<String>::new());
}

/// The lines before a file's own tests.
fn production(text: &str) -> impl Iterator<Item = &str> {
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        let line = lines.next()?;
        let tests = line == "#[cfg(test)]" && lines.peek().is_some_and(|next| next.ends_with('{'));
        (!tests).then_some(line)
    })
}

fn is_test(file: &Path) -> bool {
    let relative = file.strip_prefix(root()).unwrap();
    relative.iter().any(|part| part == "tests" || part == "tests.rs" || part == "testing")
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap().display().to_string()
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn modules_are_recognised() {
    for (line, name) in [
        ("mod a;", Some("a")),
        ("pub mod a; // why", Some("a")),
        ("pub(crate) mod a;", Some("a")),
        ("    mod a;", Some("a")),
        ("mod a {", None),
        ("// mod a;", None),
        ("let commod a;", None),
    ] {
        assert_eq!(module(line), name, "{line}");
    }
}
