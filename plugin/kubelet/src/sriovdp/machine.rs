//! The machine's functions are looked at.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use ringway_kernel::bus::Address;
use ringway_kernel::pci::Ids;
use ringway_kernel::{Error, Root, auxiliary, pci, sriov, sysfs, userspace, vdpa_bus};

use super::asks::Asks;
use super::functions::{ACCELERATOR, Function, LinkType, NETWORK, VdpaDevice, is_for_user_space};
use super::packages::Packages;
use super::routes::{Carries, Routes};

/// All network controllers and accelerators in order of address, then all subfunctions.
///
/// # Errors
/// An attribute that exists cannot be read or understood.
pub fn functions(
    root: &Root,
    routes: &Routes,
    packages: &Packages,
    asks: Asks,
) -> Result<Vec<Function>, Error> {
    let mut machine = Machine::new(root, packages, asks);
    machine.lists = true;
    let mut addresses = Vec::new();
    for function in pci::list(root)? {
        // most functions of a machine are of other classes: of those nothing else is read
        match pci::ids(root, function) {
            Ok(ids) if is_meant(ids) => _ = machine.ids.insert(function, ids),
            Ok(_) => continue,
            // gone since it was listed
            Err(error) if error.is_missing() => continue,
            Err(error) => return Err(error),
        }
        machine.add_pf(function)?;
        addresses.push(Address::Pci(function));
    }
    addresses.extend(auxiliary::subfunctions(root)?.into_iter().map(Address::Auxiliary));
    for (name, function) in vdpa_bus::functions(root)? {
        machine.vdpa.entry(function).or_default().push(name);
    }
    machine.functions(routes, &addresses)
}

/// Those of `addresses` that are network controllers, accelerators or subfunctions; nothing else is
/// looked at, and of these only what `asks` says. `routes` reads the routes by interfaces.
///
/// # Errors
/// As [`functions`].
pub fn functions_at(
    root: &Root,
    routes: impl FnOnce(&[String]) -> Routes,
    packages: &Packages,
    asks: Asks,
    addresses: &[Address],
) -> Result<Vec<Function>, Error> {
    let mut machine = Machine::new(root, packages, asks);
    let mut with_routes = Vec::new();
    for address in addresses {
        let netdevs = address.netdevs(root)?;
        if asks.vdpa {
            machine.vdpa.insert(address.clone(), vdpa_bus::of_function(root, address)?);
        }
        if let Some(function) = address.pci() {
            machine.add_function(function)?;
        }
        match address.pci().is_some_and(|vf| machine.vfs.contains_key(&vf))
            && are_down(root, &netdevs)?
        {
            true => _ = machine.quiet.insert(address.clone()),
            false => with_routes.extend(netdevs.iter().cloned()),
        }
        machine.netdevs.insert(address.clone(), netdevs);
    }
    machine.functions(&routes(&with_routes), addresses)
}

/// What is read once.
struct Machine<'a> {
    root: &'a Root,
    packages: &'a Packages,
    asks: Asks,
    /// Whether it is for a list, which tells more of a function than what decides on it.
    lists: bool,
    /// What functions are, as far as that was asked for before.
    ids: BTreeMap<pci::Address, Ids>,
    /// The vDPA devices on each function.
    vdpa: BTreeMap<Address, Vec<String>>,
    /// The interfaces of functions, as far as they were asked for before.
    netdevs: BTreeMap<Address, Vec<String>>,
    /// VFs whose interfaces are known to have no route.
    quiet: BTreeSet<Address>,
    /// The interfaces of each PF that has VFs.
    with_vfs: BTreeMap<pci::Address, Vec<String>>,
    /// PF and, as far as that was asked for, index of each VF.
    vfs: BTreeMap<pci::Address, (pci::Address, Option<u32>)>,
}

/// What is known of a function by its PF.
struct Family {
    pf: Option<pci::Address>,
    index: Option<u32>,
    pf_netdevs: Vec<String>,
    pf_driver: Option<String>,
    has_functions: bool,
}

impl<'a> Machine<'a> {
    fn new(root: &'a Root, packages: &'a Packages, asks: Asks) -> Self {
        let (vdpa, netdevs, quiet) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let (with_vfs, vfs, ids) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { root, packages, asks, lists: false, ids, vdpa, netdevs, quiet, with_vfs, vfs }
    }

    /// One that may be a VF, in which case its PF is looked at as far as it is asked for.
    fn add_function(&mut self, function: pci::Address) -> Result<(), Error> {
        let Some(pf) = sriov::physfn(self.root, function)? else { return self.add_pf(function) };
        let mut index = None;
        if self.asks.index {
            index = sriov::index_of(self.root, pf, function)?;
            if index.is_none() {
                // its PF has it not any more
                return Ok(());
            }
        }
        self.vfs.insert(function, (pf, index));
        if let (true, Entry::Vacant(first)) = (self.asks.pf_netdevs, self.with_vfs.entry(pf)) {
            first.insert(pci::netdevs(self.root, pf)?);
        }
        Ok(())
    }

    /// One that may be a PF.
    fn add_pf(&mut self, pf: pci::Address) -> Result<(), Error> {
        let found = sriov::functions(self.root, pf)?;
        if !found.is_empty() {
            self.with_vfs.insert(pf, pci::netdevs(self.root, pf)?);
        }
        self.vfs.extend(found.into_iter().map(|vf| (vf.address, (pf, Some(vf.index)))));
        Ok(())
    }

    fn functions(&self, routes: &Routes, addresses: &[Address]) -> Result<Vec<Function>, Error> {
        let mut functions = Vec::new();
        for address in addresses {
            match self.function(routes, address) {
                Ok(function) => functions.extend(function),
                // gone since it was listed
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(functions)
    }

    fn function(&self, routes: &Routes, address: &Address) -> Result<Option<Function>, Error> {
        let root = self.root;
        let family = match address {
            Address::Pci(address) => self.family(*address)?,
            Address::Auxiliary(name) => self.subfunctions_family(name)?,
        };
        let Family { pf, index, pf_netdevs, pf_driver, has_functions } = family;
        let asks = self.asks;
        // a subfunction is part of its PF
        let Some(pci) = address.pci().or(pf) else { return Ok(None) };
        let known = self.ids.get(&pci).copied();
        let ids = known.map_or_else(|| pci::ids(root, pci), Ok)?;
        if !is_meant(ids) {
            return Ok(None);
        }
        let netdevs = match self.netdevs.get(address) {
            Some(known) => known.clone(),
            None => address.netdevs(root)?,
        };
        let mut function = Function {
            address: address.clone(),
            ids,
            driver: address.driver(root)?,
            pf_driver,
            numa: if_asked(self.lists, || pci::numa_node(root, pci))?,
            acpi_index: if_asked(asks.acpi_index, || acpi_index(root, address))?,
            pf,
            index,
            pf_netdevs,
            has_functions,
            carries: match self.quiet.contains(address) {
                true => Carries::No,
                false => routes.carries(root, &netdevs)?,
            },
            netdevs,
            link_type: None,
            rdma_devices: if_asked(asks.rdma, || userspace::rdma_devices(root, address))?,
            package: self.packages.of(pci, pf).map(str::to_owned),
            partition_key: if_asked(asks.partition_key, || {
                userspace::partition_key(root, address)
            })?,
            vdpa: self.vdpa_of(address)?,
        };
        function.link_type = if_asked(asks.link_type, || link_type(root, &function))?;
        Ok(Some(function))
    }

    fn family(&self, address: pci::Address) -> Result<Family, Error> {
        let (pf, index) = self.vfs.get(&address).copied().unzip();
        let index = index.flatten();
        let pf_netdevs = pf.and_then(|pf| self.with_vfs.get(&pf)).cloned().unwrap_or_default();
        let has_functions = self.with_vfs.contains_key(&address)
            || (pf.is_none() && !auxiliary::subfunctions_of(self.root, address)?.is_empty());
        Ok(Family { pf, index, pf_netdevs, pf_driver: None, has_functions })
    }

    fn subfunctions_family(&self, name: &auxiliary::Name) -> Result<Family, Error> {
        let pf = auxiliary::function(self.root, name)?;
        Ok(Family {
            pf: Some(pf),
            index: auxiliary::sfnum(self.root, name)?,
            pf_netdevs: pci::netdevs(self.root, pf)?,
            pf_driver: pci::driver(self.root, pf)?,
            has_functions: false,
        })
    }

    fn vdpa_of(&self, address: &Address) -> Result<Vec<VdpaDevice>, Error> {
        let on_it = self.vdpa.get(address).into_iter().flatten();
        let device = |name: &String| {
            let driver = vdpa_bus::driver(self.root, name)?;
            Ok(VdpaDevice { name: name.clone(), driver })
        };
        on_it.map(device).collect()
    }
}

/// Whether it is of a class that configurations speak of.
fn is_meant(ids: Ids) -> bool {
    [NETWORK, ACCELERATOR].contains(&(ids.class >> 16))
}

/// No route goes by interfaces that are down: the kernel drops those that go by no other, and takes none
/// (`fib_sync_down_dev`, net/ipv4/fib_semantics.c; `rt6_disable_ip`, net/ipv6/route.c).
fn are_down(root: &Root, netdevs: &[String]) -> Result<bool, Error> {
    const IFF_UP: u32 = 1;
    for name in netdevs {
        let flags = root.sys().join("class/net").join(name).join("flags");
        if sysfs::read_number_optional::<u32>(&flags)?.is_none_or(|flags| flags & IFF_UP != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What is not asked for is not read.
fn if_asked<T: Default>(asked: bool, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    if asked { read() } else { Ok(T::default()) }
}

fn acpi_index(root: &Root, address: &Address) -> Result<Option<String>, Error> {
    sysfs::read_optional(&address.dir(root).join("acpi_index"))
}

/// Of its own interface, else of its PF's.
fn link_type(root: &Root, function: &Function) -> Result<Option<LinkType>, Error> {
    let Function { netdevs, pf_netdevs, driver, ids, .. } = function;
    match netdevs.first().or(pf_netdevs.first()) {
        Some(name) => {
            let path = root.sys().join("class/net").join(name).join("type");
            Ok(sysfs::read_number_optional(&path)?.and_then(LinkType::of_interface))
        }
        // A network driver's interface that is not here is in a pod.
        None if driver.as_ref().is_some_and(|driver| !is_for_user_space(driver)) => {
            Ok(LinkType::of_class(ids.class))
        }
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sriovdp::{Config, select};
    use crate::supply::{Delivery, Supply};
    use ringway_kernel::testing::Tree;

    const CARD: &str = "
        0000:01:00.0 mlx5_core pf totalvfs=4 net=ens1f0 vendor=0x15b3 device=0x101d numa=1
        0000:01:00.2 vf-of=0000:01:00.0 mlx5_core vdpa=vdpa1 vhost=0
        0000:01:00.3 vf-of=0000:01:00.0 mlx5_core net=eth3
        0000:01:00.4 vf-of=0000:01:00.0 vfio-pci
        0000:02:00.0 mlx5_core class=0x020700
        0000:03:00.0 class=0x120000
        0000:04:00.0 nvme class=0x010802
        0000:05:00.0 mlx5_core pf totalvfs=4 net=ens2f0 vendor=0x15b3 device=0x101d numa=1
        mlx5_core.sf.4 sf-of=0000:05:00.0 mlx5_core.sf sfnum=88 net=ens2f0s88
        mlx5_core.sf.5 sf-of=0000:05:00.0
    ";

    #[test]
    fn functions_are_read_from_sysfs() {
        let tree = Tree::new(CARD);
        let device = "sys/devices/pci0000:00/0000:01:00.2";
        tree.write(&format!("{device}/infiniband/mlx5_3/ports/1/pkeys/0"), "0x8001\n");
        tree.write(&format!("{device}/acpi_index"), "7\n");
        tree.write("sys/class/net/ens1f0/type", "1\n");
        tree.write("sys/class/net/eth3/type", "32\n");
        for name in ["ens2f0", "ens2f0s88"] {
            tree.write(&format!("sys/class/net/{name}/type"), "1\n");
        }
        let routes = Routes::default();
        let packages = Packages::from([("0000:01:00.0", "p"), ("0000:01:00.3", "of its own")]);
        let found = functions(&tree.root(), &routes, &packages, Asks::ALL).unwrap();
        let addresses: Vec<_> = found.iter().map(|f| f.address.to_string()).collect();
        assert_eq!(
            addresses,
            [
                "0000:01:00.0",
                "0000:01:00.2",
                "0000:01:00.3",
                "0000:01:00.4",
                "0000:02:00.0",
                "0000:03:00.0",
                "0000:05:00.0",
                "mlx5_core.sf.4",
                "mlx5_core.sf.5",
            ]
        );
        let pf = &found[0];
        assert_eq!(
            (pf.ids.vendor, pf.numa, pf.index, pf.has_functions),
            (0x15b3, Some(1), None, true)
        );
        let first = &found[1];
        assert_eq!((first.pf, first.index), (pf.address.pci(), Some(0)));
        assert_eq!(first.pf_netdevs, ["ens1f0"]);
        assert_eq!(first.acpi_index.as_deref(), Some("7"));
        assert_eq!(first.partition_key.as_deref(), Some("0x8001"));
        assert_eq!(first.rdma_devices, ["mlx5_3"]);
        let vdpa = VdpaDevice { name: "vdpa1".into(), driver: Some("vhost_vdpa".into()) };
        assert_eq!(first.vdpa, [vdpa]);
        let types: Vec<_> = found.iter().map(|f| f.link_type).collect();
        let (ether, infiniband) = (Some(LinkType::Ether), Some(LinkType::Infiniband));
        // of its PF; its own; of its PF; by its class, as its interface is away; none
        assert_eq!(types, [ether, ether, infiniband, ether, infiniband, None, ether, ether, ether]);
        assert_eq!(found[5].driver, None);
        assert!(found[6].has_functions);
        let sf = &found[7];
        assert_eq!((sf.pf, sf.index, sf.ids.device), (found[6].address.pci(), Some(88), 0x101d));
        let drivers = (sf.driver.as_deref(), sf.pf_driver.as_deref());
        assert_eq!(drivers, (Some("mlx5_core.sf"), Some("mlx5_core")));
        assert_eq!(
            (&sf.netdevs[..], &sf.pf_netdevs[..]),
            (&["ens2f0s88".into()][..], &["ens2f0".into()][..])
        );
        assert_eq!((found[8].driver.as_deref(), found[8].index), (None, None));
        for function in &found {
            let address = [function.address.clone()];
            let alone =
                functions_at(&tree.root(), |_| routes.clone(), &packages, Asks::ALL, &address);
            // which is for lists alone
            let expected = Function { numa: None, ..function.clone() };
            assert_eq!(alone.unwrap(), [expected]);
        }
        let others = ["0000:04:00.0", "0000:09:00.0"].map(|address| address.parse().unwrap());
        let found_there =
            functions_at(&tree.root(), |_| routes.clone(), &packages, Asks::ALL, &others);
        assert_eq!(found_there.unwrap(), []);
        let packages: Vec<_> = found.iter().map(|f| f.package.as_deref()).collect();
        let of_pf = Some("p");
        assert_eq!(packages[..6], [of_pf, of_pf, Some("of its own"), of_pf, None, None]);
    }

    #[test]
    fn what_a_configuration_does_not_speak_of_decides_nothing() {
        let tree = Tree::new(CARD);
        tree.write("sys/class/net/ens1f0/type", "1\n");
        let (root, routes, packages) = (tree.root(), Routes::default(), Packages::default());
        let all = functions(&root, &routes, &packages, Asks::ALL).unwrap();
        for selectors in [
            r#"{"vendors": ["15b3"]}"#,
            r#"{"pfNames": ["ens1f0#1-2"]}"#,
            r#"{"rootDevices": ["0000:01:00.0#0"]}"#,
            r#"{"linkTypes": ["ether"]}"#,
            r#"{"vdpaType": "vhost"}"#,
            r#"{"isRdma": true}"#,
            r#"{"acpiIndexes": ["7"]}"#,
        ] {
            let config = format!(
                r#"{{"resourceList": [{{"resourceName": "a", "selectors": {selectors}}}]}}"#
            );
            let config = Config::parse(config.as_bytes(), "intel.com").unwrap();
            let asked = functions(&root, &routes, &packages, config.asks()).unwrap();
            let select = |functions: &[Function]| select(&config, functions, Delivery::Nodes);
            assert_eq!(select(&asked), select(&all), "{selectors}");
            let supplies = select(&all).supplies;
            for function in &all {
                let address = std::slice::from_ref(&function.address);
                let found =
                    functions_at(&root, |_| routes.clone(), &packages, config.asks(), address);
                let ids = |supplies: &[Supply]| -> Vec<_> {
                    let devices = supplies.iter().flat_map(|supply| &supply.entries);
                    devices.map(|entry| entry.device.id.to_string()).collect()
                };
                let own = function.address.to_string();
                let mut expected = ids(&supplies);
                expected.retain(|id| *id == own);
                assert_eq!(ids(&select(&found.unwrap()).supplies), expected, "{own} {selectors}");
            }
        }
    }

    #[test]
    fn routes_are_asked_for_where_there_may_be_some() {
        let tree = Tree::new(CARD);
        let asked = |address: &str| {
            let (mut names, packages) = (Vec::new(), Packages::default());
            let routes = |asked: &[String]| {
                names = asked.to_vec();
                Routes::default()
            };
            let address = [address.parse().unwrap()];
            let found = functions_at(&tree.root(), routes, &packages, Asks::default(), &address);
            (names, found.unwrap()[0].carries)
        };
        let (vf, pf) = ("0000:01:00.3", "0000:05:00.0");
        tree.write("sys/class/net/eth3/flags", "0x1003\n");
        assert_eq!(asked(vf).0, ["eth3"]);
        for name in ["eth3", "ens2f0"] {
            tree.write(&format!("sys/class/net/{name}/flags"), "0x1002\n");
        }
        assert_eq!(asked(vf), (Vec::new(), Carries::No));
        // whose it is must be known
        assert_eq!(asked(pf).0, ["ens2f0"]);
    }
}
