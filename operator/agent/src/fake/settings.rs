//! What the fake PFs' drivers do for their VFs: igb's as the kernel ring has shown it, others' as their
//! sources say (cards/vf/drivers.rs).

use ringway_kernel::Result;
use ringway_kernel::inventory::Parent;
use ringway_kernel::link::{Vf, VfSetting};

use super::{Fake, refused};
use crate::cards::{self, Ability};
use crate::step::Function;

/// What igb does for a VF that nobody has told it of.
pub(crate) fn fresh_vf(index: u32) -> Vf {
    Vf { index, spoof_check: Some(true), trust: Some(false), ..Vf::default() }
}

/// What a card's driver tells of a new VF; one that can set nothing tells nothing.
pub(super) fn told(card: &Parent, index: u32) -> Option<Vf> {
    let settable = cards::vf_settable(card.driver.as_deref());
    settable.filter(|settable| !settable.able.is_empty()).map(|_| fresh_vf(index))
}

impl Fake {
    /// A PF's driver is told something.
    pub(super) fn set_vf(
        &mut self,
        function: &Function,
        link: u32,
        settings: &[VfSetting],
    ) -> Result<()> {
        let (carrier, deaf) = (self.uplink(link)?.carrier, self.deaf);
        let cards = &self.observed.inventory.parents;
        let asked = |card: &&Parent| card.netdevs.iter().any(|netdev| netdev.index == Some(link));
        let card = cards.iter().find(asked).ok_or_else(|| refused("no such card"))?;
        let settable = cards::vf_settable(card.driver.as_deref());
        let settable = settable.ok_or_else(|| refused("EOPNOTSUPP"))?;
        let (device, mode) = (card.ids.device, card.eswitch.mode());
        let vf = self.function(function)?.settings.as_mut().ok_or_else(|| refused("EOPNOTSUPP"))?;
        let mut done = Ok(());
        for setting in settings {
            let able = needs(*setting).into_iter().all(|needs| settable.can(needs, device, mode));
            let rate = matches!(setting, VfSetting::Rate(_));
            if !able || (rate && settable.rates_by_carrier && !carrier) {
                done = Err(refused("EOPNOTSUPP, or EINVAL"));
            } else if !deaf {
                vf.set(*setting);
            }
        }
        done
    }
}

fn needs(setting: VfSetting) -> Vec<Ability> {
    let mut needs = vec![Ability::of(setting)];
    match setting {
        VfSetting::Vlan(Some(tag)) => {
            needs.extend((tag.qos > 0).then_some(Ability::Qos));
            needs.extend(tag.service.then_some(Ability::ServiceTag));
        }
        VfSetting::Rate(rate) => needs.extend((rate.min > 0).then_some(Ability::MinRate)),
        _ => {}
    }
    needs
}
