//! CHECK: what is there, against what ADD made.

use std::{fmt::Display, net::IpAddr};

use ringway_kernel::{
    link::{Address, Link, Links, NextHop},
    pci,
    vdpa::Config,
};

use crate::{
    add::Call,
    attachment::Attachment,
    chain::{self, Told},
    error::{Code, Error, Result},
    expected, genl, netdev,
    place::Place,
    record::{Phase, Record},
    result::{Route, Success},
    vf,
    world::World,
};

/// Compares; the first difference is the error, of code 100.
pub fn check(world: &World, call: Call<'_>) -> Result<()> {
    let record = Record::read(&world.paths.attachments, call.target)?
        .filter(|record| record.phase == Phase::Attached)
        .ok_or_else(|| differs("attachment", "none", "one that ADD made"))?;
    let Some(success) = &record.result else {
        return Err(differs("record", "no result", "one"));
    };
    let told = chain::check(call.conf, success)?;
    if !record.of_this_boot(&world.root)? {
        return Err(differs("attachment", "one of an earlier boot", "one of this boot"));
    }
    let now = record.place.now(&world.root)?;
    if now.attachment != Some(record.attachment) {
        let what = format!("attachment of {}", record.place);
        return Err(differs(&what, &now.words, &record.attachment.to_string()));
    }
    expected::check(world, &call.conf.vdpa, &record)?;
    if record.attachment.moves_interface() {
        check_netdev(world, &record, success, &told)?;
    }
    match (record.attachment, &record.place) {
        (Attachment::VhostVdpa, Place::Vdpa(vdpa)) => check_vhost(world, &record, vdpa, success)?,
        (Attachment::Vfio | Attachment::Uio, Place::Pci(address)) => {
            check_function(world, *address, success)?;
        }
        _ => {}
    }
    if let Some(change) = &record.function
        && let Some((expected, found)) = vf::compare(world, change)?
    {
        let what = format!("setting of {}", change.function);
        return Err(differs(&what, &found, &expected.to_string()));
    }
    match call.ipam() {
        Some(ipam) => ipam.check(call.target, success),
        None => Ok(()),
    }
}

/// What the device offers its driver, as ADD told it.
fn check_vhost(world: &World, record: &Record, vdpa: &str, success: &Success) -> Result<()> {
    match genl::vdpa_config(world, &record.device, vdpa)? {
        Some(config) => compare_vhost(vdpa, &config, success),
        None => Ok(()),
    }
}

fn compare_vhost(vdpa: &str, config: &Config, success: &Success) -> Result<()> {
    let of = format!("vDPA device {vdpa}");
    same("MAC", &of, config.mac, success.interface.mac)?;
    same("MTU", &of, config.mtu.map(u32::from), success.interface.mtu)
}

/// The address that the PF has for the function, as ADD told it.
fn check_function(world: &World, address: pci::Address, success: &Success) -> Result<()> {
    let Some(function) = vf::of(&world.root, address)? else {
        return Err(differs(&format!("PF of function {address}"), "none", "one"));
    };
    let mac = vf::read(world, function)?.and_then(|vf| vf.mac);
    same("MAC", &function.to_string(), mac, success.interface.mac)
}

/// What ADD did not tell is not compared.
pub(crate) fn same<T: PartialEq + Display>(
    what: &str,
    of: &str,
    found: Option<T>,
    expected: Option<T>,
) -> Result<()> {
    match expected {
        Some(expected) if found.as_ref() != Some(&expected) => {
            let found = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
            Err(differs(&format!("{what} of {of}"), &found, &expected.to_string()))
        }
        _ => Ok(()),
    }
}

fn check_netdev(world: &World, record: &Record, success: &Success, told: &Told) -> Result<()> {
    let netns = record.netns.find()?;
    let path = record.netns.path.display().to_string();
    let netns = netns.ok_or_else(|| differs("namespace", "none or another", &path))?;
    let mut inside = Links::open_in(&netns)?;
    let link = netdev::in_pod(&world.root, &record.place, &mut inside)?;
    let what = format!("interface of {} in {path}", record.place);
    let link = link.ok_or_else(|| differs(&what, "none", &success.interface.name))?;
    if let (Some(before), Some(_)) = (&record.before, record.place.vdpa()) {
        // Of a function it may be what the PF was told since (`netdev::make_as_before`).
        let of = format!("interface {}", success.interface.name);
        same("permanent MAC", &of, link.permanent_mac, before.permanent_mac)?;
    }
    let routes = &success.addressing.routes;
    let addresses = inside.addresses()?;
    let destinations: Vec<_> = routes.iter().map(|route| route.dst).collect();
    let found = inside.next_hops(&destinations)?;
    compare(&link, &addresses, success, told)?;
    routes
        .iter()
        .zip(found)
        .try_for_each(|(route, hops)| compare_route(link.index, &hops, route, success))
}

/// The ways to a destination against the route to it that ADD answered, in whatever table: sbr, behind
/// us, moves them to another. Where the pod had a route to the same place already, ADD left that one
/// (`netdev::shape::configure`), and so it stays right.
fn compare_route(index: u32, hops: &[NextHop], route: &Route, success: &Success) -> Result<()> {
    let what = format!("route to {} of interface {}", route.dst, success.interface.name);
    let show = |gateway: Option<IpAddr>| match gateway {
        Some(gateway) => format!("one by {gateway}"),
        None => "one on the link".to_owned(),
    };
    let wanted = success.addressing.next_hop(route);
    let mut own = hops.iter().filter(|hop| hop.index == Some(index)).peekable();
    match own.peek().copied() {
        None if hops.is_empty() => Err(differs(&what, "none", &show(wanted))),
        Some(first) if !own.any(|hop| hop.gateway == wanted) => {
            Err(differs(&what, &show(first.gateway), &show(wanted)))
        }
        _ => Ok(()),
    }
}

/// A link with its addresses against what ADD answered, and what the plugins behind us made of it.
fn compare(link: &Link, addresses: &[Address], success: &Success, told: &Told) -> Result<()> {
    let wanted = &success.interface;
    let of = format!("interface {}", wanted.name);
    same("name", &of, Some(&link.name), Some(&wanted.name))?;
    let mac = told.mac.as_ref().map(|mac| mac.to_ascii_lowercase());
    same("MAC", &of, link.mac.map(|mac| mac.to_string()), mac)?;
    same("MTU", &of, Some(link.mtu), told.mtu)?;
    let has = |prefix| addresses.iter().any(|a| a.index == link.index && a.prefix == prefix);
    match success.addressing.ips.iter().find(|ip| !has(ip.address)) {
        None => Ok(()),
        Some(ip) => {
            let own = addresses.iter().filter(|address| address.index == link.index);
            let own: Vec<_> = own.map(|address| address.prefix.to_string()).collect();
            let found = if own.is_empty() { "none".to_owned() } else { own.join(", ") };
            let what = format!("addresses of interface {}", wanted.name);
            Err(differs(&what, &found, &ip.address.to_string()))
        }
    }
}

pub(crate) fn differs(what: &str, found: &str, expected: &str) -> Error {
    Error::new(Code::Mismatch, format!("{what}: found {found}, expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Addressing, Interface, Ip};

    fn success() -> Success {
        Success {
            interface: Interface {
                name: "net1".into(),
                mac: Some("52:54:00:00:00:01".parse().unwrap()),
                mtu: Some(1500),
                sandbox: String::new(),
                socket_path: None,
                pci_id: None,
            },
            addressing: Addressing {
                ips: vec![Ip {
                    address: "10.0.0.2/24".parse().unwrap(),
                    gateway: Some("10.0.0.1".parse().unwrap()),
                }],
                ..Addressing::default()
            },
        }
    }

    #[test]
    fn a_vhost_device_offers_what_add_told() {
        let success = success();
        let as_told = Config { mac: success.interface.mac, mtu: Some(1500), ..Config::default() };
        let check = |config: Config, told: &str| {
            let text = compare_vhost("v0", &config, &success)
                .map_or_else(|e| e.to_string(), |()| "".into());
            assert_eq!(text, told);
        };
        check(as_told.clone(), "");
        let mtu = Config { mtu: Some(1400), ..as_told.clone() };
        check(mtu, "MTU of vDPA device v0: found 1400, expected 1500");
        let mac = Config { mac: None, ..as_told };
        check(mac, "MAC of vDPA device v0: found none, expected 52:54:00:00:00:01");
        let mut silent = success.clone();
        (silent.interface.mac, silent.interface.mtu) = (None, None);
        compare_vhost("v0", &Config::default(), &silent).unwrap();
    }

    #[test]
    fn each_difference_is_told_with_both_values() {
        let success = success();
        let mac = success.interface.mac;
        let link = Link { index: 4, name: "net1".into(), mac, mtu: 1500, ..Link::default() };
        let prefix = success.addressing.ips[0].address;
        let address = Address { index: 4, prefix, tentative: false, duplicate: false };
        let last = Told { mac: mac.map(|mac| mac.to_string().to_uppercase()), mtu: Some(1500) };
        let check = |link: &Link, addresses: &[Address], told: &str| {
            let text = match compare(link, addresses, &success, &last) {
                Ok(()) => String::new(),
                Err(error) => error.to_string(),
            };
            assert_eq!(text, told);
        };
        let ours = std::slice::from_ref(&address);
        check(&link, ours, "");
        let renamed = Link { name: "eth9".into(), ..link.clone() };
        check(&renamed, ours, "name of interface net1: found eth9, expected net1");
        let other = Link { mac: None, ..link.clone() };
        check(&other, ours, "MAC of interface net1: found none, expected 52:54:00:00:00:01");
        let small = Link { mtu: 1400, ..link.clone() };
        check(&small, ours, "MTU of interface net1: found 1400, expected 1500");
        check(&link, &[], "addresses of interface net1: found none, expected 10.0.0.2/24");
        let elsewhere = [Address { index: 5, ..address }];
        check(&link, &elsewhere, "addresses of interface net1: found none, expected 10.0.0.2/24");
    }

    #[test]
    fn a_route_may_be_another_networks_but_not_another_way_of_ours() {
        let success = success();
        let check = |hops: &[(u32, Option<&str>)], gw: Option<&str>, told: &str| {
            let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
            let hops: Vec<_> = hops
                .iter()
                .map(|(index, gateway)| NextHop { index: Some(*index), gateway: gateway.map(ip) })
                .collect();
            let route = Route { dst: "10.1.0.0/16".parse().unwrap(), gw: gw.map(ip) };
            let found = compare_route(4, &hops, &route, &success);
            assert_eq!(found.err().map(|error| error.to_string()).unwrap_or_default(), told);
        };
        let what = "route to 10.1.0.0/16 of interface net1";
        check(&[(4, Some("10.0.0.1"))], None, "");
        check(&[(4, Some("10.0.0.9")), (4, Some("10.0.0.1"))], None, "");
        check(&[(3, None)], None, "");
        check(&[], None, &format!("{what}: found none, expected one by 10.0.0.1"));
        let other = format!("{what}: found one by 10.0.0.1, expected one by 10.0.0.2");
        check(&[(4, Some("10.0.0.1")), (3, Some("10.0.0.2"))], Some("10.0.0.2"), &other);
        let on_link = format!("{what}: found one on the link, expected one by 10.0.0.1");
        check(&[(4, None)], None, &on_link);
    }
}
