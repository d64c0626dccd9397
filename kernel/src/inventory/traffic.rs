//! Which links carry the node's own traffic, and why we think so.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Netdev, Netlink};
use crate::{ip::IpPrefix, link::Link};

/// One reason to leave a link alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Traffic {
    /// A default route goes by it.
    DefaultRoute {
        /// The routing table; 254 is the main one.
        table: u32,
    },
    /// A default route goes by a next hop object of which the kernel does not tell the link: each
    /// link that is up may be it.
    PossibleDefaultRoute {
        /// The routing table.
        table: u32,
    },
    /// It has an address that is good beyond its own link.
    Address(IpPrefix),
    /// It is a member of a bond, a bridge, a VRF or an Open vSwitch datapath.
    Member {
        /// What it is a member of.
        of: String,
        /// What kind of link that is.
        kind: String,
    },
    /// A link that stands on it (a VLAN, a macvlan) carries traffic.
    Below {
        /// The link that stands on it.
        upper: String,
        /// Why that one does.
        because: Box<Traffic>,
    },
    /// Netlink does not show the link that sysfs shows, so that its use is not known.
    NotSeen,
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefaultRoute { table: 254 } => f.write_str("carries the default route"),
            Self::DefaultRoute { table } => {
                write!(f, "carries the default route of table {table}")
            }
            Self::PossibleDefaultRoute { table } => {
                write!(f, "may carry the default route of table {table}, by a next hop object")
            }
            Self::Address(prefix) => write!(f, "has the address {prefix}"),
            Self::Member { of, kind } => write!(f, "is a member of {kind} {of}"),
            Self::Below { upper, because } => write!(f, "is below {upper}, which {because}"),
            Self::NotSeen => f.write_str("is not shown by netlink, so that its use is not known"),
        }
    }
}

/// How many links are followed up from a VLAN on a VLAN and so on.
const DEEPEST: usize = 8;

/// An interface that sysfs shows, with what netlink says about it.
pub(super) fn netdev(netlink: &Netlink, name: &str, index: Option<u32>) -> Netdev {
    let same = |link: &&Link| match index {
        // The name may have changed since sysfs was read, the number has not.
        Some(index) => link.index == index,
        None => link.name == name,
    };
    match netlink.links.iter().find(same) {
        Some(link) => Netdev {
            name: link.name.clone(),
            index: Some(link.index),
            altnames: link.altnames.clone(),
            mac: link.mac,
            permanent_mac: link.permanent_mac,
            mtu: link.mtu,
            up: link.up,
            carrier: link.carrier,
            traffic: traffic(netlink, link, DEEPEST),
        },
        None => Netdev {
            name: name.to_owned(),
            index,
            altnames: Vec::new(),
            mac: None,
            permanent_mac: None,
            mtu: 0,
            up: false,
            carrier: false,
            traffic: vec![Traffic::NotSeen],
        },
    }
}

fn traffic(netlink: &Netlink, link: &Link, depth: usize) -> Vec<Traffic> {
    let mut reasons = Vec::new();
    for route in &netlink.default_routes {
        let table = route.table;
        match route.index {
            Some(index) if index == link.index => reasons.push(Traffic::DefaultRoute { table }),
            None if link.up => reasons.push(Traffic::PossibleDefaultRoute { table }),
            _ => {}
        }
    }
    let own = netlink.addresses.iter().filter(|address| address.index == link.index);
    let beyond = own.map(|address| address.prefix).filter(|prefix| !prefix.is_link_local());
    reasons.extend(beyond.map(Traffic::Address));
    if let Some(controller) = link.controller {
        reasons.push(member(netlink, controller));
    }
    if depth > 0 {
        for upper in netlink.links.iter().filter(|upper| upper.lower == Some(link.index)) {
            let because = traffic(netlink, upper, depth - 1).into_iter();
            reasons.extend(because.map(|because| Traffic::Below {
                upper: upper.name.clone(),
                because: Box::new(because),
            }));
        }
    }
    reasons
}

fn member(netlink: &Netlink, controller: u32) -> Traffic {
    let link = netlink.links.iter().find(|link| link.index == controller);
    let of = link.map_or_else(|| format!("link {controller}"), |link| link.name.clone());
    let kind = link.and_then(|link| link.kind.clone()).unwrap_or_else(|| "controller".to_owned());
    Traffic::Member { of, kind }
}
