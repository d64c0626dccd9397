//! CHECK of what the chain says in the end against what our ADD answered.

use super::{Interface, Ip, Previous};
use crate::{
    check::{differs, same},
    error::{Code, Error, Result},
    netconf::NetConf,
    result::Success,
    version::Version,
};

/// Whether our interface and addresses are in the result of the whole chain, which a runtime must
/// give (section "CHECK"); the first difference is the error.
pub fn check(conf: &NetConf, own: &Success) -> Result<()> {
    let Some(all) = Previous::of(conf)? else {
        let text =
            "network configuration: field prevResult is missing: CHECK wants what ADD answered";
        return Err(Error::new(Code::Config, text));
    };
    let index = ours(&all, own)?;
    compare_interface(&all.interfaces[index], own, conf.version)?;
    own.addressing.ips.iter().try_for_each(|ip| {
        let is_it = |other: &&Ip| other.address == ip.address;
        let what = format!("address {} in prevResult", ip.address);
        match all.ips.iter().find(is_it) {
            None => {
                Err(differs(&what, "none", &format!("one of interface {}", own.interface.name)))
            }
            Some(Ip { interface: Some(other), .. }) if *other != index => {
                Err(differs(&what, &format!("one of interface {other}"), &index.to_string()))
            }
            Some(_) => Ok(()),
        }
    })
}

fn ours(all: &Previous, own: &Success) -> Result<usize> {
    let (name, sandbox) = (own.interface.name.as_str(), own.interface.sandbox.as_str());
    if let Some(index) = all.position(name, sandbox) {
        return Ok(index);
    }
    let of_its_name = all.interfaces.iter().find(|other| other.name == name);
    Err(match of_its_name {
        Some(other) => {
            let found = other.sandbox.as_deref().unwrap_or("none");
            differs(&format!("sandbox of interface {name} in prevResult"), found, sandbox)
        }
        None => differs(
            &format!("interface {name} in prevResult"),
            "none",
            &format!("one in {sandbox}"),
        ),
    })
}

fn compare_interface(found: &Interface, own: &Success, version: Version) -> Result<()> {
    let name = &own.interface.name;
    if let Some(mac) = own.interface.mac.map(|mac| mac.to_string()) {
        let told = found.mac.as_deref().unwrap_or("none");
        if !told.eq_ignore_ascii_case(&mac) {
            return Err(differs(&format!("MAC of interface {name} in prevResult"), told, &mac));
        }
    }
    // older versions have none
    if version < Version::V1_1_0 {
        return Ok(());
    }
    same("MTU", &format!("interface {name} in prevResult"), found.mtu, own.interface.mtu)
}
