//! Whether an IPv4 address is free on an Ethernet, and telling it who has it now (RFC 5227).
//!
//! The kernel does both for IPv6 by itself. For IPv4 it never looks, and announces only what an
//! interface has at the moment it is set up (`arp_notify`: inetdev_event, net/ipv4/devinet.c),
//! which is lost where the carrier comes later.

use std::{net::Ipv4Addr, os::fd::OwnedFd, time::Instant};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
    },
};

use self::link_layer::LinkLayer;
pub use self::packet::{Operation, Packet};
use crate::{
    error::{Error, Result},
    link::Link,
    mac::Mac,
};

mod link_layer;
mod packet;

/// A frame of ARP is 42 bytes long, and filled up to 60.
const LONGEST: usize = 64;

/// Every ARP packet that one interface receives, and a way to send some.
#[derive(Debug)]
pub struct Arp {
    socket: OwnedFd,
    name: String,
    mac: Mac,
}

impl Arp {
    /// Listens on a link of the calling thread's network namespace, whose address is `mac`.
    pub fn open(link: &Link, mac: Mac) -> Result<Self> {
        let open = || {
            // Without a protocol it receives nothing: it is given one together with the link.
            let (family, kind) = (AddressFamily::PACKET, SocketType::RAW);
            let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
            bind(&socket, &LinkLayer::new(packet::PROTOCOL, link.index))?;
            Ok(socket)
        };
        let socket =
            open().map_err(|error: Errno| failed("listen for ARP on", &link.name, error))?;
        Ok(Self { socket, name: link.name.clone(), mac })
    }

    /// Asks who has an address, without saying that we want it (an ARP Probe, section 2.1.1).
    pub fn probe(&self, address: Ipv4Addr) -> Result<()> {
        self.send(Ipv4Addr::UNSPECIFIED, address)
    }

    /// Tells everybody that we have an address (an ARP Announcement, section 2.3).
    pub fn announce(&self, address: Ipv4Addr) -> Result<()> {
        self.send(address, address)
    }

    /// The next packet that comes before `deadline`, or has come by then; frames that are no ARP for
    /// IPv4 on Ethernet are passed over.
    pub fn receive(&self, deadline: Instant) -> Result<Option<Packet>> {
        let mut buffer = [0; LONGEST];
        loop {
            match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    let packet = Packet::parse(&buffer[..length]);
                    if packet.is_some() || Instant::now() >= deadline {
                        return Ok(packet);
                    }
                    continue;
                }
                Err(Errno::AGAIN) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(failed("receive ARP on", &self.name, error)),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let left = Timespec::try_from(left).ok();
            match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], left.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(failed("receive ARP on", &self.name, error)),
            }
        }
    }

    /// Sends a request to all. One that the queue drops is as good as lost on the wire.
    fn send(&self, sender: Ipv4Addr, target: Ipv4Addr) -> Result<()> {
        let packet = Packet { operation: Operation::Request, sender_mac: self.mac, sender, target };
        match send(&self.socket, &packet.frame(), SendFlags::empty()) {
            Ok(_) | Err(Errno::NOBUFS) => Ok(()),
            Err(error) => Err(failed("send ARP on", &self.name, error)),
        }
    }
}

fn failed(op: &str, name: &str, error: Errno) -> Error {
    Error::io(op, format!("interface {name}"), error.into())
}
