//! What of a function a configuration speaks of.

use super::selector::Selector;

/// What of a function a configuration speaks of, beyond what decides on every one: nothing else has to
/// be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asks {
    /// The number that the firmware gives it.
    pub acpi_index: bool,
    /// The interfaces of its PF.
    pub pf_netdevs: bool,
    /// Its number among those of its PF.
    pub index: bool,
    /// What kind of link it has.
    pub link_type: bool,
    /// The package that its card runs.
    pub packages: bool,
    /// Its partition key.
    pub partition_key: bool,
    /// Its RDMA devices.
    pub rdma: bool,
    /// Its vDPA devices.
    pub vdpa: bool,
}

impl Asks {
    /// With what `selector` speaks of.
    pub(super) fn add(&mut self, selector: &Selector) {
        self.acpi_index |= !selector.acpi_indexes.is_empty();
        self.link_type |= !selector.link_types.is_empty();
        // a function's link may be known by its PF's alone
        self.pf_netdevs |= !selector.pf_names.is_empty() || self.link_type;
        self.index |= !selector.pf_names.is_empty() || !selector.root_devices.is_empty();
        self.packages |= !selector.ddp_profiles.is_empty();
        self.partition_key |= !selector.p_keys.is_empty();
        self.rdma |= selector.is_rdma;
        self.vdpa |= selector.vdpa_type.is_some();
    }

    /// All of it.
    #[cfg(test)]
    pub(super) const ALL: Self = Self {
        acpi_index: true,
        pf_netdevs: true,
        index: true,
        link_type: true,
        packages: true,
        partition_key: true,
        rdma: true,
        vdpa: true,
    };
}
