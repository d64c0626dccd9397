//! Ringway's own binaries, built from this checkout for the node.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::place::Place;
use crate::progress::Progress;
use crate::run;

/// What the product's image holds; each binary's package has its name.
pub(crate) const BINARIES: [&str; 5] =
    ["ringway", "ringway-agent", "ringway-device-plugin", "ringway-kubevirt", "ringway-operator"];
/// The stand-in launcher of the example's virtual machine.
pub(crate) const LAUNCHER: &str = "ringway-launcher";

/// What measures in the node, and what it is held against: all in the package of the first.
pub(crate) const BENCH: [&str; 3] = ["ringway-bench", "empty", "bare"];

/// Builds all of them and says where some are, in the order asked for.
///
/// Always all in one go: cargo unifies the features of what it builds together, so that another
/// selection would compile half the dependencies again.
pub(crate) fn build(place: &Place, progress: &Progress, binaries: &[&str]) -> Result<Vec<PathBuf>> {
    let mut command = run::cargo(place);
    command.args(["build", "--profile", "lab", "--message-format=json-render-diagnostics"]);
    for binary in BINARIES.iter().chain([&LAUNCHER]) {
        command.args(["--package", binary, "--bin", binary]);
    }
    command.args(["--package", BENCH[0]]).args(BENCH.iter().flat_map(|bin| ["--bin", bin]));
    let messages = progress
        .step("compile the product", || run::output(run::limited(&command, run::COMPILE)))?;
    let built = executables(&messages)?;
    binaries
        .iter()
        .map(|binary| {
            let found = built.iter().find(|a| a.target.name == *binary);
            let found = found.and_then(|artifact| artifact.executable.clone());
            found.with_context(|| format!("cargo built no {binary}"))
        })
        .collect()
}

/// What cargo says of an artifact, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Artifact {
    /// The program, if it is one.
    pub(crate) executable: Option<PathBuf>,
    /// Its package.
    pub(crate) manifest_path: PathBuf,
    /// What in the package it is.
    pub(crate) target: Target,
    /// How it was built.
    pub(crate) profile: Profile,
}

/// How an artifact was built.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Profile {
    /// Whether it is a program of tests. The binaries that integration tests call are not.
    pub(crate) test: bool,
}

/// A target of a package.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: String,
}

/// The programs among cargo's messages.
pub(crate) fn executables(messages: &str) -> Result<Vec<Artifact>> {
    let mut found = Vec::new();
    for line in messages.lines() {
        let message: serde_json::Value =
            serde_json::from_str(line).context("read cargo's messages")?;
        if message["reason"] == "compiler-artifact" && message["executable"].is_string() {
            found.push(serde_json::from_value(message)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_are_taken() {
        let messages = r#"{"reason":"compiler-artifact","executable":null,"manifest_path":"/a/Cargo.toml","target":{"name":"a"},"profile":{"test":false}}
{"reason":"compiler-artifact","executable":"/t/b","manifest_path":"/b/Cargo.toml","target":{"name":"b"},"profile":{"test":true}}
{"reason":"build-finished","success":true}"#;
        let found = executables(messages).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].profile.test);
        assert_eq!(found[0].executable.as_deref(), Some(std::path::Path::new("/t/b")));
    }
}
