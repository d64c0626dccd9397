use super::*;
use crate::sriovdp::functions::VdpaDevice;
use crate::sriovdp::testing::vf;

fn check(change: impl FnOnce(&mut Selector), function: &Function, expected: Result<(), &str>) {
    let mut selector = Selector::default();
    change(&mut selector);
    let found = selector.matches(function).map_err(|mismatch| match mismatch {
        Mismatch::No(reason) => reason,
        Mismatch::Unknown(key) => format!("unknown {key}"),
    });
    assert_eq!(found, expected.map_err(str::to_owned));
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn of(entries: &[&str]) -> Vec<OfParent> {
    texts(entries).into_iter().map(OfParent::new).collect()
}

#[test]
fn an_empty_selector_wants_everything() {
    check(|_| {}, &vf(2), Ok(()));
}

#[test]
fn of_each_key_one_value_must_hold() {
    let function = vf(2);
    check(|s| s.vendors = texts(&["8086", "15b3"]), &function, Ok(()));
    check(|s| s.vendors = texts(&["15B3"]), &function, Ok(()));
    check(|s| s.vendors = texts(&["8086"]), &function, Err("vendors: 15b3 is not 8086"));
    check(|s| s.devices = texts(&["101e"]), &function, Ok(()));
    check(|s| s.devices = texts(&["1", "2"]), &function, Err("devices: 101e is not 1 or 2"));
    check(|s| s.drivers = texts(&["mlx5_core"]), &function, Ok(()));
    check(
        |s| s.drivers = texts(&["vfio-pci"]),
        &function,
        Err("drivers: mlx5_core is not vfio-pci"),
    );
    check(|s| s.pci_addresses = texts(&["0000:01:00.3"]), &function, Ok(()));
    check(
        |s| s.pci_addresses = texts(&["0000:01:00.4"]),
        &function,
        Err("pciAddresses: 0000:01:00.3 is not 0000:01:00.4"),
    );
    check(|s| s.link_types = texts(&["ether"]), &function, Ok(()));
    check(
        |s| s.link_types = texts(&["infiniband"]),
        &function,
        Err("linkTypes: ether is not infiniband"),
    );
    check(|s| s.acpi_indexes = texts(&["7"]), &function, Ok(()));
    check(|s| s.acpi_indexes = texts(&["8"]), &function, Err("acpiIndexes: 7 is not 8"));
    check(|s| s.p_keys = texts(&["1"]), &function, Err("pKeys: not known is not 1"));
}

#[test]
fn all_keys_must_hold() {
    let both = |driver: &'static str| {
        move |s: &mut Selector| {
            s.vendors = texts(&["15b3"]);
            s.drivers = texts(&[driver]);
        }
    };
    check(both("mlx5_core"), &vf(0), Ok(()));
    check(both("x"), &vf(0), Err("drivers: mlx5_core is not x"));
}

#[test]
fn parents_are_named_with_indices() {
    for (entries, index, expected) in [
        (&["ens1f0"][..], 2, Ok(())),
        (&["ENS1F0#0-3"], 2, Ok(())),
        (&["eth9", "ens1f0#2,5"], 5, Ok(())),
        // the first entry of a parent is its only one
        (&["ens1f0#0-1", "ens1f0#2-3"], 2, Err("pfNames: index 2 is not in ens1f0#0-1")),
        (&["eth9#0-3", "eth8"], 2, Err("pfNames: ens1f0 is not in eth9#0-3 or eth8")),
    ] {
        check(|s| s.pf_names = of(entries), &vf(index), expected);
    }
    check(|s| s.root_devices = of(&["0000:01:00.0#2"]), &vf(2), Ok(()));
    check(
        |s| s.root_devices = of(&["0000:01:00.0#2"]),
        &vf(3),
        Err("rootDevices: index 3 is not in 0000:01:00.0#2"),
    );
    let mut pf = vf(0);
    (pf.pf, pf.index, pf.pf_netdevs) = (None, None, Vec::new());
    check(|s| s.pf_names = of(&["ens1f0"]), &pf, Err("pfNames: it is no function of a PF"));
}

#[test]
fn rdma_and_vdpa_are_found_on_the_function() {
    let mut function = vf(0);
    check(|s| s.is_rdma = true, &function, Err("isRdma: it has no RDMA device"));
    function.rdma_devices = texts(&["mlx5_3"]);
    check(|s| s.is_rdma = true, &function, Ok(()));

    let (vhost, virtio) = (Some(VdpaType::Vhost), Some(VdpaType::Virtio));
    check(|s| s.vdpa_type = vhost, &function, Err("vdpaType: it has no vDPA device"));
    let mut device = VdpaDevice { name: "vdpa1".into(), driver: Some("vhost_vdpa".into()) };
    function.vdpa = vec![device.clone()];
    check(|s| s.vdpa_type = vhost, &function, Ok(()));
    check(
        |s| s.vdpa_type = virtio,
        &function,
        Err("vdpaType: vdpa1 is bound to vhost_vdpa, not to virtio_vdpa"),
    );
    device.driver = None;
    function.vdpa = vec![device];
    check(
        |s| s.vdpa_type = vhost,
        &function,
        Err("vdpaType: vdpa1 is bound to no driver, not to vhost_vdpa"),
    );
}

#[test]
fn what_is_not_read_is_unknown_only_where_all_else_holds() {
    let wanted = |s: &mut Selector| s.ddp_profiles = texts(&["GTPv1-C/U IPv4/IPv6 payload"]);
    check(wanted, &vf(0), Err("unknown ddpProfiles"));
    let runs = |package: &str| Function { package: Some(package.to_owned()), ..vf(0) };
    check(wanted, &runs("GTPv1-C/U IPv4/IPv6 payload"), Ok(()));
    let other = "ddpProfiles: ICE OS Default Package is not GTPv1-C/U IPv4/IPv6 payload";
    check(wanted, &runs("ICE OS Default Package"), Err(other));
    check(
        |s| {
            wanted(s);
            s.vendors = texts(&["8086"]);
        },
        &vf(0),
        Err("vendors: 15b3 is not 8086"),
    );
}
