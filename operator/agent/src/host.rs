//! The real node: observes through the kernel crate, and does each step with its calls. Every call
//! that can sleep in the kernel gets a thread, a deadline and a marker.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ringway_kernel::devlink::{self, Devlink};
use ringway_kernel::link::{Links, VfSetting};
use ringway_kernel::stuck::{self, Call, Reach};
use ringway_kernel::vdpa::{Handle, NewDevice, Vdpa};
use ringway_kernel::{Error, Mac, Result, Root, inventory, module, pci, sriov, vdpa_bus, vfio};

use crate::attachments;
use crate::cards::{self, FunctionDriver};
use crate::node::{Node, Observed};
use crate::step::{Function, Step, simulated_name, vdpa_name};
use crate::wanted::Settings;

/// A healthy call takes milliseconds; setting the number of VFs of a big card, seconds.
const DEADLINE: Duration = Duration::from_secs(30);
/// mlx5 takes half a second for each VF, and about as long for each representor.
const COUNT_DEADLINE: Duration = Duration::from_secs(120);

/// This machine.
#[derive(Debug, Clone)]
pub struct Host {
    /// Where its file systems are.
    pub root: Root,
    /// The directory of markers of calls that have not come back.
    pub stuck: PathBuf,
    /// The directory of the CNI plugin's records.
    pub attachments: PathBuf,
}

impl Node for Host {
    fn observe(&mut self) -> Result<Observed> {
        let modules = module::loaded(&self.root, cards::modules())?.into_iter().collect();
        let vdpa_autoprobe = match vdpa_bus::drivers_autoprobe(&self.root) {
            Ok(on) => Some(on),
            Err(error) if error.is_missing() => None,
            Err(error) => return Err(error),
        };
        let inventory = inventory::observe(&self.root, &self.stuck)?;
        // after the inventory: a record is there before what it is of changes
        let attached = attachments::read(&self.root, &self.attachments);
        Ok(Observed { inventory, modules, vdpa_autoprobe, attached })
    }

    fn overrides(&mut self, pf: pci::Address) -> Result<BTreeMap<u32, String>> {
        let root = self.root.clone();
        // each read waits for the lock of its device
        self.call(&pf.to_string(), "read driver_override of functions of", DEADLINE, move || {
            let mut found = BTreeMap::new();
            for function in sriov::functions(&root, pf)? {
                let only = pci::driver_override(&root, function.address)?;
                found.extend(only.map(|driver| (function.index, driver)));
            }
            Ok(found)
        })
    }

    fn apply(&mut self, step: &Step) -> Result<()> {
        let root = self.root.clone();
        match step {
            Step::LoadModule(name) => module::load(&root, name),
            Step::SetUplinkMtu { link, mtu } => Links::open()?.set_mtu(*link, *mtu),
            Step::RaiseUplink { link } => Links::open()?.set_up(*link),
            Step::SetFunctionAutoprobe { pf, on } => sriov::set_drivers_autoprobe(&root, *pf, *on),
            Step::LowerUplink { link } => Links::open()?.set_down(*link),
            Step::SetVdpaAutoprobe { on } => vdpa_bus::set_drivers_autoprobe(&root, *on),
            Step::SetFunctionCount { pf, count } => {
                let (pf, count) = (*pf, *count);
                let (what, set) = (pf.to_string(), move || sriov::set_numvfs(&root, pf, count));
                self.call(&what, "set the number of functions of", COUNT_DEADLINE, set)
            }
            Step::SetEswitchMode { pf, mode } => {
                let (device, mode) = (devlink::Handle::pci(*pf), *mode);
                let set = move || Devlink::require()?.set_eswitch_mode(&device, mode);
                self.genl(&pf.to_string(), "set the eswitch mode of", COUNT_DEADLINE, set)
            }
            Step::UnbindFunction { function } => self.release(function, None, None),
            // what is recorded is all of it
            Step::AdoptVdpa { .. } => Ok(()),
            Step::UnbindVdpa { name } => {
                let unbound = name.clone();
                let unbind = move || vdpa_bus::unbind(&root, &unbound);
                self.call(name, "unbind vdpa device", DEADLINE, unbind)
            }
            Step::DeleteVdpa { name } => {
                let deleted = name.clone();
                let delete = move || Vdpa::require()?.delete(&deleted);
                self.genl(name, "delete vdpa device", DEADLINE, delete)
            }
            Step::SetVfSettings { function, link, settings } => {
                set_vf(*link, function.index(), settings)
            }
            Step::SetFunctionLink { function, mac, mtu } => self.set_link(function, *mac, *mtu),
            Step::BindFunction { function, driver } => self.bind(function, *driver),
            Step::ReleaseFunction { function, driver, only } => {
                self.release(function, driver.clone(), only.clone())
            }
            Step::SetFunctionOverride { function, only } => {
                let (address, only) = (self.address(function)?, only.clone());
                self.call(&address.to_string(), "set driver_override of", DEADLINE, move || {
                    pci::set_driver_override(&root, address, only.as_deref())
                })
            }
            Step::CreateVdpa { function, mac, settings } => self.create(function, *mac, settings),
            Step::BindVdpa { function, driver } => {
                let (name, driver) = (self.device_name(function)?, *driver);
                self.call(&name.clone(), "bind vdpa device", DEADLINE, move || {
                    vdpa_bus::bind(&root, &name, driver)
                })
            }
        }
    }
}

impl Host {
    fn bind(&self, function: &Function, driver: FunctionDriver) -> Result<()> {
        let (root, address) = (self.root.clone(), self.address(function)?);
        self.call(&address.to_string(), "bind", DEADLINE, move || match driver {
            FunctionDriver { name: vfio::DRIVER, .. } => vfio::bind(&root, address),
            FunctionDriver { name, pinned: true } => pci::bind(&root, address, name),
            FunctionDriver { name, .. } => pci::bind_unpinned(&root, address, name),
        })
    }

    /// Gives a function back to a driver, or to none.
    fn release(
        &self,
        function: &Function,
        driver: Option<String>,
        only: Option<String>,
    ) -> Result<()> {
        let (root, address) = (self.root.clone(), self.address(function)?);
        let op = if driver.is_some() { "release" } else { "unbind" };
        self.call(&address.to_string(), op, DEADLINE, move || {
            pci::release(&root, address, driver.as_deref(), only.as_deref())
        })
    }

    fn set_link(&self, function: &Function, mac: Option<Mac>, mtu: Option<u32>) -> Result<()> {
        let mut links = Links::open()?;
        let link = links.of_device(&pci::dir(&self.root, self.address(function)?))?;
        let link = link.ok_or_else(|| no_such(function, "no interface", "one here"))?;
        mac.map_or(Ok(()), |mac| links.set_mac(link.index, mac))?;
        mtu.map_or(Ok(()), |mtu| links.set_mtu(link.index, mtu))
    }

    fn create(&self, function: &Function, mac: Option<Mac>, settings: &Settings) -> Result<()> {
        let name = self.device_name(function)?;
        let management_device = match function {
            Function::Vf { .. } => Handle::pci(self.address(function)?),
            Function::Simulated { simulator, .. } => Handle::without_bus(simulator),
        };
        let device = NewDevice {
            name: name.clone(),
            management_device,
            mac,
            mtu: settings.mtu,
            queue_pairs: settings.queue_pairs,
            features: settings.features,
        };
        let create = move || Vdpa::require()?.create(&device);
        self.genl(&name, "create vdpa device", DEADLINE, create)
    }

    fn address(&self, function: &Function) -> Result<pci::Address> {
        let Function::Vf { pf, index } = function else {
            return Err(no_such(function, "a simulated device", "a VF"));
        };
        let found = sriov::function(&self.root, *pf, *index)?;
        found.ok_or_else(|| no_such(function, "none", "an existing VF"))
    }

    fn device_name(&self, function: &Function) -> Result<String> {
        match function {
            Function::Vf { .. } => self.address(function).map(vdpa_name),
            Function::Simulated { simulator, index } => Ok(simulated_name(simulator, *index)),
        }
    }

    /// A call that holds one device's lock.
    fn call<T: Send + 'static>(
        &self,
        device: &str,
        op: &str,
        deadline: Duration,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let call = Call { dir: &self.stuck, device, op, reach: Reach::Device, deadline };
        stuck::run(&self.root, call, work)
    }

    /// A call that holds generic netlink's lock of the whole node.
    fn genl(
        &self,
        device: &str,
        op: &str,
        deadline: Duration,
        work: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let reach = Reach::GenericNetlink;
        let call = Call { dir: &self.stuck, device, op, reach, deadline };
        stuck::run(&self.root, call, work)
    }
}

/// Sets everything that can be set, and tells the first thing that cannot.
fn set_vf(link: u32, vf: u32, settings: &[VfSetting]) -> Result<()> {
    let mut links = Links::open()?;
    let set = |done: Result<()>, setting: &VfSetting| done.and(links.set_vf(link, vf, *setting));
    settings.iter().fold(Ok(()), set)
}

fn no_such(function: &Function, found: &str, expected: &str) -> Error {
    Error::Unexpected {
        object: function.to_string(),
        found: found.to_owned(),
        expected: expected.to_owned(),
    }
}
