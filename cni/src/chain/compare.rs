//! CHECK of what the chain says in the end against what our ADD answered.

use super::{Ip, Previous};
use crate::{
    check::differs,
    error::{Code, Error, Result},
    netconf::NetConf,
    result::Success,
};

/// What our interface has when the whole chain is done: plugins behind us may change what we made
/// (section "CHECK"), and tuning does.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// Its MAC, as somebody wrote it.
    pub mac: Option<String>,
    /// Its MTU; `None` where that is nobody's concern. Before version 1.1.0 a result has none, and
    /// tuning never tells: so ours counts where the network asks us for one.
    pub mtu: Option<u32>,
}

/// Whether our interface and addresses are in the result of the whole chain, which a runtime must
/// give (section "CHECK"), and what that says of the interface; the first difference is the error.
pub fn check(conf: &NetConf, own: &Success) -> Result<Told> {
    let Some(all) = Previous::of(conf)? else {
        let text =
            "network configuration: field prevResult is missing: CHECK wants what ADD answered";
        return Err(Error::new(Code::Config, text));
    };
    let index = ours(&all, own)?;
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
    })?;
    let last = &all.interfaces[index];
    let by_others = last.mtu.filter(|mtu| Some(*mtu) != own.interface.mtu);
    Ok(Told {
        mac: last.mac.clone().or_else(|| own.interface.mac.map(|mac| mac.to_string())),
        mtu: by_others.or(conf.mtu.and(own.interface.mtu)),
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
