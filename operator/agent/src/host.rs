//! The real node: observes through the kernel crate, and does each step with its calls. Every call
//! that can sleep in the kernel gets a thread, a deadline and a marker.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ringway_kernel::devlink::{self, Devlink};
use ringway_kernel::link::Links;
use ringway_kernel::stuck::{self, Call, Reach};
use ringway_kernel::vdpa::{Handle, NewDevice, Vdpa};
use ringway_kernel::{Error, Result, Root, inventory, module, pci, sriov, vdpa_bus, vfio};

use crate::cards::{self, FunctionDriver};
use crate::node::{Node, Observed};
use crate::step::{Function, Step, simulated_name, vdpa_name};

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
}

impl Node for Host {
    fn observe(&mut self) -> Result<Observed> {
        let present = |module: &&'static str| module::is_loaded(&self.root, module);
        let modules = cards::modules().into_iter().filter(present).collect();
        let vdpa_autoprobe = match vdpa_bus::drivers_autoprobe(&self.root) {
            Ok(on) => Some(on),
            Err(error) if error.is_missing() => None,
            Err(error) => return Err(error),
        };
        let inventory = inventory::observe(&self.root, &self.stuck)?;
        Ok(Observed { inventory, modules, vdpa_autoprobe })
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
                self.call(
                    &pf.to_string(),
                    "set the number of functions of",
                    COUNT_DEADLINE,
                    move || sriov::set_numvfs(&root, pf, count),
                )
            }
            Step::SetEswitchMode { pf, mode } => {
                let (device, mode) = (devlink::Handle::pci(*pf), *mode);
                let set = move || Devlink::require()?.set_eswitch_mode(&device, mode);
                self.genl(&pf.to_string(), "set the eswitch mode of", COUNT_DEADLINE, set)
            }
            Step::UnbindFunction { function } => {
                let address = self.address(function)?;
                let unbind = move || pci::release(&root, address, None, None);
                self.call(&address.to_string(), "unbind", DEADLINE, unbind)
            }
            // what is recorded is all of it
            Step::AdoptVdpa { .. } => Ok(()),
            Step::UnbindVdpa { name } => {
                let unbound = name.clone();
                self.call(name, "unbind vdpa device", DEADLINE, move || {
                    vdpa_bus::unbind(&root, &unbound)
                })
            }
            Step::DeleteVdpa { name } => {
                let deleted = name.clone();
                let delete = move || Vdpa::require()?.delete(&deleted);
                self.genl(name, "delete vdpa device", DEADLINE, delete)
            }
            Step::BindFunction { function, driver } => {
                let (address, driver) = (self.address(function)?, *driver);
                self.call(&address.to_string(), "bind", DEADLINE, move || match driver {
                    FunctionDriver { name: vfio::DRIVER, .. } => vfio::bind(&root, address),
                    FunctionDriver { name, pinned: true } => pci::bind(&root, address, name),
                    FunctionDriver { name, .. } => pci::bind_unpinned(&root, address, name),
                })
            }
            Step::ReleaseFunction { function, driver, only } => {
                let address = self.address(function)?;
                let (driver, only) = (driver.clone(), only.clone());
                self.call(&address.to_string(), "release", DEADLINE, move || {
                    pci::release(&root, address, driver.as_deref(), only.as_deref())
                })
            }
            Step::CreateVdpa { function, mac, settings } => {
                let (name, management_device) = match function {
                    Function::Vf { .. } => {
                        let address = self.address(function)?;
                        (vdpa_name(address), Handle::pci(address))
                    }
                    Function::Simulated { simulator, index } => {
                        (simulated_name(simulator, *index), Handle::without_bus(simulator))
                    }
                };
                let device = NewDevice {
                    name: name.clone(),
                    management_device,
                    mac: *mac,
                    mtu: settings.mtu,
                    queue_pairs: settings.queue_pairs,
                    features: settings.features,
                };
                let create = move || Vdpa::require()?.create(&device);
                self.genl(&name, "create vdpa device", DEADLINE, create)
            }
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
    fn address(&self, function: &Function) -> Result<pci::Address> {
        let Function::Vf { pf, index } = function else {
            return Err(no_such(function, "a simulated device", "a VF"));
        };
        let functions = sriov::functions(&self.root, *pf)?;
        let found = functions.iter().find(|f| f.index == *index);
        found.map(|f| f.address).ok_or_else(|| no_such(function, "none", "an existing VF"))
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

fn no_such(function: &Function, found: &str, expected: &str) -> Error {
    Error::Unexpected {
        object: function.to_string(),
        found: found.to_owned(),
        expected: expected.to_owned(),
    }
}
