//! The network configuration on standard input: sriov-cni's fields, Multus's, the specification's,
//! and a few of our own.

use ringway_kernel::Mac;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    error::{Code, Error, Result},
    version::Version,
};

pub mod function;
mod keys;
pub mod vdpa;

/// The most that is read from standard input, in bytes.
pub const LONGEST: u64 = 1 << 20;

/// A network configuration. What it asks for is not yet allowed: see [`crate::grant`].
#[derive(Debug, Clone)]
pub struct NetConf {
    /// `cniVersion`.
    pub version: Version,
    /// `name`: the network's.
    pub name: String,
    /// `deviceID` as Multus or the runtime gives it; `pciBusID` means the same.
    pub device_id: Option<String>,
    /// `mac`, in the runtime's configuration before this one's.
    pub mac: Option<Mac>,
    /// Whether the runtime's configuration said `mac`: it then comes before `CNI_ARGS`.
    pub mac_by_runtime: bool,
    /// `mtu`, in bytes.
    pub mtu: Option<u32>,
    /// What the PF is to set for the function.
    pub function: function::Asked,
    /// What the network expects of a vDPA device.
    pub vdpa: vdpa::Expected,
    /// The type of `ipam`, a bare file name.
    pub ipam: Option<String>,
    /// `runtimeConfig.CNIDeviceInfoFile`.
    pub device_info_file: Option<String>,
    /// `logFile`.
    pub log_file: Option<String>,
    /// `logLevel`.
    pub log_level: Option<Level>,
    /// `cni.dev/valid-attachments`, which GC has.
    pub valid_attachments: Option<Vec<ValidAttachment>>,
    /// All of it, as it came.
    pub raw: Map<String, Value>,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What failed.
    #[serde(alias = "panic")]
    Error,
    /// And what looks wrong.
    Warning,
    /// And what was done.
    Info,
    /// And each step.
    Debug,
    /// And each netlink message.
    Trace,
}

/// An attachment that the runtime knows (section "GC").
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ValidAttachment {
    /// Of which container.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// Under which name.
    pub ifname: String,
}

#[derive(Default, Deserialize)]
struct RuntimeConfig {
    mac: Option<Mac>,
    #[serde(rename = "deviceID")]
    device_id: Option<String>,
    #[serde(rename = "CNIDeviceInfoFile")]
    device_info_file: Option<String>,
}

#[derive(Deserialize)]
struct Ipam {
    r#type: Option<String>,
}

impl NetConf {
    /// The meaning of a configuration.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let raw: Map<String, Value> = serde_json::from_slice(json)
            .map_err(Error::because(Code::Decode, "parse network configuration"))?;
        let version = field::<String>(&raw, "cniVersion")?.unwrap_or_default().parse()?;
        keys::check(&raw)?;
        let name: String = required(&raw, "name")?;
        if !is_network_name(&name) {
            return Err(bad(
                "name",
                &name,
                "must begin with a letter or digit, and go on with those and `_`, `.`, `-`, `/`",
            ));
        }
        let _: String = required(&raw, "type")?;
        let runtime: RuntimeConfig = field(&raw, "runtimeConfig")?.unwrap_or_default();
        let mac: Option<Mac> =
            runtime.mac.map_or_else(|| field(&raw, "mac"), |mac| Ok(Some(mac)))?;
        if let Some(mac) = mac.filter(|mac| !mac.is_unicast()) {
            return Err(bad("mac", &mac.to_string(), "must be unicast and not zero"));
        }
        Ok(Self {
            version,
            device_id: device_id(&raw, runtime.device_id)?,
            mac,
            mac_by_runtime: runtime.mac.is_some(),
            mtu: mtu(&raw)?,
            function: function::Asked::parse(&raw)?,
            vdpa: vdpa::Expected::parse(&raw)?,
            ipam: ipam(&raw)?,
            device_info_file: runtime.device_info_file.filter(|path| !path.is_empty()),
            log_file: field(&raw, "logFile")?,
            log_level: field(&raw, "logLevel")?,
            valid_attachments: field(&raw, "cni.dev/valid-attachments")?,
            name,
            raw,
        })
    }

    /// What DEL needs of a configuration that ADD may have refused, or that was changed since: whose it
    /// is, and who gives addresses. What is wrong with the rest is no reason to keep a device.
    pub fn for_del(json: &[u8]) -> Result<Self> {
        Self::parse(json).or_else(|wrong| {
            let known = ["cniVersion", "name", "type", "ipam"];
            let mut raw: Map<String, Value> = serde_json::from_slice(json).map_err(|_| wrong)?;
            raw.retain(|key, _| known.contains(&key.as_str()));
            let text = serde_json::to_vec(&raw);
            Self::parse(&text.map_err(Error::because(Code::Decode, "network configuration"))?)
        })
    }

    /// The address asked for: the runtime's, else that of `CNI_ARGS`, else the configuration's, as
    /// sriov-cni orders them.
    pub fn wanted_mac(&self, by_args: Option<Mac>) -> Option<Mac> {
        if self.mac_by_runtime { self.mac } else { by_args.or(self.mac) }
    }
}

/// Every place that may name the device must name the same one.
fn device_id(raw: &Map<String, Value>, by_runtime: Option<String>) -> Result<Option<String>> {
    let places = [
        ("deviceID", field(raw, "deviceID")?),
        ("runtimeConfig.deviceID", by_runtime),
        ("pciBusID", field(raw, "pciBusID")?),
    ];
    let mut named = places.into_iter().filter_map(|(place, id): (_, Option<String>)| {
        id.filter(|id| !id.is_empty()).map(|id| (place, id))
    });
    let Some((place, id)) = named.next() else { return Ok(None) };
    match named.find(|(_, other)| *other != id) {
        None => Ok(Some(id)),
        Some((other, other_id)) => {
            Err(bad(place, &id, &format!("but field {other} is {other_id:?}: they must agree")))
        }
    }
}

/// `ETH_MIN_MTU` (include/uapi/linux/if_ether.h), and what IP can use.
fn mtu(raw: &Map<String, Value>) -> Result<Option<u32>> {
    let mtu: Option<u32> = field(raw, "mtu")?;
    // sriov-network-operator and others render "not set" as 0.
    match mtu.filter(|mtu| *mtu != 0) {
        Some(mtu) if !(68..=65535).contains(&mtu) => {
            Err(bad("mtu", &mtu.to_string(), "must be 68 to 65535 bytes"))
        }
        mtu => Ok(mtu),
    }
}

/// An empty `ipam`, which operators render for "none", is none.
fn ipam(raw: &Map<String, Value>) -> Result<Option<String>> {
    let kind = match field::<Ipam>(raw, "ipam")? {
        Some(Ipam { r#type: Some(kind) }) if !kind.is_empty() => kind,
        _ => return Ok(None),
    };
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if kind.starts_with('.') || kind.len() > 255 || !kind.bytes().all(inside) {
        return Err(bad("ipam.type", &kind, "must be the bare file name of an IPAM plugin"));
    }
    Ok(Some(kind))
}

/// Section "Configuration format": and, because Multus gives names like `default/net`, a slash.
fn is_network_name(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte);
    name.len() <= 253
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(inside)
}

fn field<T: DeserializeOwned>(raw: &Map<String, Value>, name: &str) -> Result<Option<T>> {
    field_in("", raw, name)
}

/// One of an object within; `parent`, with its dot, goes before the name in errors.
fn field_in<T: DeserializeOwned>(
    parent: &str,
    raw: &Map<String, Value>,
    name: &str,
) -> Result<Option<T>> {
    match raw.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => T::deserialize(value).map(Some).map_err(Error::because(
            Code::Decode,
            format!("parse network configuration: field {parent}{name}"),
        )),
    }
}

fn required<T: DeserializeOwned>(raw: &Map<String, Value>, name: &str) -> Result<T> {
    field(raw, name)?.ok_or_else(|| {
        Error::new(Code::Config, format!("network configuration: field {name} is missing"))
    })
}

pub(crate) fn bad(name: &str, value: &str, rule: &str) -> Error {
    let value: String = value.chars().take(120).collect();
    Error::new(Code::Config, format!("network configuration: field {name} is {value:?}: {rule}"))
}

#[cfg(test)]
mod tests;
