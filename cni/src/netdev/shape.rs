//! Making a netdev in a pod what the network asks for. All of it runs in the pod's namespace.

use std::fs;

use ringway_kernel::{
    Mac,
    error::errno,
    link::{Link, Links, Route},
};

use super::{address, unique};
use crate::{
    error::{Code, Error, Result},
    result::Addressing,
};

/// What a network asks of a netdev.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Another address than it has.
    pub mac: Option<Mac>,
    /// Another MTU than it has, in bytes.
    pub mtu: Option<u32>,
    /// Whether the device can change its address: [`super::takes_mac`].
    pub takes_mac: bool,
    /// Whether the PF has been told the address.
    pub by_pf: bool,
}

/// Sets MTU and MAC, and reads them back.
pub fn shape(links: &mut Links, link: Link, wanted: Wanted) -> Result<Link> {
    let as_wanted = |link: &Link| {
        wanted.mac.is_none_or(|mac| link.mac == Some(mac))
            && wanted.mtu.is_none_or(|mtu| mtu == link.mtu)
    };
    if as_wanted(&link) {
        return Ok(link);
    }
    if let Some(mac) = wanted.mac.filter(|mac| link.mac != Some(*mac)) {
        let has = link.mac.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
        if !wanted.takes_mac && !wanted.by_pf {
            let why = "its device cannot change it (no CTRL_MAC_ADDR)";
            return Err(cannot("MAC", &mac.to_string(), &has, why));
        }
        let done = match wanted.by_pf {
            true => address::take(links, link.index, mac).map(drop),
            false => links.set_mac(link.index, mac),
        };
        done.map_err(because("MAC", &mac.to_string(), &has))?;
    }
    if let Some(mtu) = wanted.mtu.filter(|mtu| *mtu != link.mtu) {
        let (mtu_text, has) = (mtu.to_string(), link.mtu.to_string());
        links.set_mtu(link.index, mtu).map_err(because("MTU", &mtu_text, &has))?;
    }
    let link = links.get(link.index)?;
    if let Some(mac) = wanted.mac.filter(|mac| link.mac != Some(*mac)) {
        let has = link.mac.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
        return Err(cannot("MAC", &mac.to_string(), &has, "the kernel set another"));
    }
    if let Some(mtu) = wanted.mtu.filter(|mtu| *mtu != link.mtu) {
        let why = "the kernel set another";
        return Err(cannot("MTU", &mtu.to_string(), &link.mtu.to_string(), why));
    }
    Ok(link)
}

/// Gives the link its addresses and routes, sets it up, and waits until it may use them.
pub fn configure(links: &mut Links, link: &Link, addressing: &Addressing) -> Result<()> {
    let (v6, v4): (Vec<_>, Vec<_>) =
        addressing.ips.iter().map(|ip| ip.address).partition(|prefix| prefix.address().is_ipv6());
    if !v6.is_empty() {
        // Some runtimes turn IPv6 off for interfaces to come; an address would then be refused
        // (EACCES).
        set("ipv6", &link.name, "disable_ipv6", "0")?;
        // Announces an address when its detection of duplicates has ended (addrconf_dad_completed,
        // net/ipv6/addrconf.c).
        set("ipv6", &link.name, "ndisc_notify", "1")?;
    }
    // Announces what addresses the link has when it goes up again, or gets another MAC
    // (inetdev_event, net/ipv4/devinet.c).
    if !v4.is_empty() {
        set("ipv4", &link.name, "arp_notify", "1")?;
    }
    links.set_up(link.index)?;
    // In this order: IPv6's detection, which the kernel does, goes on during ours.
    for prefix in &v6 {
        links.add_address(link.index, *prefix)?;
    }
    unique::take(links, link, &v4)?;
    for route in &addressing.routes {
        let gateway = addressing.next_hop(route);
        let destination = route.dst;
        let route = Route {
            index: link.index,
            destination,
            gateway,
            metric: None,
            mtu: None,
            source: None,
        };
        match links.add_route(&route) {
            // Of two networks with a route to one place the first wins, as with other plugins.
            Err(error) if error.errno() == Some(errno::EEXIST) => {
                tracing::info!(destination = %destination, "the pod has such a route already");
            }
            added => added?,
        }
    }
    if v6.is_empty() { Ok(()) } else { unique::settle(links, link.index) }
}

/// `/proc/sys/net` is that of the namespace of the thread that reads it. What is set goes with the
/// interface when it leaves the namespace.
fn set(family: &str, ifname: &str, name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{family}/conf/{ifname}/{name}");
    match fs::write(&path, value) {
        // A kernel without IPv6 says so when the address is added.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        written => written.map_err(Error::because(Code::Io, format!("write {value:?} to {path}"))),
    }
}

fn because(what: &str, asked: &str, has: &str) -> impl FnOnce(ringway_kernel::Error) -> Error {
    Error::because(Code::Config, format!("{what} {asked} was asked for, the interface has {has}"))
}

/// A value that the device cannot have, named beside the one that it has.
pub fn cannot(what: &str, asked: &str, has: &str, why: &str) -> Error {
    let text = format!("{what} {asked} was asked for, the interface has {has}: {why}");
    Error::new(Code::Config, text)
}
