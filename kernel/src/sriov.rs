//! SR-IOV through sysfs (Documentation/ABI/testing/sysfs-bus-pci, drivers/pci/iov.c).

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    pci::{self, Address},
    root::Root,
    sysfs::{self, Dir},
};

/// One virtual function that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Function {
    /// The VF number, as in `virtfn3` and in netlink's `IFLA_VF_*`.
    pub index: u32,
    /// Where it is: PF address + offset + stride * index.
    pub address: Address,
}

/// Where the VFs of a PF are, also those that do not exist yet (`pci_iov_virtfn_devfn`,
/// drivers/pci/iov.c). A card may say otherwise for another number of VFs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// `sriov_offset`: from the PF to the first VF, in routing IDs.
    pub offset: u16,
    /// `sriov_stride`: from each VF to the next.
    pub stride: u16,
}

impl Layout {
    /// The address of a VF; `None` if there can be none.
    pub fn address(self, pf: Address, index: u32) -> Option<Address> {
        let distance = u32::from(self.stride).checked_mul(index)?;
        pf.after(distance.checked_add(u32::from(self.offset))?)
    }

    /// The number of the VF at an address; `None` if none can be there.
    fn index(self, pf: Address, vf: Address) -> Option<u32> {
        let behind = pf.distance(vf)?.checked_sub(u32::from(self.offset))?;
        let stride = u32::from(self.stride).max(1);
        (behind % stride == 0).then_some(behind / stride)
    }
}

/// Where the VFs of a PF are, where the kernel tells.
pub fn layout(root: &Root, pf: Address) -> Result<Option<Layout>> {
    layout_by(|name| sysfs::read_number_optional(&pci::dir(root, pf).join(name)))
}

pub(crate) fn layout_in(pf: &Dir) -> Result<Option<Layout>> {
    layout_by(|name| pf.read_number_optional(name))
}

fn layout_by(read: impl Fn(&str) -> Result<Option<u16>>) -> Result<Option<Layout>> {
    let found = read("sriov_offset")?.zip(read("sriov_stride")?);
    Ok(found.map(|(offset, stride)| Layout { offset, stride }))
}

/// The most VFs that the PF can have; `None` if the function is no PF.
pub fn totalvfs(root: &Root, pf: Address) -> Result<Option<u16>> {
    sysfs::read_number_optional(&pci::dir(root, pf).join("sriov_totalvfs"))
}

/// The number of VFs that exist.
///
/// Takes the PF's device lock: it hangs for as long as another process's write of the number does.
pub fn numvfs(root: &Root, pf: Address) -> Result<u16> {
    sysfs::read_number(&pci::dir(root, pf).join("sriov_numvfs"))
}

/// Whether new VFs are offered to drivers as they appear. The kernel starts with true.
pub fn drivers_autoprobe(root: &Root, pf: Address) -> Result<bool> {
    Ok(sysfs::read_number::<u8>(&pci::dir(root, pf).join("sriov_drivers_autoprobe"))? != 0)
}

/// Says whether VFs created from now on are offered to drivers as they appear.
///
/// False before [`set_numvfs`] is the way without a race: a driver that binds makes netdevs,
/// which udev renames.
pub fn set_drivers_autoprobe(root: &Root, pf: Address, on: bool) -> Result<()> {
    let path = pci::dir(root, pf).join("sriov_drivers_autoprobe");
    sysfs::write(&path, if on { "1" } else { "0" })
}

/// The VFs of a PF in order of index.
pub fn functions(root: &Root, pf: Address) -> Result<Vec<Function>> {
    match sysfs::optional(pci::open(root, pf))? {
        Some(dir) => functions_in(&dir),
        None => Ok(Vec::new()),
    }
}

pub(crate) fn functions_in(pf: &Dir) -> Result<Vec<Function>> {
    let mut functions = Vec::new();
    for name in pf.names() {
        let Some(index) = sysfs::numbered(name, "virtfn") else { continue };
        // A VF may vanish between listing and reading.
        let Some(target) = pf.link_name(name)? else { continue };
        functions.push(Function { index, address: target.parse()? });
    }
    functions.sort();
    Ok(functions)
}

/// One VF of a PF; `None` if it does not exist.
pub fn function(root: &Root, pf: Address, index: u32) -> Result<Option<Address>> {
    let name = sysfs::link_name(&pci::dir(root, pf).join(format!("virtfn{index}")))?;
    name.map(|name| name.parse()).transpose()
}

/// The number of a VF of this PF; `None` if the PF has it not (any more). Of a PF with hundreds of VFs
/// one link is read where the VF is where it should be.
pub fn index_of(root: &Root, pf: Address, vf: Address) -> Result<Option<u32>> {
    if let Some(index) = layout(root, pf)?.and_then(|layout| layout.index(pf, vf))
        && function(root, pf, index)? == Some(vf)
    {
        return Ok(Some(index));
    }
    let found = functions(root, pf)?;
    Ok(found.iter().find(|function| function.address == vf).map(|function| function.index))
}

/// The PF of a VF; `None` if the function is no VF.
pub fn physfn(root: &Root, vf: Address) -> Result<Option<Address>> {
    let name = sysfs::link_name(&pci::dir(root, vf).join("physfn"))?;
    name.map(|name| name.parse()).transpose()
}

/// Makes `count` VFs. From one number to another the kernel wants zero between (it answers EBUSY
/// otherwise), which destroys *all* VFs of the PF.
///
/// Sleeps: 100 ms to create, 1 s to remove, and for ever while a process holds a vDPA device on a
/// VF. Unbind the vDPA bus drivers first and go through [`crate::stuck`].
pub fn set_numvfs(root: &Root, pf: Address, count: u16) -> Result<()> {
    let path = pci::dir(root, pf).join("sriov_numvfs");
    let current = numvfs(root, pf)?;
    if current == count {
        return Ok(());
    }
    if current != 0 && count != 0 {
        sysfs::write(&path, "0")?;
    }
    sysfs::write(&path, &count.to_string())?;
    // A driver may create fewer than asked for, and the kernel then only logs it.
    let found = numvfs(root, pf)?;
    if found == count {
        return Ok(());
    }
    Err(Error::Unexpected {
        object: format!("VFs of PCI function {pf}"),
        found: found.to_string(),
        expected: count.to_string(),
    })
}

#[cfg(test)]
mod tests;
