//! Which features people gave up, so that functions that lack them can serve a resource, too.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt as _;
use ringway_api::GROUP;
use ringway_api::conditions::Reason;
use ringway_api::device_policy::{DevicePolicy, VdpaSettings, WITHOUT_FEATURES};

use super::agreement::Names;
use crate::finding::Finding;
use crate::render::Rendered;

/// By resource. An annotation that cannot be read as a whole counts for nothing, and is told.
pub(super) fn given_up(
    policies: &[&DevicePolicy],
    rendered: &mut Rendered,
) -> BTreeMap<String, Names> {
    let mut all = BTreeMap::<String, Names>::new();
    for policy in policies {
        let Some(text) = policy.annotations().get(WITHOUT_FEATURES) else { continue };
        match parse(text, &asking(policy)) {
            Ok(given_up) => {
                for (resource, features) in given_up {
                    all.entry(format!("{GROUP}/{resource}")).or_default().extend(features);
                }
            }
            Err(why) => {
                let message = format!("annotation {WITHOUT_FEATURES}: {why}");
                let finding = Finding { reason: Reason::Invalid, node: None, message };
                rendered.policies.entry(policy.name_any()).or_default().findings.push(finding);
            }
        }
    }
    all
}

/// The resources for which a policy asks for features in common.
fn asking(policy: &DevicePolicy) -> BTreeSet<&str> {
    let asks =
        |vdpa: &Option<VdpaSettings>| vdpa.as_ref().is_some_and(VdpaSettings::asks_for_common);
    let pools = policy.spec.pools.iter().filter(|pool| asks(&pool.vdpa));
    pools.filter_map(|pool| pool.resource.as_deref()).collect()
}

/// `vm-rings=MRG_RXBUF,CTRL_VLAN pod-rings=MQ`.
fn parse(text: &str, asking: &BTreeSet<&str>) -> Result<Vec<(String, Names)>, String> {
    let entry = |entry: &str| {
        let allowed = "RESOURCE=FEATURE,FEATURE, such as vm-rings=MRG_RXBUF";
        let wrong = || format!("{entry:?}: {allowed}");
        let (resource, features) = entry.split_once('=').ok_or_else(wrong)?;
        let name = |name: &&str| {
            let known = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
            !name.is_empty() && name.bytes().all(known)
        };
        if !features.split(',').all(|feature| name(&feature)) {
            return Err(wrong());
        }
        if !asking.contains(resource) {
            let asking = asking.iter().copied().collect::<Vec<_>>().join(", ");
            return Err(format!(
                "{entry:?}: no pool of this policy has {resource} with features common; with these: \
                 {}",
                if asking.is_empty() { "none" } else { &asking },
            ));
        }
        Ok((resource.to_owned(), features.split(',').map(str::to_owned).collect()))
    };
    text.split_whitespace().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_name_a_resource_and_features() {
        let asking = BTreeSet::from(["vm-rings", "pods"]);
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Names>();
        assert_eq!(parse("", &asking), Ok(vec![]));
        assert_eq!(
            parse(" vm-rings=MQ,MRG_RXBUF\n pods=MTU ", &asking),
            Ok(vec![
                ("vm-rings".to_owned(), names(&["MQ", "MRG_RXBUF"])),
                ("pods".to_owned(), names(&["MTU"]))
            ])
        );
    }

    #[test]
    fn nonsense_is_told_with_what_is_allowed() {
        let asking = BTreeSet::from(["vm-rings"]);
        for (text, words) in [
            ("MRG_RXBUF", "\"MRG_RXBUF\": RESOURCE=FEATURE"),
            ("vm-rings=", "such as vm-rings=MRG_RXBUF"),
            ("vm-rings=MQ,", "\"vm-rings=MQ,\""),
            ("vm-rings=mq", "\"vm-rings=mq\""),
            ("vm-rings=MQ rings=MQ", "no pool of this policy has rings"),
            ("vms=MQ", "with these: vm-rings"),
        ] {
            let said = parse(text, &asking).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
        assert!(parse("a=MQ", &BTreeSet::new()).unwrap_err().contains("with these: none"));
    }
}
