//! Our numbers against the uapi headers of the kernel that runs.

use std::collections::HashMap;
use std::fs;

use ringway_kernel::vdpa::wire::{attr, command};

#[test]
fn the_vdpa_family_is_numbered_as_its_header_says() {
    let header = Header::read("/usr/include/linux/vdpa.h");
    for (name, ours) in [
        ("VDPA_CMD_MGMTDEV_GET", u64::from(command::MGMTDEV_GET)),
        ("VDPA_CMD_DEV_NEW", command::DEV_NEW.into()),
        ("VDPA_CMD_DEV_DEL", command::DEV_DEL.into()),
        ("VDPA_CMD_DEV_GET", command::DEV_GET.into()),
        ("VDPA_CMD_DEV_CONFIG_GET", command::DEV_CONFIG_GET.into()),
        ("VDPA_CMD_DEV_ATTR_SET", command::DEV_ATTR_SET.into()),
        ("VDPA_ATTR_MGMTDEV_BUS_NAME", attr::MGMTDEV_BUS_NAME.into()),
        ("VDPA_ATTR_MGMTDEV_DEV_NAME", attr::MGMTDEV_DEV_NAME.into()),
        ("VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES", attr::MGMTDEV_SUPPORTED_CLASSES.into()),
        ("VDPA_ATTR_DEV_NAME", attr::DEV_NAME.into()),
        ("VDPA_ATTR_DEV_ID", attr::DEV_ID.into()),
        ("VDPA_ATTR_DEV_VENDOR_ID", attr::DEV_VENDOR_ID.into()),
        ("VDPA_ATTR_DEV_MAX_VQS", attr::DEV_MAX_VQS.into()),
        ("VDPA_ATTR_DEV_MAX_VQ_SIZE", attr::DEV_MAX_VQ_SIZE.into()),
        ("VDPA_ATTR_DEV_NET_CFG_MACADDR", attr::DEV_NET_CFG_MACADDR.into()),
        ("VDPA_ATTR_DEV_NET_STATUS", attr::DEV_NET_STATUS.into()),
        ("VDPA_ATTR_DEV_NET_CFG_MAX_VQP", attr::DEV_NET_CFG_MAX_VQP.into()),
        ("VDPA_ATTR_DEV_NET_CFG_MTU", attr::DEV_NET_CFG_MTU.into()),
        ("VDPA_ATTR_DEV_NEGOTIATED_FEATURES", attr::DEV_NEGOTIATED_FEATURES.into()),
        ("VDPA_ATTR_DEV_MGMTDEV_MAX_VQS", attr::DEV_MGMTDEV_MAX_VQS.into()),
        ("VDPA_ATTR_DEV_SUPPORTED_FEATURES", attr::DEV_SUPPORTED_FEATURES.into()),
        ("VDPA_ATTR_DEV_FEATURES", attr::DEV_FEATURES.into()),
    ] {
        assert_eq!(header.value(name), ours, "{name}");
    }
}

/// The members of a header's enumerations.
struct Header(HashMap<String, u64>);

impl Header {
    fn read(path: &str) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("read {path}: {e}"));
        let mut members = HashMap::new();
        for body in without_comments(&text).split("enum ").skip(1) {
            let Some((_, body)) = body.split_once('{') else { continue };
            let Some((body, _)) = body.split_once('}') else { continue };
            let mut next = 0;
            for member in body.split(',').map(str::trim).filter(|m| !m.is_empty()) {
                let (name, value) = match member.split_once('=') {
                    Some((name, value)) => (name.trim(), value.trim().parse().ok()),
                    None => (member, Some(next)),
                };
                // a member that repeats another (`..._MAX = __..._END - 1`) is of no use here
                let Some(value) = value else { continue };
                members.insert(name.to_owned(), value);
                next = value + 1;
            }
        }
        Self(members)
    }

    fn value(&self, name: &str) -> u64 {
        *self.0.get(name).unwrap_or_else(|| panic!("the header has no {name}"))
    }
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("/*");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.split_once("*/").map_or("", |(_, rest)| rest));
    }
    out
}
