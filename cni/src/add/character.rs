//! The character device of a vDPA device, or of a function on vfio-pci or a UIO driver, is in the container:
//! nothing is moved. What the network asks of a vDPA device must be so already; what it asks of a
//! function the PF sets.

use ringway_kernel::netns::Netns;

use super::{Call, finish};
use crate::{
    deviceinfo,
    error::{Code, Error, Result},
    grant::Grant,
    netdev::shape::cannot,
    record::Record,
    result::{Interface, Success},
    undo::Guard,
    vf,
    world::World,
};

pub(super) fn attach(
    world: &World,
    call: Call<'_>,
    grant: &Grant,
    netns: &Netns,
    record: Record,
) -> Result<Success> {
    match grant.function {
        Some(_) => no_mtu(call, grant)?,
        None => {
            as_asked("MAC", call.mac(), grant.device.mac)?;
            as_asked("MTU", call.conf.mtu, grant.device.mtu)?;
        }
    }
    let change = record.function.clone();
    let guard = Guard::arm(world, call.path, netns, record)?;
    if let Some(change) = &change {
        vf::apply(world, change)?;
    }
    let interface = interface(world, call, grant)?;
    // The addresses are for whoever runs behind the device: here is no interface to give them to.
    finish(world, call, grant, guard, interface, |_| Ok(()))
}

/// As who is behind the device finds it.
fn interface(world: &World, call: Call<'_>, grant: &Grant) -> Result<Interface> {
    let device = &grant.device;
    let (mac, mtu, socket_path) = match grant.function {
        // Without an address from its PF the function's driver makes one up.
        Some(function) => (vf::read(world, function)?.and_then(|vf| vf.mac), None, None),
        None => (device.mac, device.mtu, Some(deviceinfo::container_path(grant))),
    };
    Ok(Interface {
        name: call.target.ifname.clone(),
        mac,
        mtu,
        sandbox: call.target.sandbox(),
        socket_path,
        pci_id: device.pci_address,
    })
}

fn no_mtu(call: Call<'_>, grant: &Grant) -> Result<()> {
    let Some(mtu) = call.conf.mtu else { return Ok(()) };
    let text = format!(
        "network configuration: field mtu asks for {mtu}, which device {} as {} cannot have: it has \
         no interface here, and whoever drives it sets the MTU",
        grant.device.id, grant.attachment
    );
    Err(Error::new(Code::Config, text))
}

fn as_asked<T: PartialEq + std::fmt::Display>(
    what: &str,
    asked: Option<T>,
    has: Option<T>,
) -> Result<()> {
    match asked {
        Some(asked) if has.as_ref() != Some(&asked) => {
            let has = has.map_or_else(|| "none that is known".to_owned(), |has| has.to_string());
            let why = "a vhost-vdpa device cannot be changed here: set it in its DevicePolicy";
            Err(cannot(what, &asked.to_string(), &has, why))
        }
        _ => Ok(()),
    }
}
