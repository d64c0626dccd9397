//! The ports of an eswitch that stand for VFs, each with its representor: what a port says of the
//! function behind it, and sets for it (`devlink port function`, `devlink port function rate`;
//! net/devlink/port.c, net/devlink/rate.c).

use serde::{Deserialize, Serialize};
use tracing::debug;

use super::{Devlink, Handle, explain, wire};
use crate::{
    error::{Result, errno},
    link::VfTxRate,
    mac::Mac,
    netlink::{
        Subject,
        attribute::{self, push, push_nested},
    },
};

/// The port of one of this machine's VFs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VfPort {
    /// Its number among the ports of its device.
    pub index: u32,
    /// The PF's number on the card.
    pub pf: u16,
    /// The VF's number.
    pub vf: u16,
    /// The ifindex of the representor; `None` while there is none.
    pub netdev: Option<u32>,
    /// The function's address, zero where none was given; `None` where the driver tells none.
    pub mac: Option<Mac>,
}

/// What of a port's rates is to change, in Mbit/s; 0 is no bound. Drivers have one without the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RateChange {
    /// What its function can count on (`tx_share`).
    pub min: Option<u32>,
    /// What it cannot exceed (`tx_max`).
    pub max: Option<u32>,
}

/// The kernel counts bytes in a second. mlx5 takes whole Mbit/s only (`esw_qos_devlink_rate_to_mbps`).
const BYTES_PER_MBIT: u64 = 125_000;

impl Devlink {
    /// The ports of a device that stand for VFs of this machine.
    pub fn vf_ports(&self, device: &Handle) -> Result<Vec<VfPort>> {
        let object = device.to_string();
        let about = Subject { op: "list ports of", object: &object };
        let mut ports = Vec::new();
        for message in self.family.dump(about, &wire::named(wire::command::PORT_GET, device))? {
            // kernels before 6.4 dump the ports of all devices, whichever is named
            if wire::parse_device(&message.body)? == *device {
                ports.extend(parse(&message.body)?);
            }
        }
        Ok(ports)
    }

    /// The rates of a port, rounded up to Mbit/s; `None` where its driver, or the kernel, has none of it.
    pub fn rates(&self, device: &Handle, port: u32) -> Result<Option<VfTxRate>> {
        let object = format!("{device}/{port}");
        let about = Subject { op: "get rates of port", object: &object };
        match self.family.request(about, &named(wire::command::RATE_GET, device, port)) {
            Ok(answer) => answer.first().map(|message| parse_rates(&message.body)).transpose(),
            // no rate object (devlink_rate_leaf_get_from_info); a kernel before 5.14
            Err(error) if error.is_missing() || error.errno() == Some(errno::EOPNOTSUPP) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sets the address of a port's function; zero takes it back. Needs `CAP_NET_ADMIN`.
    ///
    /// Waits while somebody else has the device's devlink lock: not in a thread that is needed.
    pub fn set_function_mac(&self, device: &Handle, port: u32, mac: Mac) -> Result<()> {
        debug!(devlink = %device, port, %mac, "set address of a port's function");
        let body = encode_set_mac(device, port, mac);
        self.set(device, port, "set the MAC of the function of port", &body)
    }

    /// Sets those rates of a port that are given. Needs `CAP_NET_ADMIN`.
    ///
    /// The kernel sets one after the other: of two the first may stay set when the second is refused
    /// (`devlink_nl_rate_set`, net/devlink/rate.c). Waits as [`Devlink::set_function_mac`] does.
    pub fn set_rates(&self, device: &Handle, port: u32, rates: RateChange) -> Result<()> {
        debug!(devlink = %device, port, ?rates, "set rates of a port");
        let body = encode_set_rates(device, port, rates);
        self.set(device, port, "set the rates of port", &body)
    }

    fn set(&self, device: &Handle, port: u32, op: &'static str, body: &[u8]) -> Result<()> {
        let object = format!("{device}/{port}");
        let about = Subject { op, object: &object };
        self.family.request(about, body).map_err(explain::set_function).map(drop)
    }
}

fn named(command: u8, device: &Handle, port: u32) -> Vec<u8> {
    let mut body = wire::named(command, device);
    push(&mut body, wire::attr::PORT_INDEX, &port.to_ne_bytes());
    body
}

fn encode_set_mac(device: &Handle, port: u32, mac: Mac) -> Vec<u8> {
    let mut function = Vec::new();
    push(&mut function, wire::function::HW_ADDR, &mac.0);
    let mut body = named(wire::command::PORT_SET, device, port);
    push_nested(&mut body, wire::attr::PORT_FUNCTION, &function);
    body
}

fn encode_set_rates(device: &Handle, port: u32, rates: RateChange) -> Vec<u8> {
    let mut body = named(wire::command::RATE_SET, device, port);
    for (kind, rate) in
        [(wire::attr::RATE_TX_SHARE, rates.min), (wire::attr::RATE_TX_MAX, rates.max)]
    {
        if let Some(rate) = rate {
            push(&mut body, kind, &(u64::from(rate) * BYTES_PER_MBIT).to_ne_bytes());
        }
    }
    body
}

/// A port from an answer's body; `None` if it stands for something else than a VF of this machine.
fn parse(body: &[u8]) -> Result<Option<VfPort>> {
    let (mut index, mut pf, mut vf, mut netdev, mut mac) = (None, None, None, None, None);
    let (mut of_vf, mut elsewhere) = (false, false);
    for attribute in wire::attributes(body)? {
        let attribute = attribute?;
        match attribute.kind {
            wire::attr::PORT_INDEX => index = Some(attribute.u32()?),
            wire::attr::PORT_FLAVOUR => of_vf = attribute.u16()? == wire::flavour::PCI_VF,
            wire::attr::PORT_PCI_PF_NUMBER => pf = Some(attribute.u16()?),
            wire::attr::PORT_PCI_VF_NUMBER => vf = Some(attribute.u16()?),
            wire::attr::PORT_EXTERNAL => elsewhere = attribute.value != [0],
            wire::attr::PORT_NETDEV_IFINDEX => netdev = Some(attribute.u32()?),
            wire::attr::PORT_FUNCTION => mac = parse_mac(attribute.value)?,
            _ => {}
        }
    }
    if !of_vf || elsewhere {
        return Ok(None);
    }
    Ok(Some(VfPort {
        index: index.ok_or_else(|| wire::absent("DEVLINK_ATTR_PORT_INDEX"))?,
        pf: pf.ok_or_else(|| wire::absent("DEVLINK_ATTR_PORT_PCI_PF_NUMBER"))?,
        vf: vf.ok_or_else(|| wire::absent("DEVLINK_ATTR_PORT_PCI_VF_NUMBER"))?,
        netdev,
        mac,
    }))
}

/// The address in a port's function. One of another length is InfiniBand's.
fn parse_mac(function: &[u8]) -> Result<Option<Mac>> {
    let mut mac = None;
    for attribute in attribute::parse(function) {
        let attribute = attribute?;
        if attribute.kind == wire::function::HW_ADDR {
            mac = Mac::from_bytes(attribute.value);
        }
    }
    Ok(mac)
}

fn parse_rates(body: &[u8]) -> Result<VfTxRate> {
    let mut rates = VfTxRate::default();
    for attribute in wire::attributes(body)? {
        let attribute = attribute?;
        match attribute.kind {
            wire::attr::RATE_TX_SHARE => rates.min = mbits(attribute.u64()?),
            wire::attr::RATE_TX_MAX => rates.max = mbits(attribute.u64()?),
            _ => {}
        }
    }
    Ok(rates)
}

/// Rounded up: no bound becomes none.
fn mbits(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(BYTES_PER_MBIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    //! Bytes put together by hand from include/uapi/linux/devlink.h, as in the family's other tests.

    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0x77, 1]);

    fn device() -> Handle {
        "pci/0000:65:00.0".parse().unwrap()
    }

    #[rustfmt::skip]
    const PORT: &[u8] = &[
        8, 0, 1, 0, b'p', b'c', b'i', 0,                       // BUS_NAME
        17, 0, 2, 0, b'0', b'0', b'0', b'0', b':', b'6', b'5', // DEV_NAME
        b':', b'0', b'0', b'.', b'0', 0, 0, 0, 0,
        8, 0, 3, 0, 2, 0, 1, 0,                                // PORT_INDEX 65538
    ];

    #[test]
    fn requests() {
        assert_eq!(named(74, &device(), 65538), [&[74, 1, 0, 0], PORT].concat());
        #[rustfmt::skip]
        let function = [
            16, 0, 145, 128,                                   // PORT_FUNCTION, nested
            10, 0, 1, 0, 2, 0, 0, 0, 0x77, 1, 0, 0,            // HW_ADDR, padding
        ];
        assert_eq!(
            encode_set_mac(&device(), 65538, MAC),
            [&[6, 1, 0, 0], PORT, &function].concat()
        );
        let share = [12, 0, 166, 0, 64, 66, 15, 0, 0, 0, 0, 0]; // RATE_TX_SHARE 1000000
        let max = [12, 0, 167, 0, 0, 242, 5, 42, 1, 0, 0, 0]; // RATE_TX_MAX 5000000000
        let set = |min, max| encode_set_rates(&device(), 65538, RateChange { min, max });
        assert_eq!(set(Some(8), Some(40_000)), [&[75, 1, 0, 0], PORT, &share, &max].concat());
        assert_eq!(set(None, Some(40_000)), [&[75, 1, 0, 0], PORT, &max].concat());
        let answer = [&[76, 1, 0, 0], PORT, &share, &max].concat();
        assert_eq!(parse_rates(&answer).unwrap(), VfTxRate { min: 8, max: 40_000 });
        assert_eq!([mbits(0), mbits(1), mbits(125_001), mbits(u64::MAX)], [0, 1, 2, u32::MAX]);
    }

    /// As mlx5 answers in switchdev mode.
    #[rustfmt::skip]
    fn port(flavour: u8, external: u8) -> Vec<u8> {
        [
            &[7, 1, 0, 0][..],                                 // CMD_PORT_NEW
            PORT,
            &[6, 0, 4, 0, 2, 0, 0, 0],                         // PORT_TYPE eth
            &[8, 0, 6, 0, 9, 0, 0, 0],                         // PORT_NETDEV_IFINDEX 9
            &[6, 0, 77, 0, flavour, 0, 0, 0],                  // PORT_FLAVOUR
            &[8, 0, 150, 0, 0, 0, 0, 0],                       // PORT_CONTROLLER_NUMBER
            &[6, 0, 127, 0, 1, 0, 0, 0],                       // PORT_PCI_PF_NUMBER
            &[6, 0, 128, 0, 3, 0, 0, 0],                       // PORT_PCI_VF_NUMBER
            &[5, 0, 149, 0, external, 0, 0, 0],                // PORT_EXTERNAL
            &[16, 0, 145, 128],                                // PORT_FUNCTION, nested
            &[10, 0, 1, 0, 2, 0, 0, 0, 0x77, 1, 0, 0],         // HW_ADDR
        ].concat()
    }

    #[test]
    fn a_port_tells_its_function() {
        let expected = VfPort { index: 65538, pf: 1, vf: 3, netdev: Some(9), mac: Some(MAC) };
        assert_eq!(parse(&port(4, 0)).unwrap(), Some(expected));
        let silent = port(4, 0);
        let silent = parse(&silent[..silent.len() - 16]).unwrap().unwrap();
        assert_eq!(silent.mac, None, "no port_fn_hw_addr_get");
    }

    #[test]
    fn other_ports_are_passed_over() {
        assert_eq!(parse(&port(0, 0)).unwrap(), None, "the uplink's");
        assert_eq!(parse(&port(7, 0)).unwrap(), None, "a subfunction's");
        assert_eq!(parse(&port(4, 1)).unwrap(), None, "of the machine that a DPU is in");
        let cut = port(4, 0);
        assert!(parse(&cut[..cut.len() - 6]).is_err());
        assert!(parse(&[&[7, 1, 0, 0], PORT, &[6, 0, 77, 0, 4, 0, 0, 0]].concat()).is_err());
    }
}
