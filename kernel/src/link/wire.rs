//! Link messages as bytes. Requests are put together by netlink-packet-route. Answers are read by
//! our own attribute walker, for two reasons: one attribute of one foreign link that the crate
//! cannot read must not blind us to all links, and most of what a link has (statistics, per-family
//! settings) is not asked for.

use netlink_packet_core::{Emitable, NetlinkSerializable};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage},
};

use super::Link;
use crate::{
    error::{Error, Result},
    mac::Mac,
    netlink::attribute::{self, Attribute},
};

/// A request: the netlink type, and the body.
pub(super) type Request = (u16, Vec<u8>);

/// Length of `struct ifinfomsg`.
pub(super) const HEADER: usize = 16;
/// `IFF_UP`, `IFF_LOOPBACK`, `IFF_RUNNING` and `IFF_LOWER_UP` (include/uapi/linux/if.h).
const UP: u32 = 1;
const LOOPBACK: u32 = 1 << 3;
const RUNNING: u32 = 1 << 6;
const LOWER_UP: u32 = 1 << 16;

/// `IFLA_*` (include/uapi/linux/if_link.h).
mod ifla {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const IFNAME: u16 = 3;
    pub(super) const MTU: u16 = 4;
    pub(super) const LINK: u16 = 5;
    pub(super) const MASTER: u16 = 10;
    pub(super) const LINKINFO: u16 = 18;
    /// In the `LINKINFO` nest.
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const LINK_NETNSID: u16 = 37;
    pub(super) const PHYS_PORT_NAME: u16 = 38;
    pub(super) const PROP_LIST: u16 = 52;
    /// In the `PROP_LIST` nest.
    pub(super) const ALT_IFNAME: u16 = 53;
    pub(super) const PERM_ADDRESS: u16 = 54;
    pub(super) const PARENT_DEV_NAME: u16 = 56;
    pub(super) const PARENT_DEV_BUS_NAME: u16 = 57;
}

pub(super) fn get_all() -> Request {
    get(0, [])
}

pub(super) fn get_index(index: u32) -> Request {
    get(index, [])
}

pub(super) fn get_name(name: &str) -> Request {
    // The kernel takes names longer than IFNAMSIZ only as altnames.
    let name = match name.len() {
        0..16 => LinkAttribute::IfName(name.to_owned()),
        _ => LinkAttribute::PropList(vec![netlink_packet_route::link::Prop::AltIfName(
            name.to_owned(),
        )]),
    };
    get(0, [name])
}

fn get<const N: usize>(index: u32, attributes: [LinkAttribute; N]) -> Request {
    // Statistics are the larger part of a link, and nobody here reads them.
    let mask = LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]);
    let attributes = attributes.into_iter().chain([mask]).collect();
    request(RouteNetlinkMessage::GetLink(message(index, attributes)))
}

pub(super) fn move_to(index: u32, netns: i32, name: &str) -> Request {
    set(index, vec![LinkAttribute::NetNsFd(netns), LinkAttribute::IfName(name.to_owned())])
}

pub(super) fn rename(index: u32, name: &str) -> Request {
    set(index, vec![LinkAttribute::IfName(name.to_owned())])
}

/// `RTM_DELLINKPROP`.
pub(super) fn delete_altname(index: u32, name: &str) -> Request {
    let name = netlink_packet_route::link::Prop::AltIfName(name.to_owned());
    let message = message(index, vec![LinkAttribute::PropList(vec![name])]);
    request(RouteNetlinkMessage::DelLinkProp(message))
}

pub(super) fn set_mtu(index: u32, mtu: u32) -> Request {
    set(index, vec![LinkAttribute::Mtu(mtu)])
}

pub(super) fn set_mac(index: u32, mac: Mac) -> Request {
    set(index, vec![LinkAttribute::Address(mac.0.to_vec())])
}

pub(super) fn set_up(index: u32, up: bool) -> Request {
    let mut message = message(index, Vec::new());
    message.header.change_mask = LinkFlags::Up;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    request(RouteNetlinkMessage::NewLink(message))
}

/// `RTM_NEWLINK` without `NLM_F_CREATE` changes what the index names, as iproute2 does it.
fn set(index: u32, attributes: Vec<LinkAttribute>) -> Request {
    request(RouteNetlinkMessage::NewLink(message(index, attributes)))
}

pub(super) fn message(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

/// The bytes of any route message.
pub(super) fn request(message: RouteNetlinkMessage) -> Request {
    let mut body = vec![0; Emitable::buffer_len(&message)];
    message.emit(&mut body);
    (NetlinkSerializable::message_type(&message), body)
}

/// A link from an answer's body.
pub(super) fn parse_link(body: &[u8]) -> Result<Link> {
    let Some((header, attributes)) = body.split_first_chunk::<HEADER>() else {
        let found = format!("{} bytes", body.len());
        return Err(Error::parse("link message", &found, "a header of 16 bytes"));
    };
    let [_, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *header;
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let mut link = Link {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        up: flags & UP != 0,
        carrier: flags & LOWER_UP != 0,
        running: flags & RUNNING != 0,
        loopback: flags & LOOPBACK != 0,
        ..Link::default()
    };
    let mut lower_elsewhere = false;
    for attribute in attribute::parse(attributes) {
        let attribute = attribute?;
        lower_elsewhere |= attribute.kind == ifla::LINK_NETNSID;
        take(&mut link, &attribute)?;
    }
    // A veth's other end may be in another namespace, where its number means another link.
    if lower_elsewhere || link.lower == Some(link.index) {
        link.lower = None;
    }
    Ok(link)
}

fn take(link: &mut Link, attribute: &Attribute<'_>) -> Result<()> {
    match attribute.kind {
        ifla::ADDRESS => link.mac = Mac::from_bytes(attribute.value),
        ifla::PERM_ADDRESS => link.permanent_mac = Mac::from_bytes(attribute.value),
        ifla::IFNAME => link.name = attribute.string()?,
        ifla::MTU => link.mtu = attribute.u32()?,
        ifla::LINK => link.lower = Some(attribute.u32()?).filter(|index| *index != 0),
        ifla::MASTER => link.controller = Some(attribute.u32()?),
        ifla::PHYS_PORT_NAME => link.port_name = Some(attribute.string()?),
        ifla::PARENT_DEV_NAME => link.parent_name = Some(attribute.string()?),
        ifla::PARENT_DEV_BUS_NAME => link.parent_bus = Some(attribute.string()?),
        ifla::LINKINFO => {
            for inner in attribute::parse(attribute.value) {
                let inner = inner?;
                if inner.kind == ifla::INFO_KIND {
                    link.kind = Some(inner.string()?);
                }
            }
        }
        ifla::PROP_LIST => {
            for inner in attribute::parse(attribute.value) {
                let inner = inner?;
                if inner.kind == ifla::ALT_IFNAME {
                    link.altnames.push(inner.string()?);
                }
            }
        }
        _ => {}
    }
    Ok(())
}
