//! What a network asks of a function through its PF: sriov-cni's fields, with its values.

use ringway_kernel::link::{VfLink, VfSetting, VfTag, VfTxRate};
use serde_json::{Map, Value};

use super::{bad, field};
use crate::error::{Code, Error, Result};

/// What is asked for, besides the address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// VLAN, spoof check, trust and link state, as far as they are asked for.
    settings: Vec<VfSetting>,
    /// `min_tx_rate`, in Mbit/s.
    min_rate: Option<u32>,
    /// `max_tx_rate`, in Mbit/s.
    max_rate: Option<u32>,
}

impl Asked {
    pub(super) fn parse(raw: &Map<String, Value>) -> Result<Self> {
        let spoof_check = choice(raw, "spoofchk", &SWITCH)?.map(VfSetting::SpoofCheck);
        let trust = choice(raw, "trust", &SWITCH)?.map(VfSetting::Trust);
        let link = choice(raw, "link_state", &LINK)?.map(VfSetting::Link);
        let (min_rate, max_rate) = (rate(raw, "min_tx_rate")?, rate(raw, "max_tx_rate")?);
        if let Some((min, max)) = min_rate.zip(max_rate) {
            in_order(VfTxRate { min, max })?;
        }
        let settings = [vlan(raw)?, spoof_check, trust, link].into_iter().flatten().collect();
        Ok(Self { settings, min_rate, max_rate })
    }

    /// All of it as settings. A rate that is not asked for stays what it is `now`.
    pub fn settings(&self, now: VfTxRate) -> Result<Vec<VfSetting>> {
        let mut settings = self.settings.clone();
        if self.min_rate.is_some() || self.max_rate.is_some() {
            let rate = VfTxRate {
                min: self.min_rate.unwrap_or(now.min),
                max: self.max_rate.unwrap_or(now.max),
            };
            in_order(rate)?;
            settings.push(VfSetting::Rate(rate));
        }
        Ok(settings)
    }

    /// What of it a function does not have that nobody can set anything for: an operator renders
    /// `"vlan": 0` and rates of 0 for every network.
    pub fn beyond_nothing(&self) -> Result<Vec<VfSetting>> {
        let mut settings = self.settings(VfTxRate::default())?;
        settings.retain(|setting| {
            !matches!(setting, VfSetting::Vlan(None) | VfSetting::Rate(VfTxRate { min: 0, max: 0 }))
        });
        Ok(settings)
    }
}

/// The field that asks for a setting.
pub fn field_of(setting: VfSetting) -> &'static str {
    match setting {
        VfSetting::Mac(_) => "mac",
        VfSetting::Vlan(_) => "vlan",
        VfSetting::Rate(VfTxRate { min: 0, .. }) => "max_tx_rate",
        VfSetting::Rate(_) => "min_tx_rate, max_tx_rate",
        VfSetting::SpoofCheck(_) => "spoofchk",
        VfSetting::Trust(_) => "trust",
        VfSetting::Link(_) => "link_state",
    }
}

const SWITCH: [(&str, bool); 2] = [("on", true), ("off", false)];
const LINK: [(&str, VfLink); 3] =
    [("auto", VfLink::Auto), ("enable", VfLink::Enable), ("disable", VfLink::Disable)];
/// Whether the tag is a service tag.
const PROTOCOL: [(&str, bool); 2] = [("802.1q", false), ("802.1ad", true)];

fn vlan(raw: &Map<String, Value>) -> Result<Option<VfSetting>> {
    let id = number(raw, "vlan", 4094, "must be 0 (none) to 4094")?;
    let qos = number(raw, "vlanQoS", 7, "must be 0 to 7")?;
    let service = choice(raw, "vlanProto", &PROTOCOL)?;
    let named = |name: &str| raw.get(name).map(ToString::to_string).unwrap_or_default();
    if id.unwrap_or(0) == 0 {
        if qos.is_some_and(|qos| qos != 0) {
            return Err(bad("vlanQoS", &named("vlanQoS"), "wants a vlan of 1 to 4094 beside it"));
        }
        if service == Some(true) || (service.is_some() && id.is_none()) {
            let rule = "wants a vlan of 1 to 4094 beside it";
            return Err(bad("vlanProto", &named("vlanProto"), rule));
        }
    }
    let Some(id) = id else { return Ok(None) };
    let numbers = u16::try_from(id).ok().zip(u8::try_from(qos.unwrap_or(0)).ok());
    let tag = numbers.map(|(id, qos)| VfTag { id, qos, service: service.unwrap_or(false) });
    Ok(Some(VfSetting::Vlan(tag.filter(|tag| tag.id != 0))))
}

fn rate(raw: &Map<String, Value>, name: &str) -> Result<Option<u32>> {
    number(raw, name, u32::MAX, "must be 0 (no bound) or Mbit/s below 2^32")
}

fn in_order(rate: VfTxRate) -> Result<()> {
    if rate.max == 0 || rate.min <= rate.max {
        return Ok(());
    }
    let rule = format!("must not be more than max_tx_rate, {} Mbit/s", rate.max);
    Err(bad("min_tx_rate", &rate.min.to_string(), &rule))
}

fn number(raw: &Map<String, Value>, name: &str, most: u32, rule: &str) -> Result<Option<u32>> {
    let Some(value) = field::<i64>(raw, name)? else { return Ok(None) };
    match u32::try_from(value).ok().filter(|value| *value <= most) {
        Some(value) => Ok(Some(value)),
        None => Err(bad(name, &value.to_string(), rule)),
    }
}

/// One of a few words, in any case; an empty one is none.
fn choice<T: Copy>(
    raw: &Map<String, Value>,
    name: &str,
    allowed: &[(&str, T)],
) -> Result<Option<T>> {
    let Some(text) = field::<String>(raw, name)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let found = allowed.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text));
    match found {
        Some((_, value)) => Ok(Some(*value)),
        None => {
            let words: Vec<_> = allowed.iter().map(|(word, _)| *word).collect();
            Err(bad(name, &text, &format!("must be one of {}", words.join(", "))))
        }
    }
}

/// The refusal of a setting, by the field that asks for it.
pub fn cannot(setting: VfSetting, of: &str, why: &str) -> Error {
    let text = format!(
        "network configuration: field {} asks for {setting}, which {of} cannot have: {why}",
        field_of(setting)
    );
    Error::new(Code::Config, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(conf: &Value) -> Result<Asked> {
        Asked::parse(conf.as_object().unwrap())
    }

    #[test]
    fn each_field_becomes_its_setting() {
        let check = |conf: Value, expected: &[&str]| {
            let asked = parse(&conf).unwrap();
            let settings = asked.settings(VfTxRate { min: 1, max: 900 }).unwrap();
            let shown: Vec<_> = settings.iter().map(ToString::to_string).collect();
            assert_eq!(shown, expected, "{conf}");
        };
        check(json!({}), &[]);
        check(json!({"vlan": null, "spoofchk": "", "trust": "", "link_state": ""}), &[]);
        check(json!({"vlan": 0, "vlanQoS": 0}), &["no VLAN"]);
        check(json!({"vlanQoS": 0}), &[]);
        check(json!({"vlan": 100}), &["VLAN 100 (802.1q, qos 0)"]);
        let tag = json!({"vlan": 4094, "vlanQoS": 7, "vlanProto": "802.1AD"});
        check(tag, &["VLAN 4094 (802.1ad, qos 7)"]);
        check(json!({"max_tx_rate": 50}), &["rates 1 to 50 Mbit/s"]);
        check(json!({"min_tx_rate": 5}), &["rates 5 to 900 Mbit/s"]);
        check(json!({"min_tx_rate": 0, "max_tx_rate": 0}), &["rates 0 to 0 Mbit/s"]);
        check(
            json!({"spoofchk": "off", "trust": "on", "link_state": "enable"}),
            &["spoof check off", "trust on", "link state enable"],
        );
    }

    #[test]
    fn what_operators_render_for_nothing_is_beyond_nobody() {
        let asked = parse(&json!({"vlan": 0, "vlanQoS": 0, "max_tx_rate": 0})).unwrap();
        assert_eq!(asked.beyond_nothing().unwrap(), []);
        let asked = parse(&json!({"vlan": 0, "trust": "off"})).unwrap();
        assert_eq!(asked.beyond_nothing().unwrap(), [VfSetting::Trust(false)]);
    }

    #[test]
    fn a_wrong_value_is_named_with_what_is_allowed() {
        for (conf, code, field, rule) in [
            (json!({"vlan": 4095}), Code::Config, "field vlan is \"4095\"", "0 (none) to 4094"),
            (json!({"vlan": -1}), Code::Config, "field vlan is \"-1\"", "0 (none) to 4094"),
            (json!({"vlan": "5"}), Code::Decode, "field vlan", "invalid type"),
            (json!({"vlan": 5, "vlanQoS": 8}), Code::Config, "field vlanQoS is \"8\"", "0 to 7"),
            (json!({"vlanQoS": 3}), Code::Config, "field vlanQoS is \"3\"", "wants a vlan"),
            (json!({"vlan": 0, "vlanQoS": 3}), Code::Config, "vlanQoS", "wants a vlan"),
            (json!({"vlanProto": "802.1q"}), Code::Config, "vlanProto", "wants a vlan"),
            (json!({"vlan": 0, "vlanProto": "802.1ad"}), Code::Config, "vlanProto", "wants a vlan"),
            (
                json!({"vlan": 5, "vlanProto": "802.3"}),
                Code::Config,
                "field vlanProto is \"802.3\"",
                "one of 802.1q, 802.1ad",
            ),
            (json!({"min_tx_rate": -1}), Code::Config, "min_tx_rate is \"-1\"", "Mbit/s"),
            (
                json!({"min_tx_rate": 9, "max_tx_rate": 8}),
                Code::Config,
                "min_tx_rate is \"9\"",
                "max_tx_rate, 8 Mbit/s",
            ),
            (json!({"max_tx_rate": 4294967296_u64}), Code::Config, "max_tx_rate", "below 2^32"),
            (json!({"spoofchk": "yes"}), Code::Config, "spoofchk is \"yes\"", "one of on, off"),
            (json!({"trust": true}), Code::Decode, "field trust", "invalid type"),
            (json!({"link_state": "up"}), Code::Config, "\"up\"", "one of auto, enable, disable"),
        ] {
            let error = parse(&conf).unwrap_err();
            assert_eq!(error.code(), code, "{conf}");
            let text = error.chain();
            assert!(text.contains(field) && text.contains(rule), "{conf}: {text}");
        }
        let asked = parse(&json!({"min_tx_rate": 90})).unwrap();
        let error = asked.settings(VfTxRate { min: 0, max: 50 }).unwrap_err();
        assert!(error.to_string().contains("max_tx_rate, 50 Mbit/s"), "{error}");
    }
}
