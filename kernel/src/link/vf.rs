//! What a PF's driver does for each of its VFs: address, VLAN, rates, guards (`IFLA_VF_INFO`,
//! Documentation/netlink/specs/rt-link.yaml; `ip link set DEVICE vf NUMBER`).
//!
//! One setting per request, so that an error names the one that the driver cannot do. Drivers
//! without `ndo_get_vf_config`, such as virtio's, tell nothing and take nothing (`EOPNOTSUPP`).

use std::fmt;

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        LinkAttribute, LinkExtentMask, LinkVfInfo, VfInfo, VfInfoLinkState, VfInfoMac, VfInfoRate,
        VfInfoSpoofCheck, VfInfoTrust, VfLinkState, VfVlan, VfVlanInfo, VlanProtocol,
    },
};
use serde::{Deserialize, Serialize};

use super::{Links, wire};
use crate::{
    error::Result,
    mac::Mac,
    netlink::{
        Subject,
        attribute::{self, Attribute},
    },
};

/// `IFLA_*` (include/uapi/linux/if_link.h).
pub(super) mod ifla {
    pub(super) const VFINFO_LIST: u16 = 22;
    /// In the `VFINFO_LIST` nest.
    pub(super) const VF_INFO: u16 = 1;
    /// In the `VF_INFO` nest, like the following: structs that begin with the VF's number.
    pub(in super::super) const VF_MAC: u16 = 1;
    pub(super) const VF_SPOOFCHK: u16 = 4;
    pub(super) const VF_LINK_STATE: u16 = 5;
    pub(super) const VF_RATE: u16 = 6;
    pub(super) const VF_TRUST: u16 = 9;
    pub(super) const VF_VLAN_LIST: u16 = 12;
    /// In the `VF_VLAN_LIST` nest.
    pub(super) const VF_VLAN_INFO: u16 = 1;
}

/// What a PF's driver says of one of its VFs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Vf {
    /// The VF's number.
    pub index: u32,
    /// The address that the PF gave it; `None` if none: then it has its own.
    pub mac: Option<Mac>,
    /// The VLAN that its frames get, and lose again.
    pub vlan: Option<VfTag>,
    /// What it may send.
    pub rate: VfTxRate,
    /// Whether frames from another address than its own are dropped; `None` where the driver does
    /// not tell.
    pub spoof_check: Option<bool>,
    /// Whether it may change its address and receive what is not for it; `None` where the driver
    /// does not tell.
    pub trust: Option<bool>,
    /// What it sees of the PF's carrier.
    pub link: VfLink,
}

/// A VLAN tag that is put in and taken out below the VF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VfTag {
    /// 1 to 4094.
    pub id: u16,
    /// Priority, 0 to 7.
    pub qos: u8,
    /// Whether it is a service tag (802.1ad, 0x88a8) and not a customer tag (802.1Q, 0x8100).
    pub service: bool,
}

/// Bounds of what a VF sends, in Mbit/s; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VfTxRate {
    /// What it can count on.
    pub min: u32,
    /// What it cannot exceed.
    pub max: u32,
}

/// The carrier that a VF sees (`IFLA_VF_LINK_STATE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum VfLink {
    /// The PF's.
    #[default]
    Auto,
    /// Always one: VFs talk to each other without the PF's.
    Enable,
    /// Never one.
    Disable,
}

/// One thing to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VfSetting {
    /// The address; zero takes it back.
    Mac(Mac),
    /// The VLAN, or none.
    Vlan(Option<VfTag>),
    /// Both bounds at once.
    Rate(VfTxRate),
    /// The guard against foreign sender addresses.
    SpoofCheck(bool),
    /// The VF's freedom.
    Trust(bool),
    /// The carrier that it sees.
    Link(VfLink),
}

impl VfSetting {
    /// Whether both set the same thing, be it to another value.
    pub fn same_kind(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    /// What an error calls it.
    fn op(self) -> &'static str {
        match self {
            Self::Mac(_) => "set the MAC of a VF of link",
            Self::Vlan(_) => "set the VLAN of a VF of link",
            Self::Rate(_) => "set the rates of a VF of link",
            Self::SpoofCheck(_) => "set the spoof check of a VF of link",
            Self::Trust(_) => "set the trust of a VF of link",
            Self::Link(_) => "set the link state of a VF of link",
        }
    }
}

impl fmt::Display for VfSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let switch = |on: bool| if on { "on" } else { "off" };
        match self {
            Self::Mac(mac) if mac.0 == [0; 6] => f.write_str("no MAC"),
            Self::Mac(mac) => write!(f, "MAC {mac}"),
            Self::Vlan(None) => f.write_str("no VLAN"),
            Self::Vlan(Some(VfTag { id, qos, service })) => {
                let protocol = if *service { "802.1ad" } else { "802.1q" };
                write!(f, "VLAN {id} ({protocol}, qos {qos})")
            }
            Self::Rate(VfTxRate { min, max }) => write!(f, "rates {min} to {max} Mbit/s"),
            Self::SpoofCheck(on) => write!(f, "spoof check {}", switch(*on)),
            Self::Trust(on) => write!(f, "trust {}", switch(*on)),
            Self::Link(VfLink::Auto) => f.write_str("link state auto"),
            Self::Link(VfLink::Enable) => f.write_str("link state enable"),
            Self::Link(VfLink::Disable) => f.write_str("link state disable"),
        }
    }
}

impl Vf {
    /// What a setting of this kind is now, as what would set it so; `None` where the driver does not
    /// tell.
    pub fn now(&self, kind: VfSetting) -> Option<VfSetting> {
        match kind {
            VfSetting::Mac(_) => Some(VfSetting::Mac(self.mac.unwrap_or(Mac([0; 6])))),
            VfSetting::Vlan(_) => Some(VfSetting::Vlan(self.vlan)),
            VfSetting::Rate(_) => Some(VfSetting::Rate(self.rate)),
            VfSetting::SpoofCheck(_) => self.spoof_check.map(VfSetting::SpoofCheck),
            VfSetting::Trust(_) => self.trust.map(VfSetting::Trust),
            VfSetting::Link(_) => Some(VfSetting::Link(self.link)),
        }
    }

    /// What it is once that is set.
    pub fn set(&mut self, setting: VfSetting) {
        match setting {
            VfSetting::Mac(mac) => self.mac = Some(mac).filter(|mac| mac.0 != [0; 6]),
            VfSetting::Vlan(tag) => self.vlan = tag,
            VfSetting::Rate(rate) => self.rate = rate,
            VfSetting::SpoofCheck(on) => self.spoof_check = Some(on),
            VfSetting::Trust(on) => self.trust = Some(on),
            VfSetting::Link(link) => self.link = link,
        }
    }
}

impl Links {
    /// What is set for a PF's VFs, by the ifindex of one of its links; empty where the driver tells
    /// nothing. Without statistics the kernel's attribute holds more VFs than PCI has.
    ///
    /// Only for an Ethernet PF: of InfiniBand the address is no MAC.
    pub fn vfs(&mut self, index: u32) -> Result<Vec<Vf>> {
        self.ask_of_vfs("get VFs of link", index, get(index), parse)
    }

    /// Asks one thing of all VFs of a PF.
    pub(super) fn ask_of_vfs<T>(
        &mut self,
        op: &'static str,
        index: u32,
        (kind, body): wire::Request,
        parse: impl Fn(&[u8]) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        let object = index.to_string();
        let answer = self.socket.request(Subject { op, object: &object }, kind, &body)?;
        let mut found = Vec::new();
        for message in &answer {
            found.extend(parse(&message.body)?);
        }
        Ok(found)
    }

    /// Sets one thing for a VF. `EOPNOTSUPP` where the driver cannot, `EINVAL` for a number that is
    /// none or a value that it does not take.
    pub fn set_vf(&mut self, index: u32, vf: u32, setting: VfSetting) -> Result<()> {
        let object = format!("{index} (VF {vf})");
        let (kind, body) = set(index, vf, setting);
        self.socket.request(Subject { op: setting.op(), object: &object }, kind, &body).map(drop)
    }
}

pub(super) fn get(index: u32) -> wire::Request {
    let mask = LinkAttribute::ExtMask(vec![LinkExtentMask::Vf, LinkExtentMask::SkipStats]);
    wire::request(RouteNetlinkMessage::GetLink(wire::message(index, vec![mask])))
}

pub(super) fn set(index: u32, vf: u32, setting: VfSetting) -> wire::Request {
    let info = match setting {
        VfSetting::Mac(mac) => VfInfo::Mac(VfInfoMac::new(vf, &mac.0)),
        VfSetting::Vlan(tag) => {
            let tag = tag.unwrap_or_default();
            let protocol = match tag.service {
                true => VlanProtocol::Ieee8021Ad,
                false => VlanProtocol::Ieee8021Q,
            };
            let info = VfVlanInfo::new(vf, tag.id.into(), tag.qos.into(), protocol);
            VfInfo::VlanList(vec![VfVlan::Info(info)])
        }
        VfSetting::Rate(VfTxRate { min, max }) => VfInfo::Rate(VfInfoRate::new(vf, min, max)),
        VfSetting::SpoofCheck(on) => VfInfo::SpoofCheck(VfInfoSpoofCheck::new(vf, on)),
        VfSetting::Trust(on) => VfInfo::Trust(VfInfoTrust::new(vf, on)),
        VfSetting::Link(link) => {
            let state = match link {
                VfLink::Auto => VfLinkState::Auto,
                VfLink::Enable => VfLinkState::Enable,
                VfLink::Disable => VfLinkState::Disable,
            };
            VfInfo::LinkState(VfInfoLinkState::new(vf, state))
        }
    };
    let list = LinkAttribute::VfInfoList(vec![LinkVfInfo(vec![info])]);
    wire::request(RouteNetlinkMessage::SetLink(wire::message(index, vec![list])))
}

/// From the body of a link message.
pub(super) fn parse(body: &[u8]) -> Result<Vec<Vf>> {
    infos(body)?.into_iter().map(of_vf).collect()
}

/// What the body of a link message has of each VF, as attributes.
pub(super) fn infos(body: &[u8]) -> Result<Vec<&[u8]>> {
    let attributes = body.get(wire::HEADER..).unwrap_or_default();
    let mut found = Vec::new();
    for list in attribute::parse(attributes) {
        let list = list?;
        if list.kind != ifla::VFINFO_LIST {
            continue;
        }
        for info in attribute::parse(list.value) {
            let info = info?;
            if info.kind == ifla::VF_INFO {
                found.push(info.value);
            }
        }
    }
    Ok(found)
}

fn of_vf(info: &[u8]) -> Result<Vf> {
    let mut vf = Vf::default();
    for attribute in attribute::parse(info) {
        let attribute = attribute?;
        match attribute.kind {
            ifla::VF_MAC => {
                let address = attribute.value.get(4..10).and_then(Mac::from_bytes);
                let mac = address.ok_or_else(|| attribute.bad("struct ifla_vf_mac"))?;
                vf.index = word(&attribute, 0)?;
                vf.mac = Some(mac).filter(|mac| mac.0 != [0; 6]);
            }
            ifla::VF_SPOOFCHK => vf.spoof_check = switch(&attribute)?,
            ifla::VF_TRUST => vf.trust = switch(&attribute)?,
            ifla::VF_RATE => {
                vf.rate = VfTxRate { min: word(&attribute, 1)?, max: word(&attribute, 2)? };
            }
            ifla::VF_LINK_STATE => {
                vf.link = match word(&attribute, 1)? {
                    1 => VfLink::Enable,
                    2 => VfLink::Disable,
                    _ => VfLink::Auto,
                };
            }
            ifla::VF_VLAN_LIST => vf.vlan = tag(attribute.value)?,
            _ => {}
        }
    }
    Ok(vf)
}

/// A driver that knows of no such guard leaves the -1 that the kernel has put there
/// (rtnl_fill_vfinfo, net/core/rtnetlink.c).
fn switch(attribute: &Attribute<'_>) -> Result<Option<bool>> {
    Ok(match word(attribute, 1)? {
        u32::MAX => None,
        value => Some(value != 0),
    })
}

/// `struct ifla_vf_vlan_info`, of which drivers have one: number, VLAN, priority, and the protocol
/// in network byte order.
fn tag(list: &[u8]) -> Result<Option<VfTag>> {
    for info in attribute::parse(list) {
        let info = info?;
        if info.kind != ifla::VF_VLAN_INFO {
            continue;
        }
        let (id, qos) = (word(&info, 1)?, word(&info, 2)?);
        let protocol =
            info.value.get(12..14).ok_or_else(|| info.bad("struct ifla_vf_vlan_info"))?;
        let numbers = u16::try_from(id).ok().zip(u8::try_from(qos).ok());
        let (id, qos) = numbers.ok_or_else(|| info.bad("a VLAN and a priority"))?;
        let tag = VfTag { id, qos, service: protocol == [0x88, 0xa8] };
        return Ok(Some(tag).filter(|tag| tag.id != 0));
    }
    Ok(None)
}

/// One of the 32-bit numbers of a struct.
fn word(attribute: &Attribute<'_>, number: usize) -> Result<u32> {
    let bytes = attribute.value.get(number * 4..).and_then(<[u8]>::first_chunk);
    bytes.map(|bytes| u32::from_ne_bytes(*bytes)).ok_or_else(|| attribute.bad("more numbers"))
}

#[cfg(test)]
mod tests;
