//! The netdev of a vDPA device or of a function: finding it, shaping it in a pod, and putting it back.
//!
//! It is found by its device, never by name: udev renames what appears, pods may rename what they
//! have, and a namespace that ends leaves the pod's name on what comes back.

use std::{
    thread,
    time::{Duration, Instant},
};

use ringway_kernel::{
    Mac, Root,
    error::errno,
    link::{Link, Links},
    netns::Netns,
    sysfs,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    place::{Owner, Place},
};

mod address;
pub mod shape;
mod unique;

/// The kernel moves what a dead namespace held from a work queue (`cleanup_net`,
/// net/core/net_namespace.c), which takes tens of milliseconds, and seconds on a busy node.
const COMES_BACK_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// `VIRTIO_NET_F_CTRL_MAC_ADDR` (include/uapi/linux/virtio_net.h).
const CTRL_MAC_ADDR: usize = 23;

/// What a netdev was before ADD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Before {
    /// Its name on the host.
    pub name: String,
    /// Its address.
    pub mac: Option<Mac>,
    /// The address that its device was made with: tells whether it is the same device still.
    pub permanent_mac: Option<Mac>,
    /// In bytes.
    pub mtu: u32,
    /// Whether it was set up.
    pub up: bool,
}

impl From<&Link> for Before {
    fn from(link: &Link) -> Self {
        let Link { name, mac, permanent_mac, mtu, up, .. } = link.clone();
        Self { name, mac, permanent_mac, mtu, up }
    }
}

/// How putting back ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The netdev is on the host as it was, or its device is no more.
    Restored,
    /// It is in neither namespace: the kernel has not moved it yet, or the pod gave it away.
    Away,
}

/// Where a netdev is after it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// On the host.
    Here(Box<Link>),
    /// In neither namespace: the kernel has not moved it yet, or the pod gave it away.
    Away,
    /// Its device is no more, or is something else now.
    Gone,
}

/// The netdev of a device in our own namespace; `None` if it is in another, or has not appeared
/// yet.
pub fn on_host(root: &Root, place: &Place) -> Result<Option<Link>> {
    let Some(owner) = place.owner(root)? else { return Ok(None) };
    Ok(Links::open()?.of_device(&owner.dir)?)
}

/// The netdev of a device among the links of another namespace. sysfs does not show it there; the
/// link itself tells its device (`IFLA_PARENT_DEV_NAME`, from Linux 5.14).
pub fn in_pod(root: &Root, place: &Place, inside: &mut Links) -> Result<Option<Link>> {
    let Some(Owner { dir, bus }) = place.owner(root)? else { return Ok(None) };
    let Some(device) = dir.file_name().and_then(|name| name.to_str()) else { return Ok(None) };
    let links = inside.list()?;
    let is_its = |link: &Link| {
        link.parent_bus.as_deref() == Some(bus) && link.parent_name.as_deref() == Some(device)
    };
    Ok(links.into_iter().find(is_its))
}

/// Whether the device carries out a change of its address. Without the feature virtio_net changes
/// the netdev alone and reports success (`virtnet_set_mac_address`, drivers/net/virtio_net.c), and
/// what is sent to the new address never arrives. What is no virtio device says itself if it does
/// not.
pub fn takes_mac(root: &Root, place: &Place) -> Result<bool> {
    match place.owner(root)? {
        Some(Owner { dir, bus: "virtio" }) => {
            // One digit for each feature, the first for feature 0 (features_show,
            // drivers/virtio/virtio.c).
            let features = sysfs::read(&dir.join("features"))?;
            Ok(features.as_bytes().get(CTRL_MAC_ADDR) == Some(&b'1'))
        }
        Some(_) => Ok(true),
        None => Ok(false),
    }
}

/// Fetches a netdev out of a pod. What it was there, it still is.
pub fn bring_home(root: &Root, place: &Place, netns: Option<&Netns>, name: &str) -> Result<Home> {
    if place.owner(root)?.is_none() {
        return Ok(Home::Gone);
    }
    if let Some(netns) = netns {
        let mut inside = Links::open_in(netns)?;
        if let Some(link) = in_pod(root, place, &mut inside)? {
            bring_back(&mut inside, &link, name)?;
        }
    }
    let link = wait_on_host(root, place, netns.is_none())?;
    Ok(link.map_or(Home::Away, |link| Home::Here(Box::new(link))))
}

/// Out of a pod, under its old name if that is free: no other plugin or rule then sees it under
/// the pod's name.
fn bring_back(inside: &mut Links, link: &Link, name: &str) -> Result<()> {
    let home = Netns::current()?;
    inside.set_down(link.index)?;
    let moved = match inside.move_to(link.index, home.as_fd(), name) {
        // The name is taken at home, which the kernel may find before the move or after it.
        Err(error) if error.errno() == Some(errno::EEXIST) => match inside.get(link.index) {
            // As the kernel does it for a dead namespace (default_device_exit_net,
            // net/core/dev.c).
            Ok(_) => inside.move_to(link.index, home.as_fd(), &format!("dev{}", link.index)),
            Err(error) if error.is_missing() => Ok(()),
            Err(error) => Err(error),
        },
        moved => moved,
    };
    Ok(moved?)
}

fn wait_on_host(root: &Root, place: &Place, patient: bool) -> Result<Option<Link>> {
    let start = Instant::now();
    loop {
        let link = on_host(root, place)?;
        if link.is_some() || !patient || start.elapsed() >= COMES_BACK_WITHIN {
            return Ok(link);
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Makes a netdev on the host what it was before ADD. `by_pf`: its address was the PF's to say, and
/// is again.
pub fn make_as_before(place: &Place, link: &Link, before: &Before, by_pf: bool) -> Result<()> {
    if Before::from(link) == *before {
        return Ok(());
    }
    let mut links = Links::open()?;
    if link.up && !before.up {
        links.set_down(link.index)?;
    }
    if link.name != before.name {
        // udev saw it come back under the pod's name, and gave it its old one as an altname.
        if link.altnames.contains(&before.name) {
            links.delete_altname(link.index, &before.name)?;
        }
        rename(&mut links, link, &before.name)?;
    }
    // Another vDPA device of the same name has an address and MTU of its own. A function is the one
    // that it was, and its driver may tell the address that the PF gave it for a permanent one.
    if place.vdpa().is_none() || link.permanent_mac == before.permanent_mac {
        if let Some(mac) = before.mac.filter(|mac| link.mac != Some(*mac)) {
            match by_pf {
                true => address::take(&mut links, link.index, mac).map(drop)?,
                false => links.set_mac(link.index, mac)?,
            }
        }
        if link.mtu != before.mtu {
            links.set_mtu(link.index, before.mtu)?;
        }
    }
    if before.up && !links.get(link.index)?.up {
        links.set_up(link.index)?;
    }
    Ok(())
}

/// A name is for people: somebody else's link that took it is no reason to fail.
fn rename(links: &mut Links, link: &Link, name: &str) -> Result<()> {
    match links.rename(link.index, name) {
        Err(error) if error.errno() == Some(errno::EEXIST) => {
            tracing::warn!(name, link = link.name, "old name is taken");
            Ok(())
        }
        renamed => Ok(renamed?),
    }
}

#[cfg(test)]
mod tests {
    use ringway_kernel::testing::Tree;

    use super::*;

    #[test]
    fn a_device_without_ctrl_mac_addr_takes_no_mac() {
        let tree = Tree::new(
            "vdpasim_net sim vdpa=sim0 virtio=4 vnet=eth3
             0000:01:00.0 igb pf totalvfs=7
             0000:01:00.1 vf-of=0000:01:00.0 virtio-pci net=eth4
             0000:01:00.2 vf-of=0000:01:00.0 igbvf net=eth5
             0000:01:00.3 vf-of=0000:01:00.0 vfio-pci",
        );
        let takes = |place: &Place| takes_mac(&tree.root(), place).unwrap();
        let [virtio, other, none] =
            [1, 2, 3].map(|n| Place::Pci(format!("0000:01:00.{n}").parse().unwrap()));
        for place in [Place::Vdpa("sim0".into()), virtio] {
            let dir = place.owner(&tree.root()).unwrap().unwrap().dir;
            let check = |features: &str, expected| {
                std::fs::write(dir.join("features"), format!("{features}\n")).unwrap();
                assert_eq!(takes(&place), expected, "{place}: {features}");
            };
            check(&format!("{}1{}", "0".repeat(23), "0".repeat(40)), true);
            check(&format!("{}0{}", "1".repeat(23), "1".repeat(40)), false);
            check("", false);
        }
        assert!(takes(&other), "its driver says so itself if it does not");
        assert!(!takes(&none));
        assert!(!takes(&Place::Vdpa("none".into())));
    }

    #[test]
    fn of_a_device_that_is_gone_or_is_something_else_nothing_comes_home() {
        let tree = Tree::new(
            "vdpasim_net sim vdpa=sim0 vhost=0
             0000:01:00.0 igb pf totalvfs=7
             0000:01:00.1 vf-of=0000:01:00.0 vfio-pci",
        );
        let pci = |address: &str| Place::Pci(address.parse().unwrap());
        for place in [
            Place::Vdpa("sim0".into()),
            Place::Vdpa("none".into()),
            pci("0000:01:00.1"),
            pci("0000:09:00.1"),
        ] {
            let home = bring_home(&tree.root(), &place, None, "eth3").unwrap();
            assert_eq!(home, Home::Gone, "{place}");
        }
    }
}
