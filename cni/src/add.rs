//! ADD: a device becomes a pod's.

use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use ringway_kernel::{Mac, netns::Netns};
use serde_json::Value;

use crate::{
    attachment::Attachment,
    chain::Previous,
    deviceinfo,
    error::{Code, Error, Result},
    expected,
    grant::{self, Grant},
    invocation::{Args, Target},
    ipam::Ipam,
    netconf::NetConf,
    record::{self, IpamRecord, Namespace, Phase, Record},
    result::{Addressing, Interface, Success},
    undo::{self, Guard},
    vf,
    world::World,
};

mod character;
mod interface;

/// What the runtime asked, in whole.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The attachment.
    pub target: &'a Target,
    /// `CNI_ARGS`.
    pub args: &'a Args,
    /// `CNI_PATH`.
    pub path: &'a [PathBuf],
    /// The network.
    pub conf: &'a NetConf,
}

impl<'a> Call<'a> {
    /// The IPAM plugin, where the network has one.
    pub fn ipam(&self) -> Option<Ipam<'a>> {
        let kind = self.conf.ipam.as_deref()?;
        Some(Ipam { kind, path: self.path, conf: &self.conf.raw, args: &self.args.text })
    }

    /// The address asked for.
    pub fn mac(&self) -> Option<Mac> {
        self.conf.wanted_mac(self.args.mac)
    }
}

/// Attaches, and gives the result object.
pub fn add(world: &World, call: Call<'_>) -> Result<Value> {
    if let Some(mac) = call.mac().filter(|mac| !mac.is_unicast()) {
        let text = format!("environment variable CNI_ARGS: MAC {mac} must be unicast and not zero");
        return Err(Error::new(Code::Environment, text));
    }
    let previous = Previous::of(call.conf)?.unwrap_or_default();
    previous.has_no(&call.target.ifname, &call.target.sandbox())?;
    if let Some(ipam) = call.ipam() {
        crate::ipam::find(ipam.path, ipam.kind)?;
    }
    let file = call.conf.device_info_file.as_deref();
    let device_info = file.map(|path| deviceinfo::name(world, path)).transpose()?;
    let netns = open_netns(call.target)?;
    let grant = grant::grant(world, call.conf.device_id.as_deref(), &call.args.pod)?;
    expected::grant(&call.conf.vdpa, &grant.device, grant.attachment)?;
    let mut record = new_record(world, call, &grant, &netns, device_info)?;
    undo::remains(world, &record, call.path)?;
    not_attached_yet(world, call.target)?;
    // Only now: what remained has put back what it had set.
    record.function = vf::plan(world, call, &grant)?;
    let success = match grant.attachment {
        Attachment::Netdev | Attachment::VirtioVdpa => {
            interface::attach(world, call, &grant, &netns, record)?
        }
        Attachment::Vfio | Attachment::Uio | Attachment::VhostVdpa => {
            character::attach(world, call, &grant, &netns, record)?
        }
    };
    Ok(previous.followed_by(&success, call.conf.version))
}

fn open_netns(target: &Target) -> Result<Netns> {
    let path = target.netns.clone().unwrap_or_default();
    let because = Error::because(Code::Environment, "environment variable CNI_NETNS");
    Netns::open(path).map_err(because)
}

/// Of another device: what [`undo::remains`] has not seen. A record that waits only for IPAM DEL
/// may be replaced: the DEL of this attachment is the same.
fn not_attached_yet(world: &World, target: &Target) -> Result<()> {
    let found = Record::read(&world.paths.attachments, target)?;
    let Some(found) = found.filter(|found| found.phase != Phase::Detached) else { return Ok(()) };
    let text = format!("{} has device {} attached already", found.label(), found.device);
    Err(Error::new(Code::TryAgain, text).advise("the runtime must send DEL first"))
}

fn new_record(
    world: &World,
    call: Call<'_>,
    grant: &Grant,
    netns: &Netns,
    device_info: Option<String>,
) -> Result<Record> {
    let ipam = call.ipam().map(|ipam| IpamRecord {
        kind: ipam.kind.to_owned(),
        args: ipam.args.to_owned(),
        conf: ipam.conf.clone(),
    });
    Ok(Record {
        version: record::VERSION,
        phase: Phase::Attaching,
        network: call.conf.name.clone(),
        container_id: call.target.container_id.clone(),
        ifname: call.target.ifname.clone(),
        pod: call.args.pod.clone(),
        boot_id: record::boot_id(&world.root)?,
        netns: Namespace { path: netns.path().to_owned(), identity: netns.identity()? },
        device: grant.device.id.clone(),
        place: grant.place.clone(),
        attachment: grant.attachment,
        since: SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs()),
        before: None,
        function: None,
        result: None,
        ipam,
        device_info,
    })
}

/// The last steps of every attachment: addresses (which `configure` gives to the interface),
/// device-info, and the record that ends the undoing.
fn finish(
    world: &World,
    call: Call<'_>,
    grant: &Grant,
    mut guard: Guard<'_>,
    interface: Interface,
    configure: impl FnOnce(&Addressing) -> Result<()>,
) -> Result<Success> {
    let addressing = match call.ipam() {
        Some(ipam) => ipam.add(call.target)?,
        None => Addressing::default(),
    };
    configure(&addressing)?;
    if let Some((name, info)) = guard.record().device_info.clone().zip(deviceinfo::describe(grant))
    {
        deviceinfo::write(world, &name, &info)?;
    }
    let success = Success { interface, addressing };
    guard.record().result = Some(success.clone());
    guard.disarm()?;
    tracing::info!(device = %grant.device.id, vdpa = grant.place.vdpa(), attachment = %grant.attachment, "attached");
    Ok(success)
}
