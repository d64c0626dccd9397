//! Functions that tests start from.

use ringway_kernel::pci::Ids;

use super::functions::{Function, LinkType};
use super::routes::Carries;

/// VF `index` of the PF `0000:01:00.0`, whose interface is `ens1f0`: at `.1` and following.
pub(super) fn vf(index: u32) -> Function {
    Function {
        address: format!("0000:01:{:02x}.{:x}", (index + 1) / 8, (index + 1) % 8).parse().unwrap(),
        ids: Ids { vendor: 0x15b3, device: 0x101e, class: 0x02_0000 },
        driver: Some("mlx5_core".to_owned()),
        pf_driver: None,
        numa: Some(1),
        acpi_index: Some("7".to_owned()),
        pf: Some("0000:01:00.0".parse().unwrap()),
        index: Some(index),
        pf_netdevs: vec!["ens1f0".to_owned()],
        has_functions: false,
        netdevs: Vec::new(),
        link_type: Some(LinkType::Ether),
        carries: Carries::No,
        rdma_devices: Vec::new(),
        package: None,
        partition_key: None,
        vdpa: Vec::new(),
    }
}

/// Subfunction `number` of the same PF: `mlx5_core.sf.<number - 84>`.
pub(super) fn sf(number: u32) -> Function {
    Function {
        address: format!("mlx5_core.sf.{}", number - 84).parse().unwrap(),
        ids: Ids { device: 0x101d, ..vf(0).ids },
        driver: Some("mlx5_core.sf".to_owned()),
        pf_driver: Some("mlx5_core".to_owned()),
        acpi_index: None,
        index: Some(number),
        ..vf(0)
    }
}
