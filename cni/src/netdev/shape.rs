//! Making a netdev in a pod what the network asks for. All of it runs in the pod's namespace.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use ringway_kernel::{
    IpPrefix, Mac,
    error::errno,
    link::{Address, Link, Links, Route},
};

use super::address;
use crate::{
    error::{Code, Error, Result},
    result::Addressing,
};

/// A second and a random part of one by default (`router_solicitation_delay`, `dad_transmits`), and
/// more on a busy node.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);
/// Drivers that look at their link from time to time take up to two seconds (igbvf's watchdog).
const CARRIER_WITHIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

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
        addressing.ips.iter().partition(|ip| ip.address.address().is_ipv6());
    if !v6.is_empty() {
        // Some runtimes turn IPv6 off for interfaces to come; an address would then be refused
        // (EACCES).
        set("ipv6", &link.name, "disable_ipv6", "0")?;
        // Announces an address when its detection of duplicates has ended (addrconf_dad_completed,
        // net/ipv6/addrconf.c).
        set("ipv6", &link.name, "ndisc_notify", "1")?;
    }
    // Announces what addresses the link has at the moment it goes up (inetdev_event,
    // net/ipv4/devinet.c), so that neighbours forget who had them before.
    if !v4.is_empty() {
        set("ipv4", &link.name, "arp_notify", "1")?;
    }
    for ip in v4 {
        links.add_address(link.index, ip.address)?;
    }
    links.set_up(link.index)?;
    for ip in &v6 {
        links.add_address(link.index, ip.address)?;
    }
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
    if v6.is_empty() { Ok(()) } else { settle(links, link.index) }
}

/// Waits until IPv6's detection of duplicates has ended (RFC 4862 section 5.4): before that nothing
/// can be sent from the address, and a container that binds it would fail (EADDRNOTAVAIL).
fn settle(links: &mut Links, index: u32) -> Result<()> {
    let start = Instant::now();
    loop {
        match detection(&links.addresses()?, index) {
            Detection::Unique => return Ok(()),
            Detection::Duplicate(prefix) => {
                let text = format!("address {prefix}: another host on the network has it");
                let advice = "see what else gives addresses there, or exclude this one in `ipam`";
                return Err(Error::new(Code::TryAgain, text).advise(advice));
            }
            // Without a carrier it does not begin, and goes on by itself when there is one.
            Detection::Runs if !links.get(index)?.carrier && start.elapsed() > CARRIER_WITHIN => {
                tracing::warn!(
                    "no carrier: whether the addresses are unique is seen when it comes"
                );
                return Ok(());
            }
            Detection::Runs if start.elapsed() > SETTLES_WITHIN => {
                let text =
                    format!("the kernel still looks for duplicates after {SETTLES_WITHIN:?}");
                return Err(Error::new(Code::TryAgain, text));
            }
            Detection::Runs => thread::sleep(LOOK_AGAIN),
        }
    }
}

/// How far the kernel is with looking for other hosts that have a link's addresses.
#[derive(Debug, PartialEq, Eq)]
enum Detection {
    Unique,
    Runs,
    Duplicate(IpPrefix),
}

fn detection(addresses: &[Address], index: u32) -> Detection {
    let mut own = addresses.iter().filter(|address| address.index == index);
    if let Some(address) = own.clone().find(|address| address.duplicate) {
        return Detection::Duplicate(address.prefix);
    }
    // Its own link-local address may still be looked at; nobody asked for that one.
    match own.any(|address| address.tentative && !address.prefix.is_link_local()) {
        true => Detection::Runs,
        false => Detection::Unique,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_unique_once_the_kernel_has_looked() {
        let address = |index, prefix: &str, tentative, duplicate| Address {
            index,
            prefix: prefix.parse().unwrap(),
            tentative,
            duplicate,
        };
        let check = |addresses: &[Address], expected| {
            assert_eq!(detection(addresses, 4), expected, "{addresses:?}");
        };
        let own = || address(4, "fd00::2/64", false, false);
        check(&[own(), address(4, "10.0.0.2/24", false, false)], Detection::Unique);
        check(&[own(), address(4, "fd00::3/64", true, false)], Detection::Runs);
        check(&[own(), address(4, "fe80::3/64", true, false)], Detection::Unique);
        check(&[own(), address(5, "fd00::3/64", true, false)], Detection::Unique);
        let other = "fd00::3/64".parse().unwrap();
        check(&[own(), address(4, "fd00::3/64", true, true)], Detection::Duplicate(other));
    }
}
