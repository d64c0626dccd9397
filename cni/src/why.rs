//! `ringway why DEVICE`: all that this node knows of one device. Nothing is locked or changed: a lock
//! file means that somebody was given the device.

use anyhow::{Result, bail};
use ringway_kernel::{Root, auxiliary, bus, stuck, sysfs};
use ringway_node::{
    DeviceId,
    pools::{Device, Pool, State},
};

use crate::{
    attachment::Attachment,
    checkpoint,
    config::Config,
    error::Error,
    grant,
    place::Place,
    record::Record,
    show::{self, told},
    vf,
    world::World,
};

/// One fact a line.
pub fn why(world: &World, device: &str) -> Result<String> {
    let id: DeviceId = device.parse()?;
    let (records, errors) = Record::list_all(&world.paths.attachments).map_err(told)?;
    let records: Vec<_> = records.iter().filter(|record| record.device == id).collect();
    let pools = grant::read_pools(world);
    let offered = pools.as_ref().ok().and_then(|pools| pools.find(&id));
    let place = match offered {
        Some((pool, device)) => place(pool, device),
        None => records.first().map(|record| record.place.clone()),
    };
    let place = place.or_else(|| device.parse::<bus::Address>().ok().map(Place::from));
    if offered.is_none()
        && records.is_empty()
        && !place.as_ref().is_some_and(|p| p.exists(&world.root))
    {
        bail!(
            "device {id}: no pool, no attachment and no kernel knows it; `ringway list` shows ids"
        );
    }
    let mut lines = vec![format!("device {id}")];
    let mut fact = |name: &str, text: String| lines.push(format!("  {name:<10} {text}"));
    match (&pools, offered) {
        (Err(error), _) => fact("pool", error.chain()),
        (Ok(_), None) => fact("pool", "in none of this node".to_owned()),
        (Ok(_), Some((pool, device))) => fact("pool", pool_words(pool, device)),
    }
    if let Some(place) = &place {
        for (name, text) in kernel_facts(world, place) {
            fact(name, text);
        }
    }
    if let Err(error) = stuck::check(&world.paths.stuck, id.as_str(), "why", stuck::Reach::Device) {
        fact("busy", error.to_string());
    }
    if records.is_empty() {
        fact("attached", "to no pod".to_owned());
    }
    for record in records {
        for (name, text) in record_facts(world, record)? {
            fact(name, text);
        }
    }
    if let Some((pool, _)) = offered {
        fact("kubelet", kubelet_words(world, pool, &id));
    }
    for error in errors {
        fact("unread", error.chain());
    }
    Ok(lines.join("\n") + "\n")
}

fn place(pool: &Pool, device: &Device) -> Option<Place> {
    match Attachment::from(pool.attach).is_vdpa() {
        true => device.vdpa.as_ref().map(|vdpa| Place::Vdpa(vdpa.name.clone())),
        false => device.function().map(Place::from),
    }
}

fn pool_words(pool: &Pool, device: &Device) -> String {
    let attach = Attachment::from(pool.attach);
    let state = match device.state {
        State::Ready => "ready",
        State::Draining => "draining",
        State::Failed => "failed",
    };
    let reason = device.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let (name, resource) = (&pool.name, pool.resource.as_str());
    format!("{name} of {resource}, attaches as {attach}, {state}{reason}")
}

fn kernel_facts(world: &World, place: &Place) -> Vec<(&'static str, String)> {
    let root = &world.root;
    if !place.exists(root) {
        return vec![("now", format!("{place} is not there"))];
    }
    let or_error = |words: crate::Result<String>| words.unwrap_or_else(|error| error.chain());
    let mut facts =
        vec![("now", or_error(place.now(root).map(|now| format!("{place} is {}", now.words))))];
    let function = match place {
        Place::Vdpa(_) => None,
        Place::Pci(address) => {
            let pf = ringway_kernel::sriov::physfn(root, *address);
            Some(pf.map(|pf| pf.map_or("no VF".to_owned(), |pf| format!("a VF of PF {pf}"))))
        }
        Place::Auxiliary(name) => Some(subfunction(root, name)),
    };
    facts.extend(function.map(|words| ("function", words.unwrap_or_else(|e| e.to_string()))));
    let netdevs = || match place.owner(root)? {
        None => Ok(None),
        Some(owner) => Ok(Some(sysfs::netdevs(&owner.dir)?)),
    };
    match netdevs() {
        Ok(None) => {}
        Ok(Some(names)) if names.is_empty() => {
            facts.push(("interface", "none on the host".to_owned()));
        }
        Ok(Some(names)) => facts.push(("interface", names.join(", "))),
        Err(error) => facts.push(("interface", Error::chain(&error))),
    }
    facts
}

fn subfunction(root: &Root, name: &auxiliary::Name) -> Result<String, ringway_kernel::Error> {
    let pf = auxiliary::function(root, name)?;
    let number = auxiliary::sfnum(root, name)?;
    let number = number.map(|number| format!(" {number}")).unwrap_or_default();
    Ok(format!("subfunction{number} of PF {pf}"))
}

fn record_facts(world: &World, record: &Record) -> Result<Vec<(&'static str, String)>> {
    let since = show::age(record.since, show::now());
    let mut facts = vec![
        (
            "attached",
            format!(
                "to pod {} as {} ({}, {}), for {since}",
                show::pod(record),
                record.ifname,
                record.attachment,
                show::phase(record.phase)
            ),
        ),
        ("container", format!("{} in network {}", record.container_id, record.network)),
        (
            "namespace",
            format!("{}: {}", record.netns.path.display(), show::namespace(&world.root, record)?),
        ),
    ];
    if let Some(change) = &record.function {
        let words = |settings: &[ringway_kernel::link::VfSetting]| {
            settings.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        facts.push(("set", words(&change.set)));
        if !change.before.is_empty() {
            facts.push(("before", words(&change.before)));
        }
        match vf::compare(world, change) {
            Ok(None) => {}
            Ok(Some((setting, found))) => {
                facts.push(("changed", format!("{setting} was set, and it is {found}")));
            }
            Err(error) => facts.push(("changed", error.chain())),
        }
    }
    Ok(facts)
}

fn kubelet_words(world: &World, pool: &Pool, id: &DeviceId) -> String {
    let holders = Config::read(&world.config).and_then(|config| {
        checkpoint::holders(&grant::checkpoint_path(world, &config), &pool.resource, id)
    });
    match holders {
        Ok(uids) if uids.is_empty() => "gave it to no pod".to_owned(),
        Ok(uids) => {
            let uids: Vec<_> = uids.iter().map(|uid| uid.escape_debug().to_string()).collect();
            format!("gave it to the pod with UID {}", uids.join(", "))
        }
        Err(error) => error.chain(),
    }
}
