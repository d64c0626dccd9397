//! The family's requests, sent.

use tracing::debug;

use super::{Config, Device, Handle, ManagementDevice, NewDevice, explain, wire};
use crate::{
    error::{Error, Result, errno},
    genl,
    mac::Mac,
    netlink::{Message, Subject},
};

/// The family, found.
#[derive(Debug)]
pub struct Vdpa {
    family: genl::Family,
}

impl Vdpa {
    /// Finds the family; `None` if the `vdpa` module is not loaded, or the caller is not in the
    /// first network namespace.
    pub fn open() -> Result<Option<Self>> {
        Ok(genl::Family::find(wire::FAMILY)?.map(|family| Self { family }))
    }

    /// As [`Vdpa::open`], with an error that says what to do.
    pub fn require() -> Result<Self> {
        Self::open()?.ok_or_else(|| {
            genl::missing(
                wire::FAMILY,
                "load the module vdpa, and call from the first network namespace",
            )
        })
    }

    /// All management devices.
    pub fn management_devices(&self) -> Result<Vec<ManagementDevice>> {
        let about = Subject { op: "list", object: "vdpa management devices" };
        let body = wire::encode_get_management_devices();
        let answer = self.family.dump(about, &body)?;
        answer.iter().map(|message| wire::parse_management_device(&message.body)).collect()
    }

    /// One management device.
    pub fn management_device(&self, handle: &Handle) -> Result<ManagementDevice> {
        let object = handle.to_string();
        let about = Subject { op: "get vdpa management device", object: &object };
        let answer = self.family.request(about, &wire::encode_get_management_device(handle))?;
        wire::parse_management_device(only(about, &answer)?)
    }

    /// All devices that management devices made.
    pub fn devices(&self) -> Result<Vec<Device>> {
        let about = Subject { op: "list", object: "vdpa devices" };
        let answer = self.family.dump(about, &wire::encode_get_devices())?;
        answer.iter().map(|message| wire::parse_device(&message.body)).collect()
    }

    /// One device.
    pub fn device(&self, name: &str) -> Result<Device> {
        let about = Subject { op: "get vdpa device", object: name };
        let answer =
            self.family.request(about, &wire::encode_named(wire::command::DEV_GET, name))?;
        wire::parse_device(only(about, &answer)?)
    }

    /// The configuration of one network device.
    ///
    /// One at a time, for the kernel's dump of all ends without a word at the first device that is
    /// neither network nor block.
    pub fn config(&self, name: &str) -> Result<Config> {
        let about = Subject { op: "get configuration of vdpa device", object: name };
        let body = wire::encode_named(wire::command::DEV_CONFIG_GET, name);
        wire::parse_config(only(about, &self.family.request(about, &body)?)?)
    }

    /// What a device's driver counts for one of its virtqueues, by the driver's names; an empty list
    /// where it counts nothing, or no virtio driver runs the device yet. Needs `CAP_NET_ADMIN`.
    ///
    /// Queue 0 receives, 1 sends, and so on in pairs. Only mlx5 and the simulator count
    /// (`get_vendor_vq_stats`).
    pub fn vendor_stats(&self, name: &str, queue: u32) -> Result<Vec<(String, u64)>> {
        let about = Subject { op: "get vendor statistics of vdpa device", object: name };
        match self.family.request(about, &wire::encode_get_vendor_stats(name, queue)) {
            Ok(answer) => wire::parse_vendor_stats(only(about, &answer)?),
            // EAGAIN: features are not negotiated (vdpa_fill_stats_rec, drivers/vdpa/vdpa.c)
            Err(error) if matches!(error.errno(), Some(errno::EOPNOTSUPP | errno::EAGAIN)) => {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a device. Needs `CAP_NET_ADMIN`.
    ///
    /// Refuses a second device where [`Handle::allows_several`] says no, without asking the kernel:
    /// vp_vdpa would take it, and its removal then destroys the kernel's list of devices.
    ///
    /// Sleeps while a bus driver probes the device, 30 s with a dead VDUSE daemon, and then reports
    /// success: turn the bus's autoprobe off first, and go through [`crate::stuck`].
    pub fn create(&self, device: &NewDevice) -> Result<()> {
        debug!(vdpa = device.name, mgmtdev = %device.management_device, "create vdpa device");
        if !device.management_device.allows_several() {
            refuse_second(device, &self.devices()?)?;
        }
        let about = Subject { op: "create vdpa device", object: &device.name };
        self.family
            .request(about, &wire::encode_create(device))
            .map_err(|error| explain::create(error, device))
            .map(drop)
    }

    /// Deletes a device. Needs `CAP_NET_ADMIN`.
    ///
    /// Sleeps for as long as a process has its character device open, and all generic netlink of
    /// the node with it: unbind the bus driver first, and go through [`crate::stuck`].
    pub fn delete(&self, name: &str) -> Result<()> {
        debug!(vdpa = name, "delete vdpa device");
        let about = Subject { op: "delete vdpa device", object: name };
        self.family
            .request(about, &wire::encode_named(wire::command::DEV_DEL, name))
            .map_err(explain::delete)
            .map(drop)
    }

    /// Sets the MAC of a device that no driver runs. Needs `CAP_NET_ADMIN` and Linux 6.12; only
    /// mlx5 and the simulator can (`dev_set_attr`).
    pub fn set_mac(&self, name: &str, mac: Mac) -> Result<()> {
        debug!(vdpa = name, %mac, "set MAC of vdpa device");
        let about = Subject { op: "set MAC of vdpa device", object: name };
        self.family
            .request(about, &wire::encode_set_mac(name, mac))
            .map_err(|error| explain::set_mac(error, mac))
            .map(drop)
    }
}

/// An error if the management device of the one to be made has one.
pub(super) fn refuse_second(new: &NewDevice, devices: &[Device]) -> Result<()> {
    let handle = &new.management_device;
    match devices.iter().find(|device| device.management_device == *handle) {
        Some(first) => Err(Error::Unexpected {
            object: format!("devices of vdpa management device {handle}"),
            found: first.name.clone(),
            expected: format!("none before {}: it can hold one", new.name),
        }),
        None => Ok(()),
    }
}

fn only<'a>(about: Subject<'_>, answer: &'a [Message]) -> Result<&'a [u8]> {
    match answer {
        [message] => Ok(&message.body),
        _ => {
            let found = format!("{} messages", answer.len());
            Err(Error::parse(format!("{} {}", about.op, about.object), &found, "one message"))
        }
    }
}
