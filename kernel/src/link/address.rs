//! Addresses of links.

use std::net::IpAddr;

use netlink_packet_core::Parseable;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage},
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

/// One address of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The link.
    pub index: u32,
    /// The address in its network.
    pub prefix: IpPrefix,
    /// Whether duplicate address detection still runs, so that it cannot be used yet (IPv6).
    pub tentative: bool,
    /// Whether another host has the address (IPv6).
    pub duplicate: bool,
}

impl Links {
    /// The addresses of all links, both families.
    pub fn addresses(&mut self) -> Result<Vec<Address>> {
        let about = Subject { op: "list", object: "addresses" };
        let (kind, body) = request(RouteNetlinkMessage::GetAddress(AddressMessage::default()));
        let answer = self.socket.dump(about, kind, &body)?;
        let parsed = answer.iter().map(|message| parse(&message.body));
        parsed.filter_map(Result::transpose).collect()
    }

    /// Gives a link an address; `EEXIST` if it has it.
    pub fn add_address(&mut self, index: u32, prefix: IpPrefix) -> Result<()> {
        let object = format!("{prefix} to link {index}");
        let about = Subject { op: "add address", object: &object };
        let (kind, body) = add(index, prefix);
        let flags = Flags::CREATE | Flags::EXCLUSIVE;
        self.socket.request_with(about, kind, flags, &body).map(drop)
    }

    /// Takes an address from a link; `EADDRNOTAVAIL` if it does not have it.
    pub fn delete_address(&mut self, index: u32, prefix: IpPrefix) -> Result<()> {
        let object = format!("{prefix} from link {index}");
        let about = Subject { op: "delete address", object: &object };
        let (kind, body) = delete(index, prefix);
        self.socket.request(about, kind, &body).map(drop)
    }
}

pub(super) fn add(index: u32, prefix: IpPrefix) -> Request {
    let mut message = message(index, prefix);
    if let (IpAddr::V4(address), 0..31) = (prefix.address(), prefix.length()) {
        let host_bits = u32::MAX >> prefix.length();
        let broadcast = (address.to_bits() | host_bits).into();
        message.attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    request(RouteNetlinkMessage::NewAddress(message))
}

pub(super) fn delete(index: u32, prefix: IpPrefix) -> Request {
    request(RouteNetlinkMessage::DelAddress(message(index, prefix)))
}

fn message(index: u32, prefix: IpPrefix) -> AddressMessage {
    let address = prefix.address();
    let mut message = AddressMessage::default();
    message.header.family =
        if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = prefix.length();
    message.header.index = index;
    // IFA_ADDRESS is the far end, which on all but point-to-point links is the address itself.
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    message
}

/// An address from an answer's body; `None` for families other than IP.
pub(super) fn parse(body: &[u8]) -> Result<Option<Address>> {
    let message = AddressMessage::parse(body)
        .map_err(|error| Error::parse("address message", &error.to_string(), "an address"))?;
    if !matches!(message.header.family, AddressFamily::Inet | AddressFamily::Inet6) {
        return Ok(None);
    }
    let (mut local, mut far) = (None, None);
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => far = Some(*address),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    let prefix = local
        .or(far)
        .and_then(|address| IpPrefix::new(address, message.header.prefix_len))
        .ok_or_else(|| Error::parse("address message", "no address", "one with its prefix"))?;
    Ok(Some(Address {
        index: message.header.index,
        prefix,
        tentative: flags.contains(AddressFlags::Tentative),
        duplicate: flags.contains(AddressFlags::Dadfailed),
    }))
}
