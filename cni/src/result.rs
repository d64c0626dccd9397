//! What a successful ADD answers: exactly the fields that the asked version has.

use std::net::IpAddr;

use ringway_kernel::{IpPrefix, Mac, pci};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::version::Version;

/// A whole result; also what CHECK compares with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Success {
    /// The one interface of an attachment.
    pub interface: Interface,
    /// What the IPAM plugin gave.
    #[serde(default)]
    pub addressing: Addressing,
}

/// An interface in a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its address.
    pub mac: Option<Mac>,
    /// Its MTU, in bytes. Told from 1.1.0.
    pub mtu: Option<u32>,
    /// The path of the network namespace.
    pub sandbox: String,
    /// Where the container finds the character device. Told from 1.1.0.
    pub socket_path: Option<String>,
    /// The function. Told from 1.1.0.
    pub pci_id: Option<pci::Address>,
}

/// Addresses, routes and DNS.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Addressing {
    /// Addresses with their prefixes.
    pub ips: Vec<Ip>,
    /// Routes.
    pub routes: Vec<Route>,
    /// As the IPAM plugin wrote it; ours is not to act on it.
    #[serde(default)]
    pub dns: Map<String, Value>,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// With the length of its prefix.
    pub address: IpPrefix,
    /// The gateway of its network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub dst: IpPrefix,
    /// The next hop; without one, the gateway of the first address of its family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
}

impl Addressing {
    /// The next hop of a route; `None`: the destination is on the link.
    pub fn next_hop(&self, route: &Route) -> Option<IpAddr> {
        let family = route.dst.address().is_ipv4();
        let gateways = || self.ips.iter().filter_map(|ip| ip.gateway);
        route.gw.or_else(|| gateways().find(|gateway| gateway.is_ipv4() == family))
    }
}

impl Success {
    /// The result object of a version; `index` is that of our interface in the whole result.
    pub fn to_json(&self, version: Version, index: usize) -> Value {
        let mut object = json!({
            "cniVersion": version.as_str(),
            "interfaces": [self.interface.to_json(version)],
        });
        let Addressing { ips, routes, dns } = &self.addressing;
        if !ips.is_empty() {
            object["ips"] = ips.iter().map(|ip| ip.to_json(version, index)).collect();
        }
        if !routes.is_empty() {
            object["routes"] = json!(routes);
        }
        if !dns.is_empty() {
            object["dns"] = json!(dns);
        }
        object
    }
}

impl Interface {
    fn to_json(&self, version: Version) -> Value {
        let mut object = json!({"name": self.name, "sandbox": self.sandbox});
        if let Some(mac) = self.mac {
            object["mac"] = json!(mac);
        }
        if version >= Version::V1_1_0 {
            let more = [
                ("mtu", self.mtu.map(Value::from)),
                ("socketPath", self.socket_path.clone().map(Value::from)),
                ("pciID", self.pci_id.map(|address| address.to_string().into())),
            ];
            for (name, value) in more {
                if let Some(value) = value {
                    object[name] = value;
                }
            }
        }
        object
    }
}

impl Ip {
    fn to_json(&self, version: Version, index: usize) -> Value {
        let mut object = json!({"address": self.address, "interface": index});
        if let Some(gateway) = self.gateway {
            object["gateway"] = json!(gateway);
        }
        if version < Version::V1_0_0 {
            object["version"] = family(self.address.address()).into();
        }
        object
    }
}

/// What versions before 1.0.0 call an address's `version`.
pub(crate) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "4" } else { "6" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn success() -> Success {
        Success {
            interface: Interface {
                name: "net1".into(),
                mac: Some("52:54:00:00:00:01".parse().unwrap()),
                mtu: Some(1500),
                sandbox: "/run/netns/a".into(),
                socket_path: Some("/dev/ringway/0000:01:00.1".into()),
                pci_id: Some("0000:01:00.1".parse().unwrap()),
            },
            addressing: Addressing {
                ips: vec![Ip {
                    address: "10.0.0.2/24".parse().unwrap(),
                    gateway: Some("10.0.0.1".parse().unwrap()),
                }],
                routes: vec![Route { dst: "0.0.0.0/0".parse().unwrap(), gw: None }],
                dns: Map::new(),
            },
        }
    }

    #[test]
    fn each_version_has_its_fields() {
        let base = json!({"name": "net1", "sandbox": "/run/netns/a", "mac": "52:54:00:00:00:01"});
        let mut full = base.clone();
        full["mtu"] = 1500.into();
        full["socketPath"] = "/dev/ringway/0000:01:00.1".into();
        full["pciID"] = "0000:01:00.1".into();
        let ip = json!({"address": "10.0.0.2/24", "interface": 0, "gateway": "10.0.0.1"});
        let mut old_ip = ip.clone();
        old_ip["version"] = "4".into();
        for (version, interface, ip) in [
            (Version::V0_3_1, &base, &old_ip),
            (Version::V0_4_0, &base, &old_ip),
            (Version::V1_0_0, &base, &ip),
            (Version::V1_1_0, &full, &ip),
        ] {
            let expected = json!({"cniVersion": version.as_str(), "interfaces": [interface],
                                  "ips": [ip], "routes": [{"dst": "0.0.0.0/0"}]});
            assert_eq!(success().to_json(version, 0), expected);
        }
    }

    #[test]
    fn a_route_without_gateway_takes_its_familys() {
        let Success { addressing, .. } = success();
        let hop = |dst: &str, gw: Option<&str>| {
            let gw = gw.map(|gw| gw.parse().unwrap());
            addressing.next_hop(&Route { dst: dst.parse().unwrap(), gw }).map(|hop| hop.to_string())
        };
        assert_eq!(hop("0.0.0.0/0", None).as_deref(), Some("10.0.0.1"));
        assert_eq!(hop("0.0.0.0/0", Some("10.0.0.9")).as_deref(), Some("10.0.0.9"));
        assert_eq!(hop("::/0", None), None);
    }
}
