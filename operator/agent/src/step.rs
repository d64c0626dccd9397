//! The single things that can be done to a node.

use std::fmt;

use ringway_kernel::devlink::EswitchMode;
use ringway_kernel::link::VfSetting;
use ringway_kernel::mac::Mac;
use ringway_kernel::pci;
use ringway_kernel::vdpa::Handle;
use ringway_kernel::vdpa_bus::Driver;

use crate::cards::FunctionDriver;
use crate::wanted::{ParentName, Settings};

/// A function of a parent. Its PCI address exists only once the function does, so that steps
/// planned before then name it by index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Function {
    /// A VF of a PF, by index.
    Vf {
        /// The PF.
        pf: pci::Address,
        /// The VF's index.
        index: u32,
    },
    /// A device of a simulator.
    Simulated {
        /// The simulator's management device.
        simulator: String,
        /// Its index among our devices.
        index: u32,
    },
}

/// One thing that is done to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Load a kernel module.
    LoadModule(&'static str),
    /// Set the MTU of a parent's interface.
    SetUplinkMtu {
        /// The interface's ifindex.
        link: u32,
        /// In bytes.
        mtu: u32,
    },
    /// Set a parent's interface up.
    RaiseUplink {
        /// The interface's ifindex.
        link: u32,
    },
    /// Set a parent's interface down again.
    LowerUplink {
        /// The interface's ifindex.
        link: u32,
    },
    /// Say whether drivers are offered new VFs of a PF: not, or udev renames what appears.
    SetFunctionAutoprobe {
        /// The PF.
        pf: pci::Address,
        /// Whether.
        on: bool,
    },
    /// Set the number of VFs: every one that exists goes.
    SetFunctionCount {
        /// The PF.
        pf: pci::Address,
        /// How many.
        count: u16,
    },
    /// Set the mode of a PF's eswitch.
    SetEswitchMode {
        /// The PF.
        pf: pci::Address,
        /// The mode.
        mode: EswitchMode,
    },
    /// Take over a vDPA device that somebody else made: a matter of our record alone.
    AdoptVdpa {
        /// The device's name.
        name: String,
    },
    /// Say whether the vDPA bus binds new devices to whichever driver came first.
    SetVdpaAutoprobe {
        /// Whether.
        on: bool,
    },
    /// Let the vDPA bus driver go of a device.
    UnbindVdpa {
        /// The device's name.
        name: String,
    },
    /// Delete a vDPA device that no bus driver has.
    DeleteVdpa {
        /// The device's name.
        name: String,
    },
    /// Let a function's driver go of it, and tie it to none (`driver_override`): the eswitch changes, or
    /// the next driver is to read another address.
    UnbindFunction {
        /// The function.
        function: Function,
    },
    /// Tell the PF's driver what to do for a function.
    SetVfSettings {
        /// The function.
        function: Function,
        /// The ifindex of the PF's interface.
        link: u32,
        /// One after the other.
        settings: Vec<VfSetting>,
    },
    /// Set a function's own interface.
    SetFunctionLink {
        /// The function.
        function: Function,
        /// The MAC, if it differs.
        mac: Option<Mac>,
        /// In bytes, if it differs.
        mtu: Option<u32>,
    },
    /// Bind a function to a driver.
    BindFunction {
        /// The function.
        function: Function,
        /// The driver.
        driver: FunctionDriver,
    },
    /// Give a function back to the driver that it had before, or to none.
    ReleaseFunction {
        /// The function.
        function: Function,
        /// The driver as the PCI bus calls it.
        driver: Option<String>,
        /// The only driver that might bind it then (`driver_override`), if one was set.
        only: Option<String>,
    },
    /// Say which driver alone may bind a function: an agent that was killed while it gave the function
    /// another one has left what it needed for that.
    SetFunctionOverride {
        /// The function.
        function: Function,
        /// The driver (`driver_override`), if there shall be one.
        only: Option<String>,
    },
    /// Make a vDPA device on a function.
    CreateVdpa {
        /// The function.
        function: Function,
        /// The MAC that it shall have; the device's own if absent.
        mac: Option<Mac>,
        /// What else it shall be.
        settings: Settings,
    },
    /// Bind a function's vDPA device to a driver of the vDPA bus.
    BindVdpa {
        /// The function.
        function: Function,
        /// The driver.
        driver: Driver,
    },
}

impl Function {
    /// Its parent.
    pub fn parent(&self) -> ParentName {
        match self {
            Self::Vf { pf, .. } => ParentName::Pci(*pf),
            Self::Simulated { simulator, .. } => ParentName::Simulator(simulator.clone()),
        }
    }

    /// Its index below its parent.
    pub fn index(&self) -> u32 {
        match self {
            Self::Vf { index, .. } | Self::Simulated { index, .. } => *index,
        }
    }
}

/// The name of the vDPA device that we make on a VF.
pub fn vdpa_name(vf: pci::Address) -> String {
    format!("vdpa:{vf}")
}

/// The name of the device that we make with a simulator.
pub fn simulated_name(simulator: &str, index: u32) -> String {
    format!("{simulator}.{index}")
}

/// The management device of a simulator.
pub fn simulator_handle(simulator: &str) -> Handle {
    Handle::without_bus(simulator)
}

impl Step {
    /// The function that gets another driver, or none, and with it another `driver_override`.
    pub fn rebinds(&self) -> Option<&Function> {
        match self {
            Self::BindFunction { function, .. }
            | Self::UnbindFunction { function }
            | Self::ReleaseFunction { function, .. } => Some(function),
            _ => None,
        }
    }

    /// What kind of step it is: a metric's label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LoadModule(_) => "load_module",
            Self::SetUplinkMtu { .. } => "set_uplink_mtu",
            Self::RaiseUplink { .. } => "raise_uplink",
            Self::LowerUplink { .. } => "lower_uplink",
            Self::SetFunctionAutoprobe { .. } => "set_function_autoprobe",
            Self::SetFunctionCount { .. } => "set_function_count",
            Self::SetEswitchMode { .. } => "set_eswitch_mode",
            Self::AdoptVdpa { .. } => "adopt_vdpa",
            Self::SetVdpaAutoprobe { .. } => "set_vdpa_autoprobe",
            Self::UnbindVdpa { .. } => "unbind_vdpa",
            Self::DeleteVdpa { .. } => "delete_vdpa",
            Self::UnbindFunction { .. } => "unbind_function",
            Self::SetVfSettings { .. } => "set_vf_settings",
            Self::SetFunctionLink { .. } => "set_function_link",
            Self::BindFunction { .. } => "bind_function",
            Self::ReleaseFunction { .. } => "release_function",
            Self::SetFunctionOverride { .. } => "set_function_override",
            Self::CreateVdpa { .. } => "create_vdpa",
            Self::BindVdpa { .. } => "bind_vdpa",
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vf { pf, index } => write!(f, "function {index} of {pf}"),
            Self::Simulated { simulator, index } => write!(f, "device {index} of {simulator}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoadModule(module) => write!(f, "load kernel module {module}"),
            Self::SetUplinkMtu { mtu, .. } => write!(f, "set the uplink's MTU to {mtu}"),
            Self::RaiseUplink { .. } => f.write_str("set the uplink up"),
            Self::LowerUplink { .. } => f.write_str("set the uplink down again"),
            Self::SetFunctionAutoprobe { on: false, .. } => {
                f.write_str("keep drivers off new functions")
            }
            Self::SetFunctionAutoprobe { on: true, .. } => {
                f.write_str("offer new functions to drivers again")
            }
            Self::SetFunctionCount { count, .. } => {
                write!(f, "set the number of functions to {count}")
            }
            Self::SetEswitchMode { mode, .. } => write!(f, "set the eswitch's mode to {mode}"),
            Self::AdoptVdpa { name } => write!(f, "take over vDPA device {name} as it is"),
            Self::SetVdpaAutoprobe { on: false } => {
                f.write_str("keep drivers off new vDPA devices")
            }
            Self::SetVdpaAutoprobe { on: true } => {
                f.write_str("offer new vDPA devices to drivers again")
            }
            Self::UnbindVdpa { name } => write!(f, "unbind vDPA device {name}"),
            Self::DeleteVdpa { name } => write!(f, "delete vDPA device {name}"),
            Self::UnbindFunction { function } => write!(f, "unbind {function} from its driver"),
            Self::SetVfSettings { function, settings, .. } => {
                let settings: Vec<_> = settings.iter().map(ToString::to_string).collect();
                write!(f, "set {} of {function}", settings.join(", "))
            }
            Self::SetFunctionLink { function, mac, mtu } => {
                let mac = mac.map(|mac| format!("MAC {mac}"));
                let mtu = mtu.map(|mtu| format!("MTU {mtu}"));
                let both: Vec<_> = mac.into_iter().chain(mtu).collect();
                write!(f, "set {} of the interface of {function}", both.join(", "))
            }
            Self::BindFunction { function, driver } => {
                write!(f, "bind {function} to {}", driver.name)
            }
            Self::ReleaseFunction { function, driver: Some(driver), .. } => {
                write!(f, "give {function} back to {driver}")
            }
            Self::ReleaseFunction { function, driver: None, .. } => {
                write!(f, "leave {function} to no driver")
            }
            Self::SetFunctionOverride { function, only: Some(driver) } => {
                write!(f, "tie {function} to {driver} alone")
            }
            Self::SetFunctionOverride { function, only: None } => {
                write!(f, "leave {function} to any driver")
            }
            Self::CreateVdpa { function, .. } => write!(f, "create the vDPA device of {function}"),
            Self::BindVdpa { function, driver } => {
                write!(f, "bind the vDPA device of {function} to {}", driver.name())
            }
        }
    }
}
