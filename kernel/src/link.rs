//! Links, their addresses and routes, over route netlink
//! (Documentation/netlink/specs/rt-link.yaml, man 7 rtnetlink).
//!
//! Links are addressed by ifindex: names change under us (udev), and an altname in the target
//! namespace blocks a move like a name does.

use std::{
    os::fd::{AsRawFd, BorrowedFd},
    path::Path,
};

use serde::{Deserialize, Serialize};

pub use self::{
    address::Address,
    route::{DefaultRoute, NextHop, Route},
    vf::{Vf, VfLink, VfSetting, VfTag, VfTxRate},
    vf_stats::{Counters, MOST_VFS, VfStats},
};
use crate::{
    error::{Error, Result},
    mac::Mac,
    netlink::{Socket, Subject},
    netns::Netns,
    sysfs,
};

mod address;
mod route;
mod vf;
mod vf_stats;
mod wire;

/// One link of a network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Link {
    /// Its number, unique in the namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its other names.
    pub altnames: Vec<String>,
    /// Its MAC; `None` where it has none, or an address of another kind.
    pub mac: Option<Mac>,
    /// The MAC it was made with, where the driver tells.
    pub permanent_mac: Option<Mac>,
    /// In bytes.
    pub mtu: u32,
    /// Whether it is set up (`IFF_UP`).
    pub up: bool,
    /// Whether it has a carrier (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// Whether it sends (`IFF_RUNNING`): up to a second after its carrier comes, and all is lost
    /// before (linkwatch_do_dev, net/core/link_watch.c).
    #[serde(default)]
    pub running: bool,
    /// Whether it is the loopback.
    pub loopback: bool,
    /// The bond, bridge, VRF or Open vSwitch datapath that it is a member of.
    pub controller: Option<u32>,
    /// The link in the same namespace that it stands on: a VLAN's, a macvlan's.
    pub lower: Option<u32>,
    /// What kind of virtual link it is: `bridge`, `bond`, `vlan`, `openvswitch`. None for hardware.
    pub kind: Option<String>,
    /// The bus of the device that it belongs to: `pci`, `virtio` (from Linux 5.14).
    pub parent_bus: Option<String>,
    /// The name of that device: `0000:01:00.1`, `virtio5`.
    pub parent_name: Option<String>,
    /// Which port of a card's switch it is, where the driver tells: `p0` for an uplink, `pf0vf3`
    /// for a representor ([`crate::devlink::is_representor`]).
    pub port_name: Option<String>,
}

/// Route netlink of the namespace that the opening thread was in.
#[derive(Debug)]
pub struct Links {
    socket: Socket,
}

impl Links {
    /// Opens the calling thread's network namespace.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: Socket::route()? })
    }

    /// Opens another namespace. The socket stays there, and the calling thread here. Needs
    /// `CAP_SYS_ADMIN`.
    pub fn open_in(netns: &Netns) -> Result<Self> {
        netns.visit(Self::open)
    }

    /// All links.
    pub fn list(&mut self) -> Result<Vec<Link>> {
        let about = Subject { op: "list", object: "links" };
        let (kind, body) = wire::get_all();
        let answer = self.socket.dump(about, kind, &body)?;
        answer.iter().map(|message| wire::parse_link(&message.body)).collect()
    }

    /// One link; `ENODEV` without it.
    pub fn get(&mut self, index: u32) -> Result<Link> {
        self.get_one("get link", &index.to_string(), wire::get_index(index))
    }

    /// The link of a name or altname; `ENODEV` without it.
    pub fn by_name(&mut self, name: &str) -> Result<Link> {
        self.get_one("get link", name, wire::get_name(name))
    }

    /// The one link of a device: by the directory of a PCI function ([`crate::pci::dir`]) or of a
    /// vDPA device's virtio device ([`crate::vdpa_bus::virtio_dir`]). `None` if it has none here: no
    /// driver, or it was moved to another namespace. Several are an error and no guess.
    pub fn of_device(&mut self, device: &Path) -> Result<Option<Link>> {
        let found = sysfs::numbered_netdevs(device)?;
        match found.as_slice() {
            [] => Ok(None),
            // By number: udev may rename it at this very moment.
            [(_, Some(index))] => self.get(*index).map(Some),
            [(name, None)] => self.by_name(name).map(Some),
            several => {
                let names: Vec<_> = several.iter().map(|(name, _)| name.as_str()).collect();
                Err(Error::Unexpected {
                    object: format!("interfaces of {}", device.display()),
                    found: names.join(", "),
                    expected: "exactly one".to_owned(),
                })
            }
        }
    }

    /// Moves a link into another namespace and gives it a name there, in one request. It comes out
    /// down and without addresses.
    ///
    /// `EEXIST` if the name, or one of the link's altnames, is taken there. The link may then have
    /// moved all the same, under its old name: the kernel moves first and renames afterwards, and
    /// uses the new name for the move only where the old one is taken there
    /// (do_setlink, net/core/rtnetlink.c; `__dev_change_net_namespace`, net/core/dev.c).
    pub fn move_to(&mut self, index: u32, netns: BorrowedFd<'_>, name: &str) -> Result<()> {
        let request = wire::move_to(index, netns.as_raw_fd(), checked_name(name)?);
        self.change("move to another network namespace link", index, request)
    }

    /// Renames a link, which must be down before Linux 6.2.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<()> {
        let request = wire::rename(index, checked_name(name)?);
        self.change("rename link", index, request)
    }

    /// Takes an altname from a link. A link cannot be renamed to an altname of its own: the kernel
    /// answers `EEXIST` (`netdev_name_in_use`, net/core/dev.c).
    pub fn delete_altname(&mut self, index: u32, name: &str) -> Result<()> {
        self.change("delete altname of link", index, wire::delete_altname(index, name))
    }

    /// Sets a link up.
    pub fn set_up(&mut self, index: u32) -> Result<()> {
        self.change("set up link", index, wire::set_up(index, true))
    }

    /// Sets a link down.
    pub fn set_down(&mut self, index: u32) -> Result<()> {
        self.change("set down link", index, wire::set_up(index, false))
    }

    /// Sets the MTU in bytes; `EINVAL` or `ERANGE` where the driver cannot.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<()> {
        self.change("set MTU of link", index, wire::set_mtu(index, mtu))
    }

    /// Sets the MAC. Many drivers want the link down (`EBUSY`); a VF's may not allow it at all
    /// (`EPERM`, `EADDRNOTAVAIL`).
    pub fn set_mac(&mut self, index: u32, mac: Mac) -> Result<()> {
        self.change("set MAC of link", index, wire::set_mac(index, mac))
    }

    fn get_one(&mut self, op: &'static str, object: &str, request: wire::Request) -> Result<Link> {
        let (kind, body) = request;
        let answer = self.socket.request(Subject { op, object }, kind, &body)?;
        match answer.as_slice() {
            [message] => wire::parse_link(&message.body),
            _ => Err(Error::parse(
                format!("{op} {object}"),
                &format!("{} messages", answer.len()),
                "one message",
            )),
        }
    }

    fn change(&mut self, op: &'static str, index: u32, request: wire::Request) -> Result<()> {
        let (kind, body) = request;
        let object = index.to_string();
        self.socket.request(Subject { op, object: &object }, kind, &body).map(drop)
    }
}

/// A name that the kernel takes (`dev_valid_name`, net/core/dev.c): said here because it answers
/// just EINVAL, which has other causes.
fn checked_name(name: &str) -> Result<&str> {
    let taken = |byte: u8| byte == b'/' || byte == b':' || byte.is_ascii_whitespace();
    let bad = matches!(name, "" | "." | "..") || name.len() > 15 || name.bytes().any(taken);
    if bad || name.contains('\0') {
        return Err(Error::parse(
            "interface name",
            name,
            "1 to 15 bytes without slash, colon or space",
        ));
    }
    // A percent sign would make the kernel choose a number.
    if name.contains('%') {
        return Err(Error::parse("interface name", name, "a name without a percent sign"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
