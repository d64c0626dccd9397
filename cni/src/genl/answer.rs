//! The child's part: it sends, and says what came of it.

use ringway_kernel::{
    Result,
    devlink::{Devlink, Handle},
    pci,
    vdpa::{Config, Vdpa},
};
use serde::Serialize;
use serde_json::Value;

use super::{Port, Request};
use crate::error::Error;

/// Carries out a request, as it is on the command line, and gives the answer in JSON.
pub fn answer(request: &str) -> String {
    let answer: std::result::Result<Value, String> = match serde_json::from_str(request) {
        Ok(request) => send(&request).map_err(|error| Error::from(error).chain()),
        Err(error) => Err(error.to_string()),
    };
    serde_json::to_string(&answer).unwrap_or_default()
}

fn send(request: &Request) -> Result<Value> {
    Ok(match request {
        Request::VdpaConfig(vdpa) => json(config(vdpa)?),
        Request::Port(pf, representor) => json(port(*pf, *representor)?),
        Request::SetMac(pf, port, mac) => {
            Devlink::require()?.set_function_mac(&Handle::pci(*pf), *port, *mac)?;
            Value::Null
        }
        Request::SetRates(pf, port, rates) => {
            Devlink::require()?.set_rates(&Handle::pci(*pf), *port, *rates)?;
            Value::Null
        }
    })
}

fn json(answer: impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap_or_default()
}

fn config(vdpa: &str) -> Result<Option<Config>> {
    let Some(family) = Vdpa::open()? else { return Ok(None) };
    match family.config(vdpa) {
        Err(error) if error.is_missing() => Ok(None),
        config => config.map(Some),
    }
}

/// `None` where the representor is of no port: bnxt's (`bnxt_vf_rep_netdev_init`), or of a device that
/// is not the PF's.
fn port(pf: pci::Address, representor: u32) -> Result<Option<Port>> {
    let Some(devlink) = Devlink::open()? else { return Ok(None) };
    let device = Handle::pci(pf);
    let ports = match devlink.vf_ports(&device) {
        Err(error) if error.is_missing() => return Ok(None),
        ports => ports?,
    };
    let Some(port) = ports.into_iter().find(|port| port.netdev == Some(representor)) else {
        return Ok(None);
    };
    let rate = devlink.rates(&device, port.index)?;
    Ok(Some(Port { index: port.index, mac: port.mac, rate }))
}
