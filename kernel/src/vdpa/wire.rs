//! The family's messages as bytes, both ways.

use super::{Classes, Config, Device, Handle, ManagementDevice, NewDevice};
use crate::{
    error::{Error, Result},
    features::Features,
    genl,
    mac::Mac,
    netlink::attribute::{self, Attribute, push, push_string},
};

/// The family's name (`VDPA_GENL_NAME`).
pub const FAMILY: &str = "vdpa";
/// The family's version (`VDPA_GENL_VERSION`).
pub const VERSION: u8 = 1;

/// `enum vdpa_command`, include/uapi/linux/vdpa.h.
pub mod command {
    /// `VDPA_CMD_MGMTDEV_GET`.
    pub const MGMTDEV_GET: u8 = 2;
    /// `VDPA_CMD_DEV_NEW`.
    pub const DEV_NEW: u8 = 3;
    /// `VDPA_CMD_DEV_DEL`.
    pub const DEV_DEL: u8 = 4;
    /// `VDPA_CMD_DEV_GET`.
    pub const DEV_GET: u8 = 5;
    /// `VDPA_CMD_DEV_CONFIG_GET`.
    pub const DEV_CONFIG_GET: u8 = 6;
    /// `VDPA_CMD_DEV_VSTATS_GET`, from Linux 5.19.
    pub const DEV_VSTATS_GET: u8 = 7;
    /// `VDPA_CMD_DEV_ATTR_SET`, from Linux 6.12.
    pub const DEV_ATTR_SET: u8 = 8;
}

/// `enum vdpa_attr`, include/uapi/linux/vdpa.h.
pub mod attr {
    /// `VDPA_ATTR_MGMTDEV_BUS_NAME`, string, absent without a bus.
    pub const MGMTDEV_BUS_NAME: u16 = 1;
    /// `VDPA_ATTR_MGMTDEV_DEV_NAME`, string.
    pub const MGMTDEV_DEV_NAME: u16 = 2;
    /// `VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES`, u64.
    pub const MGMTDEV_SUPPORTED_CLASSES: u16 = 3;
    /// `VDPA_ATTR_DEV_NAME`, string.
    pub const DEV_NAME: u16 = 4;
    /// `VDPA_ATTR_DEV_ID`, u32.
    pub const DEV_ID: u16 = 5;
    /// `VDPA_ATTR_DEV_VENDOR_ID`, u32.
    pub const DEV_VENDOR_ID: u16 = 6;
    /// `VDPA_ATTR_DEV_MAX_VQS`, u32.
    pub const DEV_MAX_VQS: u16 = 7;
    /// `VDPA_ATTR_DEV_MAX_VQ_SIZE`, u16.
    pub const DEV_MAX_VQ_SIZE: u16 = 8;
    /// `VDPA_ATTR_DEV_NET_CFG_MACADDR`, 6 bytes.
    pub const DEV_NET_CFG_MACADDR: u16 = 10;
    /// `VDPA_ATTR_DEV_NET_STATUS`, u16 (the header's comment says u8, and is wrong).
    pub const DEV_NET_STATUS: u16 = 11;
    /// `VDPA_ATTR_DEV_NET_CFG_MAX_VQP`, u16.
    pub const DEV_NET_CFG_MAX_VQP: u16 = 12;
    /// `VDPA_ATTR_DEV_NET_CFG_MTU`, u16.
    pub const DEV_NET_CFG_MTU: u16 = 13;
    /// `VDPA_ATTR_DEV_NEGOTIATED_FEATURES`, u64.
    pub const DEV_NEGOTIATED_FEATURES: u16 = 14;
    /// `VDPA_ATTR_DEV_MGMTDEV_MAX_VQS`, u32.
    pub const DEV_MGMTDEV_MAX_VQS: u16 = 15;
    /// `VDPA_ATTR_DEV_SUPPORTED_FEATURES`, u64.
    pub const DEV_SUPPORTED_FEATURES: u16 = 16;
    /// `VDPA_ATTR_DEV_QUEUE_INDEX`, u32.
    pub const DEV_QUEUE_INDEX: u16 = 17;
    /// `VDPA_ATTR_DEV_VENDOR_ATTR_NAME`, string.
    pub const DEV_VENDOR_ATTR_NAME: u16 = 18;
    /// `VDPA_ATTR_DEV_VENDOR_ATTR_VALUE`, u64: the value of the name before it.
    pub const DEV_VENDOR_ATTR_VALUE: u16 = 19;
    /// `VDPA_ATTR_DEV_FEATURES`, u64.
    pub const DEV_FEATURES: u16 = 20;
}

/// `VIRTIO_NET_S_LINK_UP`.
const STATUS_LINK_UP: u16 = 1;

/// The body of a request for all management devices.
pub fn encode_get_management_devices() -> Vec<u8> {
    genl::body(command::MGMTDEV_GET, VERSION)
}

/// The body of a request for one management device.
pub fn encode_get_management_device(handle: &Handle) -> Vec<u8> {
    let mut body = genl::body(command::MGMTDEV_GET, VERSION);
    push_handle(&mut body, handle);
    body
}

/// The body of a request to make a device.
pub fn encode_create(device: &NewDevice) -> Vec<u8> {
    let mut body = genl::body(command::DEV_NEW, VERSION);
    push_handle(&mut body, &device.management_device);
    push_string(&mut body, attr::DEV_NAME, &device.name);
    if let Some(mac) = device.mac {
        push(&mut body, attr::DEV_NET_CFG_MACADDR, &mac.0);
    }
    if let Some(mtu) = device.mtu {
        push(&mut body, attr::DEV_NET_CFG_MTU, &mtu.to_ne_bytes());
    }
    if let Some(pairs) = device.queue_pairs {
        push(&mut body, attr::DEV_NET_CFG_MAX_VQP, &pairs.to_ne_bytes());
    }
    if let Some(features) = device.features {
        push(&mut body, attr::DEV_FEATURES, &features.0.to_ne_bytes());
    }
    body
}

/// The body of a request that names only a device: get, config get, delete.
pub fn encode_named(command: u8, name: &str) -> Vec<u8> {
    let mut body = genl::body(command, VERSION);
    push_string(&mut body, attr::DEV_NAME, name);
    body
}

/// The body of a request for what the driver counts for one virtqueue.
pub fn encode_get_vendor_stats(name: &str, queue: u32) -> Vec<u8> {
    let mut body = encode_named(command::DEV_VSTATS_GET, name);
    push(&mut body, attr::DEV_QUEUE_INDEX, &queue.to_ne_bytes());
    body
}

/// The body of a request to set a device's MAC.
pub fn encode_set_mac(name: &str, mac: Mac) -> Vec<u8> {
    let mut body = encode_named(command::DEV_ATTR_SET, name);
    push(&mut body, attr::DEV_NET_CFG_MACADDR, &mac.0);
    body
}

/// The body of a request for all devices.
pub fn encode_get_devices() -> Vec<u8> {
    genl::body(command::DEV_GET, VERSION)
}

/// A management device from an answer's body.
pub fn parse_management_device(body: &[u8]) -> Result<ManagementDevice> {
    let mut handle = HandleParts::default();
    let (mut classes, mut features, mut max_virtqueues) = (Classes::default(), None, None);
    for attribute in attributes(body)? {
        let attribute = attribute?;
        match attribute.kind {
            attr::MGMTDEV_SUPPORTED_CLASSES => classes = Classes(attribute.u64()?),
            attr::DEV_SUPPORTED_FEATURES => features = Some(Features(attribute.u64()?)),
            attr::DEV_MGMTDEV_MAX_VQS => max_virtqueues = Some(attribute.u32()?),
            _ => handle.take(&attribute)?,
        }
    }
    Ok(ManagementDevice { handle: handle.finish()?, classes, features, max_virtqueues })
}

/// A device from an answer's body.
pub fn parse_device(body: &[u8]) -> Result<Device> {
    let mut handle = HandleParts::default();
    let (mut name, mut device_id, mut vendor_id) = (None, None, 0);
    let (mut max_virtqueues, mut max_virtqueue_size) = (0, 0);
    for attribute in attributes(body)? {
        let attribute = attribute?;
        match attribute.kind {
            attr::DEV_NAME => name = Some(attribute.string()?),
            attr::DEV_ID => device_id = Some(attribute.u32()?),
            attr::DEV_VENDOR_ID => vendor_id = attribute.u32()?,
            attr::DEV_MAX_VQS => max_virtqueues = attribute.u32()?,
            attr::DEV_MAX_VQ_SIZE => max_virtqueue_size = attribute.u16()?,
            _ => handle.take(&attribute)?,
        }
    }
    Ok(Device {
        name: name.ok_or_else(|| absent("VDPA_ATTR_DEV_NAME"))?,
        management_device: handle.finish()?,
        device_id: device_id.ok_or_else(|| absent("VDPA_ATTR_DEV_ID"))?,
        vendor_id,
        max_virtqueues,
        max_virtqueue_size,
    })
}

/// A network device's configuration from an answer's body.
pub fn parse_config(body: &[u8]) -> Result<Config> {
    let mut config = Config::default();
    for attribute in attributes(body)? {
        let attribute = attribute?;
        match attribute.kind {
            attr::DEV_NET_CFG_MACADDR => {
                let mac = Mac::from_bytes(attribute.value);
                config.mac = Some(mac.ok_or_else(|| attribute.bad("6 bytes"))?);
            }
            attr::DEV_NET_CFG_MTU => config.mtu = Some(attribute.u16()?),
            attr::DEV_NET_CFG_MAX_VQP => config.max_queue_pairs = Some(attribute.u16()?),
            attr::DEV_NET_STATUS => {
                config.link_up = Some(attribute.u16()? & STATUS_LINK_UP != 0);
            }
            attr::DEV_FEATURES => config.features = Some(Features(attribute.u64()?)),
            attr::DEV_NEGOTIATED_FEATURES => {
                config.negotiated = Some(Features(attribute.u64()?));
            }
            // Number 21 was the device's features in 6.1 and is a block size from 6.9: not read.
            _ => {}
        }
    }
    Ok(config)
}

/// What the driver counts for one virtqueue, from an answer's body: names of the driver's, in its
/// order.
pub fn parse_vendor_stats(body: &[u8]) -> Result<Vec<(String, u64)>> {
    let (mut found, mut name) = (Vec::new(), None);
    for attribute in attributes(body)? {
        let attribute = attribute?;
        match attribute.kind {
            attr::DEV_VENDOR_ATTR_NAME => name = Some(attribute.string()?),
            attr::DEV_VENDOR_ATTR_VALUE => {
                let name = name.take().ok_or_else(|| absent("VDPA_ATTR_DEV_VENDOR_ATTR_NAME"))?;
                found.push((name, attribute.u64()?));
            }
            _ => {}
        }
    }
    Ok(found)
}

#[derive(Default)]
struct HandleParts {
    bus: Option<String>,
    name: Option<String>,
}

impl HandleParts {
    fn take(&mut self, attribute: &Attribute<'_>) -> Result<()> {
        match attribute.kind {
            attr::MGMTDEV_BUS_NAME => self.bus = Some(attribute.string()?),
            attr::MGMTDEV_DEV_NAME => self.name = Some(attribute.string()?),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Handle> {
        let name = self.name.ok_or_else(|| absent("VDPA_ATTR_MGMTDEV_DEV_NAME"))?;
        Ok(Handle { bus: self.bus, name })
    }
}

fn push_handle(body: &mut Vec<u8>, handle: &Handle) {
    // The kernel compares the bus too: it must be absent for a management device without one.
    if let Some(bus) = &handle.bus {
        push_string(body, attr::MGMTDEV_BUS_NAME, bus);
    }
    push_string(body, attr::MGMTDEV_DEV_NAME, &handle.name);
}

fn attributes(body: &[u8]) -> Result<impl Iterator<Item = Result<Attribute<'_>>>> {
    let (_, attributes) = genl::split(body)?;
    Ok(attribute::parse(attributes))
}

fn absent(name: &'static str) -> Error {
    Error::parse("vdpa netlink message", &format!("no {name}"), "every attribute that names it")
}
