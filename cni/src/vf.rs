//! What the PF's driver does for a function while a pod has it: address, VLAN, rates, guards, link
//! state. Read before, set, read back and compared; and put back. In switchdev mode the function's port
//! on the eswitch has some of it ([`pf`]).
//!
//! While an attachment's record exists the agent leaves all of it alone; afterwards it puts a pool's
//! `defaults` right that have changed meanwhile.

use ringway_kernel::{
    Mac, Root,
    link::{Vf, VfSetting},
    pci, sriov,
};
use serde::{Deserialize, Serialize};

use crate::{
    add::Call,
    error::{Code, Error, Result},
    grant::Grant,
    limits,
    netconf::function::{cannot, field_of},
    place::Place,
    world::World,
};

use self::pf::Pf;

mod pf;
mod port;

/// A VF by its PF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Function {
    /// The PF.
    pub pf: pci::Address,
    /// The VF's number.
    pub index: u32,
    /// The VF.
    pub address: pci::Address,
}

/// What an attachment sets, in its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Of which function.
    pub function: Function,
    /// All that the network asks for.
    pub set: Vec<VfSetting>,
    /// What of that was otherwise, as it was.
    pub before: Vec<VfSetting>,
}

impl std::fmt::Display for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VF {} of PF {}", self.index, self.pf)
    }
}

impl Change {
    /// Whether the function's address is the PF's to say.
    pub fn sets_mac(&self) -> bool {
        self.set.iter().any(|setting| matches!(setting, VfSetting::Mac(_)))
    }
}

/// What is to be set for an attachment; `None` where nothing is asked for. Changes nothing.
///
/// The address is the PF's to set where its driver sets anything. Where not, an interface takes it
/// by itself, and a function without one cannot have it.
pub fn plan(world: &World, call: Call<'_>, grant: &Grant) -> Result<Option<Change>> {
    let asked = &call.conf.function;
    let Some(function) = grant.function else {
        let of = format!("device {} as {}", grant.device.id, grant.attachment);
        let why = match &grant.place {
            Place::Auxiliary(_) => "its port on the eswitch has it, and who made the subfunction",
            Place::Pci(_) | Place::Vdpa(_) => "it is for functions attached as netdev, vfio or uio",
        };
        return nothing_of(&asked.beyond_nothing()?, &of, why);
    };
    if call.mac().is_none() && asked.settings(Default::default())?.is_empty() {
        return Ok(None);
    }
    let mut pf = Pf::open(world, function)?;
    let now = pf.as_mut().map(Pf::read).transpose()?.flatten();
    let Some((pf, now)) = pf.zip(now) else {
        let mut settings = asked.beyond_nothing()?;
        settings
            .extend(call.mac().filter(|_| !grant.attachment.moves_interface()).map(VfSetting::Mac));
        let why = "the PF has no interface on the host, or its driver sets nothing for VFs";
        return nothing_of(&settings, &function.to_string(), why);
    };
    let settings = asked.settings(now.rate)?;
    for setting in settings.iter().filter(|setting| now.now(**setting) != Some(**setting)) {
        if let Some(why) = pf.refuses(*setting) {
            return Err(cannot(*setting, &function.to_string(), why));
        }
    }
    let change = change(function, &settings, call.mac(), &now)?;
    limits::settings(&grant.pool, &change.set, &now)?;
    Ok(Some(change))
}

fn nothing_of(settings: &[VfSetting], of: &str, why: &str) -> Result<Option<Change>> {
    settings.first().map_or(Ok(None), |setting| Err(cannot(*setting, of, why)))
}

/// The change from what is `now`.
fn change(
    function: Function,
    settings: &[VfSetting],
    mac: Option<Mac>,
    now: &Vf,
) -> Result<Change> {
    let mut set: Vec<_> = settings.iter().copied().chain(mac.map(VfSetting::Mac)).collect();
    set.sort_by_key(|setting| order(*setting));
    let mut before = Vec::new();
    for setting in &set {
        let Some(found) = now.now(*setting) else {
            let why = "the PF's driver does not tell what it is, so that it could not be put back";
            return Err(cannot(*setting, &function.to_string(), why));
        };
        if found != *setting {
            before.push(found);
        }
    }
    Ok(Change { function, set, before })
}

/// The VLAN first: nothing is ever sent without it. Trust last but for the link, which sends.
fn order(setting: VfSetting) -> u8 {
    match setting {
        VfSetting::Vlan(_) => 0,
        VfSetting::Mac(_) => 1,
        VfSetting::Rate(_) => 2,
        VfSetting::SpoofCheck(_) => 3,
        VfSetting::Trust(_) => 4,
        VfSetting::Link(_) => 5,
    }
}

/// Sets what is otherwise, reads all of it back, and compares.
pub fn apply(world: &World, change: &Change) -> Result<()> {
    let function = change.function;
    let gone = || Error::new(Code::TryAgain, format!("{function} is there no more"));
    let mut pf = Pf::open(world, function)?.ok_or_else(gone)?;
    for setting in &change.set {
        if change.before.iter().any(|before| before.same_kind(*setting)) {
            pf.set(*setting).map_err(|error| refused(function, *setting, error))?;
        }
    }
    // it has the port's lock
    drop(pf);
    verify(world, change)
}

fn refused(function: Function, setting: VfSetting, error: Error) -> Error {
    if error.code() == Code::TryAgain {
        return error;
    }
    let text = format!(
        "network configuration: field {} asks for {setting}, which the driver of {function} refuses",
        field_of(setting)
    );
    Error::because(Code::Config, text)(error)
}

/// Reads all of it back, and compares. Drivers may take a value and keep their own; and a trusted
/// function of igb tells the PF its old address when it resets (e1000_init_hw_vf,
/// drivers/net/ethernet/intel/igbvf/vf.c), which it does as it moves.
pub fn verify(world: &World, change: &Change) -> Result<()> {
    match compare(world, change)? {
        None => Ok(()),
        Some((setting, found)) => {
            let why = format!("the driver took it, and tells {found}");
            Err(cannot(setting, &change.function.to_string(), &why))
        }
    }
}

/// What is now otherwise than an attachment has set it, with what it is.
pub fn compare(world: &World, change: &Change) -> Result<Option<(VfSetting, String)>> {
    let Some(now) = read(world, change.function)? else {
        return Ok(change.set.first().map(|setting| (*setting, "no such VF".to_owned())));
    };
    Ok(differences(change, &now).next())
}

fn differences<'a>(
    change: &'a Change,
    now: &'a Vf,
) -> impl Iterator<Item = (VfSetting, String)> + 'a {
    change.set.iter().filter_map(|setting| {
        let found = now.now(*setting);
        let shown = || found.map_or_else(|| "nothing of it".to_owned(), |found| found.to_string());
        (found != Some(*setting)).then(|| (*setting, shown()))
    })
}

/// Puts back what an attachment has changed; gives all that went wrong. A function that is gone, or
/// another one at its number, has nothing of it.
pub fn restore(world: &World, change: &Change) -> Vec<Error> {
    restore_all(world, change).unwrap_or_else(|error| vec![error])
}

fn restore_all(world: &World, change: &Change) -> Result<Vec<Error>> {
    let function = change.function;
    if change.before.is_empty() || !is_there(&world.root, function)? {
        return Ok(Vec::new());
    }
    let Some(mut pf) = Pf::open(world, function)? else { return Ok(Vec::new()) };
    let Some(now) = pf.read()? else { return Ok(Vec::new()) };
    let mut errors = Vec::new();
    for before in change.before.iter().filter(|before| now.now(**before) != Some(**before)) {
        if let Err(error) = pf.set(*before) {
            let text = format!("put back {before} of {function}");
            errors.push(Error::because(Code::Io, text)(error));
        }
    }
    Ok(errors)
}

/// The VF that a function is, by the PF that it has now; `None` if it is none, or its PF has it no more.
pub fn of(root: &Root, address: pci::Address) -> Result<Option<Function>> {
    match sriov::physfn(root, address)? {
        Some(pf) => of_pf(root, pf, address),
        None => Ok(None),
    }
}

/// The VF of a PF's at an address; `None` if the PF has none there.
pub fn of_pf(root: &Root, pf: pci::Address, address: pci::Address) -> Result<Option<Function>> {
    Ok(sriov::index_of(root, pf, address)?.map(|index| Function { pf, index, address }))
}

/// What is set for a function now; `None` where nobody tells.
pub fn read(world: &World, function: Function) -> Result<Option<Vf>> {
    match Pf::open(world, function)? {
        Some(mut pf) => pf.read(),
        None => Ok(None),
    }
}

fn is_there(root: &Root, function: Function) -> Result<bool> {
    Ok(of_pf(root, function.pf, function.address)? == Some(function))
}

#[cfg(test)]
mod tests;
