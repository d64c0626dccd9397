//! Routes: adding one to a link, how a destination is reached, and which links carry a default route.

use std::net::IpAddr;

use netlink_packet_core::Parseable;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol,
        RouteScope, RouteType,
    },
};
use serde::{Deserialize, Serialize};

use super::{
    Links,
    wire::{Request, request},
};
use crate::{
    error::{Error, Result},
    ip::IpPrefix,
    netlink::{Subject, wire::Flags},
};

/// A route to be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The link.
    pub index: u32,
    /// Where to; a prefix of length 0 is the default route. Host bits must be zero.
    pub destination: IpPrefix,
    /// The next hop; without one the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The metric: of two routes to one destination the smaller wins.
    pub metric: Option<u32>,
    /// The MTU in bytes for this route.
    pub mtu: Option<u32>,
    /// The address to send from.
    pub source: Option<IpAddr>,
}

/// A link that carries a default route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRoute {
    /// The link; `None` for a next hop object that does not say (`net.ipv4.nexthop_compat_mode=0`).
    pub index: Option<u32>,
    /// The routing table: 254 is the main one.
    pub table: u32,
}

/// How a destination is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    /// The link; `None` for a next hop object that does not say.
    pub index: Option<u32>,
    /// The next hop; `None`: the destination is on the link, or the next hop is of another family.
    pub gateway: Option<IpAddr>,
}

impl Links {
    /// The next hops of all routes to exactly this prefix in the main table. Host bits must be zero.
    pub fn next_hops(&mut self, destination: IpPrefix) -> Result<Vec<NextHop>> {
        let object = format!("to {destination}");
        let about = Subject { op: "list routes", object: &object };
        let mut message = RouteMessage::default();
        message.header.address_family = family(destination);
        let (kind, body) = request(RouteNetlinkMessage::GetRoute(message));
        let answer = self.socket.dump(about, kind, &body)?;
        let hops = answer.iter().map(|message| parse_next_hops(&message.body, destination));
        Ok(hops.collect::<Result<Vec<_>>>()?.concat())
    }

    /// The default routes of both families in every table.
    pub fn default_routes(&mut self) -> Result<Vec<DefaultRoute>> {
        let about = Subject { op: "list", object: "routes" };
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let (kind, body) = request(RouteNetlinkMessage::GetRoute(message));
            for message in self.socket.dump(about, kind, &body)? {
                routes.extend(parse_default(&message.body)?);
            }
        }
        Ok(routes)
    }

    /// Adds a route to the main table; `EEXIST` if it is there.
    pub fn add_route(&mut self, route: &Route) -> Result<()> {
        let object = format!("{} by link {}", route.destination, route.index);
        let about = Subject { op: "add route to", object: &object };
        let (kind, body) = add(route);
        let flags = Flags::CREATE | Flags::EXCLUSIVE;
        self.socket.request_with(about, kind, flags, &body).map(drop)
    }
}

pub(super) fn add(route: &Route) -> Request {
    let destination = route.destination;
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(destination);
    header.destination_prefix_length = destination.length();
    header.table = RouteHeader::RT_TABLE_MAIN;
    header.protocol = RouteProtocol::Boot;
    // IPv4 demands that a route without a gateway is one of the link (fib_create_info,
    // net/ipv4/fib_semantics.c); IPv6 ignores the scope.
    header.scope = if route.gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
    header.kind = RouteType::Unicast;
    let attributes = &mut message.attributes;
    if destination.length() > 0 {
        attributes.push(RouteAttribute::Destination(destination.address().into()));
    }
    attributes.push(RouteAttribute::Oif(route.index));
    attributes.extend(route.gateway.map(|gateway| RouteAttribute::Gateway(gateway.into())));
    attributes.extend(route.metric.map(RouteAttribute::Priority));
    attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(source.into())));
    attributes.extend(route.mtu.map(|mtu| {
        RouteAttribute::Metrics(vec![netlink_packet_route::route::RouteMetric::Mtu(mtu)])
    }));
    request(RouteNetlinkMessage::NewRoute(message))
}

fn family(destination: IpPrefix) -> AddressFamily {
    match destination.address() {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// The next hops from an answer's body; none for routes to elsewhere, of other tables and kinds.
pub(super) fn parse_next_hops(body: &[u8], destination: IpPrefix) -> Result<Vec<NextHop>> {
    // As in parse_default: other routes may hold what the crate cannot read.
    if body.get(1).is_some_and(|length| *length != destination.length()) {
        return Ok(Vec::new());
    }
    let message = RouteMessage::parse(body)
        .map_err(|error| Error::parse("route message", &error.to_string(), "a route"))?;
    let header = &message.header;
    let ours = header.table == RouteHeader::RT_TABLE_MAIN
        && header.kind == RouteType::Unicast
        && !header.flags.contains(RouteFlags::Cloned);
    let to = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => ip(address),
        _ => None,
    });
    // A default route says no destination.
    if !ours || (destination.length() > 0 && to != Some(destination.address())) {
        return Ok(Vec::new());
    }
    let gateway = |attributes: &[RouteAttribute]| {
        attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(address) => ip(address),
            _ => None,
        })
    };
    let (mut hops, mut index) = (Vec::new(), None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(link) => index = Some(*link),
            RouteAttribute::MultiPath(paths) => hops.extend(paths.iter().map(|path| NextHop {
                index: Some(path.interface_index),
                gateway: gateway(&path.attributes),
            })),
            _ => {}
        }
    }
    if hops.is_empty() {
        hops.push(NextHop { index, gateway: gateway(&message.attributes) });
    }
    Ok(hops)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

/// The links of a default route from an answer's body; none for other routes.
pub(super) fn parse_default(body: &[u8]) -> Result<Vec<DefaultRoute>> {
    // By the second byte of `struct rtmsg`, the destination's prefix length, before anything else
    // is read: other routes may hold encapsulations that the crate cannot read.
    if body.get(1).is_some_and(|length| *length != 0) {
        return Ok(Vec::new());
    }
    let message = RouteMessage::parse(body)
        .map_err(|error| Error::parse("route message", &error.to_string(), "a route"))?;
    let cached = message.header.flags.contains(RouteFlags::Cloned);
    // IPv6 has a default route "unreachable" in every namespace.
    if message.header.kind != RouteType::Unicast || cached {
        return Ok(Vec::new());
    }
    let mut table = u32::from(message.header.table);
    let (mut indexes, mut objects) = (Vec::new(), false);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Oif(index) => indexes.push(*index),
            RouteAttribute::MultiPath(hops) => {
                indexes.extend(hops.iter().map(|hop| hop.interface_index));
            }
            RouteAttribute::NhId(_) => objects = true,
            _ => {}
        }
    }
    if indexes.is_empty() && objects {
        return Ok(vec![DefaultRoute { index: None, table }]);
    }
    Ok(indexes.into_iter().map(|index| DefaultRoute { index: Some(index), table }).collect())
}
