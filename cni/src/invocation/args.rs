//! `CNI_ARGS`: `KEY=VALUE;KEY=VALUE` (CNI conventions, section "Dynamic plugin specific fields").

use std::collections::BTreeMap;

use ringway_kernel::Mac;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};

/// What we read of `CNI_ARGS`. Other keys are for other plugins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Args {
    /// The pod, as kubelet and the runtime tell.
    pub pod: Pod,
    /// `MAC`: an address asked for.
    pub mac: Option<Mac>,
    /// All of it, as it came, for the IPAM plugin.
    pub text: String,
}

/// A pod, for finding what it holds and for telling people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pod {
    /// `K8S_POD_NAMESPACE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `K8S_POD_NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `K8S_POD_UID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// The keys that are read.
const OURS: [&str; 4] = ["K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID", "MAC"];

impl Args {
    /// The meaning of a value of `CNI_ARGS`.
    ///
    /// A key that we do not know is no error, whatever `IgnoreUnknown` says: the same text goes to
    /// every plugin of a network.
    pub fn parse(text: &str) -> Result<Self> {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        let mut args = Self { text: text.to_owned(), ..Self::default() };
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                let pair: String = pair.chars().take(80).collect();
                let text = format!("environment variable CNI_ARGS: {pair:?} is not KEY=VALUE");
                return Err(Error::new(Code::Environment, text));
            };
            // What the runtime said of the pod is not to be said anew by what comes after it. Keys
            // that we do not read may be: Multus puts `IgnoreUnknown=true` behind the runtime's
            // `IgnoreUnknown=1`.
            let before = seen.insert(key, value);
            if OURS.contains(&key) && before.is_some_and(|before| before != value) {
                let key: String = key.chars().take(80).collect();
                let text = format!("environment variable CNI_ARGS: {key:?} has two values");
                return Err(Error::new(Code::Environment, text));
            }
            let value = || Some(value.to_owned()).filter(|value| !value.is_empty());
            match key {
                "K8S_POD_NAMESPACE" => args.pod.namespace = value(),
                "K8S_POD_NAME" => args.pod.name = value(),
                "K8S_POD_UID" => args.pod.uid = value(),
                "MAC" => {
                    let because =
                        Error::because(Code::Environment, "environment variable CNI_ARGS: MAC");
                    args.mac = value().map(|mac| mac.parse()).transpose().map_err(because)?;
                }
                _ => {}
            }
        }
        Ok(args)
    }
}

impl std::fmt::Display for Pod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".to_owned());
        let text = format!("{}/{}", part(&self.namespace), part(&self.name));
        // Quoted: the runtime passes it on, and nobody here has checked it.
        write!(f, "{text:?}")
    }
}
