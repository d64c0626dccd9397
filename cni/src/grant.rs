//! What a tenant's network configuration may have: the one place that says yes.
//!
//! A device must be named in the grammar of [`DeviceId`], be in `pools.json` and ready there, be
//! held by the pod that asks (kubelet's checkpoint; the node's owner may turn this off), be no PF,
//! and be now what its pool promises.

use std::{path::PathBuf, time::Duration};

use ringway_kernel::{sriov, stuck};
use ringway_node::{
    DeviceId,
    lock::{self, Lock, Locks},
    pools::{self, Device, Pool, Pools, State},
};

use crate::{
    attachment::Attachment,
    checkpoint,
    config::Config,
    error::{Code, Error, Result},
    invocation::Pod,
    limits,
    place::Place,
    vf::Function,
    world::World,
};

mod identity;

/// How long a verb waits for whoever changes the device now.
pub const LOCK_WAIT: Duration = Duration::from_secs(10);

/// A device that may be attached. Its lock is held for as long as this lives.
#[derive(Debug)]
pub struct Grant {
    /// The device in its pool.
    pub device: Device,
    /// The pool, without its devices.
    pub pool: Pool,
    /// Where the kernel has it.
    pub place: Place,
    /// The VF that it is; `None` for a vDPA device.
    pub function: Option<Function>,
    /// How it reaches the pod.
    pub attachment: Attachment,
    /// The names of its RDMA devices, with commas between, where the device plugin tells.
    pub rdma: Option<String>,
    _lock: Lock,
}

/// Locks a device and looks whether `pod` may have it.
pub fn grant(world: &World, device_id: Option<&str>, pod: &Pod) -> Result<Grant> {
    let Some(id) = device_id else {
        let text = "network configuration: field deviceID is missing";
        let advice = "the usual cause is that no container of the pod requests the network's \
                      resource (resources.limits), so that Multus has no device to name";
        return Err(Error::new(Code::Config, text).advise(advice));
    };
    let id: DeviceId = id
        .parse()
        .map_err(Error::because(Code::Config, "network configuration: field deviceID"))?;
    // Known before locked: a tenant's words become no lock files.
    find(&read_pools(world)?, &id)?;
    let lock = lock(world, &id)?;
    // Again: whoever held the lock may have begun to drain it.
    let pools = read_pools(world)?;
    let (pool, device) = find(&pools, &id)?;
    limits::namespace(pool, pod)?;
    let known = held(world, pool, device, pod)?;
    ready(pool, device, known)?;
    stuck::check(&world.paths.stuck, id.as_str(), "attach", stuck::Reach::Device)?;
    not_a_pf(world, device)?;
    let (place, attachment) = identity::as_it_is(world, pool, device)?;
    let function = identity::function(world, device, &place)?;
    let rdma = identity::as_told(world, pool, device, attachment)?;
    let pool = Pool { devices: vec![], ..pool.clone() };
    Ok(Grant { device: device.clone(), pool, place, function, attachment, rdma, _lock: lock })
}

/// Locks a device for [`LOCK_WAIT`] at most.
pub fn lock(world: &World, id: &DeviceId) -> Result<Lock> {
    Locks::at(&world.paths.locks).lock_within(id, LOCK_WAIT).map_err(|error| {
        let code = match error {
            lock::Error::Busy { .. } => Code::TryAgain,
            lock::Error::Io { .. } | lock::Error::Unsafe { .. } => Code::Io,
        };
        Error::because(code, format!("device {id}"))(error)
    })
}

/// The node's pools.
pub fn read_pools(world: &World) -> Result<Pools> {
    let path = &world.paths.pools;
    Pools::read(path).map_err(|error| {
        let code = match &error {
            pools::Error::File(file) if file.is_not_found() => Code::TryAgain,
            pools::Error::File(_) => Code::Io,
            _ => Code::Decode,
        };
        let advice = "the agent on this node writes the file: look at its status and log";
        Error::because(code, path.display().to_string())(error).advise(advice)
    })
}

fn find<'a>(pools: &'a Pools, id: &DeviceId) -> Result<(&'a Pool, &'a Device)> {
    pools.find(id).ok_or_else(|| {
        let text = format!("device {id} is in no pool of this node");
        Error::new(Code::Config, text)
            .advise("a network's resource and its deviceID must be of one pool of a DevicePolicy")
    })
}

/// A device that is to be changed is not changed as long as kubelet says that a pod holds it: that pod
/// may have it, or it could never start, and never end.
fn ready(pool: &Pool, device: &Device, held: bool) -> Result<()> {
    let state = match device.state {
        State::Ready => return Ok(()),
        State::Draining if held => return Ok(()),
        State::Draining => "draining",
        State::Failed => "failed",
    };
    let reason = device.reason.as_deref().unwrap_or("no reason given");
    let text = format!("device {} of pool {} is {state}: {reason}", device.id, pool.name);
    Err(Error::new(Code::TryAgain, text))
}

/// Whether kubelet says that the pod holds the device: `false` where nobody asks kubelet.
fn held(world: &World, pool: &Pool, device: &Device, pod: &Pod) -> Result<bool> {
    let config = Config::read(&world.config)?;
    if !config.require_allocation {
        return Ok(false);
    }
    let advice = "only a device that kubelet gave to the pod may be attached; a node without \
                  kubelet sets requireAllocation to false in /etc/cni/net.d/ringway.d/config.json";
    let Some(uid) = &pod.uid else {
        let text = format!(
            "device {}: CNI_ARGS has no K8S_POD_UID to ask kubelet's device checkpoint about",
            device.id
        );
        return Err(Error::new(Code::Environment, text).advise(advice));
    };
    let path = checkpoint_path(world, &config);
    if checkpoint::holds(&path, uid, &pool.resource, &device.id)
        .map_err(|error| error.advise(advice))?
    {
        return Ok(true);
    }
    let text = format!(
        "device {} of {} is not held by pod {pod} with UID {uid:?}",
        device.id, pool.resource
    );
    Err(Error::new(Code::Config, text).advise(advice))
}

/// Where kubelet writes down who holds what.
pub fn checkpoint_path(world: &World, config: &Config) -> PathBuf {
    let kubelet = world.prefix.join(config.kubelet_dir.trim_start_matches('/'));
    kubelet.join(checkpoint::FILE)
}

fn not_a_pf(world: &World, device: &Device) -> Result<()> {
    let Some(address) = device.pci_address else { return Ok(()) };
    if sriov::totalvfs(&world.root, address)?.is_none() {
        return Ok(());
    }
    Err(Error::new(
        Code::Config,
        format!("device {} is a PF: only its functions may be attached", device.id),
    ))
}
