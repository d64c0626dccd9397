//! Routes: adding one to a link, how a destination is reached, and which links carry a default route.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// A unicast route as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Where to.
    pub destination: IpPrefix,
    /// The routing table.
    pub table: u32,
    /// All of its next hops.
    pub hops: Vec<NextHop>,
}

impl Links {
    /// The next hops of all routes to exactly these prefixes, in whatever table, for each prefix. Host
    /// bits must be zero.
    pub fn next_hops(&mut self, destinations: &[IpPrefix]) -> Result<Vec<Vec<NextHop>>> {
        let mut listed = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            if destinations.iter().any(|destination| self::family(*destination) == family) {
                let wanted = |length| destinations.iter().any(|to| to.length() == length);
                listed.extend(self.routes(family, wanted)?);
            }
        }
        Ok(destinations.iter().map(|destination| hops_to(&listed, *destination)).collect())
    }

    /// The default routes of both families in every table.
    pub fn default_routes(&mut self) -> Result<Vec<DefaultRoute>> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            for Listed { table, hops, .. } in self.routes(family, |length| length == 0)? {
                routes.extend(hops.iter().map(|hop| DefaultRoute { index: hop.index, table }));
            }
        }
        Ok(routes)
    }

    fn routes(
        &mut self,
        family: AddressFamily,
        wanted: impl Fn(u8) -> bool,
    ) -> Result<Vec<Listed>> {
        let about = Subject { op: "list", object: "routes" };
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        let (kind, body) = request(RouteNetlinkMessage::GetRoute(message));
        let answer = self.socket.dump(about, kind, &body)?;
        let listed = answer.iter().map(|message| parse(&message.body, &wanted));
        listed.filter_map(Result::transpose).collect()
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

/// The next hops of the routes to a prefix.
pub(super) fn hops_to(listed: &[Listed], destination: IpPrefix) -> Vec<NextHop> {
    let is_one = |route: &&Listed| route.destination == destination;
    listed.iter().filter(is_one).flat_map(|route| route.hops.iter().copied()).collect()
}

/// A route from an answer's body; none for other kinds than unicast, for cache entries, and for
/// prefixes of a length that is not `wanted`.
pub(super) fn parse(body: &[u8], wanted: impl Fn(u8) -> bool) -> Result<Option<Listed>> {
    // By the second byte of `struct rtmsg`, the destination's prefix length, before anything else
    // is read: other routes may hold encapsulations that the crate cannot read.
    if body.get(1).is_some_and(|length| !wanted(*length)) {
        return Ok(None);
    }
    let bad = |found: &str| Error::parse("route message", found, "a route");
    let message = RouteMessage::parse(body).map_err(|error| bad(&error.to_string()))?;
    let header = &message.header;
    // IPv6 has a default route "unreachable" in every namespace.
    if header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Cloned) {
        return Ok(None);
    }
    let mut table = u32::from(header.table);
    let (mut to, mut hops, mut link, mut object) = (None, Vec::new(), None, false);
    for attribute in &message.attributes {
        match attribute {
            // A number that does not fit the header.
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Destination(address) => to = ip(address),
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::MultiPath(paths) => hops.extend(paths.iter().map(|path| NextHop {
                index: Some(path.interface_index),
                gateway: gateway(&path.attributes),
            })),
            RouteAttribute::NhId(_) => object = true,
            _ => {}
        }
    }
    if hops.is_empty() && (link.is_some() || object) {
        hops.push(NextHop { index: link, gateway: gateway(&message.attributes) });
    }
    // A default route says no destination.
    let unspecified = || match header.address_family {
        AddressFamily::Inet => Some(Ipv4Addr::UNSPECIFIED.into()),
        AddressFamily::Inet6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    };
    let destination = to
        .or_else(unspecified)
        .and_then(|address| IpPrefix::new(address, header.destination_prefix_length))
        .ok_or_else(|| bad("no destination"))?;
    Ok(Some(Listed { destination, table, hops }))
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        _ => None,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
