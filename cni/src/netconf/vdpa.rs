//! `vdpa`: what a network expects of the vDPA devices it is given. Nothing is set by it: a device has
//! what its pool in the `DevicePolicy` gave it.

use ringway_kernel::features::Features;
use serde_json::{Map, Value};

use super::{bad, field, field_in, keys::unsupported};
use crate::error::Result;

/// `VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX` (include/uapi/linux/virtio_net.h).
const MOST_PAIRS: i64 = 0x8000;
const KNOWN: [&str; 2] = ["queuePairs", "features"];

/// What is expected; by default nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expected {
    /// At least so many pairs of data virtqueues.
    pub queue_pairs: Option<u16>,
    /// At least these features.
    pub features: Features,
}

impl Expected {
    pub(super) fn parse(raw: &Map<String, Value>) -> Result<Self> {
        let Some(vdpa) = field::<Map<String, Value>>(raw, "vdpa")? else {
            return Ok(Self::default());
        };
        if let Some((name, value)) = vdpa.iter().find(|(name, _)| !KNOWN.contains(&name.as_str())) {
            let rule = format!("must be one of {}", KNOWN.join(", "));
            return Err(unsupported("vdpa.", name, value, &rule));
        }
        let pairs: Option<i64> = field_in("vdpa.", &vdpa, "queuePairs")?;
        let names: Option<Vec<String>> = field_in("vdpa.", &vdpa, "features")?;
        Ok(Self {
            queue_pairs: pairs.map(queue_pairs).transpose()?,
            features: features(names.unwrap_or_default())?,
        })
    }

    /// Whether nothing is expected.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

fn queue_pairs(pairs: i64) -> Result<u16> {
    let allowed = u16::try_from(pairs).ok().filter(|_| (1..=MOST_PAIRS).contains(&pairs));
    let rule = format!("must be 1 to {MOST_PAIRS}");
    allowed.ok_or_else(|| bad("vdpa.queuePairs", &pairs.to_string(), &rule))
}

fn features(names: Vec<String>) -> Result<Features> {
    names.iter().try_fold(Features::default(), |set, name| match name.parse::<Features>() {
        // the kernel's parser takes several in one
        Ok(feature) if !name.contains(',') => Ok(set | feature),
        _ => {
            let all = Features(u64::MAX).names();
            let named: Vec<_> = all.into_iter().filter(|name| !name.starts_with("bit ")).collect();
            let rule = format!("must be one of {}, or \"bit N\" with N below 64", named.join(", "));
            Err(bad("vdpa.features", name, &rule))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use serde_json::json;

    fn parse(vdpa: &Value) -> Result<Expected> {
        Expected::parse(json!({"vdpa": vdpa}).as_object().unwrap())
    }

    #[test]
    fn names_and_numbers_are_what_pools_have() {
        for nothing in [Value::Null, json!({}), json!({"queuePairs": null, "features": []})] {
            assert!(parse(&nothing).unwrap().is_nothing(), "{nothing}");
        }
        let found = parse(&json!({"queuePairs": 32768, "features": ["MAC", "bit 32"]})).unwrap();
        assert_eq!(found.queue_pairs, Some(32768));
        assert_eq!(found.features, Features::MAC | Features::VERSION_1);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (vdpa, code, told) in [
            (json!([]), Code::Decode, "field vdpa"),
            (
                json!({"queues": 4}),
                Code::UnsupportedField,
                "vdpa.\"queues\" with value 4: must be one of",
            ),
            (
                json!({"queuePairs": 0}),
                Code::Config,
                "vdpa.queuePairs is \"0\": must be 1 to 32768",
            ),
            (json!({"queuePairs": 32769}), Code::Config, "vdpa.queuePairs is \"32769\""),
            (json!({"queuePairs": "4"}), Code::Decode, "field vdpa.queuePairs: invalid type"),
            (json!({"features": "MAC"}), Code::Decode, "field vdpa.features: invalid type"),
            (
                json!({"features": ["MAC", "mac"]}),
                Code::Config,
                "vdpa.features is \"mac\": must be one of",
            ),
            (json!({"features": ["MAC,MTU"]}), Code::Config, "vdpa.features is \"MAC,MTU\""),
            (json!({"features": ["bit 64"]}), Code::Config, "MRG_RXBUF"),
        ] {
            let error = parse(&vdpa).unwrap_err();
            assert_eq!(error.code(), code, "{vdpa}: {error}");
            assert!(error.chain().contains(told), "{vdpa}: {}", error.chain());
        }
    }
}
