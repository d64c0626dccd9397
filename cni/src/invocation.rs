//! What the runtime says by the environment (CNI specification, section 2 "Parameters").

use std::{env, ffi::OsString, path::PathBuf};

use crate::error::{Code, Error, Result};

mod args;

pub use args::{Args, Pod};

/// A verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Attach.
    Add,
    /// Detach.
    Del,
    /// Compare with what ADD made.
    Check,
    /// Detach what the runtime does not know.
    Gc,
    /// Tell whether ADD could be served.
    Status,
    /// Tell the versions.
    Version,
}

/// One attachment as the runtime names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `CNI_CONTAINERID`: a file name can hold it.
    pub container_id: String,
    /// `CNI_IFNAME`: a name that the kernel takes.
    pub ifname: String,
    /// `CNI_NETNS`, absolute; DEL may come without.
    pub netns: Option<PathBuf>,
}

impl Target {
    /// The namespace's path as text, empty without one: what results call an interface's `sandbox`.
    pub fn sandbox(&self) -> String {
        self.netns.as_deref().map(|path| path.display().to_string()).unwrap_or_default()
    }
}

/// The environment of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// `CNI_COMMAND`.
    pub verb: Verb,
    /// Present for ADD, DEL and CHECK.
    pub target: Option<Target>,
    /// `CNI_ARGS`.
    pub args: Args,
    /// `CNI_PATH`: where IPAM plugins are.
    pub path: Vec<PathBuf>,
}

/// A container id may be no longer than this: with the interface's name it becomes a file's name,
/// which may have 255 bytes, and a temporary one beside it.
const LONGEST_CONTAINER_ID: usize = 190;

impl Verb {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "GC" => Self::Gc,
            "STATUS" => Self::Status,
            "VERSION" => Self::Version,
            _ => return None,
        })
    }
}

impl Invocation {
    /// The environment of this process.
    pub fn from_env() -> Result<Self> {
        Self::parse(|name| env::var_os(name))
    }

    /// An environment, given as the value of each name. An empty value is an absent one.
    pub fn parse(get: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let get = |name: &str| -> Result<Option<String>> {
            let value = get(name).filter(|value| !value.is_empty());
            value
                .map(|value| value.into_string())
                .transpose()
                .map_err(|value| environment(name, &value.to_string_lossy(), "must be UTF-8"))
        };
        let verb = get("CNI_COMMAND")?.unwrap_or_default();
        let Some(verb) = Verb::parse(&verb) else {
            let allowed = "must be one of ADD, DEL, CHECK, GC, STATUS, VERSION";
            return Err(environment("CNI_COMMAND", &verb, allowed));
        };
        let target = match verb {
            Verb::Add | Verb::Del | Verb::Check => Some(target(verb, &get)?),
            Verb::Gc | Verb::Status | Verb::Version => None,
        };
        let args = match verb {
            Verb::Version => Args::default(),
            _ => Args::parse(&get("CNI_ARGS")?.unwrap_or_default())?,
        };
        let path = get("CNI_PATH")?.map(|path| env::split_paths(&path).collect());
        Ok(Self { verb, target, args, path: path.unwrap_or_default() })
    }
}

fn target(verb: Verb, get: &impl Fn(&str) -> Result<Option<String>>) -> Result<Target> {
    let required = |name: &str| {
        get(name)?.ok_or_else(|| environment(name, "", "is required for ADD, DEL and CHECK"))
    };
    let container_id = required("CNI_CONTAINERID")?;
    if !is_container_id(&container_id) {
        let allowed = "must begin with a letter or digit, and go on with those and `_`, `.`, `-`, \
                       190 in all at most";
        return Err(environment("CNI_CONTAINERID", &container_id, allowed));
    }
    let ifname = required("CNI_IFNAME")?;
    if !is_ifname(&ifname) {
        let allowed = "must be 1 to 15 visible ASCII characters without `/`, `:` and `%`";
        return Err(environment("CNI_IFNAME", &ifname, allowed));
    }
    let netns = get("CNI_NETNS")?.map(PathBuf::from);
    match &netns {
        None if verb != Verb::Del => {
            return Err(environment("CNI_NETNS", "", "is required for ADD and CHECK"));
        }
        Some(path) if !path.is_absolute() => {
            let found = path.to_string_lossy();
            return Err(environment("CNI_NETNS", &found, "must be an absolute path"));
        }
        _ => {}
    }
    Ok(Target { container_id, ifname, netns })
}

fn is_container_id(id: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    id.len() <= LONGEST_CONTAINER_ID
        && id.starts_with(|first: char| first.is_ascii_alphanumeric())
        && id.bytes().all(inside)
}

/// The kernel takes more (`dev_valid_name`, net/core/dev.c); what is printed to logs, and becomes
/// part of a file's name, need not.
fn is_ifname(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_graphic() && !b"/:%".contains(&byte);
    (1..=15).contains(&name.len()) && !matches!(name, "." | "..") && name.bytes().all(inside)
}

fn environment(name: &str, found: &str, allowed: &str) -> Error {
    let found: String = found.chars().take(80).collect();
    Error::new(Code::Environment, format!("environment variable {name}={found:?} {allowed}"))
}

#[cfg(test)]
mod tests;
