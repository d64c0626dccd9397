//! A function's port on the eswitch (`devlink port function`): address, and rates where the driver has
//! them. What is set there is asked of generic netlink, and so by a child.

use ringway_kernel::{
    devlink::RateChange,
    link::{Vf, VfSetting},
};
use ringway_node::lock::Lock;

use super::Function;
use crate::{
    error::{Code, Error, Result},
    genl::{self, Request},
    grant,
    world::World,
};

/// A port, and what it told when it was opened.
///
/// Its lock is not the device's, so that whoever reads may wait for it, too: a child that was left behind
/// has it, or one of an ADD that was killed, and may still set what it was started for. Nobody may look,
/// find all as before, and forget the record until it has.
pub(super) struct Port<'a> {
    world: &'a World,
    function: Function,
    told: genl::Port,
    lock: Lock,
}

impl<'a> Port<'a> {
    /// The port of a representor; `None` if it is of none, or of one that has nothing of a function.
    pub(super) fn open(
        world: &'a World,
        function: Function,
        representor: u32,
    ) -> Result<Option<Self>> {
        let lock = lock(world, function)?;
        let request = Request::Port(function.pf, representor);
        let device = function.address.to_string();
        let told: Option<genl::Port> = genl::ask(world, &device, &request, Some(&lock))?;
        let told = told.filter(|told| told.mac.is_some() || told.rate.is_some());
        Ok(told.map(|told| Self { world, function, told, lock }))
    }

    /// Whether the port has such a setting.
    pub(super) fn has(&self, setting: VfSetting) -> bool {
        has(&self.told, setting)
    }

    /// What it told, over what the PF tells.
    pub(super) fn over(&self, told: Option<Vf>) -> Option<Vf> {
        Some(over(&self.told, told.unwrap_or(Vf { index: self.function.index, ..Vf::default() })))
    }

    /// Sets one that it has.
    pub(super) fn set(&self, setting: VfSetting) -> Result<()> {
        let Some(request) = request(&self.told, self.function, setting) else { return Ok(()) };
        let device = self.function.address.to_string();
        genl::ask(self.world, &device, &request, Some(&self.lock))
    }
}

fn has(told: &genl::Port, setting: VfSetting) -> bool {
    match setting {
        VfSetting::Mac(_) => told.mac.is_some(),
        VfSetting::Rate(_) => told.rate.is_some(),
        _ => false,
    }
}

fn over(told: &genl::Port, mut vf: Vf) -> Vf {
    let settings = [told.mac.map(VfSetting::Mac), told.rate.map(VfSetting::Rate)];
    settings.into_iter().flatten().for_each(|setting| vf.set(setting));
    vf
}

/// What sets it; of rates only what is otherwise, because drivers refuse one that they do not have, be it
/// the same. `None` for what the port does not have.
fn request(
    told: &genl::Port,
    Function { pf, .. }: Function,
    setting: VfSetting,
) -> Option<Request> {
    match setting {
        VfSetting::Mac(mac) => Some(Request::SetMac(pf, told.index, mac)),
        VfSetting::Rate(rate) => {
            let now = told.rate?;
            let change = RateChange {
                min: Some(rate.min).filter(|min| *min != now.min),
                max: Some(rate.max).filter(|max| *max != now.max),
            };
            Some(Request::SetRates(pf, told.index, change))
        }
        _ => None,
    }
}

/// Waits for whoever was left behind. Its name is no device's: those of functions are addresses.
fn lock(world: &World, function: Function) -> Result<Lock> {
    let id = format!("{}.port", function.address).parse();
    let id = id.map_err(Error::because(Code::Io, format!("port of {function}")))?;
    grant::lock(world, &id)
}

#[cfg(test)]
mod tests {
    use ringway_kernel::{Mac, link::VfTxRate};

    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const RATE: VfTxRate = VfTxRate { min: 0, max: 100 };

    fn function() -> Function {
        let [pf, address] = ["0000:01:00.0", "0000:01:00.1"].map(|text| text.parse().unwrap());
        Function { pf, index: 0, address }
    }

    #[test]
    fn what_a_port_has_goes_over_what_the_pf_tells() {
        let pf = Vf { mac: Some(Mac([2; 6])), trust: Some(false), rate: RATE, ..Vf::default() };
        let both = genl::Port { index: 3, mac: Some(MAC), rate: Some(VfTxRate::default()) };
        let expected = Vf { mac: Some(MAC), rate: VfTxRate::default(), ..pf };
        assert_eq!(over(&both, pf), expected);
        let mac_alone = genl::Port { rate: None, ..both };
        assert_eq!(over(&mac_alone, pf), Vf { mac: Some(MAC), ..pf });
        let given_none = genl::Port { mac: Some(Mac([0; 6])), ..mac_alone };
        assert_eq!(over(&given_none, pf).mac, None);
        assert!(has(&both, VfSetting::Rate(RATE)) && !has(&mac_alone, VfSetting::Rate(RATE)));
        assert!(!has(&both, VfSetting::Trust(true)));
    }

    #[test]
    fn of_rates_only_what_is_otherwise_is_set() {
        let told = genl::Port { index: 3, mac: Some(MAC), rate: Some(RATE) };
        let pf = function().pf;
        let request = |setting| request(&told, function(), setting);
        assert_eq!(
            request(VfSetting::Rate(VfTxRate { min: 0, max: 50 })),
            Some(Request::SetRates(pf, 3, RateChange { min: None, max: Some(50) }))
        );
        assert_eq!(
            request(VfSetting::Rate(VfTxRate { min: 5, max: 0 })),
            Some(Request::SetRates(pf, 3, RateChange { min: Some(5), max: Some(0) }))
        );
        assert_eq!(request(VfSetting::Mac(MAC)), Some(Request::SetMac(pf, 3, MAC)));
        assert_eq!(request(VfSetting::Trust(true)), None);
    }
}
