//! The character device of a vDPA device is in the container by CDI: nothing is moved, and what
//! the network asks of the device must be so already.

use super::{Call, finish};
use crate::{
    deviceinfo,
    error::Result,
    grant::Grant,
    netdev::shape::cannot,
    record::Record,
    result::{Interface, Success},
    undo::Guard,
    world::World,
};

pub(super) fn attach(
    world: &World,
    call: Call<'_>,
    grant: &Grant,
    record: Record,
) -> Result<Success> {
    let device = &grant.device;
    as_asked("MAC", call.mac(), device.mac)?;
    as_asked("MTU", call.conf.mtu, device.mtu)?;
    let guard = Guard::arm(world, call.path, record)?;
    let netns = call.target.netns.as_deref();
    let interface = Interface {
        name: call.target.ifname.clone(),
        mac: device.mac,
        mtu: device.mtu,
        sandbox: netns.map(|path| path.display().to_string()).unwrap_or_default(),
        socket_path: Some(deviceinfo::container_path(grant)),
        pci_id: device.pci_address,
    };
    // The addresses are for whoever runs behind the device: here is no interface to give them to.
    finish(world, call, grant, guard, interface, |_| Ok(()))
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
