//! What a pool's functions are set to at rest, as checked values.

use ringway_api::device_policy::VlanProtocol;
use ringway_api::device_policy::{self as api, Attach, LinkState, MacSource, VlanDefault};
use ringway_kernel::Mac;
use ringway_kernel::link::{Vf, VfLink, VfSetting, VfTag, VfTxRate};

use crate::cards::Ability;

/// What functions are set to at rest; what is `None` is left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Whether each has an address made of its names.
    pub stable_mac: bool,
    /// A VLAN, or that there is none.
    pub vlan: Option<Option<VfTag>>,
    /// In Mbit/s.
    pub min_rate: Option<u32>,
    /// In Mbit/s; 0 is no bound.
    pub max_rate: Option<u32>,
    /// Whether frames from another address than its own are dropped.
    pub spoof_check: Option<bool>,
    /// Whether it may change its address, and receive what is not for it.
    pub trust: Option<bool>,
    /// The carrier that it sees.
    pub link: Option<VfLink>,
    /// Of its own interface, in bytes.
    pub mtu: Option<u32>,
}

/// A field that is given: its name below `defaults`, its value, and what a driver needs for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// As in a policy.
    pub field: &'static str,
    /// As in a policy.
    pub value: String,
    /// What a PF's driver must be able to do; `None` if the function's interface is enough.
    pub needs: Option<Ability>,
}

/// A field, its value, and what is allowed.
type Wrong = (&'static str, String, &'static str);

impl Defaults {
    /// Checks what a pool asks for: a file has not been through the API server's rules.
    pub(super) fn of(asked: Option<&api::Defaults>, attach: Attach) -> Result<Self, Wrong> {
        let Some(asked) = asked else { return Ok(Self::default()) };
        let vlan = asked.vlan.as_ref().map(tag).transpose()?;
        if let (Some(min), Some(max)) = (asked.min_rate, asked.max_rate)
            && max != 0
            && min > max
        {
            let allowed = "at most maxRate, unless that is 0: no bound";
            return Err(("defaults.minRate", min.to_string(), allowed));
        }
        if let Some(mtu) = asked.mtu {
            let wrong = |allowed| Err(("defaults.mtu", mtu.to_string(), allowed));
            if mtu < 68 {
                return wrong("at least 68");
            }
            if attach != Attach::Netdev {
                return wrong(
                    "only with attach netdev has the function an interface of its own: of a vDPA \
                     device it is vdpa.mtu",
                );
            }
        }
        Ok(Self {
            stable_mac: asked.mac == Some(MacSource::Stable),
            vlan,
            min_rate: asked.min_rate,
            max_rate: asked.max_rate,
            spoof_check: asked.spoof_check,
            trust: asked.trust,
            link: asked.link_state.map(link),
            mtu: asked.mtu.map(u32::from),
        })
    }

    /// What is given, in the order of the policy.
    pub fn given(&self) -> Vec<Given> {
        let mut given = Vec::new();
        let mut add = |field, value: Option<String>, needs| {
            given.extend(value.map(|value| Given { field, value, needs }));
        };
        let tag = self.vlan.flatten();
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let switch = |switch: Option<bool>| switch.map(|switch| switch.to_string());
        let id = self.vlan.map(|tag| tag.map_or(0, |tag| tag.id).to_string());
        let qos = tag.filter(|tag| tag.qos != 0).map(|tag| tag.qos.to_string());
        let service = tag.filter(|tag| tag.service).map(|_| "802.1ad".to_owned());
        let min = self.min_rate.filter(|min| *min != 0);
        add("mac", self.stable_mac.then(|| "Stable".to_owned()), Some(Ability::Mac));
        add("vlan.id", id, Some(Ability::Vlan));
        add("vlan.qos", qos, Some(Ability::Qos));
        add("vlan.protocol", service, Some(Ability::ServiceTag));
        add("minRate", number(min), Some(Ability::MinRate));
        add("maxRate", number(self.max_rate), Some(Ability::MaxRate));
        add("spoofCheck", switch(self.spoof_check), Some(Ability::SpoofCheck));
        add("trust", switch(self.trust), Some(Ability::Trust));
        add("linkState", self.link.map(|link| words(link).to_owned()), Some(Ability::LinkState));
        add("mtu", number(self.mtu), None);
        given
    }

    /// What a PF's driver is to be told of a function that is so `now`, whether it is so already or
    /// not. `stable` is the address that is made of the function's names.
    pub fn settings(&self, stable: Mac, now: &Vf) -> Vec<VfSetting> {
        let rate = (self.min_rate.is_some() || self.max_rate.is_some()).then(|| VfTxRate {
            min: self.min_rate.unwrap_or(now.rate.min),
            max: self.max_rate.unwrap_or(now.rate.max),
        });
        let all = [
            self.stable_mac.then_some(VfSetting::Mac(stable)),
            self.vlan.map(VfSetting::Vlan),
            rate.map(VfSetting::Rate),
            self.spoof_check.map(VfSetting::SpoofCheck),
            self.trust.map(VfSetting::Trust),
            self.link.map(VfSetting::Link),
        ];
        all.into_iter().flatten().collect()
    }
}

fn tag(vlan: &VlanDefault) -> Result<Option<VfTag>, Wrong> {
    let VlanDefault { id, qos, protocol } = *vlan;
    if id > 4094 {
        return Err(("defaults.vlan.id", id.to_string(), "1 to 4094; 0 is none"));
    }
    if let Some(qos) = qos.filter(|qos| *qos > 7) {
        return Err(("defaults.vlan.qos", qos.to_string(), "0 to 7"));
    }
    if id == 0 && (qos.is_some() || protocol.is_some()) {
        let allowed = "qos and protocol are those of a tag: they need an id from 1 to 4094";
        return Err(("defaults.vlan.id", id.to_string(), allowed));
    }
    let service = protocol == Some(VlanProtocol::Service);
    Ok((id != 0).then(|| VfTag { id, qos: qos.unwrap_or_default(), service }))
}

fn link(state: LinkState) -> VfLink {
    match state {
        LinkState::Auto => VfLink::Auto,
        LinkState::Enable => VfLink::Enable,
        LinkState::Disable => VfLink::Disable,
    }
}

fn words(link: VfLink) -> &'static str {
    match link {
        VfLink::Auto => "auto",
        VfLink::Enable => "enable",
        VfLink::Disable => "disable",
    }
}
