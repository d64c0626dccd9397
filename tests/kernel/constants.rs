//! Our numbers against the uapi headers of the kernel that runs.
//!
//! Every integer constant of the files below is looked at, private ones too, which is why their
//! source is read and not their values. A constant is the kernel's if its comment names one of a
//! header's, or if its own name is one behind a prefix of its file; else it has to be in the list
//! of those that are ours.

use std::collections::BTreeSet;

use ringway_kernel::features::Features;
use rustix::net::RecvFlags;

use header::Headers;

mod header;

/// Where we write down the kernel's numbers, with the prefixes that their names lack.
const SOURCES: [(&str, &[&str]); 15] = [
    (include_str!("../../cni/src/netdev.rs"), &[]),
    (include_str!("../../kernel/src/arp/packet.rs"), &[]),
    (include_str!("../../kernel/src/devlink/wire.rs"), &[]),
    (include_str!("../../kernel/src/error.rs"), &[""]),
    (include_str!("../../kernel/src/genl.rs"), &[]),
    (include_str!("../../kernel/src/link/vf.rs"), &["IFLA_"]),
    (include_str!("../../kernel/src/link/vf_stats.rs"), &["IFLA_"]),
    (include_str!("../../kernel/src/link/wire.rs"), &["IFLA_", "IFF_"]),
    (include_str!("../../kernel/src/module.rs"), &[""]),
    (include_str!("../../kernel/src/netlink.rs"), &[]),
    (include_str!("../../kernel/src/netlink/attribute.rs"), &[]),
    (include_str!("../../kernel/src/netlink/wire.rs"), &[]),
    (include_str!("../../kernel/src/netns.rs"), &[]),
    (include_str!("../../kernel/src/vdpa.rs"), &["VIRTIO_ID_"]),
    (include_str!("../../kernel/src/vdpa/wire.rs"), &[]),
];

const HEADERS: [&str; 15] = [
    "asm-generic/errno-base.h",
    "asm-generic/errno.h",
    "linux/devlink.h",
    "linux/genetlink.h",
    "linux/if.h",
    "linux/if_ether.h",
    "linux/if_link.h",
    "linux/magic.h",
    "linux/module.h",
    "linux/netlink.h",
    "linux/vdpa.h",
    "linux/virtio_config.h",
    "linux/virtio_ids.h",
    "linux/virtio_net.h",
    "linux/virtio_ring.h",
];

/// Bounds of our own, and the lengths of headers.
const OURS: [&str; 7] = [
    "DUMP_ATTEMPTS",
    "HEADER",
    "LONGEST",
    "LONGEST_ANSWER",
    "LONGEST_DATAGRAM",
    "LONGEST_LIST",
    "MOST_VFS",
];

#[test]
fn numbers_are_those_of_the_headers() {
    let headers = Headers::read(&HEADERS);
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    for (source, prefixes) in SOURCES {
        for constant in constants(source) {
            let Constant { name, bits, expression, .. } = &constant;
            let ours = headers.evaluate(expression).unwrap_or_else(|| panic!("{name}"));
            // what only the kernel's inner headers have
            let theirs = match name.as_str() {
                "ENOTSUPP" => Some(("ENOTSUPP".to_owned(), 524)),
                "WHOLE_LENGTH" => Some(("MSG_TRUNC".to_owned(), RecvFlags::TRUNC.bits().into())),
                _ => constant.in_headers(&headers, prefixes),
            };
            let mask = (1_i128 << bits) - 1;
            match theirs {
                Some((theirs, value)) if value & mask == ours & mask => drop(seen.insert(theirs)),
                Some((theirs, value)) => wrong.push(format!("{name} {ours}: {theirs} is {value}")),
                None if OURS.contains(&name.as_str()) => {}
                None => wrong.push(format!("{name}: in no header, and not in the list of ours")),
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    // one of each file, so that none is passed over
    for name in [
        "VIRTIO_NET_F_CTRL_MAC_ADDR",
        "ETH_P_ARP",
        "EOPNOTSUPP",
        "DEVLINK_CMD_ESWITCH_SET",
        "DEVLINK_ATTR_ESWITCH_MODE",
        "DEVLINK_ESWITCH_MODE_SWITCHDEV",
        "DEVLINK_PORT_FLAVOUR_PCI_VF",
        "DEVLINK_PORT_FUNCTION_ATTR_HW_ADDR",
        "DEVLINK_ATTR_RATE_TX_SHARE",
        "GENL_ID_CTRL",
        "IFLA_PARENT_DEV_BUS_NAME",
        "IFLA_VF_STATS_TX_DROPPED",
        "IFF_LOWER_UP",
        "MODULE_INIT_COMPRESSED_FILE",
        "EKEYREJECTED",
        "NETLINK_GENERIC",
        "NLA_TYPE_MASK",
        "NLA_F_NESTED",
        "NLM_F_DUMP",
        "NLMSGERR_ATTR_MSG",
        "NSFS_MAGIC",
        "VIRTIO_ID_NET",
        "VDPA_CMD_DEV_ATTR_SET",
        "VDPA_ATTR_DEV_VENDOR_ATTR_VALUE",
        "VDPA_ATTR_DEV_FEATURES",
        "VIRTIO_NET_S_LINK_UP",
    ] {
        assert!(seen.contains(name), "{name} was not compared: {seen:?}");
    }
}

#[test]
fn feature_bits_have_the_headers_names() {
    let headers = Headers::read(&HEADERS);
    let (mut compared, mut wrong) = (0, Vec::new());
    for prefix in ["VIRTIO_NET_F_", "VIRTIO_RING_F_", "VIRTIO_F_"] {
        for (full, name) in headers.with_prefix(prefix) {
            let bit = headers.value(full).unwrap();
            // the older name of ACCESS_PLATFORM; and bits of the second word, which vDPA has not
            if name == "IOMMU_PLATFORM" || bit >= 64 {
                continue;
            }
            let ours = Features(1 << bit).names().concat();
            compared += 1;
            // a kernel newer than our table may have more
            if ours != name && ours != format!("bit {bit}") {
                wrong.push(format!("bit {bit} is {ours}, {full} in the header"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(compared >= 40, "only {compared}");
    for (constant, name) in [
        (Features::MTU, "MTU"),
        (Features::MAC, "MAC"),
        (Features::MQ, "MQ"),
        (Features::VERSION_1, "VERSION_1"),
        (Features::ACCESS_PLATFORM, "ACCESS_PLATFORM"),
    ] {
        assert_eq!(constant.names(), [name]);
    }
}

/// An integer constant of ours.
struct Constant {
    name: String,
    /// What its comment names in backquotes and capitals.
    named: Vec<String>,
    bits: u32,
    expression: String,
}

impl Constant {
    /// The kernel's name and value.
    fn in_headers(&self, headers: &Headers, prefixes: &[&str]) -> Option<(String, i128)> {
        let prefixed = prefixes.iter().map(|prefix| format!("{prefix}{}", self.name));
        let mut candidates = self.named.iter().cloned().chain(prefixed);
        candidates.find_map(|name| headers.value(&name).map(|value| (name, value)))
    }
}

fn constants(source: &str) -> Vec<Constant> {
    let (mut found, mut comment) = (Vec::new(), String::new());
    for line in source.lines().map(str::trim).take_while(|line| *line != "#[cfg(test)]") {
        if let Some(text) = line.strip_prefix("///") {
            comment += text;
            continue;
        }
        found.extend(constant(line, &comment));
        comment.clear();
    }
    found
}

/// `pub const NAME: u16 = 0x10;`, or `Self(0x10)` for a set of 16 flags.
fn constant(line: &str, comment: &str) -> Option<Constant> {
    let (before, rest) = line.split_once("const ")?;
    if !before.is_empty() && !before.starts_with("pub") {
        return None;
    }
    let (name, rest) = rest.split_once(": ")?;
    let (kind, expression) = rest.strip_suffix(';')?.split_once(" = ")?;
    let bits = match kind {
        "u8" => 8,
        "u16" | "Self" => 16,
        "i32" | "u32" => 32,
        "isize" | "u64" | "usize" => 64,
        _ => return None,
    };
    let capitals = |word: &&str| {
        word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let named = comment.split('`').skip(1).step_by(2).filter(capitals).map(str::to_owned).collect();
    let expression = expression.trim_start_matches("Self").to_owned();
    Some(Constant { name: name.to_owned(), named, bits, expression })
}
