//! The feature bits of a virtio network device and their names (virtio 1.3, sections 5.1.3 and 6;
//! include/uapi/linux/virtio_net.h).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A set of virtio feature bits.
///
/// Written as the specification's names without `VIRTIO_NET_F_` and `VIRTIO_F_`, in order of bit;
/// a bit without a name is `bit N`. Serialized as a list of those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Features(pub u64);

/// Bit and name. 0 to 23 and 50 up belong to the network device, 24 to 41 to every virtio device.
const NAMES: [(u32, &str); 48] = [
    (0, "CSUM"),
    (1, "GUEST_CSUM"),
    (2, "CTRL_GUEST_OFFLOADS"),
    (3, "MTU"),
    (5, "MAC"),
    (6, "GSO"),
    (7, "GUEST_TSO4"),
    (8, "GUEST_TSO6"),
    (9, "GUEST_ECN"),
    (10, "GUEST_UFO"),
    (11, "HOST_TSO4"),
    (12, "HOST_TSO6"),
    (13, "HOST_ECN"),
    (14, "HOST_UFO"),
    (15, "MRG_RXBUF"),
    (16, "STATUS"),
    (17, "CTRL_VQ"),
    (18, "CTRL_RX"),
    (19, "CTRL_VLAN"),
    (20, "CTRL_RX_EXTRA"),
    (21, "GUEST_ANNOUNCE"),
    (22, "MQ"),
    (23, "CTRL_MAC_ADDR"),
    (24, "NOTIFY_ON_EMPTY"),
    (27, "ANY_LAYOUT"),
    (28, "INDIRECT_DESC"),
    (29, "EVENT_IDX"),
    (32, "VERSION_1"),
    (33, "ACCESS_PLATFORM"),
    (34, "RING_PACKED"),
    (35, "IN_ORDER"),
    (36, "ORDER_PLATFORM"),
    (37, "SR_IOV"),
    (38, "NOTIFICATION_DATA"),
    (39, "NOTIF_CONFIG_DATA"),
    (40, "RING_RESET"),
    (41, "ADMIN_VQ"),
    (50, "DEVICE_STATS"),
    (52, "VQ_NOTF_COAL"),
    (53, "NOTF_COAL"),
    (54, "GUEST_USO4"),
    (55, "GUEST_USO6"),
    (56, "HOST_USO"),
    (57, "HASH_REPORT"),
    (60, "RSS"),
    (61, "RSC_EXT"),
    (62, "STANDBY"),
    (63, "SPEED_DUPLEX"),
];

impl Features {
    /// `VIRTIO_NET_F_MTU`: must be provisioned for an MTU to be set on creation.
    pub const MTU: Self = Self(1 << 3);
    /// `VIRTIO_NET_F_MAC`: must be provisioned for a MAC to be set on creation.
    pub const MAC: Self = Self(1 << 5);
    /// `VIRTIO_NET_F_MQ`: must be provisioned for queue pairs to be set on creation.
    pub const MQ: Self = Self(1 << 22);
    /// `VIRTIO_F_VERSION_1`.
    pub const VERSION_1: Self = Self(1 << 32);
    /// `VIRTIO_F_ACCESS_PLATFORM`: DMA goes through the platform's IOMMU.
    pub const ACCESS_PLATFORM: Self = Self(1 << 33);

    /// Whether all of `other` are in this set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names, in order of bit.
    pub fn names(self) -> Vec<String> {
        let set = (0..u64::BITS).filter(|bit| self.0 & (1 << bit) != 0);
        set.map(|bit| name(bit).map_or_else(|| format!("bit {bit}"), str::to_owned)).collect()
    }
}

fn name(bit: u32) -> Option<&'static str> {
    let named = NAMES.iter().find(|(number, _)| *number == bit);
    named.map(|(_, name)| *name)
}

fn bit(name: &str) -> Option<u32> {
    if let Some((bit, _)) = NAMES.iter().find(|(_, known)| *known == name) {
        return Some(*bit);
    }
    name.strip_prefix("bit ")?.parse().ok().filter(|bit| *bit < u64::BITS)
}

impl std::ops::BitOr for Features {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitAnd for Features {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl std::ops::Sub for Features {
    type Output = Self;

    /// What is in this set and not in the other.
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(" "))
    }
}

impl FromStr for Features {
    type Err = Error;

    /// The bits of one name, or of several with commas between; `bit N` for one without a name.
    fn from_str(text: &str) -> Result<Self, Error> {
        text.split(',').try_fold(Self::default(), |set, name| {
            let bit = bit(name).ok_or_else(|| {
                Error::parse("virtio feature", name, "a name like MRG_RXBUF, or \"bit N\"")
            })?;
            Ok(set | Self(1 << bit))
        })
    }
}

impl TryFrom<Vec<String>> for Features {
    type Error = Error;

    fn try_from(names: Vec<String>) -> Result<Self, Error> {
        names.iter().try_fold(Self::default(), |set, name| Ok(set | name.parse()?))
    }
}

impl From<Features> for Vec<String> {
    fn from(features: Features) -> Self {
        features.names()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_names_are_one_set() {
        assert_eq!(
            "MAC,VERSION_1".parse::<Features>().unwrap(),
            Features::MAC | Features::VERSION_1
        );
        let error = "MAC,WINGS".parse::<Features>().unwrap_err().to_string();
        assert!(error.contains("\"WINGS\""), "{error}");
        assert!("MAC,".parse::<Features>().is_err());
    }

    #[test]
    fn names_both_ways() {
        let check = |bits: u64, names: &[&str]| {
            assert_eq!(Features(bits).names(), names);
            let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            assert_eq!(Features::try_from(names).unwrap(), Features(bits));
        };
        check(0, &[]);
        check(1 << 5 | 1 << 3, &["MTU", "MAC"]);
        check(1 << 33 | 1 << 32 | 1 << 4, &["bit 4", "VERSION_1", "ACCESS_PLATFORM"]);
        check(1 << 63 | 1 << 57, &["HASH_REPORT", "SPEED_DUPLEX"]);
        // Every bit survives, named or not, and no two share a name.
        let all = Features(u64::MAX);
        assert_eq!(Features::try_from(all.names()).unwrap(), all);
        let mut names = all.names();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 64);
    }

    #[test]
    fn bad_names_are_refused() {
        for text in ["", "mac", "VIRTIO_NET_F_MAC", "bit 64", "bit -1", "bit"] {
            assert!(text.parse::<Features>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn serialized_as_names() {
        let features = Features::MAC | Features::MQ;
        assert_eq!(serde_json::to_string(&features).unwrap(), r#"["MAC","MQ"]"#);
        assert!(serde_json::from_str::<Features>(r#"["NOPE"]"#).is_err());
    }

    #[test]
    fn sets() {
        let both = Features::MAC | Features::MTU;
        assert!(both.contains(Features::MAC));
        assert!(!Features::MAC.contains(both));
        assert_eq!(both - Features::MAC, Features::MTU);
    }
}
