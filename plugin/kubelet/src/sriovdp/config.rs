//! What a configuration file says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ringway_node::{Resource, atomic, place, resource};
use serde_json::Value;

use super::asks::Asks;
use super::fields::{Fields, Wrong};
use super::indices::OfParent;
use super::selector::{Selector, VdpaType};

/// The largest configuration that is read, in bytes: what fits into a ConfigMap.
const MAX_SIZE: u64 = 1024 * 1024;

/// A configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Its resources, in order: a function goes to the first that wants it.
    pub resources: Vec<ResourceConfig>,
    /// What is ignored, and which resources are left out, in words.
    pub warnings: Vec<String>,
}

/// Texts by name, by PCI address or `*` for all.
pub type AdditionalInfo = BTreeMap<String, BTreeMap<String, String>>;

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceConfig {
    /// Its whole name.
    pub resource: Resource,
    /// What kind of functions it has.
    pub device_type: DeviceType,
    /// Whether kubelet is not told of NUMA nodes.
    pub exclude_topology: bool,
    /// Which functions it wants: those of the first selector, then those of the second and so on.
    pub selectors: Vec<Selector>,
    /// Texts for the environment.
    pub additional_info: Option<AdditionalInfo>,
}

/// A kind of functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceType {
    /// Network controllers.
    NetDevice,
    /// Processing accelerators.
    Accelerator,
    /// Subfunctions of network controllers.
    AuxNetDevice,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path leads to no file.
    #[error("find {}", path.display())]
    Find {
        /// The path.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The file cannot be read.
    #[error("read the configuration")]
    Read(#[from] atomic::Error),
    /// It is not JSON; the source tells line and column.
    #[error("parse the configuration as JSON")]
    Json(#[from] serde_json::Error),
    /// A value that cannot be.
    #[error("configuration: {field} is {value}: must be {rule}{}", on_line(*line))]
    Field {
        /// Path of the field, such as `resourceList[2].deviceType`.
        field: String,
        /// Its value.
        value: String,
        /// What it must be.
        rule: &'static str,
        /// The line of the file; `None` in a warning.
        line: Option<usize>,
    },
    /// A resource that kubelet would not take.
    #[error("configuration: {field}{}", on_line(*line))]
    Resource {
        /// Path of the field.
        field: String,
        /// The line of the file; `None` in a warning.
        line: Option<usize>,
        /// What is wrong with it.
        source: resource::InvalidParts,
    },
}

fn on_line(line: Option<usize>) -> String {
    line.map(|line| format!(" (line {line})")).unwrap_or_default()
}

impl Error {
    /// The same with the line of the field in the file.
    fn placed(mut self, json: &[u8]) -> Self {
        if let Self::Field { field, line, .. } | Self::Resource { field, line, .. } = &mut self {
            *line = Some(place::line(json, field));
        }
        self
    }

    /// Whether there is no file.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Find { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            Self::Read(error) => error.is_not_found(),
            Self::Json(_) | Self::Field { .. } | Self::Resource { .. } => false,
        }
    }
}

impl Config {
    /// The configuration in `path`, which may be a symbolic link, as in a mounted ConfigMap. `prefix` is
    /// that of resources without one of their own.
    ///
    /// # Errors
    /// It cannot be read, or those of [`Config::parse`].
    pub fn read(path: &Path, prefix: &str) -> Result<Self, Error> {
        let real = std::fs::canonicalize(path)
            .map_err(|source| Error::Find { path: path.to_owned(), source })?;
        Self::parse(&atomic::read(&real, MAX_SIZE)?, prefix)
    }

    /// The meaning of a file's content.
    ///
    /// # Errors
    /// It is not JSON, or a resource cannot be: then none is offered, as by that plugin, which ends. A
    /// resource whose selectors cannot be read is left out with a warning, also as by that plugin.
    pub fn parse(json: &[u8], prefix: &str) -> Result<Self, Error> {
        Self::parse_fields(json, prefix).map_err(|error| error.placed(json))
    }

    fn parse_fields(json: &[u8], prefix: &str) -> Result<Self, Error> {
        let at_top = |wrong: Wrong| field("", wrong);
        let mut top = Fields::of("it", serde_json::from_slice(json)?).map_err(at_top)?;
        let list = match top.take("resourceList") {
            None => Vec::new(),
            Some(Value::Array(list)) => list,
            Some(other) => return Err(at_top(Wrong::new("resourceList", &other, "an array"))),
        };
        let mut config = Self::default();
        config.ignored("", &top);
        let mut names = BTreeSet::new();
        for (at, value) in list.into_iter().enumerate() {
            let path = format!("resourceList[{at}]");
            let Some(resource) = config.resource(&path, value, prefix)? else { continue };
            if !names.insert(resource.resource.clone()) {
                let name = Value::from(resource.resource.as_str());
                let rule = "a name that no resource before it has";
                return Err(field(&path, Wrong::new("resourceName", &name, rule)));
            }
            config.resources.push(resource);
        }
        Ok(config)
    }

    /// What of a function decides on its resource.
    pub fn asks(&self) -> Asks {
        let mut asks = Asks::default();
        for selector in self.resources.iter().flat_map(|resource| &resource.selectors) {
            asks.add(selector);
        }
        asks
    }

    fn ignored(&mut self, path: &str, fields: &Fields) {
        let names: Vec<&str> = fields.unknown().collect();
        if !names.is_empty() {
            let place = if path.is_empty() { "the top" } else { path };
            let warning = format!("{place}: not known, ignored: {}", names.join(", "));
            self.warnings.push(warning);
        }
    }

    /// `None` for a resource that is left out with a warning.
    fn resource(
        &mut self,
        path: &str,
        value: Value,
        prefix: &str,
    ) -> Result<Option<ResourceConfig>, Error> {
        let wrong = |wrong: Wrong| field(path, wrong);
        let mut fields = Fields::of("it", value).map_err(wrong)?;
        let name = fields.text("resourceName").map_err(wrong)?;
        let own_prefix = fields.text("resourcePrefix").map_err(wrong)?;
        let prefix = if own_prefix.is_empty() { prefix } else { &own_prefix };
        let exclude_topology = fields.flag("excludeTopology").map_err(wrong)?;
        let additional_info = additional_info(&mut fields).map_err(wrong)?;
        let selectors = fields.take("selectors");
        let device_type = match fields.text("deviceType").map_err(wrong)?.as_str() {
            "" | "netDevice" => DeviceType::NetDevice,
            "accelerator" => DeviceType::Accelerator,
            "auxNetDevice" => DeviceType::AuxNetDevice,
            other => {
                let rule = "netDevice, accelerator or auxNetDevice";
                return Err(wrong(Wrong::new("deviceType", &other.into(), rule)));
            }
        };
        let resource = Resource::of(prefix, &name).map_err(|source| {
            let field = format!("{path}.resourceName");
            Error::Resource { field, line: None, source }
        })?;
        self.ignored(path, &fields);
        let selectors = match self.selectors(&format!("{path}.selectors"), device_type, selectors) {
            Ok(selectors) => selectors,
            Err(Refused::Resource(wrong)) => {
                let error = field(path, wrong);
                self.warnings.push(format!("{path}: {resource} is left out: {error}"));
                return Ok(None);
            }
            Err(Refused::All(wrong)) => return Err(field(path, wrong)),
        };
        Ok(Some(ResourceConfig {
            resource,
            device_type,
            exclude_topology,
            selectors,
            additional_info,
        }))
    }

    /// An object, or an array of them. Without any, all functions of the kind are wanted.
    fn selectors(
        &mut self,
        path: &str,
        kind: DeviceType,
        value: Option<Value>,
    ) -> Result<Vec<Selector>, Refused> {
        let list = match value {
            None => return Ok(vec![Selector::default()]),
            Some(Value::Array(list)) if list.is_empty() => {
                return Err(Refused::Resource(Wrong::new(
                    "selectors",
                    &list.into(),
                    "at least one",
                )));
            }
            Some(Value::Array(list)) => list,
            Some(one) => vec![one],
        };
        let mut selectors = Vec::new();
        for (at, value) in list.into_iter().enumerate() {
            let path = format!("{path}[{at}]");
            let mut fields = Fields::of("selectors", value).map_err(Refused::Resource)?;
            let selector = selector(&mut fields, kind)?;
            self.ignored(&path, &fields);
            self.doubts(&path, &selector);
            selectors.push(selector);
        }
        Ok(selectors)
    }

    /// What is read, and does not do what its author may think.
    fn doubts(&mut self, path: &str, selector: &Selector) {
        let Selector { pf_names, root_devices, link_types, .. } = selector;
        for of in pf_names.iter().chain(root_devices).filter(|of| of.nonsense()) {
            self.warnings.push(format!(
                "{path}: {:?}: must be a parent, or a parent, # and indices such as 0-3,5",
                of.as_str()
            ));
        }
        if link_types.len() > 1 {
            self.warnings.push(format!("{path}.linkTypes: one value is expected"));
        }
    }
}

/// What a wrong selector ends.
enum Refused {
    /// Its resource is left out.
    Resource(Wrong),
    /// The whole configuration cannot be.
    All(Wrong),
}

impl From<Wrong> for Refused {
    fn from(wrong: Wrong) -> Self {
        Self::Resource(Wrong { field: format!("selectors.{}", wrong.field), ..wrong })
    }
}

fn selector(fields: &mut Fields, kind: DeviceType) -> Result<Selector, Refused> {
    let mut selector = Selector {
        vendors: fields.texts("vendors")?,
        devices: fields.texts("devices")?,
        drivers: fields.texts("drivers")?,
        ..Selector::default()
    };
    // Of what is left each kind knows some, and ignores the rest.
    match kind {
        DeviceType::NetDevice => {
            selector.acpi_indexes = fields.texts("acpiIndexes")?;
            selector.ddp_profiles = fields.texts("ddpProfiles")?;
            selector.p_keys = fields.texts("pKeys")?;
        }
        DeviceType::AuxNetDevice => aux_types(fields)?,
        DeviceType::Accelerator => {}
    }
    if kind != DeviceType::AuxNetDevice {
        selector.pci_addresses = fields.texts("pciAddresses")?;
    }
    if kind != DeviceType::Accelerator {
        let mut of_parents = |name| -> Result<Vec<OfParent>, Wrong> {
            Ok(fields.texts(name)?.into_iter().map(OfParent::new).collect())
        };
        selector.pf_names = of_parents("pfNames")?;
        selector.root_devices = of_parents("rootDevices")?;
        selector.link_types = fields.texts("linkTypes")?;
        selector.is_rdma = fields.flag("isRdma")?;
        selector.need_vhost_net = fields.flag("needVhostNet")?;
        selector.vdpa_type = match fields.text("vdpaType")?.as_str() {
            "" => None,
            "vhost" => Some(VdpaType::Vhost),
            "virtio" => Some(VdpaType::Virtio),
            other => return Err(Wrong::new("vdpaType", &other.into(), "vhost or virtio").into()),
        };
        if selector.is_rdma && selector.vdpa_type.is_some() {
            let rule = "false where there is a vdpaType";
            return Err(Refused::All(Wrong::new("selectors.isRdma", &true.into(), rule)));
        }
    }
    Ok(selector)
}

/// Only subfunctions are auxiliary devices that are networks: that they are meant must be said.
fn aux_types(fields: &mut Fields) -> Result<(), Refused> {
    let types = fields.texts("auxTypes")?;
    if !types.is_empty() && types.iter().all(|kind| kind == "sf") {
        return Ok(());
    }
    let wrong = Wrong::new("selectors.auxTypes", &types.into(), r#"["sf"]"#);
    Err(Refused::All(wrong))
}

fn additional_info(fields: &mut Fields) -> Result<Option<AdditionalInfo>, Wrong> {
    let Some(value) = fields.take("additionalInfo") else { return Ok(None) };
    let wrong = Wrong::new("additionalInfo", &value, "an object of objects of strings");
    serde_json::from_value(value).map(Some).map_err(|_| wrong)
}

fn field(path: &str, wrong: Wrong) -> Error {
    let Wrong { field, value, rule } = wrong;
    let field = if path.is_empty() { field } else { format!("{path}.{field}") };
    Error::Field { field, value, rule, line: None }
}

#[cfg(test)]
mod tests;
