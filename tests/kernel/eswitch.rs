//! Eswitch modes by devlink. No emulated card has an eswitch: it is netdevsim's, which has modes and
//! representors but is no PCI device. So the kernel layer is shown on it, and of the agent that it
//! refuses a mode where there is no eswitch.

use std::fs;

use ringway_kernel::devlink::{Devlink, EswitchMode, Handle, is_representor};
use ringway_kernel::error::errno;
use ringway_kernel::inventory::{self, Eswitch};
use ringway_kernel::link::{Link, Links};
use ringway_kernel::sriov;

use crate::agent::{Agent, text};
use crate::node::{IGB, Node, VIRTIO, modprobe};

/// No other test's.
const ID: u32 = 77;

/// A simulated card of one port, gone when dropped.
struct Simulated {
    handle: Handle,
}

impl Simulated {
    fn new() -> Self {
        modprobe("netdevsim");
        fs::write("/sys/bus/netdevsim/new_device", format!("{ID} 1")).unwrap();
        Self { handle: format!("netdevsim/netdevsim{ID}").parse().unwrap() }
    }

    /// A change of the number goes through zero.
    fn functions(&self, count: u32) {
        let path = format!("/sys/bus/netdevsim/devices/{}/sriov_numvfs", self.handle.name);
        fs::write(path, count.to_string()).unwrap();
    }

    fn set(&self, mode: EswitchMode) {
        Devlink::require().unwrap().set_eswitch_mode(&self.handle, mode).unwrap();
    }

    fn mode(&self) -> Option<EswitchMode> {
        Devlink::require().unwrap().eswitch_mode(&self.handle).unwrap()
    }

    /// Its links, by the device that they belong to.
    fn links(&self) -> Vec<Link> {
        let all = Links::open().unwrap().list().unwrap();
        let own = |link: &Link| link.parent_name.as_ref() == Some(&self.handle.name);
        all.into_iter().filter(own).collect()
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        // of what a test has broken there is nothing to be said twice
        let _ = fs::write("/sys/bus/netdevsim/del_device", ID.to_string());
    }
}

#[test]
fn a_mode_is_told_and_set_and_set_back() {
    let card = Simulated::new();
    let listed = Devlink::require().unwrap().devices().unwrap();
    assert!(listed.contains(&card.handle), "{listed:?}");
    assert_eq!(card.mode(), Some(EswitchMode::Legacy));
    card.functions(2);
    for mode in [EswitchMode::Switchdev, EswitchMode::Switchdev, EswitchMode::Legacy] {
        card.set(mode);
        assert_eq!(card.mode(), Some(mode));
    }
}

#[test]
fn representors_come_with_switchdev_and_are_told_from_the_uplink() {
    let card = Simulated::new();
    card.functions(2);
    let representors = || {
        let (stand, own): (Vec<Link>, Vec<Link>) = card
            .links()
            .into_iter()
            .partition(|link| link.port_name.as_deref().is_some_and(is_representor));
        assert_eq!(own.len(), 1, "one port: {own:?}");
        let mut names: Vec<_> = stand.into_iter().filter_map(|link| link.port_name).collect();
        names.sort();
        names
    };
    assert_eq!(representors(), Vec::<String>::new());
    card.set(EswitchMode::Switchdev);
    assert_eq!(representors(), ["pf0vf0", "pf0vf1"]);
    card.set(EswitchMode::Legacy);
    assert_eq!(representors(), Vec::<String>::new());
}

#[test]
fn what_a_device_runs_is_told() {
    let card = Simulated::new();
    let devlink = Devlink::require().unwrap();
    // nsim_dev_info_get, drivers/net/netdevsim/dev.c
    let expected = ("fw.mgmt".to_owned(), "10.20.30".to_owned());
    assert_eq!(devlink.running_versions(&card.handle).unwrap(), [expected]);
    let nobody: Handle = "netdevsim/netdevsim78".parse().unwrap();
    assert!(devlink.running_versions(&nobody).unwrap_err().is_missing());
}

#[test]
fn a_device_that_is_not_there_is_refused_in_words() {
    let devlink = Devlink::require().unwrap();
    let nobody: Handle = "netdevsim/netdevsim78".parse().unwrap();
    for error in [
        devlink.eswitch_mode(&nobody).unwrap_err(),
        devlink.set_eswitch_mode(&nobody, EswitchMode::Switchdev).unwrap_err(),
    ] {
        assert_eq!(error.errno(), Some(errno::ENODEV), "{error}");
        assert!(error.to_string().contains("no devlink device of this network"), "{error}");
    }
}

#[test]
fn the_emulated_cards_have_no_eswitch_and_a_mode_is_refused_untouched() {
    let (node, agent) = (Node::at_rest(), Agent::new());
    let stuck = tempfile::tempdir().unwrap();
    let inventory = inventory::observe(&node.root, stuck.path()).unwrap();
    for pf in [node.virtio, node.igb] {
        let card = inventory.parents.iter().find(|parent| parent.address == pf).unwrap();
        assert_eq!((&card.eswitch, card.representors.len()), (&Eswitch::None, 0));
    }
    for (name, pf, driver) in [(VIRTIO, node.virtio, "virtio-pci"), (IGB, node.igb, "igb")] {
        let wish = format!(
            "[{{name: '{name}', policy: by-hand, functionCount: 2, uplink: {{eswitch: switchdev}}, \
             pools: [{{name: a, resource: ringway.dev/a, range: 0-1, attach: netdev}}]}}]"
        );
        let output = agent.run("apply", &wish);
        assert!(!output.status.success());
        let words = format!(
            "{name}: uplink.eswitch switchdev: a card of driver {driver} has no eswitch whose mode"
        );
        assert!(text(&output).contains(&words), "{}", text(&output));
        assert_eq!(sriov::numvfs(&node.root, pf).unwrap(), 0);
    }
}
