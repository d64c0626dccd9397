//! Making a netdev in a pod what the network asks for. All of it runs in the pod's namespace.

use std::{fs, net::IpAddr};

use ringway_kernel::{
    Mac,
    error::errno,
    link::{Link, Links, Route},
};

use super::address;
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

/// Sets the link up, and gives it its addresses and routes.
pub fn configure(links: &mut Links, link: &Link, addressing: &Addressing) -> Result<()> {
    let is_ipv6 = |address: IpAddr| address.is_ipv6();
    if addressing.ips.iter().any(|ip| is_ipv6(ip.address.address())) {
        allow_ipv6(&link.name)?;
    }
    links.set_up(link.index)?;
    for ip in &addressing.ips {
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
    Ok(())
}

/// Some runtimes turn IPv6 off for interfaces to come; an address would then be refused (EACCES).
/// `/proc/sys/net` is that of the namespace of the thread that reads it.
fn allow_ipv6(ifname: &str) -> Result<()> {
    let path = format!("/proc/sys/net/ipv6/conf/{ifname}/disable_ipv6");
    match fs::write(&path, "0") {
        // A kernel without IPv6 says so when the address is added.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        written => written.map_err(Error::because(Code::Io, format!("write \"0\" to {path}"))),
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
