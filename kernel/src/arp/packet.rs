//! An ARP packet for IPv4 on Ethernet (RFC 826) in its frame.

use std::net::Ipv4Addr;

use crate::mac::Mac;

/// `ETH_P_ARP` (include/uapi/linux/if_ether.h).
pub(super) const PROTOCOL: u16 = 0x0806;
/// Ethernet, IPv4, and the lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
/// `ETH_HLEN` (include/uapi/linux/if_ether.h).
const ETHERNET: usize = 14;

/// What a packet says of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Question or answer.
    pub operation: Operation,
    /// The sender's hardware address, as it says.
    pub sender_mac: Mac,
    /// The sender's address; unspecified in a probe.
    pub sender: Ipv4Addr,
    /// Whom it asks for.
    pub target: Ipv4Addr,
}

/// Question or answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target's address?
    Request,
    /// The sender has the sender's address.
    Reply,
}

impl Packet {
    /// Who else has `address`, or is about to take it, as this packet tells a host that looks
    /// whether it is free and whose own hardware address is `own` (RFC 5227 section 2.1.1).
    pub fn claims(self, address: Ipv4Addr, own: Mac) -> Option<Mac> {
        let has = self.sender == address;
        let wants = self.operation == Operation::Request
            && self.sender.is_unspecified()
            && self.target == address;
        ((has || wants) && self.sender_mac != own).then_some(self.sender_mac)
    }

    /// The packet to all on the Ethernet.
    pub(super) fn frame(self) -> [u8; 42] {
        let mut frame = [0; 42];
        frame[..6].fill(0xff);
        frame[6..12].copy_from_slice(&self.sender_mac.0);
        frame[12..14].copy_from_slice(&PROTOCOL.to_be_bytes());
        frame[14..20].copy_from_slice(&KIND);
        frame[21] = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        frame[22..28].copy_from_slice(&self.sender_mac.0);
        frame[28..32].copy_from_slice(&self.sender.octets());
        frame[38..42].copy_from_slice(&self.target.octets());
        frame
    }

    /// `None` for anything else.
    pub(super) fn parse(frame: &[u8]) -> Option<Self> {
        let body = frame.get(ETHERNET..)?.get(..28)?;
        if body[..6] != KIND {
            return None;
        }
        let operation = match body[6..8] {
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return None,
        };
        let address = |at: usize| Ipv4Addr::new(body[at], body[at + 1], body[at + 2], body[at + 3]);
        Some(Self {
            operation,
            sender_mac: Mac::from_bytes(&body[8..14])?,
            sender: address(14),
            target: address(24),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn request(sender_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Packet {
        Packet { operation: Operation::Request, sender_mac, sender, target }
    }

    #[test]
    fn what_is_framed_is_parsed_and_nothing_else_is() {
        let probe = request(OURS, Ipv4Addr::UNSPECIFIED, B);
        let frame = probe.frame();
        // As tcpdump shows it on a wire.
        let expected = [
            255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6, // Ethernet
            0, 1, 8, 0, 6, 4, 0, 1, // a request
            2, 0, 0, 0, 0, 1, 0, 0, 0, 0, // from nobody
            0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
        ];
        assert_eq!(frame, expected);
        assert_eq!(Packet::parse(&frame), Some(probe));
        let reply = Packet { operation: Operation::Reply, ..request(OTHER, B, A) };
        assert_eq!(Packet::parse(&reply.frame()), Some(reply));
        for length in 0..frame.len() {
            assert_eq!(Packet::parse(&frame[..length]), None, "{length} bytes");
        }
        for at in 14..22 {
            let mut other = frame;
            other[at] = other[at].wrapping_add(9);
            assert_eq!(Packet::parse(&other), None, "byte {at}");
        }
    }

    #[test]
    fn who_has_or_wants_an_address_claims_it() {
        let reply = |mac, sender| Packet { operation: Operation::Reply, ..request(mac, sender, A) };
        let check = |packet: Packet, claims: Option<Mac>| {
            assert_eq!(packet.claims(A, OURS), claims, "{packet:?}");
        };
        check(reply(OTHER, A), Some(OTHER));
        check(request(OTHER, A, B), Some(OTHER));
        check(request(OTHER, Ipv4Addr::UNSPECIFIED, A), Some(OTHER));
        // Somebody asks for it, and will hear nothing.
        check(request(OTHER, B, A), None);
        check(reply(OTHER, B), None);
        check(request(OTHER, Ipv4Addr::UNSPECIFIED, B), None);
        // A device that gives back what it sends (vdpa_sim_net).
        check(request(OURS, Ipv4Addr::UNSPECIFIED, A), None);
    }
}
