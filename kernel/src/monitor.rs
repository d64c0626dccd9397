//! Waits for news of devices and links, for as long as it takes.
//!
//! Nothing is concluded from what the news says: it is a reason to look. So nothing is lost with a
//! message that came in several parts, too late, or not at all because the socket was full.

use std::{fmt, os::fd::AsFd, path::Path};

use netlink_sys::{Socket as RawSocket, SocketAddr};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::{RecvFlags, recv},
};

use crate::{
    error::{Error, Result},
    netlink::attribute,
    uevent::Uevent,
};

/// `NETLINK_ROUTE` and `NETLINK_KOBJECT_UEVENT` (include/uapi/linux/netlink.h).
const ROUTE: isize = 0;
const KOBJECT_UEVENT: isize = 15;
/// `RTMGRP_LINK` (include/uapi/linux/rtnetlink.h), and the kernel's own group of events: udevd
/// speaks to the second.
const LINKS: u32 = 1;
const KERNEL: u32 = 1;

/// `RTM_NEWLINK` and `RTM_DELLINK`.
const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
/// `IFLA_LINKINFO` (include/uapi/linux/if_link.h): what interfaces have that are made by software.
const LINKINFO: u16 = 18;
/// Lengths of `struct nlmsghdr` and of `struct ifinfomsg`.
const HEADER: usize = 16;
const IFINFO: usize = 16;

/// An event is at most 2 KiB of pairs (`UEVENT_BUFFER_SIZE`, include/linux/kobject.h) and a path. A
/// link with many VFs is longer: its beginning is enough.
const LONGEST: usize = 16 << 10;

/// Something may be other than it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A device came, went, changed, or has another driver: in words.
    Device(String),
    /// An interface came, went, or changed: its ifindex.
    Link(u32),
    /// The kernel had more to say than the socket holds.
    Lost,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(event) => f.write_str(event),
            Self::Link(index) => write!(f, "link {index}"),
            Self::Lost => f.write_str("more than could be kept"),
        }
    }
}

/// Two netlink sockets, or what stands in for them in a test.
pub struct Monitor<S = RawSocket> {
    events: S,
    links: S,
}

impl<S> fmt::Debug for Monitor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Monitor")
    }
}

impl Monitor {
    /// Listens from now on, in the calling thread's network namespace.
    ///
    /// Events of devices other than interfaces are told in every namespace of the first user
    /// namespace, those of interfaces in their own (`uevent_net_broadcast`,
    /// lib/kobject_uevent.c).
    pub fn open() -> Result<Self> {
        let listen = |protocol, groups, name: &str| {
            let open = || {
                let mut socket = RawSocket::new(protocol)?;
                socket.bind(&SocketAddr::new(0, groups))?;
                Ok(socket)
            };
            open().map_err(|source| Error::io("listen on", name, source))
        };
        Ok(Self {
            events: listen(KOBJECT_UEVENT, KERNEL, "the socket of uevents")?,
            links: listen(ROUTE, LINKS, "the route netlink socket")?,
        })
    }
}

impl<S: AsFd> Monitor<S> {
    /// Listens to given sockets.
    pub fn of(events: S, links: S) -> Self {
        Self { events, links }
    }

    /// Waits until something of hardware changes, or of what is made of it. Sleeps for ever where
    /// nothing happens.
    pub fn wait(&self) -> Result<Change> {
        loop {
            let event = self.receive(&self.events, event)?;
            let change = if event.is_some() { event } else { self.receive(&self.links, link)? };
            if let Some(change) = change {
                return Ok(change);
            }
            let mut both =
                [PollFd::new(&self.events, PollFlags::IN), PollFd::new(&self.links, PollFlags::IN)];
            match poll(&mut both, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// The first message in a socket that is news; `None` when there are no more messages.
    fn receive(
        &self,
        socket: &S,
        read: impl Fn(&[u8]) -> Option<Change>,
    ) -> Result<Option<Change>> {
        let mut buffer = vec![0; LONGEST];
        loop {
            match recv(socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(failed(Errno::PIPE)),
                Ok((length, _)) => {
                    if let Some(change) = read(&buffer[..length]) {
                        return Ok(Some(change));
                    }
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::NOBUFS) => return Ok(Some(Change::Lost)),
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

fn failed(error: Errno) -> Error {
    Error::io("wait for", Path::new("news of devices"), error.into())
}

fn event(message: &[u8]) -> Option<Change> {
    let event = Uevent::parse(message).filter(Uevent::of_hardware)?;
    Some(Change::Device(event.to_string()))
}

/// Change of an interface of hardware: those of pods and bridges have a kind.
fn link(datagram: &[u8]) -> Option<Change> {
    let kind = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
    let body = datagram.get(HEADER..)?;
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let attributes =
        || attribute::parse(body.get(IFINFO..).unwrap_or_default()).map_while(Result::ok);
    let by_software = attributes().any(|attribute| attribute.kind == LINKINFO);
    (matches!(kind, NEWLINK | DELLINK) && !by_software).then_some(Change::Link(index))
}

#[cfg(test)]
mod tests;
