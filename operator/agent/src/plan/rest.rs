//! The plan for what a function is set to at rest: what its pool's `defaults` say, and what it was
//! before where they say nothing any more. While the CNI plugin has it attached, that is the
//! plugin's.

use ringway_api::conditions::Reason;
use ringway_kernel::Mac;
use ringway_kernel::inventory::{Netdev, Traffic, VirtualFunction};
use ringway_kernel::link::{Vf, VfSetting};

use super::Attach;
use super::function::Site;
use crate::attachments::Attached;
use crate::before::ParentBefore;
use crate::cards::{self, VfSettable};
use crate::step::{Function, Step};
use crate::wanted::{Defaults, Pool};

/// What a function's settings are planned by.
pub(super) struct Rest<'a> {
    /// The PF's interface, if it is here: its driver is asked by it.
    pub(super) uplink: Option<&'a Netdev>,
    /// What the PF's driver can set.
    pub(super) settable: Option<&'static VfSettable>,
    /// What was set before we first changed it.
    pub(super) settings: Vec<VfSetting>,
    /// The MTU of its interface before we first changed it.
    pub(super) mtu: Option<u32>,
    /// The address that is made of its names.
    pub(super) stable: Mac,
    /// Whom the CNI plugin has given what.
    pub(super) attached: &'a Attached,
}

/// What of a card's functions was before us: of those that there are, or of the first ones.
#[derive(Debug, Clone, Copy)]
pub(super) enum Was<'a> {
    /// Before we changed a function that exists.
    Own(Option<&'a ParentBefore>),
    /// Before we changed anything.
    First(&'a ParentBefore),
}

impl Was<'_> {
    /// What was set for a function.
    pub(super) fn settings(self, index: u32) -> Vec<VfSetting> {
        match self {
            Self::Own(was) => was.map(|was| was.own_settings(index).to_vec()).unwrap_or_default(),
            Self::First(was) => was.first_settings(index),
        }
    }

    /// The MTU that its interface had.
    pub(super) fn mtu(self, index: u32) -> Option<u32> {
        let was = match self {
            Self::Own(was) => was?,
            Self::First(was) => was,
        };
        was.mtus.get(&index).copied()
    }
}

/// Why something is not set.
type Complaint = (Reason, String);

/// What the PF's driver is to be told, in this order; and why it is not told more.
pub(super) fn settings(
    site: &Site<'_>,
    pool: Option<&Pool>,
) -> (Vec<VfSetting>, Option<Complaint>) {
    let nothing = (Vec::new(), None);
    let Some(rest) = &site.rest else { return nothing };
    let none = Defaults::default();
    let defaults = pool.map_or(&none, |pool| &pool.defaults);
    let Some(existing) = site.existing else {
        // what a new function is set to is seen once it is there
        return (defaults.settings(rest.stable, &Vf::default()), None);
    };
    let now = existing.settings.unwrap_or_default();
    let mut targets = defaults.settings(rest.stable, &now);
    for was in &rest.settings {
        if !targets.iter().any(|target| target.same_kind(*was)) {
            targets.push(*was);
        }
    }
    targets.retain(|target| existing.settings.is_none() || now.now(*target) != Some(*target));
    if targets.is_empty() || is_attached(rest, existing).unwrap_or_default() {
        return nothing;
    }
    if let Err(complaint) = rest.may_set(&site.function, existing, &targets) {
        return (Vec::new(), Some(complaint));
    }
    let complaint = rest.no_rates(&site.function, &targets);
    targets.retain(|target| complaint.is_none() || !matches!(target, VfSetting::Rate(_)));
    (targets, complaint)
}

/// Whether the CNI plugin has the function; `None` if that cannot be known.
fn is_attached(rest: &Rest<'_>, function: &VirtualFunction) -> Option<bool> {
    let attached = rest.attached.as_ref().ok()?;
    Some(attached.contains_key(&function.address.to_string()))
}

impl Rest<'_> {
    /// Everything that speaks against it, before anything is touched.
    fn may_set(
        &self,
        function: &Function,
        existing: &VirtualFunction,
        targets: &[VfSetting],
    ) -> Result<(), Complaint> {
        let words = targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if let Err(why) = self.attached {
            let message = format!("{function}: {words}: whether a pod has it is not known: {why}");
            return Err((Reason::HoldersUnknown, message));
        }
        let unsupported = |why: String| {
            Err((Reason::SettingsUnsupported, format!("{function}: {words}: cannot be set: {why}")))
        };
        if self.uplink.is_none_or(|uplink| uplink.index.is_none()) {
            return unsupported("its card's interface is in another network namespace".to_owned());
        }
        let driver = self.settable.map_or("of its card", |settable| settable.driver);
        let Some(now) = existing.settings else {
            return unsupported(format!("driver {driver} does not tell what is set"));
        };
        if let Some(untold) = targets.iter().find(|target| now.now(**target).is_none()) {
            return unsupported(format!("driver {driver} does not tell what is set of {untold}"));
        }
        Ok(())
    }

    /// Why rates among the targets cannot be set now.
    fn no_rates(&self, function: &Function, targets: &[VfSetting]) -> Option<Complaint> {
        let rate = targets.iter().find(|target| matches!(target, VfSetting::Rate(_)))?;
        let settable = self.settable.filter(|settable| settable.rates_by_carrier)?;
        let uplink = self.uplink.filter(|uplink| !uplink.carrier)?;
        let message = format!(
            "{function}: {rate}: cannot be set: driver {} takes rates only while {} has a carrier, \
             and it has none",
            settable.driver, uplink.name,
        );
        Some((Reason::SettingsUnsupported, message))
    }
}

/// The step that sets them. A network driver reads the address once, as it takes the function, and
/// may tell the PF's of its own as it goes: with another address it goes first.
pub(super) fn steps(site: &Site<'_>, settings: &[VfSetting]) -> Vec<Step> {
    let link = site.rest.as_ref().and_then(|rest| rest.uplink).and_then(|uplink| uplink.index);
    let Some(link) = link.filter(|_| !settings.is_empty()) else { return Vec::new() };
    let function = || site.function.clone();
    let mut steps = Vec::new();
    let new_mac = settings.iter().any(|setting| matches!(setting, VfSetting::Mac(_)));
    if new_mac && has_interface(site) {
        steps.push(Step::UnbindFunction { function: function() });
    }
    steps.push(Step::SetVfSettings { function: function(), link, settings: settings.to_vec() });
    steps
}

/// Whether a network driver has made an interface of the function, be it elsewhere.
fn has_interface(site: &Site<'_>) -> bool {
    let Some(existing) = site.existing else { return false };
    let netdev = existing.driver.as_deref().and_then(cards::netdev);
    netdev.is_some_and(|netdev| netdev.made_one(existing))
}

/// The step for the function's own interface, once that is here.
pub(super) fn interface(site: &Site<'_>, pool: Option<&Pool>) -> Option<Step> {
    let (rest, existing) = (site.rest.as_ref()?, site.existing?);
    let netdev = existing.netdevs.first().filter(|_| has_interface(site))?;
    // what netlink did not show yet is not known
    if netdev.traffic.contains(&Traffic::NotSeen) || is_attached(rest, existing) != Some(false) {
        return None;
    }
    let defaults = pool.filter(|pool| pool.attach == Attach::Netdev).map(|pool| &pool.defaults);
    let mtu = defaults.and_then(|defaults| defaults.mtu).or(rest.mtu);
    let mtu = mtu.filter(|mtu| *mtu != netdev.mtu);
    let stable = defaults.is_some_and(|defaults| defaults.stable_mac);
    let mac = stable.then_some(rest.stable).filter(|mac| Some(*mac) != netdev.mac);
    let function = site.function.clone();
    (mtu.is_some() || mac.is_some()).then_some(Step::SetFunctionLink { function, mac, mtu })
}
