//! What is put back of functions before the eswitch changes its mode: in the new one the PF's driver
//! may not take it any more, and what it was told goes on.

use ringway_api::conditions::Reason;
use ringway_kernel::devlink::EswitchMode;
use ringway_kernel::inventory::{Parent as Found, VirtualFunction};
use ringway_kernel::link::VfSetting;

use super::card::Complaint;
use super::eswitch::Shape;
use super::rest::Was;
use crate::attachments::Attached;
use crate::cards::{self, Ability, VfSettable};
use crate::step::{Function, Step};

/// The steps; or why they cannot be done, and with them the mode.
pub(super) fn steps(
    found: &Found,
    shape: Shape,
    was: Was<'_>,
    attached: &Attached,
) -> Result<Vec<Step>, Complaint> {
    let settable = cards::vf_settable(found.driver.as_deref());
    let Some((settable, mode)) = settable.zip(shape.switches(found)) else { return Ok(Vec::new()) };
    let mut steps = Vec::new();
    for existing in &found.functions {
        let settings = stranded(settable, mode, existing, &was.settings(existing.index));
        if settings.is_empty() {
            continue;
        }
        let function = Function::Vf { pf: found.address, index: existing.index };
        let cannot = |reason, why: &str| {
            let words = settings.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let message = format!(
                "{function}: {words}: is to be put back before the mode of the eswitch becomes \
                 {mode}: {why}"
            );
            Err((reason, message))
        };
        match attached.as_ref().map(|attached| attached.contains_key(&existing.address.to_string()))
        {
            Ok(false) => {}
            // the mode waits for its user as well
            Ok(true) => continue,
            Err(why) => {
                return cannot(
                    Reason::HoldersUnknown,
                    &format!("whether a pod has it is not known: {why}"),
                );
            }
        }
        let Some(link) = found.netdevs.first().and_then(|uplink| uplink.index) else {
            let away = "its card's interface is in another network namespace";
            return cannot(Reason::SettingsUnsupported, away);
        };
        steps.push(Step::SetVfSettings { function, link, settings });
    }
    Ok(steps)
}

/// What was set before us, is not now, and cannot be in the other mode.
fn stranded(
    settable: &VfSettable,
    mode: EswitchMode,
    existing: &VirtualFunction,
    was: &[VfSetting],
) -> Vec<VfSetting> {
    let Some(now) = existing.settings else { return Vec::new() };
    let other = |was: &VfSetting| now.now(*was).is_some_and(|now| now != *was);
    let lost = |was: &VfSetting| settable.refuses(Ability::of(*was), Some(mode)).is_some();
    was.iter().filter(|was| other(was) && lost(was)).copied().collect()
}
