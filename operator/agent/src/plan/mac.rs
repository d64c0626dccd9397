//! Addresses made of names.

use ringway_kernel::Mac;

/// A MAC for a device without one of its own: locally administered, the same whenever the device is
/// made, and another one on every node (FNV-1a of both names).
pub(super) fn stable(node: &str, device: &str) -> Mac {
    let hash =
        node.bytes().chain([0]).chain(device.bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    let [a, b, c, d, e, ..] = hash.to_be_bytes();
    Mac([0x02, a, b, c, d, e])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_names_have_the_same_address_and_others_another() {
        let mut all = BTreeSet::new();
        for node in ["node1", "node2"] {
            for card in ["0000:01:00.0", "0000:01:00.1", "vdpasim_net"] {
                for index in 0..256 {
                    let name = format!("{card}.{index}");
                    let mac = stable(node, &name);
                    assert!(mac.is_unicast() && mac.0[0] == 2);
                    assert_eq!(mac, stable(node, &name));
                    assert!(all.insert(mac), "{node} {name}: {mac} is taken");
                }
            }
        }
    }
}
