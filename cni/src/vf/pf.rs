//! Who tells and sets what a function is set to: the PF's own interface, and in switchdev mode, for what
//! that has, the function's port on the eswitch.

use ringway_kernel::{
    devlink,
    link::{Link, Links, Vf, VfSetting},
    pci,
};

use super::{Function, port::Port};
use crate::{
    error::{Code, Error, Result},
    world::World,
};

/// The PF of a function.
pub(super) struct Pf<'a> {
    links: Links,
    /// The ifindex of its interface.
    uplink: u32,
    function: Function,
    /// The function's port, where it has one.
    port: Option<Port<'a>>,
}

impl<'a> Pf<'a> {
    /// `None` where the PF has no interface on the host.
    ///
    /// While its eswitch is in switchdev mode representors are below the PF's device, too, and the
    /// function's own says that there may be a port. Without one no generic netlink is sent.
    pub(super) fn open(world: &'a World, function: Function) -> Result<Option<Self>> {
        let mut links = Links::open()?;
        let (mut uplink, mut representor) = (None, None);
        for name in pci::netdevs(&world.root, function.pf)? {
            let link = match links.by_name(&name) {
                // renamed or gone since it was listed
                Err(error) if error.is_missing() => continue,
                link => link?,
            };
            let (place, what) = match side(&link, function.index) {
                Side::Uplink => (&mut uplink, "interfaces"),
                Side::Function => (&mut representor, "representors of one VF"),
                Side::Other => continue,
            };
            if place.replace(link.index).is_some() {
                let text = format!("PF {} has several {what}, and no guess is made", function.pf);
                return Err(Error::new(Code::Io, text));
            }
        }
        let Some(uplink) = uplink else { return Ok(None) };
        let port = match representor {
            Some(representor) => Port::open(world, function, representor)?,
            None => None,
        };
        Ok(Some(Self { links, uplink, function, port }))
    }

    /// What is set; `None` where nobody tells.
    pub(super) fn read(&mut self) -> Result<Option<Vf>> {
        let vfs = self.links.vfs(self.uplink)?;
        let told = vfs.into_iter().find(|found| found.index == self.function.index);
        Ok(match &self.port {
            Some(port) => port.over(told),
            None => told,
        })
    }

    /// Sets one thing, by the port if that has it.
    pub(super) fn set(&mut self, setting: VfSetting) -> Result<()> {
        match &self.port {
            Some(port) if port.has(setting) => port.set(setting),
            _ => Ok(self.links.set_vf(self.uplink, self.function.index, setting)?),
        }
    }

    /// Why a setting can be none of the function's, if it cannot. In switchdev mode mlx5 refuses these
    /// (esw/legacy.c), and ice takes them and drops them again (`ice_eswitch_cfg_vsi`, ice_eswitch.c).
    pub(super) fn refuses(&self, setting: VfSetting) -> Option<&'static str> {
        self.port.as_ref()?;
        match setting {
            VfSetting::Vlan(_) | VfSetting::SpoofCheck(_) | VfSetting::Trust(_) => Some(
                "the card's eswitch is in switchdev mode, where the host says so to the function's \
                 representor; its devlink port has no such setting",
            ),
            VfSetting::Mac(_) | VfSetting::Rate(_) | VfSetting::Link(_) => None,
        }
    }
}

/// What an interface below the PF's device is to one of its VFs.
enum Side {
    Uplink,
    Function,
    Other,
}

fn side(link: &Link, vf: u32) -> Side {
    match link.port_name.as_deref().filter(|name| devlink::is_representor(name)) {
        None => Side::Uplink,
        Some(name) if devlink::represented_vf(name) == Some(vf) => Side::Function,
        Some(_) => Side::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_interfaces_below_a_pf_one_is_the_uplink_and_one_the_functions() {
        let side = |name: Option<&str>| {
            let link = Link { port_name: name.map(str::to_owned), ..Link::default() };
            match side(&link, 3) {
                Side::Uplink => "uplink",
                Side::Function => "function",
                Side::Other => "other",
            }
        };
        assert_eq!([None, Some("p0"), Some("p1s2")].map(side), ["uplink"; 3]);
        assert_eq!(side(Some("pf0vf3")), "function");
        let others = ["pf0vf2", "pf0vf31", "pf0sf3", "c1pf0vf3", "pf0"];
        assert_eq!(others.map(|name| side(Some(name))), ["other"; 5]);
    }
}
