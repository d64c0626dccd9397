//! `prevResult`: what the plugins before us answered (CNI specification, section 2 "Execution
//! Protocol"; section 5 "Result Types"), which goes through into our answer, ours behind it.
//!
//! Tenants can write it, too: it is read, printed and compared, and nothing is done by it.

use std::net::IpAddr;

use ringway_kernel::IpPrefix;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    error::{Code, Error, Result},
    netconf::{NetConf, bad},
    result::{self, Success},
    version::Version,
};

mod compare;
#[cfg(test)]
mod tests;

pub use compare::{Told, check};

/// The result of all plugins before us; in a CHECK, of the whole chain.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Previous {
    interfaces: Vec<Interface>,
    ips: Vec<Ip>,
    routes: Vec<Route>,
    dns: Dns,
}

/// Somebody's interface. Its address may be no Ethernet address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interface {
    name: String,
    #[serde(default, skip_serializing_if = "is_empty")]
    mac: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(default, skip_serializing_if = "is_empty")]
    sandbox: Option<String>,
    #[serde(default, skip_serializing_if = "is_empty")]
    socket_path: Option<String>,
    #[serde(default, rename = "pciID", skip_serializing_if = "is_empty")]
    pci_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Ip {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface: Option<usize>,
    address: IpPrefix,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Route {
    dst: IpPrefix,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gw: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    advmss: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Dns {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nameservers: Vec<String>,
    #[serde(skip_serializing_if = "is_empty")]
    domain: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    search: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<String>,
}

/// Other plugins write what is not there as empty, too.
fn is_empty(text: &Option<String>) -> bool {
    text.as_ref().is_none_or(String::is_empty)
}

impl Previous {
    /// That of a configuration, in the shape of its version; `None` without one.
    pub fn of(conf: &NetConf) -> Result<Option<Self>> {
        match conf.raw.get("prevResult") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(raw)) => Self::parse(raw, conf.version).map(Some),
            Some(other) => Err(wrong("prevResult", &other.to_string(), "must be an object")),
        }
    }

    fn parse(raw: &Map<String, Value>, version: Version) -> Result<Self> {
        if let Some(other) = raw.get("cniVersion").filter(|other| **other != version.as_str()) {
            let rule = format!("must be {version}, as the network configuration's");
            return Err(wrong("prevResult.cniVersion", &other.to_string(), &rule));
        }
        let mut interfaces: Vec<Interface> = items(raw, "interfaces")?;
        let mut ips: Vec<Ip> = items(raw, "ips")?;
        let mut routes: Vec<Route> = items(raw, "routes")?;
        let dns = raw.get("dns").filter(|dns| !dns.is_null());
        let dns = dns.map_or_else(|| Ok(Dns::default()), |dns| typed(dns, "prevResult.dns"))?;
        for (n, interface) in interfaces.iter_mut().enumerate() {
            if interface.name.is_empty() {
                return Err(bad(&format!("prevResult.interfaces[{n}].name"), "", "is required"));
            }
            if version < Version::V1_1_0 {
                (interface.mtu, interface.socket_path, interface.pci_id) = (None, None, None);
            }
        }
        for (n, ip) in ips.iter_mut().enumerate() {
            check_ip(ip, n, interfaces.len(), version)?;
            if version >= Version::V1_0_0 {
                ip.version = None;
            }
        }
        if version < Version::V1_1_0 {
            routes.iter_mut().for_each(|route| {
                *route = Route { dst: route.dst, gw: route.gw, ..Route::to(route.dst) };
            });
        }
        Ok(Self { interfaces, ips, routes, dns })
    }

    /// An error if the name that our interface is to have is another one's in the same sandbox.
    pub fn has_no(&self, ifname: &str, sandbox: &str) -> Result<()> {
        let Some(n) = self.position(ifname, sandbox) else { return Ok(()) };
        let rule = format!("a plugin before this one has made that interface in {sandbox}");
        Err(bad(&format!("prevResult.interfaces[{n}].name"), ifname, &rule))
    }

    /// The result object of a version: all of this, and our own behind it.
    pub fn followed_by(&self, own: &Success, version: Version) -> Value {
        let mut object = own.to_json(version, self.interfaces.len());
        prepend(&mut object, "interfaces", &self.interfaces);
        prepend(&mut object, "ips", &self.ips);
        prepend(&mut object, "routes", &self.routes);
        let dns = self.dns.followed_by(&own.addressing.dns);
        if !dns.is_empty() {
            object["dns"] = dns.into();
        }
        object
    }

    fn position(&self, name: &str, sandbox: &str) -> Option<usize> {
        let is_it = |other: &Interface| other.name == name && other.is_in(sandbox);
        self.interfaces.iter().position(is_it)
    }
}

impl Interface {
    /// `/var/run` is a link to `/run`, and plugins may name either.
    fn is_in(&self, sandbox: &str) -> bool {
        let plain = |path: &str| match path.strip_prefix("/var/run/") {
            Some(rest) => format!("/run/{rest}"),
            None => path.to_owned(),
        };
        plain(self.sandbox.as_deref().unwrap_or_default()) == plain(sandbox)
    }
}

impl Route {
    fn to(dst: IpPrefix) -> Self {
        Self { dst, gw: None, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }
}

impl Dns {
    /// Lists one behind the other, without what is said twice; the first domain.
    fn followed_by(&self, own: &Map<String, Value>) -> Map<String, Value> {
        let mut all = own.clone();
        if let Some(domain) = self.domain.as_ref().filter(|domain| !domain.is_empty()) {
            all.insert("domain".to_owned(), domain.as_str().into());
        }
        let lists = [
            ("nameservers", &self.nameservers),
            ("search", &self.search),
            ("options", &self.options),
        ];
        for (name, theirs) in lists.into_iter().filter(|(_, theirs)| !theirs.is_empty()) {
            let mut list: Vec<Value> = theirs.iter().map(|text| text.as_str().into()).collect();
            let ours = own.get(name).and_then(Value::as_array).into_iter().flatten();
            for text in ours {
                if !list.contains(text) {
                    list.push(text.clone());
                }
            }
            all.insert(name.to_owned(), list.into());
        }
        all
    }
}

fn check_ip(ip: &Ip, n: usize, interfaces: usize, version: Version) -> Result<()> {
    let name = |field: &str| format!("prevResult.ips[{n}].{field}");
    if let Some(index) = ip.interface.filter(|index| *index >= interfaces) {
        let rule = format!("must be the index of one of the {interfaces} in prevResult.interfaces");
        return Err(bad(&name("interface"), &index.to_string(), &rule));
    }
    let family = result::family(ip.address.address());
    if version < Version::V1_0_0 && ip.version.as_deref() != Some(family) {
        let rule = format!("must be {family:?}, as {} is", ip.address);
        return Err(bad(&name("version"), ip.version.as_deref().unwrap_or_default(), &rule));
    }
    Ok(())
}

fn items<T: DeserializeOwned>(raw: &Map<String, Value>, name: &str) -> Result<Vec<T>> {
    let list = match raw.get(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(other) => {
            return Err(wrong(&format!("prevResult.{name}"), &other.to_string(), "must be a list"));
        }
    };
    let typed = |(n, value)| typed(value, &format!("prevResult.{name}[{n}]"));
    list.iter().enumerate().map(typed).collect()
}

fn typed<T: DeserializeOwned>(value: &Value, name: &str) -> Result<T> {
    if !value.is_object() {
        return Err(wrong(name, &value.to_string(), "must be an object"));
    }
    T::deserialize(value)
        .map_err(Error::because(Code::Decode, format!("parse network configuration: field {name}")))
}

fn wrong(name: &str, value: &str, rule: &str) -> Error {
    bad(name, value.trim_matches('"'), rule)
}

fn prepend<T: Serialize>(object: &mut Value, name: &str, theirs: &[T]) {
    let ours = object[name].as_array().cloned().unwrap_or_default();
    let all: Vec<Value> = theirs.iter().map(|item| json!(item)).chain(ours).collect();
    if !all.is_empty() {
        object[name] = all.into();
    }
}
