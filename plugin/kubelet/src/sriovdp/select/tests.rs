use super::*;
use crate::sriovdp::VdpaDevice;
use crate::sriovdp::testing::{sf, vf};
use ringway_kernel::testing::Mutations;
use serde_json::{Value, json};

fn told(list: Value, functions: &[Function]) -> Told {
    let text = json!({"resourceList": list}).to_string();
    let config = Config::parse(text.as_bytes(), "intel.com").unwrap();
    select(&config, functions, Delivery::Nodes)
}

/// The last part of each device's address, by resource.
fn check(list: Value, functions: &[Function], expected: &[(&str, &[&str])]) -> Told {
    let told = told(list, functions);
    let found: Vec<(String, Vec<String>)> = told
        .supplies
        .iter()
        .map(|supply| {
            let ids = supply.entries.iter().map(|e| e.device.id.as_str()[8..].to_owned());
            (supply.resource.to_string(), ids.collect())
        })
        .collect();
    let expected: Vec<(String, Vec<String>)> = expected
        .iter()
        .map(|(name, ids)| ((*name).into(), ids.iter().map(|id| (*id).to_owned()).collect()))
        .collect();
    assert_eq!(found, expected);
    told
}

fn reasons(told: &Told, device: &str) -> Vec<String> {
    let found = told.left_out.iter().find(|left_out| left_out.device.ends_with(device));
    found.map_or_else(Vec::new, |left_out| left_out.reasons.clone())
}

fn four() -> Vec<Function> {
    (0..4).map(vf).collect()
}

#[test]
fn the_first_resource_that_wants_a_function_has_it() {
    let told = check(
        json!([
            {"resourceName": "a", "selectors": {"pfNames": ["ens1f0#1"]}},
            {"resourceName": "b", "resourcePrefix": "other.com",
             "selectors": [{"pfNames": ["ens1f0#3"]}, {"pfNames": ["ens1f0#0-1"]}]},
            {"resourceName": "none", "selectors": {"vendors": ["8086"]}},
        ]),
        &four(),
        &[("intel.com/a", &["00.2"]), ("other.com/b", &["00.4", "00.1"])],
    );
    assert_eq!(told.warnings, ["intel.com/none: no function is for it"]);
    assert_eq!(
        reasons(&told, "00.3"),
        [
            "intel.com/a: pfNames: index 2 is not in ens1f0#1",
            "other.com/b: pfNames: index 2 is not in ens1f0#3",
            "other.com/b: pfNames: index 2 is not in ens1f0#0-1",
            "intel.com/none: vendors: 15b3 is not 8086",
        ]
    );
    assert_eq!(reasons(&told, "00.2"), [""; 0]);
}

#[test]
fn without_selectors_all_of_the_kind_are_wanted() {
    let mut functions = four();
    functions[0].ids.class = 0x12_0000;
    check(
        json!([{"resourceName": "accel", "deviceType": "accelerator"}, {"resourceName": "nets"}]),
        &functions,
        &[("intel.com/accel", &["00.1"]), ("intel.com/nets", &["00.2", "00.3", "00.4"])],
    );
}

#[test]
fn some_functions_nobody_may_have() {
    let mut functions = four();
    functions[0].driver = None;
    functions[1].has_functions = true;
    functions[2].carries = Carries::DefaultRoute;
    let told = check(json!([{"resourceName": "n"}]), &functions, &[("intel.com/n", &["00.4"])]);
    assert_eq!(reasons(&told, "00.1"), ["it has no driver"]);
    assert_eq!(reasons(&told, "00.2"), ["it is a PF that has VFs or subfunctions"]);
    assert_eq!(reasons(&told, "00.3"), ["its interface carries the default route"]);
    assert_eq!(told.warnings, [""; 0]);
}

#[test]
fn in_another_network_namespace_only_vfs_are_offered() {
    let mut functions = four();
    functions[0].carries = Carries::Unknown;
    functions[1].carries = Carries::Unknown;
    functions[1].pf = None;
    let told = check(
        json!([{"resourceName": "n"}]),
        &functions,
        &[("intel.com/n", &["00.1", "00.3", "00.4"])],
    );
    assert!(told.warnings[0].contains("hostNetwork"), "{:?}", told.warnings);
}

/// Who runs the package of the first resource cannot be told: to give its functions to the second
/// would be a guess.
#[test]
fn what_cannot_be_told_is_offered_nowhere() {
    let told = check(
        json!([
            {"resourceName": "gtp", "selectors": {"ddpProfiles": ["x"], "pfNames": ["ens1f0#0-1"]}},
            {"resourceName": "rest"},
        ]),
        &four(),
        &[("intel.com/rest", &["00.3", "00.4"])],
    );
    assert_eq!(
        reasons(&told, "00.1"),
        ["intel.com/gtp may want it, by ddpProfiles, which its driver does not tell"]
    );
}

#[test]
fn the_driver_decides_how_a_function_is_handed_out() {
    let mut functions: Vec<Function> = (0..6).map(vf).collect();
    for (function, driver) in
        functions.iter_mut().zip(["mlx5_core", "vfio-pci", "igb_uio", "uio_pci_generic"])
    {
        function.driver = Some(driver.to_owned());
    }
    for (function, driver) in functions[4..].iter_mut().zip(["vhost_vdpa", "virtio_vdpa"]) {
        let (name, driver) = (format!("of {driver}"), Some(driver.to_owned()));
        function.vdpa = vec![VdpaDevice { name, driver }];
    }
    let ways = |told: &Told, at: usize| -> Vec<Way> {
        told.supplies[at].entries.iter().map(|entry| entry.way).collect()
    };
    let with_vdpa = told(
        json!([
            {"resourceName": "vhost", "selectors": {"vdpaType": "vhost"}},
            {"resourceName": "virtio", "selectors": {"vdpaType": "virtio"}},
            {"resourceName": "rest"},
        ]),
        &functions,
    );
    assert_eq!(ways(&with_vdpa, 0), [Way::VhostVdpa]);
    assert_eq!(ways(&with_vdpa, 1), [Way::VirtioVdpa]);
    assert_eq!(ways(&with_vdpa, 2), [Way::Netdev, Way::Vfio, Way::Uio, Way::Uio]);
    let vdpa = with_vdpa.supplies[0].entries[0].device.vdpa.as_ref().unwrap();
    assert_eq!((vdpa.name.as_str(), vdpa.mgmtdev.as_str()), ("of vhost_vdpa", "pci/0000:01:00.5"));
    // who does not ask for vDPA gets the function
    let without = told(json!([{"resourceName": "all"}]), &functions);
    assert_eq!(ways(&without, 0)[4..], [Way::Netdev, Way::Netdev]);
}

#[test]
fn a_device_has_what_its_resource_says() {
    let list = json!([{
        "resourceName": "a", "excludeTopology": true,
        "selectors": {"needVhostNet": true, "pfNames": ["ens1f0#0-1"]},
        "additionalInfo": {"*": {"k": "all", "l": "all"}, "0000:01:00.2": {"k": "one"}},
    }, {"resourceName": "b"}]);
    let told = told(list, &four());
    let entry = |at: usize, n: usize| &told.supplies[at].entries[n];
    let (first, second, other) = (entry(0, 0), entry(0, 1), entry(1, 0));
    assert_eq!((first.device.numa_node, other.device.numa_node), (None, Some(1)));
    assert_eq!((first.with.vhost_net, other.with.vhost_net), (true, false));
    let extra = |entry: &Entry| json!(entry.with.extra);
    assert_eq!(extra(first), json!({"k": "all", "l": "all"}));
    assert_eq!(extra(second), json!({"k": "one", "l": "all"}));
    assert_eq!(extra(other), Value::Null);
    assert_eq!((first.device.parent.as_str(), second.device.index), ("0000:01:00.0", 1));
    assert_eq!((told.supplies[0].delivery, first.paths), (Delivery::Nodes, NodePaths::Host));
}

#[test]
fn subfunctions_are_devices_of_a_kind_of_their_own() {
    let list = json!([
        {"resourceName": "vf", "selectors": {"vendors": ["15b3"]}},
        {"resourceName": "sf", "deviceType": "auxNetDevice",
         "selectors": {"auxTypes": ["sf"], "drivers": ["mlx5_core"], "pfNames": ["ens1f0#88-89"],
                       "isRdma": true, "needVhostNet": true},
         "additionalInfo": {"*": {"k": "all", "l": "all"}, "0000:01:00.0": {"k": "pf"}}},
    ]);
    let mut functions = vec![vf(0), sf(88), sf(89), sf(90)];
    functions[1].rdma_devices = vec!["mlx5_4".to_owned()];
    let told = told(list, &functions);
    let ids: Vec<_> = told
        .supplies
        .iter()
        .flat_map(|supply| supply.entries.iter().map(|entry| entry.device.id.as_str()))
        .collect();
    assert_eq!(ids, ["0000:01:00.1", "mlx5_core.sf.4"]);
    let entry = &told.supplies[1].entries[0];
    let Device { parent, index, pci_address, pf_pci_address, .. } = &entry.device;
    assert_eq!((parent.as_str(), *index, *pci_address), ("0000:01:00.0", 88, None));
    assert_eq!(pf_pci_address.map(|pf| pf.to_string()).as_deref(), Some("0000:01:00.0"));
    assert_eq!(json!(entry.with.extra), json!({"k": "pf", "l": "all"}));
    assert!(entry.with.rdma && entry.with.vhost_net);
    let vf = "intel.com/vf: deviceType: it is a subfunction";
    let no_rdma = "intel.com/sf: isRdma: it has no RDMA device";
    assert_eq!(reasons(&told, "sf.5"), [vf, no_rdma]);
    let index = "intel.com/sf: pfNames: index 90 is not in ens1f0#88-89";
    assert_eq!(reasons(&told, "sf.6"), [vf, index]);
}

#[test]
fn a_vdpa_device_on_a_subfunction_is_handed_out() {
    let mut function = sf(88);
    function.vdpa =
        vec![VdpaDevice { name: "vdpa0".into(), driver: Some("vhost_vdpa".to_owned()) }];
    let list = json!([{"resourceName": "sf", "deviceType": "auxNetDevice",
        "selectors": {"auxTypes": ["sf"], "vdpaType": "vhost"}}]);
    let told = told(list, &[function]);
    let entry = &told.supplies[0].entries[0];
    let vdpa = entry.device.vdpa.as_ref().unwrap();
    assert_eq!((entry.way, vdpa.mgmtdev.as_str()), (Way::VhostVdpa, "auxiliary/mlx5_core.sf.4"));
}

/// The seeds of the fuzz target (tests/fuzz), changed at random: an error or a choice, and each function
/// at most once in it.
#[test]
fn no_configuration_ends_the_process() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/corpus/sriovdp");
    let (mut functions, mut read) = (four(), 0);
    functions.extend((88..91).map(sf));
    for bytes in Mutations::of(std::path::Path::new(seeds)).take(20_000) {
        let config = match Config::parse(&bytes, "intel.com") {
            Ok(config) => config,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        read += 1;
        let told = select(&config, &functions, Delivery::Nodes);
        let entries = told.supplies.iter().flat_map(|supply| &supply.entries);
        let mut ids: Vec<_> = entries.map(|entry| entry.device.id.to_string()).collect();
        ids.extend(told.left_out.iter().map(|left_out| left_out.device.clone()));
        ids.sort();
        let all: Vec<_> = functions.iter().map(|f| f.address.to_string()).collect();
        assert_eq!(ids, all, "{}", String::from_utf8_lossy(&bytes));
    }
    assert!(read > 1000, "only {read} were configurations");
}
