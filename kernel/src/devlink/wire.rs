//! The family's messages as bytes, both ways.

use super::{EswitchMode, Handle};
use crate::{
    error::{Error, Result},
    genl,
    netlink::attribute::{self, Attribute, push, push_string},
};

/// The family's name (`DEVLINK_GENL_NAME`).
pub const FAMILY: &str = "devlink";
/// The family's version (`DEVLINK_GENL_VERSION`).
pub const VERSION: u8 = 1;

/// `enum devlink_command`, include/uapi/linux/devlink.h.
pub mod command {
    /// `DEVLINK_CMD_GET`.
    pub const GET: u8 = 1;
    /// `DEVLINK_CMD_PORT_GET`.
    pub const PORT_GET: u8 = 5;
    /// `DEVLINK_CMD_PORT_SET`.
    pub const PORT_SET: u8 = 6;
    /// `DEVLINK_CMD_ESWITCH_GET`.
    pub const ESWITCH_GET: u8 = 29;
    /// `DEVLINK_CMD_ESWITCH_SET`.
    pub const ESWITCH_SET: u8 = 30;
    /// `DEVLINK_CMD_INFO_GET`.
    pub const INFO_GET: u8 = 51;
    /// `DEVLINK_CMD_RATE_GET`.
    pub const RATE_GET: u8 = 74;
    /// `DEVLINK_CMD_RATE_SET`.
    pub const RATE_SET: u8 = 75;
}

/// `enum devlink_attr`, include/uapi/linux/devlink.h.
pub mod attr {
    /// `DEVLINK_ATTR_BUS_NAME`, string.
    pub const BUS_NAME: u16 = 1;
    /// `DEVLINK_ATTR_DEV_NAME`, string.
    pub const DEV_NAME: u16 = 2;
    /// `DEVLINK_ATTR_PORT_INDEX`, u32.
    pub const PORT_INDEX: u16 = 3;
    /// `DEVLINK_ATTR_PORT_NETDEV_IFINDEX`, u32.
    pub const PORT_NETDEV_IFINDEX: u16 = 6;
    /// `DEVLINK_ATTR_ESWITCH_MODE`, u16.
    pub const ESWITCH_MODE: u16 = 25;
    /// `DEVLINK_ATTR_PORT_FLAVOUR`, u16.
    pub const PORT_FLAVOUR: u16 = 77;
    /// `DEVLINK_ATTR_INFO_VERSION_RUNNING`, nested.
    pub const INFO_VERSION_RUNNING: u16 = 101;
    /// `DEVLINK_ATTR_INFO_VERSION_NAME`, string.
    pub const INFO_VERSION_NAME: u16 = 103;
    /// `DEVLINK_ATTR_INFO_VERSION_VALUE`, string.
    pub const INFO_VERSION_VALUE: u16 = 104;
    /// `DEVLINK_ATTR_PORT_PCI_PF_NUMBER`, u16.
    pub const PORT_PCI_PF_NUMBER: u16 = 127;
    /// `DEVLINK_ATTR_PORT_PCI_VF_NUMBER`, u16.
    pub const PORT_PCI_VF_NUMBER: u16 = 128;
    /// `DEVLINK_ATTR_PORT_FUNCTION`, nested.
    pub const PORT_FUNCTION: u16 = 145;
    /// `DEVLINK_ATTR_PORT_EXTERNAL`, u8.
    pub const PORT_EXTERNAL: u16 = 149;
    /// `DEVLINK_ATTR_RATE_TX_SHARE`, u64.
    pub const RATE_TX_SHARE: u16 = 166;
    /// `DEVLINK_ATTR_RATE_TX_MAX`, u64.
    pub const RATE_TX_MAX: u16 = 167;
}

/// `enum devlink_port_function_attr`, include/uapi/linux/devlink.h.
pub mod function {
    /// `DEVLINK_PORT_FUNCTION_ATTR_HW_ADDR`, binary.
    pub const HW_ADDR: u16 = 1;
}

/// `enum devlink_port_flavour`, include/uapi/linux/devlink.h.
pub mod flavour {
    /// `DEVLINK_PORT_FLAVOUR_PCI_VF`.
    pub const PCI_VF: u16 = 4;
}

/// `enum devlink_eswitch_mode`, include/uapi/linux/devlink.h.
pub mod mode {
    /// `DEVLINK_ESWITCH_MODE_LEGACY`.
    pub const LEGACY: u16 = 0;
    /// `DEVLINK_ESWITCH_MODE_SWITCHDEV`.
    pub const SWITCHDEV: u16 = 1;
}

/// The body of a request for all devices.
pub fn encode_get_devices() -> Vec<u8> {
    genl::body(command::GET, VERSION)
}

/// The body of a request for the mode of a device's eswitch.
pub fn encode_get_eswitch(handle: &Handle) -> Vec<u8> {
    named(command::ESWITCH_GET, handle)
}

/// The body of a request to set the mode of a device's eswitch.
pub fn encode_set_eswitch_mode(handle: &Handle, mode: EswitchMode) -> Vec<u8> {
    let mut body = named(command::ESWITCH_SET, handle);
    push(&mut body, attr::ESWITCH_MODE, &mode.number().to_ne_bytes());
    body
}

/// The body of a request for what a device runs.
pub fn encode_get_info(handle: &Handle) -> Vec<u8> {
    named(command::INFO_GET, handle)
}

/// The names and values of all that a device runs, from an answer's body.
pub fn parse_running_versions(body: &[u8]) -> Result<Vec<(String, String)>> {
    let mut versions = Vec::new();
    for attribute in attributes(body)? {
        let attribute = attribute?;
        if attribute.kind != attr::INFO_VERSION_RUNNING {
            continue;
        }
        let (mut name, mut value) = (None, None);
        for inner in attribute::parse(attribute.value) {
            let inner = inner?;
            match inner.kind {
                attr::INFO_VERSION_NAME => name = Some(inner.string()?),
                attr::INFO_VERSION_VALUE => value = Some(inner.string()?),
                _ => {}
            }
        }
        versions.extend(name.zip(value));
    }
    Ok(versions)
}

/// A device from an answer's body.
pub fn parse_device(body: &[u8]) -> Result<Handle> {
    let (mut bus, mut name) = (None, None);
    for attribute in attributes(body)? {
        let attribute = attribute?;
        match attribute.kind {
            attr::BUS_NAME => bus = Some(attribute.string()?),
            attr::DEV_NAME => name = Some(attribute.string()?),
            _ => {}
        }
    }
    Ok(Handle {
        bus: bus.ok_or_else(|| absent("DEVLINK_ATTR_BUS_NAME"))?,
        name: name.ok_or_else(|| absent("DEVLINK_ATTR_DEV_NAME"))?,
    })
}

/// The number of an eswitch's mode from an answer's body; `None` where the driver has an eswitch and
/// no modes of it (`devlink_nl_eswitch_fill`, net/devlink/dev.c).
pub fn parse_eswitch_mode(body: &[u8]) -> Result<Option<u16>> {
    for attribute in attributes(body)? {
        let attribute = attribute?;
        if attribute.kind == attr::ESWITCH_MODE {
            return attribute.u16().map(Some);
        }
    }
    Ok(None)
}

pub(super) fn named(command: u8, handle: &Handle) -> Vec<u8> {
    let mut body = genl::body(command, VERSION);
    push_string(&mut body, attr::BUS_NAME, &handle.bus);
    push_string(&mut body, attr::DEV_NAME, &handle.name);
    body
}

pub(super) fn attributes(body: &[u8]) -> Result<impl Iterator<Item = Result<Attribute<'_>>>> {
    let (_, attributes) = genl::split(body)?;
    Ok(attribute::parse(attributes))
}

pub(super) fn absent(name: &'static str) -> Error {
    Error::parse("devlink netlink message", &format!("no {name}"), "every attribute that names it")
}
