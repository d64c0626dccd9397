//! A node of the tests: it proves our logic against our model of Linux, not the model against
//! Linux. It learns a rule of the kernel only after the kernel ring has shown it
//! (tests/kernel: each refusal below has its twin there).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use ringway_kernel::chardev::CharDevice;
use ringway_kernel::devlink::EswitchMode;
use ringway_kernel::features::Features;
use ringway_kernel::inventory::{
    Eswitch, Inventory, Netdev, Parent, Simulator, VdpaDevice, VdpaFamily, VirtualFunction,
};
use ringway_kernel::pci::{Address, Ids};
use ringway_kernel::sriov::Layout;
use ringway_kernel::testing::Tree;
use ringway_kernel::vdpa::{Classes, Handle, ManagementDevice};
use ringway_kernel::vdpa_bus::Driver;
use ringway_kernel::vfio::{self, Vfio};
use ringway_kernel::{Error, Result};

use crate::cards::{self, Order};
use crate::node::{Node, Observed};
use crate::plan::Attach;
use crate::step::{Function, Step, simulated_name, vdpa_name};
use crate::wanted::{Defaults, Pool, Settings};

pub(crate) use settings::fresh_vf;

mod settings;

/// The first PF of every fake node.
pub(crate) const PF: &str = "0000:01:00.0";

/// A fake node, and what was done to it.
pub(crate) struct Fake {
    pub(crate) observed: Observed,
    pub(crate) done: Vec<Step>,
    /// The only driver that may bind a function, by its card and index.
    pub(crate) overrides: BTreeMap<(Address, u32), String>,
    /// Whether the drivers of PFs say yes and set nothing.
    pub(crate) deaf: bool,
    /// Modules that are not installed.
    pub(crate) absent: Vec<&'static str>,
    /// What goes wrong where functions of the first card are made.
    pub(crate) broken: Broken,
}

/// What a card or its driver may do that no card of the kernel ring does: no step's refusal, but what
/// drivers/pci/iov.c passes on from the driver, or only logs.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    /// The answer to any number of functions but none: EBUSY, ENOMEM.
    pub(crate) refuses: Option<i32>,
    /// No more functions than these are made, whatever was asked for.
    pub(crate) most: Option<u16>,
    /// The driver of the functions makes no interface.
    pub(crate) no_interface: bool,
}

pub(crate) fn pf() -> Address {
    PF.parse().unwrap()
}

impl Fake {
    /// One virtio card with four possible functions, none yet; no module loaded.
    pub(crate) fn new() -> Self {
        let inventory = Inventory {
            parents: vec![virtio_card()],
            simulators: vec![],
            other_vdpa: vec![],
            vdpa_family: VdpaFamily::Absent,
            notes: vec![],
        };
        let observed = Observed {
            inventory,
            modules: BTreeSet::new(),
            vdpa_autoprobe: None,
            attached: Ok(BTreeMap::new()),
        };
        Self {
            observed,
            done: vec![],
            overrides: BTreeMap::new(),
            deaf: false,
            absent: vec![],
            broken: Broken::default(),
        }
    }

    /// The same with functions that no driver has.
    pub(crate) fn with_functions(count: u16) -> Self {
        let mut fake = Self::new();
        fake.card().drivers_autoprobe = false;
        fake.set_count(pf(), count).unwrap();
        fake
    }

    /// An igb card in its place.
    pub(crate) fn igb() -> Self {
        let mut fake = Self::new();
        *fake.card() = igb_card(pf());
        fake
    }

    pub(crate) fn card(&mut self) -> &mut Parent {
        &mut self.observed.inventory.parents[0]
    }

    /// Somebody else's vDPA device on a function that exists.
    pub(crate) fn add_foreign(&mut self, index: u32) {
        let device = device("theirs", None);
        self.card().functions[index as usize].vdpa.push(device);
    }

    /// Others make another number of functions, and keep those that there are.
    pub(crate) fn set_count_of_others(&mut self, count: u16) {
        let card = self.card();
        card.numvfs = count;
        card.functions.truncate(count.into());
    }

    fn card_at(&mut self, pf: Address) -> Result<&mut Parent> {
        let found = self.observed.inventory.parents.iter_mut().find(|card| card.address == pf);
        found.ok_or_else(|| refused("no such card"))
    }

    fn uplink(&mut self, link: u32) -> Result<&mut Netdev> {
        let all = self.observed.inventory.parents.iter_mut().flat_map(|card| &mut card.netdevs);
        let found = all.into_iter().find(|netdev| netdev.index == Some(link));
        found.ok_or_else(|| refused("no such link"))
    }

    pub(crate) fn function(&mut self, function: &Function) -> Result<&mut VirtualFunction> {
        let Function::Vf { pf, index } = function else { return Err(refused("not of a card")) };
        let found = self.card_at(*pf)?.functions.iter_mut().find(|f| f.index == *index);
        found.ok_or_else(|| refused("no such function"))
    }

    pub(crate) fn vdpa(&mut self) -> impl Iterator<Item = &mut Vec<VdpaDevice>> {
        let inventory = &mut self.observed.inventory;
        let cards =
            inventory.parents.iter_mut().flat_map(|p| &mut p.functions).map(|f| &mut f.vdpa);
        cards.chain(inventory.simulators.iter_mut().map(|s| &mut s.vdpa))
    }

    pub(crate) fn set_count(&mut self, pf: Address, count: u16) -> Result<()> {
        let card = self.card_at(pf)?;
        let bound = |f: &VirtualFunction| f.vdpa.iter().any(|v| v.driver.is_some());
        if card.functions.iter().any(bound) {
            return Err(refused("would sleep: a vDPA bus driver has not let go"));
        }
        let own = cards::card(card.driver.as_deref()).map(|card| card.netdev.driver);
        let own = own.filter(|_| card.drivers_autoprobe);
        card.numvfs = count;
        card.functions = (0..u32::from(count)).map(|index| function(card, index, own)).collect();
        represent(card);
        self.overrides.retain(|(card, _), _| *card != pf);
        Ok(())
    }

    /// As ringway_kernel::sriov does it: by way of none, and what came of it is read back.
    fn make_functions(&mut self, pf: Address, count: u16) -> Result<()> {
        if self.card_at(pf)?.numvfs != 0 && count != 0 {
            self.set_count(pf, 0)?;
        }
        if pf != self::pf() {
            return self.set_count(pf, count);
        }
        if let Some(errno) = self.broken.refuses.filter(|_| count != 0) {
            let path = format!("/sys/bus/pci/devices/{pf}/sriov_numvfs").into();
            let source = std::io::Error::from_raw_os_error(errno);
            return Err(Error::Io { op: format!("write \"{count}\" to"), path, source });
        }
        let made = self.broken.most.map_or(count, |most| most.min(count));
        self.set_count(pf, made)?;
        if self.broken.no_interface {
            self.card_at(pf)?.functions.iter_mut().for_each(makes_no_interface);
        }
        if made == count {
            return Ok(());
        }
        Err(Error::Unexpected {
            object: format!("VFs of PCI function {pf}"),
            found: made.to_string(),
            expected: count.to_string(),
        })
    }

    /// A card of a driver whose eswitch can change, in its place.
    pub(crate) fn with_eswitch(driver: &str) -> Self {
        let mut fake = Self::new();
        *fake.card() = eswitch_card(driver);
        fake
    }

    /// As the drivers' sources say (cards/eswitch.rs).
    fn set_mode(&mut self, pf: Address, mode: EswitchMode) -> Result<()> {
        let card = self.card_at(pf)?;
        let functions = &card.functions;
        let allowed = match card.driver.as_deref().and_then(cards::eswitch_order) {
            None => false,
            Some(Order::WithoutFunctions) => functions.is_empty(),
            Some(Order::WithFunctions { unbound: true }) => {
                functions.iter().all(|function| function.driver.is_none())
            }
            Some(Order::WithFunctions { unbound: false }) => {
                mode == EswitchMode::Legacy || !functions.is_empty()
            }
        };
        if !allowed || card.eswitch.mode() == Some(mode) {
            return Err(refused("another order"));
        }
        card.eswitch = mode.into();
        represent(card);
        Ok(())
    }

    /// The driver that alone may bind a function, or none.
    pub(crate) fn pin(&mut self, function: &Function, only: Option<String>) {
        if let Function::Vf { pf, index } = function {
            self.overrides.remove(&(*pf, *index));
            self.overrides.extend(only.map(|only| ((*pf, *index), only)));
        }
    }

    /// A function gets another driver, or none.
    fn rebind(&mut self, function: &Function, driver: Option<&str>) -> Result<()> {
        let modules = self.observed.modules.clone();
        let function = self.function(function)?;
        if !function.vdpa.is_empty() {
            return Err(refused("would take the vDPA device away"));
        }
        if driver == Some(vfio::DRIVER) && function.iommu_group.is_none() {
            return Err(refused("no IOMMU group"));
        }
        let module = driver.map(|driver| driver.replace('-', "_"));
        // the PF's own is there
        let own = |module: &str| matches!(module, "virtio_pci" | "mlx5_core" | "bnxt_en");
        if module.is_some_and(|m| !own(&m) && !modules.contains(m.as_str())) {
            return Err(refused("no such driver"));
        }
        drive(function, driver);
        Ok(())
    }

    fn create(&mut self, function: &Function) -> Result<()> {
        match function {
            Function::Vf { .. } => {
                let function = self.function(function)?;
                let driver = function.driver.as_deref();
                if !driver.is_some_and(makes_vdpa) || !function.vdpa.is_empty() {
                    return Err(refused("no management device, or one device already"));
                }
                let made_by = Some(Handle::pci(function.address));
                function.vdpa.push(device(&vdpa_name(function.address), made_by));
            }
            Function::Simulated { simulator, index } => {
                let name = simulated_name(simulator, *index);
                let simulators = &mut self.observed.inventory.simulators;
                let found = simulators.first_mut().ok_or_else(|| refused("no simulator"))?;
                if found.vdpa.iter().any(|device| device.name == name) {
                    return Err(refused("there already"));
                }
                found.vdpa.push(device(&name, Some(Handle::without_bus(simulator))));
            }
        }
        Ok(())
    }

    fn name_of(&mut self, function: &Function) -> Result<String> {
        Ok(match function {
            Function::Vf { .. } => vdpa_name(self.function(function)?.address),
            Function::Simulated { simulator, index } => simulated_name(simulator, *index),
        })
    }

    fn bind(&mut self, name: &str, driver: Option<Driver>) -> Result<()> {
        let found = self.vdpa().flatten().find(|device| device.name == name);
        serve(found.ok_or_else(|| refused("no such vDPA device"))?, driver);
        Ok(())
    }

    fn delete(&mut self, name: &str) -> Result<()> {
        let bound = self.vdpa().flatten().any(|d| d.name == name && d.driver.is_some());
        if bound {
            return Err(refused("would sleep with the node's lock: unbind first"));
        }
        self.vdpa().for_each(|devices| devices.retain(|device| device.name != name));
        Ok(())
    }

    fn load(&mut self, module: &'static str) -> Result<()> {
        if self.absent.contains(&module) {
            return load_from_nothing(module);
        }
        self.observed.modules.insert(module);
        if module.contains("vdpa") {
            self.observed.inventory.vdpa_family = VdpaFamily::Present;
            self.observed.vdpa_autoprobe.get_or_insert(true);
        }
        if module == "vdpa_sim_net" {
            self.observed.inventory.simulators = vec![Simulator {
                management_device: management(Handle::without_bus("vdpasim_net")),
                vdpa: vec![],
            }];
        }
        Ok(())
    }
}

/// The real loader's answer where the running kernel has no modules at all.
fn load_from_nothing(module: &str) -> Result<()> {
    let tree = Tree::new("");
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    tree.write(&format!("lib/modules/{release}/modules.dep"), "");
    ringway_kernel::module::load(&tree.root(), module)
}

impl Node for Fake {
    fn observe(&mut self) -> Result<Observed> {
        Ok(self.observed.clone())
    }

    fn overrides(&mut self, pf: Address) -> Result<BTreeMap<u32, String>> {
        let of_card = self.overrides.iter().filter(|((card, _), _)| *card == pf);
        Ok(of_card.map(|((_, index), only)| (*index, only.clone())).collect())
    }

    fn apply(&mut self, step: &Step) -> Result<()> {
        self.done.push(step.clone());
        match step {
            Step::LoadModule(module) => self.load(module)?,
            Step::SetUplinkMtu { link, mtu } => self.uplink(*link)?.mtu = *mtu,
            Step::RaiseUplink { link } => self.uplink(*link)?.up = true,
            Step::LowerUplink { link } => self.uplink(*link)?.up = false,
            Step::SetFunctionAutoprobe { pf, on } => self.card_at(*pf)?.drivers_autoprobe = *on,
            Step::SetFunctionCount { pf, count } => self.make_functions(*pf, *count)?,
            Step::SetEswitchMode { pf, mode } => self.set_mode(*pf, *mode)?,
            Step::UnbindFunction { function } => {
                self.rebind(function, None)?;
                self.pin(function, None);
            }
            Step::AdoptVdpa { .. } => {}
            Step::SetVdpaAutoprobe { on } => self.observed.vdpa_autoprobe = Some(*on),
            Step::UnbindVdpa { name } => self.bind(name, None)?,
            Step::DeleteVdpa { name } => self.delete(name)?,
            Step::SetVfSettings { function, link, settings } => {
                self.set_vf(function, *link, settings)?;
            }
            Step::SetFunctionLink { function, mac, mtu } => {
                let netdev = self.function(function)?.netdevs.first_mut();
                let netdev = netdev.ok_or_else(|| refused("no interface"))?;
                netdev.mac = mac.or(netdev.mac);
                netdev.mtu = mtu.unwrap_or(netdev.mtu);
            }
            Step::BindFunction { function, driver } => {
                self.rebind(function, Some(driver.name))?;
                let of_first = matches!(function, Function::Vf { pf, .. } if *pf == self::pf());
                if self.broken.no_interface && of_first {
                    makes_no_interface(self.function(function)?);
                }
                self.pin(function, driver.pinned.then(|| driver.name.to_owned()));
            }
            Step::ReleaseFunction { function, driver, only } => {
                self.rebind(function, driver.as_deref())?;
                self.pin(function, only.clone());
            }
            Step::SetFunctionOverride { function, only } => self.pin(function, only.clone()),
            Step::CreateVdpa { function, settings, .. } => {
                self.create(function)?;
                let name = self.name_of(function)?;
                for device in self.vdpa().flatten().filter(|device| device.name == name) {
                    device.features = settings.features.or(Some(Features(u64::MAX)));
                }
            }
            Step::BindVdpa { function, driver } => {
                let name = self.name_of(function)?;
                self.bind(&name, Some(*driver))?;
            }
        }
        Ok(())
    }
}

/// A virtio card with four possible functions.
pub(crate) fn virtio_card() -> Parent {
    Parent {
        address: pf(),
        ids: Ids { vendor: 0x1af4, device: 0x1041, class: 0x02_0000 },
        driver: Some("virtio-pci".into()),
        numa: Some(0),
        iommu_group: Some(99),
        netdevs: vec![netdev("enp1s0f0", 3)],
        totalvfs: 4,
        numvfs: 0,
        drivers_autoprobe: true,
        layout: Some(Layout { offset: 1, stride: 1 }),
        functions: vec![],
        eswitch: Eswitch::None,
        representors: vec![],
    }
}

/// A card of a driver whose eswitch can change, with as many.
pub(crate) fn eswitch_card(driver: &str) -> Parent {
    Parent { driver: Some(driver.to_owned()), eswitch: Eswitch::Legacy, ..virtio_card() }
}

/// An igb card with as many.
pub(crate) fn igb_card(address: Address) -> Parent {
    Parent {
        address,
        ids: Ids { vendor: 0x8086, device: 0x10c9, class: 0x02_0000 },
        driver: Some("igb".into()),
        netdevs: vec![Netdev { carrier: true, ..netdev("enp2s0f0", 4) }],
        ..virtio_card()
    }
}

fn function(card: &Parent, index: u32, driver: Option<&str>) -> VirtualFunction {
    let pf = card.address.to_string();
    let mut function = VirtualFunction {
        index,
        address: format!("{}{}", pf.trim_end_matches('0'), index + 1).parse().unwrap(),
        ids: card.ids,
        settings: settings::told(card, index),
        driver: None,
        iommu_group: Some(index),
        iommu_sharers: vec![],
        virtio_driver: None,
        vfio: None,
        netdevs: vec![],
        management_device: None,
        vdpa: vec![],
    };
    drive(&mut function, driver);
    function
}

/// What virtio-pci leaves of a function whose virtio device virtio_net has not taken.
fn makes_no_interface(function: &mut VirtualFunction) {
    function.virtio_driver = None;
    function.netdevs.clear();
}

/// The representors of a card's functions.
pub(crate) fn represent(card: &mut Parent) {
    let stands_for = |f: &VirtualFunction| netdev(&format!("enp1s0f0_{}", f.index), 40 + f.index);
    let all = card.functions.iter().filter(|_| card.eswitch == Eswitch::Switchdev);
    card.representors = all.map(stands_for).collect();
}

/// What a driver makes of a function.
pub(crate) fn drive(function: &mut VirtualFunction, driver: Option<&str>) {
    let index = function.index;
    function.driver = driver.map(str::to_owned);
    function.virtio_driver = (driver == Some("virtio-pci")).then(|| "virtio_net".to_owned());
    let makes_one = driver.and_then(cards::netdev).is_some();
    let mut made = netdev("eth7", 20 + index);
    // read once, as the driver takes the function; without one igb's tells the PF's its own
    if let Some(settings) = function.settings.as_mut().filter(|_| makes_one) {
        made.mac = settings.mac.or(made.mac);
        settings.mac = if driver == Some("igbvf") { made.mac } else { settings.mac };
    }
    function.netdevs = if makes_one { vec![made] } else { vec![] };
    function.vfio = (driver == Some(vfio::DRIVER)).then(|| vfio(index));
    let makes = driver.is_some_and(makes_vdpa);
    function.management_device = makes.then(|| management(Handle::pci(function.address)));
}

fn makes_vdpa(driver: &str) -> bool {
    driver == "mlx5_core" || cards::makes_vdpa_devices(driver)
}

/// What makes vDPA devices that can be given any feature.
fn management(handle: Handle) -> ManagementDevice {
    let features = Some(Features(u64::MAX));
    ManagementDevice { handle, classes: Classes(2), features, max_virtqueues: Some(3) }
}

/// What a driver of the vDPA bus makes of a device.
pub(crate) fn serve(device: &mut VdpaDevice, driver: Option<Driver>) {
    let vhost = driver == Some(Driver::VhostVdpa);
    device.driver = driver.map(|d| d.name().to_owned());
    device.char_device =
        vhost.then(|| CharDevice { path: "/dev/vhost-vdpa-0".into(), major: 240, minor: 0 });
    device.netdevs =
        if driver == Some(Driver::VirtioVdpa) { vec![netdev("eth9", 9)] } else { vec![] };
}

/// What vfio-pci makes of a function whose IOMMU group is this.
pub(crate) fn vfio(group: u32) -> Vfio {
    let path = format!("/dev/vfio/{group}").into();
    Vfio { group: CharDevice { path, major: 243, minor: group }, cdev: None, shared: vec![] }
}

/// A pool named after its resource, with nothing asked of its functions.
pub(crate) fn pool(name: &str, range: RangeInclusive<u32>, attach: Attach) -> Pool {
    let resource = (attach != Attach::Host).then(|| format!("ringway.dev/{name}").parse().unwrap());
    Pool {
        name: name.into(),
        resource,
        range,
        attach,
        settings: Settings::default(),
        defaults: Defaults::default(),
        limits: Default::default(),
        allocation: None,
        carrier: None,
    }
}

/// The step that binds a function of the virtio card so that it can be attached in some way.
pub(crate) fn bind(index: u32, attach: Attach) -> Step {
    let card = cards::card(Some("virtio-pci")).unwrap();
    let driver = card.function_driver(attach).unwrap();
    Step::BindFunction { function: Function::Vf { pf: pf(), index }, driver }
}

pub(crate) fn device(name: &str, management_device: Option<Handle>) -> VdpaDevice {
    VdpaDevice {
        name: name.into(),
        management_device,
        driver: None,
        char_device: None,
        virtio_unbound: false,
        netdevs: vec![],
        mac: None,
        mtu: None,
        max_queue_pairs: None,
        features: None,
    }
}

pub(crate) fn netdev(name: &str, index: u32) -> Netdev {
    Netdev {
        name: name.into(),
        index: Some(index),
        altnames: vec![],
        mac: "52:54:01:00:00:00".parse().ok(),
        permanent_mac: None,
        mtu: 1500,
        up: false,
        carrier: false,
        traffic: vec![],
    }
}

fn refused(why: &str) -> Error {
    Error::Unexpected {
        object: "fake node".into(),
        found: why.into(),
        expected: "another order".into(),
    }
}
