//! No two hosts with one address: asked on the network before a pod uses its own, and told to those
//! who knew another host by it.

use std::{
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use ringway_kernel::{
    IpPrefix, Mac,
    arp::Arp,
    link::{Address, Link, Links},
};

use crate::error::{Code, Error, Result};

/// A second and a random part of one by default (`router_solicitation_delay`, `dad_transmits`), and
/// more on a busy node.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);
/// Twice the time after which drivers look at their link again (igbvf's watchdog).
const CARRIER_WITHIN: Duration = Duration::from_secs(4);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// RFC 5227 section 1.1 (`PROBE_NUM`, `ANNOUNCE_NUM`): any of them may be lost.
const PROBES: u32 = 3;
const ANNOUNCEMENTS: u32 = 2;
/// The specification's one to two seconds are for networks of 2008; NetworkManager waits 200 ms in
/// all (`ipv4.dad-timeout`).
const EVERY: Duration = Duration::from_millis(100);
/// Between two probes: who floods the network must not hold us up.
const MOST_PACKETS: usize = 1000;

/// Gives a link that is set up its IPv4 addresses, once nobody else says to have them, and tells
/// the network. Without a carrier there is nobody to ask.
pub(super) fn take(links: &mut Links, link: &Link, prefixes: &[IpPrefix]) -> Result<()> {
    let addresses: Vec<Ipv4Addr> = prefixes.iter().copied().filter_map(v4).collect();
    // InfiniBand's addresses are not Ethernet's.
    let network = match link.mac {
        Some(mac) if !addresses.is_empty() && has_carrier(links, link.index)? => {
            Some((Arp::open(link, mac)?, mac))
        }
        _ => None,
    };
    if let Some((arp, mac)) = &network {
        look(arp, *mac, &addresses)?;
    }
    for prefix in prefixes {
        links.add_address(link.index, *prefix)?;
    }
    if let Some((arp, _)) = &network {
        for round in 0..ANNOUNCEMENTS {
            if round > 0 {
                thread::sleep(EVERY);
            }
            addresses.iter().try_for_each(|address| arp.announce(*address))?;
        }
    }
    Ok(())
}

fn v4(prefix: IpPrefix) -> Option<Ipv4Addr> {
    match prefix.address() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn look(arp: &Arp, own: Mac, addresses: &[Ipv4Addr]) -> Result<()> {
    for _ in 0..PROBES {
        addresses.iter().try_for_each(|address| arp.probe(*address))?;
        let deadline = Instant::now() + EVERY;
        for _ in 0..MOST_PACKETS {
            let Some(packet) = arp.receive(deadline)? else { break };
            for address in addresses {
                if let Some(other) = packet.claims(*address, own) {
                    return Err(taken(&format!("{address}: the host with MAC {other}")));
                }
            }
        }
    }
    Ok(())
}

fn taken(by: &str) -> Error {
    let advice = "see what else gives addresses there, or exclude this one in `ipam`";
    Error::new(Code::TryAgain, format!("address {by} on the network has it")).advise(advice)
}

fn has_carrier(links: &mut Links, index: u32) -> Result<bool> {
    let start = Instant::now();
    let sends = |link: Link| link.carrier && link.running;
    while !sends(links.get(index)?) {
        if start.elapsed() > CARRIER_WITHIN {
            tracing::warn!("no carrier: nobody can be asked who has the addresses");
            return Ok(false);
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(true)
}

/// Waits until IPv6's detection of duplicates has ended (RFC 4862 section 5.4): before that nothing
/// can be sent from the address, and a container that binds it would fail (EADDRNOTAVAIL).
pub(super) fn settle(links: &mut Links, index: u32) -> Result<()> {
    let start = Instant::now();
    loop {
        match detection(&links.addresses()?, index) {
            Detection::Unique => return Ok(()),
            Detection::Duplicate(prefix) => {
                return Err(taken(&format!("{prefix}: another host")));
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
