//! What a device's parent shows of it: the uplink's carrier, and the function's representor.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use ringway_kernel::{Error, Root, pci, sysfs};
use ringway_node::pools::Carrier;

use crate::supply::Entry;

/// The interface of a device's parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// The parent's address.
    pub parent: pci::Address,
    /// Whether one of its interfaces has a carrier; `None` where none is to be seen.
    pub carrier: Option<bool>,
}

/// The interfaces of cards, with what their ports are called.
#[derive(Debug, Default)]
pub(super) struct Parents(RefCell<BTreeMap<pci::Address, Rc<[Interface]>>>);

type Interface = (String, Option<String>);

impl Parents {
    /// Those of one card, as they were when they were first asked for: each of its functions asks.
    fn of(&self, root: &Root, parent: pci::Address) -> Result<Rc<[Interface]>, Error> {
        if let Some(known) = self.0.borrow().get(&parent) {
            return Ok(known.clone());
        }
        let mut interfaces = Vec::new();
        for name in pci::netdevs(root, parent)? {
            let port = attribute(root, &name, "phys_port_name")?;
            interfaces.push((name, port));
        }
        let interfaces: Rc<[Interface]> = interfaces.into();
        self.0.borrow_mut().insert(parent, interfaces.clone());
        Ok(interfaces)
    }
}

/// The uplink, where its carrier matters, and the representor.
pub(super) fn look(
    root: &Root,
    parents: &Parents,
    entry: &Entry,
) -> Result<(Option<Uplink>, Option<String>), Error> {
    let device = &entry.device;
    let pf = device.pf_pci_address;
    // a PF that is itself handed out is its own parent
    let Some(parent) = pf.or(device.pci_address) else { return Ok((None, None)) };
    let interfaces = parents.of(root, parent)?;
    let is_subfunction = device.pci_address.is_none();
    let index = pf.map(|_| (is_subfunction, device.index));
    let stands_for_it = |port: &Option<String>| port.as_deref().and_then(function_of) == index;
    let representor = index.and_then(|_| interfaces.iter().find(|(_, port)| stands_for_it(port)));
    let representor = representor.map(|(name, _)| name.clone());
    if entry.carrier == Carrier::Ignore {
        return Ok((None, representor));
    }
    let mut carrier = None;
    for (name, _) in interfaces.iter().filter(|(_, port)| !is_of_function(port.as_deref())) {
        // one that is down cannot be asked: EINVAL (carrier_show, net/core/net-sysfs.c)
        let up = attribute(root, name, "operstate")?.is_some_and(|state| state != "down");
        let has = up && attribute(root, name, "carrier")?.as_deref() == Some("1");
        carrier = Some(carrier.unwrap_or(false) || has);
    }
    Ok((Some(Uplink { parent, carrier }), representor))
}

/// `None` without it, and where the driver answers that it has none (EOPNOTSUPP).
fn attribute(root: &Root, interface: &str, name: &str) -> Result<Option<String>, Error> {
    let path: PathBuf = root.sys().join("class/net").join(interface).join(name);
    Ok(sysfs::read_optional(&path).unwrap_or_default().filter(|text| !text.is_empty()))
}

/// Of a representor's port name, `pf0vf3` or `pf0sf88`, whether it is a subfunction's, and the function's
/// number (`devlink_port_phys_port_name_get`, net/devlink/port.c).
fn function_of(port: &str) -> Option<(bool, u32)> {
    // multi-homed cards have the controller in front: `c1pf0vf3`
    let (_, function) = port.split_once("pf")?;
    let of = |kind| function.split_once(kind)?.1.parse().ok();
    let vf = of("vf").map(|index| (false, index));
    vf.or_else(|| of("sf").map(|number| (true, number)))
}

/// Whether a port is a function's and not the card's own: `pf0`, `pf0vf3`, `pf0sf7`.
fn is_of_function(port: Option<&str>) -> bool {
    port.is_some_and(|port| port.contains("pf"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supply::{NodePaths, Way, With};
    use ringway_kernel::testing::Tree;
    use serde_json::json;

    fn entry(carrier: Carrier) -> Entry {
        let device = json!({"id": "0000:01:00.2", "parent": "0000:01:00.0", "index": 1,
            "state": "ready", "pciAddress": "0000:01:00.2", "pfPciAddress": "0000:01:00.0"});
        Entry {
            device: serde_json::from_value(device).unwrap(),
            way: Way::Netdev,
            carrier,
            paths: NodePaths::Stable,
            with: With::default(),
        }
    }

    fn tree() -> Tree {
        let tree = Tree::new("0000:01:00.0 mlx5_core pf totalvfs=2 net=p0");
        set(&tree, "p0", "operstate", "up");
        set(&tree, "p0", "carrier", "1");
        tree
    }

    fn set(tree: &Tree, interface: &str, name: &str, value: &str) {
        tree.write(&format!("sys/class/net/{interface}/{name}"), &format!("{value}\n"));
    }

    fn representor(tree: &Tree, name: &str, port: &str) {
        let device = "sys/devices/pci0000:00/0000:01:00.0";
        tree.link(&format!("sys/class/net/{name}"), &format!("{device}/net/{name}"));
        set(tree, name, "phys_port_name", port);
        set(tree, name, "operstate", "up");
        set(tree, name, "carrier", "1");
    }

    fn carrier(tree: &Tree) -> Option<bool> {
        look(&tree.root(), &Parents::default(), &entry(Carrier::Require))
            .unwrap()
            .0
            .unwrap()
            .carrier
    }

    #[test]
    fn the_carrier_is_the_uplinks_and_no_representors() {
        let tree = tree();
        assert_eq!(carrier(&tree), Some(true));
        assert_eq!(
            look(&tree.root(), &Parents::default(), &entry(Carrier::Ignore)).unwrap(),
            (None, None)
        );
        representor(&tree, "p0vf1", "pf0vf1");
        set(&tree, "p0", "phys_port_name", "p0");
        set(&tree, "p0", "carrier", "0");
        assert_eq!(carrier(&tree), Some(false));
        set(&tree, "p0", "carrier", "1");
        set(&tree, "p0", "operstate", "down");
        assert_eq!(carrier(&tree), Some(false));
        std::fs::remove_file(tree.path("sys/devices/pci0000:00/0000:01:00.0/net/p0")).ok();
        assert_eq!(carrier(&Tree::new("0000:01:00.0 vfio-pci pf totalvfs=2")), None);
    }

    #[test]
    fn a_representor_is_known_by_its_port() {
        let tree = tree();
        representor(&tree, "eth5", "pf0vf0");
        representor(&tree, "eth6", "c1pf0vf1");
        let found = look(&tree.root(), &Parents::default(), &entry(Carrier::Ignore)).unwrap();
        assert_eq!(found, (None, Some("eth6".to_owned())));
        for (port, function) in [
            ("pf0vf3", Some((false, 3))),
            ("pf0sf88", Some((true, 88))),
            ("p0", None),
            ("pf0", None),
        ] {
            assert_eq!(function_of(port), function, "{port}");
        }
        representor(&tree, "eth7", "pf0sf1");
        let mut entry = entry(Carrier::Ignore);
        entry.device.pci_address = None;
        let found = look(&tree.root(), &Parents::default(), &entry).unwrap();
        assert_eq!(found, (None, Some("eth7".to_owned())));
    }
}
