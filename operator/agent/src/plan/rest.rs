//! The plan for what a function is set to at rest: what its pool's `defaults` say, and what it was
//! before where they say nothing any more. While the CNI plugin has it attached, that is the
//! plugin's.

use ringway_api::conditions::Reason;
use ringway_kernel::Mac;
use ringway_kernel::devlink::EswitchMode;
use ringway_kernel::inventory::{Netdev, Traffic, VirtualFunction};
use ringway_kernel::link::{Vf, VfSetting};

use super::Attach;
use super::card::Complaint;
use super::function::Site;
use crate::attachments::Attached;
use crate::before::ParentBefore;
use crate::cards::{self, Ability, VfSettable};
use crate::step::{Function, Step};
use crate::wanted::{Defaults, Pool};

/// What a function's settings are planned by.
pub(super) struct Rest<'a> {
    /// The PF's interface, if it is here: its driver is asked by it.
    pub(super) uplink: Option<&'a Netdev>,
    /// What the PF's driver can set.
    pub(super) settable: Option<&'static VfSettable>,
    /// The mode that the eswitch has by then.
    pub(super) mode: Option<EswitchMode>,
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
    let mut targets = differing(rest, existing, defaults);
    if targets.is_empty() || is_attached(rest, existing).unwrap_or_default() {
        return nothing;
    }
    if let Err(complaint) = rest.may_set(&site.function, existing, &targets) {
        return (Vec::new(), Some(complaint));
    }
    let function = &site.function;
    let cannot = |target: &VfSetting| {
        let why = rest.not_now(*target)?;
        Some((Reason::SettingsUnsupported, format!("{function}: {target}: cannot be set: {why}")))
    };
    let complaint = targets.iter().find_map(cannot);
    targets.retain(|target| cannot(target).is_none());
    (targets, complaint)
}

/// What others would have to set; or why it cannot be seen what they have.
pub(super) fn compared(site: &Site<'_>, pool: &Pool) -> Result<Vec<VfSetting>, Complaint> {
    let (Some(rest), Some(existing)) = (&site.rest, site.existing) else { return Ok(Vec::new()) };
    let targets = differing(rest, existing, &pool.defaults);
    if targets.is_empty() || is_attached(rest, existing).unwrap_or_default() {
        return Ok(Vec::new());
    }
    match rest.unseen(existing, &targets) {
        None => Ok(targets),
        Some((reason, why)) => {
            let words = words(&targets);
            Err((reason, format!("{}: {words}: cannot be compared: {why}", site.function)))
        }
    }
}

/// What is not as it shall be, or not known to be: what the pool asks for, and of the rest what was
/// before.
fn differing(rest: &Rest<'_>, existing: &VirtualFunction, defaults: &Defaults) -> Vec<VfSetting> {
    let now = existing.settings.unwrap_or_default();
    let mut targets = defaults.settings(rest.stable, &now);
    for was in &rest.settings {
        if !targets.iter().any(|target| target.same_kind(*was)) {
            targets.push(*was);
        }
    }
    targets.retain(|target| existing.settings.is_none() || now.now(*target) != Some(*target));
    targets
}

fn words(settings: &[VfSetting]) -> String {
    settings.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
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
        let words = words(targets);
        match self.unseen(existing, targets) {
            None => Ok(()),
            Some((Reason::HoldersUnknown, why)) => {
                Err((Reason::HoldersUnknown, format!("{function}: {words}: {why}")))
            }
            Some((reason, why)) => {
                Err((reason, format!("{function}: {words}: cannot be set: {why}")))
            }
        }
    }

    /// Why it cannot be seen whether they are set, or whether that is anybody's doing.
    fn unseen(&self, existing: &VirtualFunction, targets: &[VfSetting]) -> Option<Complaint> {
        if let Err(why) = self.attached {
            let why = format!("whether a pod has it is not known: {why}");
            return Some((Reason::HoldersUnknown, why));
        }
        let unsupported = |why: String| Some((Reason::SettingsUnsupported, why));
        if self.uplink.is_none_or(|uplink| uplink.index.is_none()) {
            return unsupported("its card's interface is in another network namespace".to_owned());
        }
        let driver = self.settable.map_or("of its card", |settable| settable.driver);
        let Some(now) = existing.settings else {
            return unsupported(format!("driver {driver} does not tell what is set"));
        };
        let untold = targets.iter().find(|target| now.now(**target).is_none())?;
        unsupported(format!("driver {driver} does not tell what is set of {untold}"))
    }

    /// Why the driver does not take a setting as things are.
    fn not_now(&self, target: VfSetting) -> Option<String> {
        let settable = self.settable?;
        let driver = settable.driver;
        if let Some((source, mode)) =
            settable.refuses(Ability::of(target), self.mode).zip(self.mode)
        {
            return Some(format!("driver {driver} does not in eswitch mode {mode} ({source})"));
        }
        let uplink = self.uplink.filter(|uplink| !uplink.carrier && settable.rates_by_carrier)?;
        matches!(target, VfSetting::Rate(_)).then(|| {
            format!(
                "driver {driver} takes rates only while {} has a carrier, and it has none",
                uplink.name
            )
        })
    }
}

/// The steps that set them.
pub(super) fn steps(site: &Site<'_>, settings: &[VfSetting]) -> Vec<Step> {
    let set = set(site, settings);
    let first = unbinds(site, settings).then(|| site.function.clone());
    let unbind = first.map(|function| Step::UnbindFunction { function });
    unbind.into_iter().chain(set).collect()
}

/// The step that sets them and nothing else: a new address is read by the function's driver when it
/// takes the function the next time.
pub(super) fn set(site: &Site<'_>, settings: &[VfSetting]) -> Option<Step> {
    let link = site.rest.as_ref()?.uplink?.index.filter(|_| !settings.is_empty())?;
    let (function, settings) = (site.function.clone(), settings.to_vec());
    Some(Step::SetVfSettings { function, link, settings })
}

/// Whether the function's driver is to let go of it first. A network driver reads the address once,
/// as it takes the function, and may tell the PF's of its own as it goes.
pub(super) fn unbinds(site: &Site<'_>, settings: &[VfSetting]) -> bool {
    let new_mac = settings.iter().any(|setting| matches!(setting, VfSetting::Mac(_)));
    new_mac && has_interface(site) && set(site, settings).is_some()
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
