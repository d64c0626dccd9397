//! What a PF's driver counts for each of its VFs (`IFLA_VF_STATS`,
//! Documentation/netlink/specs/rt-link.yaml).
//!
//! The kernel sends zeros for a driver that counts nothing (rtnl_fill_vfinfo,
//! net/core/rtnetlink.c), so that no driver can be told from no traffic; and nothing at all for a
//! driver without `ndo_get_vf_config`, such as virtio's.

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkExtentMask},
};

use super::{Links, vf, wire};
use crate::{
    error::Result,
    netlink::attribute::{self, Attribute},
};

/// The list of VFs in one attribute of 64 KiB overflows, without a word, when a PF has more than
/// about 222 and their counters are asked for.
pub const MOST_VFS: usize = 200;

/// `IFLA_*` (include/uapi/linux/if_link.h).
mod ifla {
    /// In the `VF_INFO` nest.
    pub(super) const VF_STATS: u16 = 8;
    /// In the `VF_STATS` nest, like the following: u64.
    pub(super) const VF_STATS_RX_PACKETS: u16 = 0;
    pub(super) const VF_STATS_TX_PACKETS: u16 = 1;
    pub(super) const VF_STATS_RX_BYTES: u16 = 2;
    pub(super) const VF_STATS_TX_BYTES: u16 = 3;
    pub(super) const VF_STATS_RX_DROPPED: u16 = 7;
    pub(super) const VF_STATS_TX_DROPPED: u16 = 8;
}

/// What a VF has received and sent, as its PF's driver counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VfStats {
    /// The VF's number.
    pub index: u32,
    /// What it has received.
    pub received: Counters,
    /// What it has sent.
    pub sent: Counters,
}

/// One direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Packets that were dropped.
    pub dropped: u64,
}

impl Links {
    /// The counters of a PF's VFs, by the ifindex of one of its links.
    ///
    /// Only for an Ethernet PF with [`MOST_VFS`] VFs at most. For InfiniBand some kernels do not
    /// reserve room for what they send, and warn on the console.
    pub fn vf_stats(&mut self, index: u32) -> Result<Vec<VfStats>> {
        self.ask_of_vfs("get VF statistics of link", index, get(index), parse)
    }
}

pub(super) fn get(index: u32) -> wire::Request {
    // `RTEXT_FILTER_VF` without `RTEXT_FILTER_SKIP_STATS`
    let mask = LinkAttribute::ExtMask(vec![LinkExtentMask::Vf]);
    wire::request(RouteNetlinkMessage::GetLink(wire::message(index, vec![mask])))
}

/// From the body of a link message.
pub(super) fn parse(body: &[u8]) -> Result<Vec<VfStats>> {
    let found = vf::infos(body)?.into_iter().map(of_vf);
    found.filter_map(Result::transpose).collect()
}

/// `None` where the message tells no number or no counters.
fn of_vf(info: &[u8]) -> Result<Option<VfStats>> {
    let (mut index, mut stats) = (None, None);
    for attribute in attribute::parse(info) {
        let attribute = attribute?;
        match attribute.kind {
            vf::ifla::VF_MAC => {
                let number = attribute.value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
                index = Some(number.ok_or_else(|| attribute.bad("struct ifla_vf_mac"))?);
            }
            ifla::VF_STATS => stats = Some(counters(&attribute)?),
            _ => {}
        }
    }
    Ok(index.zip(stats).map(|(index, (received, sent))| VfStats { index, received, sent }))
}

fn counters(nest: &Attribute<'_>) -> Result<(Counters, Counters)> {
    let (mut received, mut sent) = (Counters::default(), Counters::default());
    for attribute in attribute::parse(nest.value) {
        let attribute = attribute?;
        let field = match attribute.kind {
            ifla::VF_STATS_RX_PACKETS => &mut received.packets,
            ifla::VF_STATS_TX_PACKETS => &mut sent.packets,
            ifla::VF_STATS_RX_BYTES => &mut received.bytes,
            ifla::VF_STATS_TX_BYTES => &mut sent.bytes,
            ifla::VF_STATS_RX_DROPPED => &mut received.dropped,
            ifla::VF_STATS_TX_DROPPED => &mut sent.dropped,
            _ => continue,
        };
        *field = attribute.u64()?;
    }
    Ok((received, sent))
}
