//! The IPAM plugin: the one process that we start (CNI specification, section 4 "Plugin
//! Delegation").
//!
//! It is called at version 1.0.0 at most, because many answer no later one, and we raise its
//! result to the version that was asked of us.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::{
    error::{Code, Error, Result},
    invocation::Target,
    result::{Addressing, Success},
    version::Version,
};

mod answer;
mod process;

pub use answer::parse;
pub use process::{DEADLINE, find};

/// An IPAM plugin with what it is to know.
#[derive(Debug, Clone)]
pub struct Ipam<'a> {
    /// Its bare file name.
    pub kind: &'a str,
    /// `CNI_PATH`.
    pub path: &'a [PathBuf],
    /// The network configuration.
    pub conf: &'a Map<String, Value>,
    /// `CNI_ARGS`.
    pub args: &'a str,
}

impl Ipam<'_> {
    /// Has addresses given out.
    pub fn add(&self, target: &Target) -> Result<Addressing> {
        let output = self.call("ADD", Some(target), &self.conf_at_most(Version::V1_0_0))?;
        answer::parse(&output, self.kind)
    }

    /// Gives them back.
    pub fn del(&self, target: &Target) -> Result<()> {
        self.call("DEL", Some(target), &self.conf_at_most(Version::V1_0_0)).map(drop)
    }

    /// Has them looked at; `result` is what ADD answered.
    pub fn check(&self, target: &Target, result: &Success) -> Result<()> {
        let mut conf = self.conf_at_most(Version::V1_0_0);
        let version = conf["cniVersion"].as_str().and_then(|text| text.parse().ok());
        conf["prevResult"] = result.to_json(version.unwrap_or(Version::V1_0_0), 0);
        self.call("CHECK", Some(target), &conf).map(drop)
    }

    /// Passes GC on, where the plugin knows it; `false` if it does not.
    pub fn gc(&self) -> Result<bool> {
        if !self.speaks(Version::V1_1_0)? {
            return Ok(false);
        }
        self.call("GC", None, &self.conf_at_most(Version::V1_1_0)).map(|_| true)
    }

    /// Asks whether an ADD could be served now, where the plugin knows that question.
    pub fn status(&self) -> Result<()> {
        match self.speaks(Version::V1_1_0)? {
            true => self.call("STATUS", None, &self.conf_at_most(Version::V1_1_0)).map(drop),
            false => Ok(()),
        }
    }

    fn speaks(&self, version: Version) -> Result<bool> {
        let conf = json!({"cniVersion": Version::V1_0_0.as_str()});
        let output = self.call("VERSION", None, &conf)?;
        let answer: Value = serde_json::from_slice(&output).map_err(Error::because(
            Code::Ipam,
            format!("ask IPAM plugin {} for its versions", self.kind),
        ))?;
        let versions = answer["supportedVersions"].as_array();
        Ok(versions.is_some_and(|versions| versions.iter().any(|v| v == version.as_str())))
    }

    fn conf_at_most(&self, most: Version) -> Value {
        let mut conf = self.conf.clone();
        let ours =
            conf.get("cniVersion").and_then(Value::as_str).and_then(|text| text.parse().ok());
        let version = ours.unwrap_or(most).min(most);
        conf.insert("cniVersion".to_owned(), version.as_str().into());
        // It is of the version that was asked of us.
        conf.remove("prevResult");
        Value::Object(conf)
    }

    fn call(&self, verb: &str, target: Option<&Target>, conf: &Value) -> Result<Vec<u8>> {
        let program = find(self.path, self.kind)?;
        let mut environment = vec![
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_ARGS", self.args.to_owned()),
            ("CNI_CONTAINERID", String::new()),
            ("CNI_IFNAME", String::new()),
            ("CNI_NETNS", String::new()),
        ];
        if let Some(target) = target {
            environment[2].1.clone_from(&target.container_id);
            environment[3].1.clone_from(&target.ifname);
            environment[4].1 = target.sandbox();
        }
        let path = std::env::join_paths(self.path).unwrap_or_default();
        environment.push(("CNI_PATH", path.to_string_lossy().into_owned()));
        let output = process::run(&program, &environment, conf.to_string().into_bytes())?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(answer::failure(&output.stdout, output.status, self.kind, verb)),
        }
    }
}

#[cfg(test)]
mod tests;
