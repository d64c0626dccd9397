//! What a network may ask of a device's function: what that is anyhow, what is stricter, and what the
//! pool's `limits` allow. Whoever may write a NetworkAttachmentDefinition can ask for anything.

use ringway_kernel::link::{Vf, VfLink, VfSetting, VfTxRate};
use ringway_node::{limits::Limits, pools::Pool};

use crate::{
    error::{Code, Error, Result},
    invocation::Pod,
    netconf::function::field_of,
};

/// Whether a pod of this namespace may have a device of the pool.
pub fn namespace(pool: &Pool, pod: &Pod) -> Result<()> {
    let Some(allowed) = &pool.limits.namespaces else { return Ok(()) };
    if pod.namespace.as_ref().is_some_and(|namespace| allowed.contains(namespace)) {
        return Ok(());
    }
    let text = format!(
        "pod {pod}: pool {} is for pods of {} (limits.namespaces of its DevicePolicy)",
        pool.name,
        allowed.join(", ")
    );
    Err(Error::new(Code::Config, text))
}

/// Whether each setting may be asked for of a function that is set otherwise now.
pub fn settings(pool: &Pool, asked: &[VfSetting], now: &Vf) -> Result<()> {
    for setting in asked.iter().filter(|setting| now.now(**setting) != Some(**setting)) {
        if let Err(allowed) = one(&pool.limits, *setting, now) {
            let text = format!(
                "network configuration: field {} asks for {setting}, and pool {} allows {allowed}",
                field_of(*setting),
                pool.name
            );
            let advice = "what networks may ask for are limits in the pool of its DevicePolicy";
            return Err(Error::new(Code::Config, text).advise(advice));
        }
    }
    Ok(())
}

/// What is allowed, if this is not.
fn one(limits: &Limits, setting: VfSetting, now: &Vf) -> std::result::Result<(), String> {
    let allowed = match setting {
        // its own address is what a virtual machine takes along
        VfSetting::Mac(_) => true,
        VfSetting::Vlan(tag) => {
            let id = tag.map_or(0, |tag| tag.id);
            limits.vlans.as_ref().is_some_and(|vlans| vlans.contains(id))
        }
        VfSetting::Rate(rate) => return rates(limits.max_rate, rate, now.rate),
        VfSetting::SpoofCheck(on) => on || limits.spoof_check == Some(false),
        VfSetting::Trust(on) => !on || limits.trust == Some(true),
        // one that is disabled at rest is so on purpose
        VfSetting::Link(_) => now.link != VfLink::Disable,
    };
    if allowed {
        return Ok(());
    }
    let alone = now.now(setting).map_or_else(|| "nothing".to_owned(), |now| now.to_string());
    match (setting, &limits.vlans) {
        (VfSetting::Vlan(_), Some(vlans)) => Err(format!("{vlans}, and {alone} as it has")),
        _ => Err(format!("{alone}, as it has")),
    }
}

/// Less than there is harms nobody. More takes bandwidth from others, and a rate for sure does.
fn rates(limit: Option<u32>, asked: VfTxRate, now: VfTxRate) -> std::result::Result<(), String> {
    let below = |most: u32| most == 0 || (1..=most).contains(&asked.max);
    let (allowed, words) = match limit {
        Some(limit) => (
            below(limit) && asked.min <= limit,
            format!("1 to {limit} Mbit/s, at most and for sure"),
        ),
        None => {
            let has = VfSetting::Rate(now);
            (below(now.max) && asked.min <= now.min, format!("no more than {has}, as it has"))
        }
    };
    if allowed || (asked.max == now.max && asked.min <= now.min) {
        return Ok(());
    }
    Err(words)
}

#[cfg(test)]
mod tests {
    use ringway_kernel::link::VfTag;
    use serde_json::{Value, json};

    use super::*;

    fn pool(limits: Value) -> Pool {
        let pool = json!({"name": "p", "resource": "ringway.dev/p", "attach": "netdev",
                          "limits": limits, "devices": []});
        serde_json::from_value(pool).unwrap()
    }

    fn tag(id: u16) -> VfSetting {
        VfSetting::Vlan(Some(VfTag { id, qos: 0, service: false }))
    }

    fn rate(min: u32, max: u32) -> VfSetting {
        VfSetting::Rate(VfTxRate { min, max })
    }

    fn at_rest() -> Vf {
        let (vlan, rate) =
            (Some(VfTag { id: 7, qos: 0, service: false }), VfTxRate { min: 10, max: 100 });
        Vf { vlan, rate, spoof_check: Some(true), trust: Some(false), ..Vf::default() }
    }

    fn allows(limits: &Value, now: &Vf, setting: VfSetting) -> bool {
        settings(&pool(limits.clone()), &[setting], now).is_ok()
    }

    #[test]
    fn without_limits_what_it_has_and_what_is_stricter_may_be_asked_for() {
        let now = at_rest();
        let may = |setting| allows(&json!({}), &now, setting);
        for setting in [
            tag(7),
            rate(10, 100),
            rate(0, 50),
            rate(10, 100),
            VfSetting::SpoofCheck(true),
            VfSetting::Trust(false),
            VfSetting::Link(VfLink::Disable),
            VfSetting::Link(VfLink::Enable),
            VfSetting::Mac(ringway_kernel::Mac([2, 0, 0, 0, 0, 9])),
        ] {
            assert!(may(setting), "{setting}");
        }
        for setting in [
            tag(8),
            VfSetting::Vlan(None),
            VfSetting::Vlan(Some(VfTag { id: 7, qos: 7, service: false })),
            rate(20, 100),
            rate(10, 101),
            rate(10, 0),
            VfSetting::SpoofCheck(false),
            VfSetting::Trust(true),
        ] {
            assert!(!may(setting), "{setting}");
        }
        let free = Vf::default();
        assert!(allows(&json!({}), &free, rate(0, 5000)), "any bound is less than none");
        assert!(!allows(&json!({}), &free, rate(1, 0)));
        let disabled = Vf { link: VfLink::Disable, ..Vf::default() };
        assert!(!allows(&json!({}), &disabled, VfSetting::Link(VfLink::Enable)));
    }

    #[test]
    fn limits_allow_more_and_no_more() {
        let limits =
            json!({"vlans": "100-199", "trust": true, "spoofCheck": false, "maxRate": 1000});
        let may = |setting| allows(&limits, &at_rest(), setting);
        for setting in [
            tag(100),
            tag(199),
            tag(7),
            rate(1000, 1000),
            VfSetting::SpoofCheck(false),
            VfSetting::Trust(true),
        ] {
            assert!(may(setting), "{setting}");
        }
        for setting in [tag(99), tag(200), VfSetting::Vlan(None), rate(0, 1001), rate(0, 0)] {
            assert!(!may(setting), "{setting}");
        }
        assert!(allows(&json!({"vlans": "0"}), &at_rest(), VfSetting::Vlan(None)));
    }

    #[test]
    fn a_refusal_names_field_value_and_what_is_allowed() {
        for (limits, setting, words) in [
            (
                json!({}),
                tag(9),
                "field vlan asks for VLAN 9 (802.1q, qos 0), and pool p allows VLAN 7",
            ),
            (json!({"vlans": "1-3"}), tag(9), "allows 1-3, and VLAN 7 (802.1q, qos 0) as it has"),
            (
                json!({}),
                VfSetting::Trust(true),
                "trust asks for trust on, and pool p allows trust off",
            ),
            (json!({"maxRate": 5}), rate(0, 9), "allows 1 to 5 Mbit/s, at most and for sure"),
            (json!({}), rate(99, 100), "allows no more than rates 10 to 100 Mbit/s, as it has"),
        ] {
            let error = settings(&pool(limits), &[setting], &at_rest()).unwrap_err();
            assert_eq!(error.code(), Code::Config);
            assert!(error.chain().contains(words), "{words}: {}", error.chain());
        }
    }

    #[test]
    fn a_pool_may_be_for_some_namespaces() {
        let pod = |namespace: Option<&str>| Pod {
            namespace: namespace.map(str::to_owned),
            ..Pod::default()
        };
        let named = pool(json!({"namespaces": ["a", "b"]}));
        assert!(namespace(&named, &pod(Some("b"))).is_ok());
        for other in [Some("c"), Some(""), None] {
            let error = namespace(&named, &pod(other)).unwrap_err();
            assert_eq!(error.code(), Code::Config);
            assert!(error.chain().contains("pool p is for pods of a, b"), "{}", error.chain());
        }
        assert!(namespace(&pool(json!({})), &pod(None)).is_ok());
        assert!(namespace(&pool(json!({"namespaces": []})), &pod(Some("a"))).is_err());
    }
}
