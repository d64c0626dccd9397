//! The machine's PCI functions, as far as the configuration speaks of them.

use std::collections::BTreeMap;

use ringway_kernel::pci::{self, Address, Ids};
use ringway_kernel::{Error, Root, sriov, sysfs, userspace, vdpa_bus};

use super::packages::Packages;
use super::routes::{Carries, Routes};

/// The base class of processing accelerators (PCI Code and ID Assignment Specification).
pub(super) const ACCELERATOR: u32 = 0x12;

/// The base class of network controllers.
pub(super) const NETWORK: u32 = 0x02;

/// A network controller or accelerator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub address: Address,
    /// What it is.
    pub ids: Ids,
    /// The bound driver.
    pub driver: Option<String>,
    /// The NUMA node.
    pub numa: Option<u32>,
    /// The number that the firmware gives it (`acpi_index`).
    pub acpi_index: Option<String>,
    /// The PF, of a VF.
    pub pf: Option<Address>,
    /// The VF number, of a VF.
    pub index: Option<u32>,
    /// The interfaces of the PF, of a VF.
    pub pf_netdevs: Vec<String>,
    /// Whether it is a PF that has VFs.
    pub has_functions: bool,
    /// Its interfaces, as far as they are not in another network namespace.
    pub netdevs: Vec<String>,
    /// What kind of link it has.
    pub link_type: Option<LinkType>,
    /// Whether one of its interfaces carries the machine's own traffic.
    pub carries: Carries,
    /// Its RDMA devices.
    pub rdma_devices: Vec<String>,
    /// The package that its card runs, where that is known and was asked for.
    pub package: Option<String>,
    /// InfiniBand's partition key at index 0.
    pub partition_key: Option<String>,
    /// The vDPA devices that were made on it.
    pub vdpa: Vec<VdpaDevice>,
}

/// What kind of link an interface is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkType {
    /// Ethernet.
    Ether,
    /// IP over InfiniBand.
    Infiniband,
}

impl LinkType {
    /// As `linkTypes` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ether => "ether",
            Self::Infiniband => "infiniband",
        }
    }

    /// By `ARPHRD_*` (include/uapi/linux/if_arp.h).
    fn of_interface(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Ether),
            32 => Some(Self::Infiniband),
            _ => None,
        }
    }

    /// By class and subclass.
    fn of_class(class: u32) -> Option<Self> {
        match class >> 8 {
            0x0200 => Some(Self::Ether),
            0x0207 => Some(Self::Infiniband),
            _ => None,
        }
    }
}

/// A vDPA device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VdpaDevice {
    /// Its name on the vDPA bus.
    pub name: String,
    /// The bound driver.
    pub driver: Option<String>,
}

/// All network controllers and accelerators, in order of address.
///
/// # Errors
/// An attribute that exists cannot be read or understood.
pub fn functions(
    root: &Root,
    routes: &Routes,
    packages: &Packages,
) -> Result<Vec<Function>, Error> {
    let addresses = pci::list(root)?;
    these(root, (routes, packages), &addresses, &addresses)
}

/// The interfaces of the functions at `addresses`.
///
/// # Errors
/// sysfs cannot be read.
pub fn netdevs_at(root: &Root, addresses: &[Address]) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for &address in addresses {
        found.extend(pci::netdevs(root, address)?);
    }
    Ok(found)
}

/// Those of `addresses` that are network controllers or accelerators.
///
/// # Errors
/// As [`functions`].
pub fn functions_at(
    root: &Root,
    routes: &Routes,
    packages: &Packages,
    addresses: &[Address],
) -> Result<Vec<Function>, Error> {
    let mut pfs = Vec::new();
    for &address in addresses {
        // a VF is no PF
        pfs.push(sriov::physfn(root, address)?.unwrap_or(address));
    }
    pfs.sort();
    pfs.dedup();
    these(root, (routes, packages), addresses, &pfs)
}

/// `pfs` are those that may be PFs of them, or be PFs themselves.
fn these(
    root: &Root,
    (routes, packages): (&Routes, &Packages),
    addresses: &[Address],
    pfs: &[Address],
) -> Result<Vec<Function>, Error> {
    let (mut with_vfs, mut parents) = (BTreeMap::new(), BTreeMap::new());
    for &pf in pfs {
        let vfs = sriov::functions(root, pf)?;
        if !vfs.is_empty() {
            with_vfs.insert(pf, pci::netdevs(root, pf)?);
        }
        parents.extend(vfs.into_iter().map(|vf| (vf.address, (pf, vf.index))));
    }
    let vdpa = vdpa_bus::functions(root)?;
    let machine = Machine { root, routes, packages, vdpa, pfs: with_vfs, parents };
    let mut functions = Vec::new();
    for &address in addresses {
        match machine.function(address) {
            Ok(function) => functions.extend(function),
            // gone since it was listed
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(functions)
}

/// What is read once.
struct Machine<'a> {
    root: &'a Root,
    routes: &'a Routes,
    packages: &'a Packages,
    /// vDPA devices, and what they were made on.
    vdpa: Vec<(String, Address)>,
    /// The interfaces of each PF that has VFs.
    pfs: BTreeMap<Address, Vec<String>>,
    /// PF and index of each VF.
    parents: BTreeMap<Address, (Address, u32)>,
}

impl Machine<'_> {
    fn function(&self, address: Address) -> Result<Option<Function>, Error> {
        let root = self.root;
        let ids = pci::ids(root, address)?;
        if ![NETWORK, ACCELERATOR].contains(&(ids.class >> 16)) {
            return Ok(None);
        }
        let (pf, index) = self.parents.get(&address).copied().unzip();
        let driver = pci::driver(root, address)?;
        let netdevs = pci::netdevs(root, address)?;
        let mut function = Function {
            address,
            ids,
            numa: pci::numa_node(root, address)?,
            acpi_index: sysfs::read_optional(&pci::dir(root, address).join("acpi_index"))?,
            pf,
            index,
            pf_netdevs: pf.and_then(|pf| self.pfs.get(&pf)).cloned().unwrap_or_default(),
            has_functions: self.pfs.contains_key(&address),
            carries: self.routes.carries(root, &netdevs)?,
            driver,
            netdevs,
            link_type: None,
            rdma_devices: userspace::rdma_devices(root, address)?,
            package: self.packages.of(address, pf).map(str::to_owned),
            partition_key: userspace::partition_key(root, address)?,
            vdpa: self.vdpa_of(address)?,
        };
        function.link_type = link_type(root, &function)?;
        Ok(Some(function))
    }

    fn vdpa_of(&self, address: Address) -> Result<Vec<VdpaDevice>, Error> {
        let on_it = self.vdpa.iter().filter(|(_, function)| *function == address);
        let device = |(name, _): &(String, Address)| {
            let driver = vdpa_bus::driver(self.root, name)?;
            Ok(VdpaDevice { name: name.clone(), driver })
        };
        on_it.map(device).collect()
    }
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

/// Whether a function's driver gives it to programs, and the kernel no interface.
pub(super) fn is_for_user_space(driver: &str) -> bool {
    driver.contains("vfio") || driver.contains("uio")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_kernel::testing::Tree;

    const CARD: &str = "
        0000:01:00.0 mlx5_core pf totalvfs=4 net=ens1f0 vendor=0x15b3 device=0x101d numa=1
        0000:01:00.2 vf-of=0000:01:00.0 mlx5_core vdpa=vdpa1 vhost=0
        0000:01:00.3 vf-of=0000:01:00.0 mlx5_core net=eth3
        0000:01:00.4 vf-of=0000:01:00.0 vfio-pci
        0000:02:00.0 mlx5_core class=0x020700
        0000:03:00.0 class=0x120000
        0000:04:00.0 nvme class=0x010802
    ";

    #[test]
    fn functions_are_read_from_sysfs() {
        let tree = Tree::new(CARD);
        let device = "sys/devices/pci0000:00/0000:01:00.2";
        tree.write(&format!("{device}/infiniband/mlx5_3/ports/1/pkeys/0"), "0x8001\n");
        tree.write(&format!("{device}/acpi_index"), "7\n");
        tree.write("sys/class/net/ens1f0/type", "1\n");
        tree.write("sys/class/net/eth3/type", "32\n");
        let routes = Routes::default();
        let packages = Packages::from([("0000:01:00.0", "p"), ("0000:01:00.3", "of its own")]);
        let found = functions(&tree.root(), &routes, &packages).unwrap();
        let addresses: Vec<_> = found.iter().map(|f| f.address.to_string()).collect();
        assert_eq!(
            addresses,
            [
                "0000:01:00.0",
                "0000:01:00.2",
                "0000:01:00.3",
                "0000:01:00.4",
                "0000:02:00.0",
                "0000:03:00.0"
            ]
        );
        let pf = &found[0];
        assert_eq!(
            (pf.ids.vendor, pf.numa, pf.index, pf.has_functions),
            (0x15b3, Some(1), None, true)
        );
        let first = &found[1];
        assert_eq!((first.pf, first.index), (Some(pf.address), Some(0)));
        assert_eq!(first.pf_netdevs, ["ens1f0"]);
        assert_eq!(first.acpi_index.as_deref(), Some("7"));
        assert_eq!(first.partition_key.as_deref(), Some("0x8001"));
        assert_eq!(first.rdma_devices, ["mlx5_3"]);
        let vdpa = VdpaDevice { name: "vdpa1".into(), driver: Some("vhost_vdpa".into()) };
        assert_eq!(first.vdpa, [vdpa]);
        let types: Vec<_> = found.iter().map(|f| f.link_type).collect();
        let (ether, infiniband) = (Some(LinkType::Ether), Some(LinkType::Infiniband));
        // of its PF; its own; of its PF; by its class, as its interface is away; none
        assert_eq!(types, [ether, ether, infiniband, ether, infiniband, None]);
        assert_eq!(found[5].driver, None);
        for function in &found {
            let address = [function.address];
            let alone = functions_at(&tree.root(), &routes, &packages, &address).unwrap();
            assert_eq!(alone, std::slice::from_ref(function));
        }
        let others = ["0000:04:00.0", "0000:09:00.0"].map(|address| address.parse().unwrap());
        assert_eq!(functions_at(&tree.root(), &routes, &packages, &others).unwrap(), []);
        let packages: Vec<_> = found.iter().map(|f| f.package.as_deref()).collect();
        let of_pf = Some("p");
        assert_eq!(packages, [of_pf, of_pf, Some("of its own"), of_pf, None, None]);
    }
}
