//! What a device is now, against what its pool and its device-info say of it.

use std::fs;

use ringway_kernel::{auxiliary, bus, sriov};
use ringway_node::{
    devinfo::{self, DeviceInfo, Vdpa, VdpaDriver},
    pools::{Device, Pool},
};

use crate::{
    attachment::Attachment,
    error::{Code, Error, Result},
    place::Place,
    vf::{self, Function},
    world::World,
};

/// Where a device is, and what its driver makes of it now, if that is what the pool promises.
pub(super) fn as_it_is(world: &World, pool: &Pool, device: &Device) -> Result<(Place, Attachment)> {
    let promised = Attachment::from(pool.attach);
    let id = &device.id;
    let function = device.function();
    let place = place(device, function.as_ref(), promised)?;
    if !place.exists(&world.root) {
        return Err(Error::new(Code::TryAgain, format!("device {id}: {place} is not there")));
    }
    if let (Place::Vdpa(name), Some(function)) = (&place, &function) {
        made_on(world, name, function)?;
    }
    if let Some(bus::Address::Auxiliary(name)) = &function {
        same_subfunction(world, device, name)?;
    }
    let now = place.now(&world.root)?;
    if now.attachment == Some(promised) {
        return Ok((place, promised));
    }
    let text = format!(
        "device {id}: pool {} promises {promised}, but {place} is {}",
        pool.name, now.words
    );
    Err(Error::new(Code::TryAgain, text).advise("the agent binds it: look at its status and log"))
}

fn place(device: &Device, function: Option<&bus::Address>, promised: Attachment) -> Result<Place> {
    let id = &device.id;
    match (promised.is_vdpa(), &device.vdpa, function) {
        (true, Some(vdpa), _) => Ok(Place::Vdpa(vdpa.name.clone())),
        (true, None, _) => {
            Err(Error::new(Code::TryAgain, format!("device {id} has no vDPA device")))
        }
        (false, _, Some(address)) => Ok(address.clone().into()),
        (false, _, None) => {
            let text = format!(
                "device {id} attaches as {promised}, and is no function: others are not attached so"
            );
            Err(Error::new(Code::Config, text))
        }
    }
}

/// Names of vDPA devices are given out again: it must still be below the function that it was made
/// on.
fn made_on(world: &World, vdpa: &str, function: &bus::Address) -> Result<()> {
    let dir = ringway_kernel::vdpa_bus::dir(&world.root, vdpa)?;
    let real = fs::canonicalize(&dir)
        .map_err(Error::because(Code::Io, format!("resolve {}", dir.display())))?;
    let address = function.to_string();
    if real.iter().any(|part| *part == *address) {
        return Ok(());
    }
    let text = format!(
        "vDPA device {vdpa} is at {}, not below {address} where it was made",
        real.display()
    );
    Err(Error::new(Code::TryAgain, text))
}

/// Numbers on the auxiliary bus are given out again: it must still be the subfunction that the pool
/// means, by its PF and the number that its maker gave it.
fn same_subfunction(world: &World, device: &Device, name: &auxiliary::Name) -> Result<()> {
    let gone = Error::because(Code::TryAgain, format!("device {}", device.id));
    let pf = auxiliary::function(&world.root, name).map_err(gone)?;
    let number = auxiliary::sfnum(&world.root, name)?;
    if device.pf_pci_address.is_none_or(|known| known == pf)
        && number.is_none_or(|number| number == device.index)
    {
        return Ok(());
    }
    let number = number.map_or_else(|| "of no number".to_owned(), |number| number.to_string());
    let text = format!(
        "device {}: subfunction {name} is {number} of PF {pf}, and its pool means {} of PF {}",
        device.id, device.index, device.parent
    );
    Err(Error::new(Code::TryAgain, text).advise("the agent will see it: look at its status"))
}

/// The VF that a function is, by the PF that it has now; `None` for a vDPA device or a subfunction.
pub(super) fn function(world: &World, device: &Device, place: &Place) -> Result<Option<Function>> {
    let Place::Pci(address) = place else { return Ok(None) };
    let Some(pf) = sriov::physfn(&world.root, *address)? else {
        let text = format!("device {}: {place} is no VF: only functions of a PF are", device.id);
        return Err(Error::new(Code::Config, text));
    };
    let gone =
        || Error::new(Code::TryAgain, format!("device {}: PF {pf} has {place} no more", device.id));
    vf::of_pf(&world.root, pf, *address)?.ok_or_else(gone).map(Some)
}

/// What the device plugin has told of the device must be so; the names of its RDMA devices, which
/// nobody else tells, come from there.
pub(super) fn as_told(
    world: &World,
    pool: &Pool,
    device: &Device,
    attachment: Attachment,
) -> Result<Option<String>> {
    let path = devinfo::plugin_file(&world.paths.devinfo, &pool.resource, &device.id);
    let info = match DeviceInfo::read(&path) {
        Ok(info) => info,
        Err(devinfo::Error::File(error)) if error.is_not_found() => return Ok(None),
        Err(error) => {
            tracing::warn!(device = %device.id, error = %error, "device-info is not understood");
            return Ok(None);
        }
    };
    let (fits, told) = match &info {
        DeviceInfo::Pci { .. } => (!attachment.is_vdpa(), "a PCI function"),
        DeviceInfo::Vdpa { vdpa: Vdpa { driver: VdpaDriver::Virtio, .. }, .. } => {
            (attachment == Attachment::VirtioVdpa, "a virtio-vdpa device")
        }
        DeviceInfo::Vdpa { vdpa: Vdpa { driver: VdpaDriver::Vhost, .. }, .. } => {
            (attachment == Attachment::VhostVdpa, "a vhost-vdpa device")
        }
    };
    if fits {
        return Ok(match info {
            DeviceInfo::Pci { pci, .. } => pci.rdma_device,
            DeviceInfo::Vdpa { .. } => None,
        });
    }
    let text = format!(
        "device {}: device-info {} tells of {told}, but it attaches as {attachment}",
        device.id,
        path.display()
    );
    let advice = "the device plugin writes the file anew when the device changes: look at its log";
    Err(Error::new(Code::TryAgain, text).advise(advice))
}
