//! A small blocking netlink socket: one request, its whole answer.
//!
//! A socket lives for one operation and has a receive timeout, so that nothing waits for ever in
//! *receiving*. Sending is different: the kernel runs a request inside `send`, so a request that
//! sleeps in the kernel (creating or deleting a vDPA device) blocks its thread until it is done.

use std::{io, time::Duration};

use netlink_sys::{Socket as RawSocket, SocketAddr};
use rustix::net::sockopt;
use tracing::trace;

use crate::error::{Error, Result, errno};

pub mod attribute;
pub mod wire;

use wire::{Event, Flags};

/// `NETLINK_ROUTE` (include/uapi/linux/netlink.h).
const ROUTE: isize = 0;
/// `NETLINK_GENERIC`.
const GENERIC: isize = 16;
/// `MSG_TRUNC` (include/linux/socket.h): tells a datagram's whole length, though it does not fit.
const WHOLE_LENGTH: i32 = 0x20;

/// Dumps come in datagrams of 32 KiB at most (`NLMSG_GOODSIZE`, net/netlink/af_netlink.c). A single
/// link with 250 VFs needs 64 KiB, and no list of VFs more: the length of an attribute has 16 bits.
const LONGEST_DATAGRAM: usize = 256 << 10;
/// What one answer may hold in all.
const LONGEST_ANSWER: usize = 64 << 20;
/// How often a dump is asked for again when the kernel says that it changed meanwhile.
const DUMP_ATTEMPTS: usize = 10;
/// How long one receive waits.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// One message of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `nlmsg_type`: a route message type, or a generic netlink family id.
    pub kind: u16,
    /// What follows the netlink header.
    pub body: Vec<u8>,
}

/// What a request is about: the first words of its errors.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// What is tried: `create vdpa device`.
    pub op: &'static str,
    /// The name of what it is tried on.
    pub object: &'a str,
}

impl Subject<'_> {
    /// The error for an answer of the kernel.
    pub fn refused(self, errno: i32, message: Option<String>) -> Error {
        Error::Netlink { op: self.op, object: self.object.to_owned(), errno, message }
    }

    fn failed(self, step: &str, source: io::Error) -> Error {
        Error::io(format!("{}: {step}", self.op), self.object, source)
    }
}

/// A netlink socket in the calling thread's network namespace.
pub struct Socket {
    raw: RawSocket,
    sequence: u32,
    /// Room for any datagram, so that none must be asked for its length first. What is not written
    /// to takes no memory, unless it is so much that the kernel makes a huge page of it.
    datagram: Vec<u8>,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Socket {
    /// A socket for links, addresses and routes.
    pub fn route() -> Result<Self> {
        Self::open(ROUTE, "route netlink socket")
    }

    /// A socket for generic netlink families.
    pub fn generic() -> Result<Self> {
        Self::open(GENERIC, "generic netlink socket")
    }

    fn open(protocol: isize, name: &str) -> Result<Self> {
        let open = || -> io::Result<RawSocket> {
            let raw = RawSocket::new(protocol)?;
            // binds it as well (netlink_connect, net/netlink/af_netlink.c)
            raw.connect(&SocketAddr::new(0, 0))?;
            // Without this the kernel keeps its explanation to itself.
            raw.set_ext_ack(true)?;
            sockopt::set_socket_timeout(&raw, sockopt::Timeout::Recv, Some(RECEIVE_TIMEOUT))?;
            Ok(raw)
        };
        let raw = open().map_err(|source| Error::io("open", name, source))?;
        Ok(Self { raw, sequence: 0, datagram: Vec::with_capacity(LONGEST_DATAGRAM) })
    }

    /// Sends a request and returns the messages before its acknowledgement.
    pub fn request(&mut self, about: Subject<'_>, kind: u16, body: &[u8]) -> Result<Vec<Message>> {
        self.exchange(about, kind, Flags::REQUEST | Flags::ACK, body).map(|answer| answer.messages)
    }

    /// As [`Socket::request`], with more flags (`NLM_F_CREATE` and the like).
    pub fn request_with(
        &mut self,
        about: Subject<'_>,
        kind: u16,
        flags: Flags,
        body: &[u8],
    ) -> Result<Vec<Message>> {
        let flags = Flags::REQUEST | Flags::ACK | flags;
        self.exchange(about, kind, flags, body).map(|answer| answer.messages)
    }

    /// Asks for everything of a kind. A dump that the kernel calls inconsistent is asked for again.
    pub fn dump(&mut self, about: Subject<'_>, kind: u16, body: &[u8]) -> Result<Vec<Message>> {
        for _ in 0..DUMP_ATTEMPTS {
            let answer = self.exchange(about, kind, Flags::REQUEST | Flags::DUMP, body)?;
            if !answer.interrupted {
                return Ok(answer.messages);
            }
        }
        let message = "the list changed during each of several reads".to_owned();
        Err(about.refused(errno::EAGAIN, Some(message)))
    }

    fn exchange(
        &mut self,
        about: Subject<'_>,
        kind: u16,
        flags: Flags,
        body: &[u8],
    ) -> Result<Answer> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = wire::encode(kind, flags, self.sequence, body);
        trace!(
            op = about.op,
            object = about.object,
            bytes = format_args!("{request:02x?}"),
            "netlink send"
        );
        self.raw.send(&request, 0).map_err(|source| about.failed("send for", source))?;
        self.collect(about)
    }

    fn collect(&mut self, about: Subject<'_>) -> Result<Answer> {
        let mut answer = Answer::default();
        let mut received = 0;
        loop {
            self.receive(about)?;
            let datagram = &self.datagram;
            received += datagram.len();
            if received > LONGEST_ANSWER {
                return Err(Error::parse(about.op, about.object, "an answer below 64 MiB"));
            }
            for event in wire::parse(datagram, self.sequence)? {
                match event {
                    Event::Message { kind, body, interrupted } => {
                        answer.interrupted |= interrupted;
                        answer.messages.push(Message { kind, body });
                    }
                    Event::End { errno: 0, interrupted, .. } => {
                        answer.interrupted |= interrupted;
                        return Ok(answer);
                    }
                    Event::End { errno, message, .. } => return Err(about.refused(errno, message)),
                }
            }
        }
    }

    fn receive(&mut self, about: Subject<'_>) -> Result<()> {
        let Self { raw, datagram, .. } = self;
        datagram.clear();
        // A socket with a receive timeout is never restarted after a signal (man 7 signal).
        let (length, _) = retry(|| raw.recv_from(datagram, WHOLE_LENGTH))
            .map_err(|source| about.failed("receive for", source))?;
        if length > LONGEST_DATAGRAM {
            return Err(Error::parse(about.op, about.object, "a datagram below 256 KiB"));
        }
        trace!(
            op = about.op,
            object = about.object,
            bytes = format_args!("{datagram:02x?}"),
            "netlink receive"
        );
        Ok(())
    }
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[derive(Debug, Default)]
struct Answer {
    messages: Vec<Message>,
    /// `NLM_F_DUMP_INTR`: things changed during the dump.
    interrupted: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dumping the links of the own namespace needs no privilege and changes nothing.
    #[test]
    fn a_real_dump_and_a_real_refusal() {
        let mut socket = Socket::route().unwrap();
        let about = Subject { op: "list", object: "links" };
        // RTM_GETLINK with an all-zero struct ifinfomsg.
        let links = socket.dump(about, 18, &[0; 16]).unwrap();
        assert!(links.iter().all(|link| link.kind == 16), "RTM_NEWLINK only");
        assert!(!links.is_empty(), "every namespace has a loopback");

        // RTM_GETLINK of an interface that cannot be.
        let mut nobody = [0; 16];
        nobody[4..8].copy_from_slice(&i32::MAX.to_ne_bytes());
        let about = Subject { op: "get link", object: "2147483647" };
        let error = socket.request(about, 18, &nobody).unwrap_err();
        assert_eq!(error.errno(), Some(errno::ENODEV), "{error}");
    }
}
