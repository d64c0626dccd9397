//! The netdev of a vDPA device, or of a function, moves into the pod.

use ringway_kernel::{
    error::errno,
    link::{Link, Links},
    netns::Netns,
};

use super::{Call, finish};
use crate::{
    error::{Code, Error, Result},
    grant::Grant,
    netdev::{
        self, Before,
        shape::{self, Wanted},
    },
    record::Record,
    result::{Interface, Success},
    undo::Guard,
    vf::{self, Change},
    world::World,
};

pub(super) fn attach(
    world: &World,
    call: Call<'_>,
    grant: &Grant,
    netns: &Netns,
    mut record: Record,
) -> Result<Success> {
    if netns.identity()? == Netns::current()?.identity()? {
        let text = format!("environment variable CNI_NETNS={:?} is the host's own", netns.path());
        return Err(Error::new(Code::Environment, text));
    }
    let place = &grant.place;
    let Some(link) = netdev::on_host(&world.root, place)? else {
        let text = format!("device {}: {place} has no interface on the host", grant.device.id);
        let advice = "it appears when its driver has taken the device, and comes back when the \
                      namespace that has it ends";
        return Err(Error::new(Code::TryAgain, text).advise(advice));
    };
    let change = record.function.clone();
    let wanted = Wanted {
        mac: call.mac(),
        mtu: call.conf.mtu,
        takes_mac: netdev::takes_mac(&world.root, place)?,
        by_pf: change.as_ref().is_some_and(Change::sets_mac),
    };
    record.before = Some(Before::from(&link));
    let guard = Guard::arm(world, call.path, netns, record)?;
    // While it is on the host: the pod sees it as it is to be.
    if let Some(change) = &change {
        vf::apply(world, change)?;
    }
    let mut inside = Links::open_in(netns)?;
    let link = enter(&link, netns, &mut inside, &call.target.ifname, wanted)?;
    if let Some(change) = &change {
        vf::verify(world, change)?;
    }
    let interface = Interface {
        name: link.name.clone(),
        mac: link.mac,
        mtu: Some(link.mtu),
        sandbox: netns.path().display().to_string(),
        socket_path: None,
        pci_id: grant.device.pci_address,
    };
    finish(world, call, grant, guard, interface, |addressing| {
        if addressing.ips.is_empty() && addressing.routes.is_empty() {
            return Ok(inside.set_up(link.index)?);
        }
        // `/proc/sys/net` is that of the thread.
        netns.run(|| Ok(shape::configure(&mut inside, &link, addressing)))?
    })
}

/// Moves and renames in one request, and gives the link as it then is.
fn enter(
    link: &Link,
    netns: &Netns,
    inside: &mut Links,
    ifname: &str,
    wanted: Wanted,
) -> Result<Link> {
    let taken = || {
        let text = format!(
            "environment variable CNI_IFNAME={ifname:?}: the name, or one of {:?}, is taken in the pod",
            link.altnames
        );
        Error::new(Code::Environment, text)
    };
    // The kernel would find out only after it has moved the link (see Links::move_to): look first,
    // and leave to the guard what a pod that races with us makes of it.
    let known = inside.list()?;
    if known.iter().any(|other| other.name == ifname || other.altnames.iter().any(|a| a == ifname))
    {
        return Err(taken());
    }
    Links::open()?.move_to(link.index, netns.as_fd(), ifname).map_err(|error| {
        match error.errno() {
            Some(errno::EEXIST) => taken(),
            _ => Error::from(error),
        }
    })?;
    // The number may be another one there.
    let link = inside.by_name(ifname)?;
    shape::shape(inside, link, wanted)
}
