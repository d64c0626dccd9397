use super::*;
use crate::error::chain;
use serde_json::json;

mod published;

fn parse(value: &Value) -> Result<Config, Error> {
    Config::parse(value.to_string().as_bytes(), "intel.com")
}

fn one(resource: Value) -> Config {
    parse(&json!({"resourceList": [resource]})).unwrap()
}

fn check(value: Value, error: &str) {
    assert_eq!(chain(&parse(&value).unwrap_err()), format!("{error} (line 1)"));
}

#[test]
fn every_key_is_read_in_any_case() {
    let config = one(json!({
        "ResourceName": "nics", "RESOURCEPREFIX": "other.com", "devicetype": "netDevice",
        "excludetopology": true,
        "Selectors": {
            "VENDORS": ["8086"], "Devices": ["154c"], "drivers": ["iavf"],
            "pciaddresses": ["0000:18:02.5"], "AcpiIndexes": ["1"], "PFNames": ["eth0#0-3"],
            "rootDevices": ["0000:86:00.0"], "linktypes": ["ether"], "pKeys": ["0x8001"],
            "IsRdma": true, "NeedVhostNet": true,
        },
        "AdditionalInfo": {"*": {"token": "t"}},
    }));
    let [resource] = &config.resources[..] else { panic!("{config:?}") };
    assert_eq!(resource.resource.as_str(), "other.com/nics");
    assert_eq!(resource.device_type, DeviceType::NetDevice);
    assert!(resource.exclude_topology);
    let texts = |text: &str| vec![text.to_owned()];
    let expected = Selector {
        vendors: texts("8086"),
        devices: texts("154c"),
        drivers: texts("iavf"),
        pci_addresses: texts("0000:18:02.5"),
        acpi_indexes: texts("1"),
        pf_names: vec![OfParent::new("eth0#0-3".to_owned())],
        root_devices: vec![OfParent::new("0000:86:00.0".to_owned())],
        link_types: texts("ether"),
        p_keys: texts("0x8001"),
        is_rdma: true,
        need_vhost_net: true,
        ..Selector::default()
    };
    assert_eq!(resource.selectors, [expected]);
    assert_eq!(resource.additional_info.as_ref().unwrap()["*"]["token"], "t");
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn selectors_are_one_or_several_or_none() {
    let selectors = |value: Value| {
        one(json!({"resourceName": "a", "selectors": value})).resources[0].selectors.len()
    };
    assert_eq!(selectors(json!({"vendors": ["8086"]})), 1);
    assert_eq!(selectors(json!([{"vendors": ["8086"]}, {"vendors": ["15b3"]}])), 2);
    assert_eq!(selectors(Value::Null), 1);
    assert_eq!(one(json!({"resourceName": "a"})).resources[0].selectors, [Selector::default()]);
}

#[test]
fn what_is_not_known_is_ignored_and_named() {
    let config = parse(&json!({
        "version": 1,
        "resourceList": [
            {"resourceName": "a", "SelectorObj": null, "selectors": [{"nodes": [], "x": 1}]},
            {"resourceName": "b", "deviceType": "accelerator", "selectors": {"acpiIndexes": ["1"]}},
        ],
    }))
    .unwrap();
    assert_eq!(config.resources.len(), 2);
    assert_eq!(
        config.warnings,
        [
            "the top: not known, ignored: version",
            "resourceList[0]: not known, ignored: SelectorObj",
            "resourceList[0].selectors[0]: not known, ignored: nodes, x",
            "resourceList[1].selectors[0]: not known, ignored: acpiIndexes",
        ]
    );
}

#[test]
fn a_resource_with_selectors_that_cannot_be_is_left_out() {
    for (selectors, why) in [
        (json!("x"), "selectors is \"x\": must be an object"),
        (json!([]), "selectors is []: must be at least one"),
        (json!({"vendors": "8086"}), "selectors.vendors is \"8086\": must be an array of strings"),
        (json!({"isRdma": "yes"}), "selectors.isRdma is \"yes\": must be true or false"),
        (json!({"vdpaType": "x"}), "selectors.vdpaType is \"x\": must be vhost or virtio"),
    ] {
        let list = json!([{"resourceName": "a", "selectors": selectors}, {"resourceName": "b"}]);
        let config = parse(&json!({"resourceList": list})).unwrap();
        assert_eq!(config.resources.len(), 1);
        let expected = format!(
            "resourceList[0]: intel.com/a is left out: configuration: resourceList[0].{why}"
        );
        assert_eq!(config.warnings, [expected]);
    }
}

#[test]
fn subfunctions_have_selectors_of_their_own() {
    let config = one(json!({"resourceName": "sf", "deviceType": "auxNetDevice", "selectors": {
        "auxTypes": ["sf"], "pfNames": ["p0#1-5"], "vdpaType": "virtio",
        "pciAddresses": ["0000:01:00.0"], "ddpProfiles": ["x"],
    }}));
    let resource = &config.resources[0];
    assert_eq!(resource.device_type, DeviceType::AuxNetDevice);
    let selector = &resource.selectors[0];
    assert_eq!(selector.vdpa_type, Some(VdpaType::Virtio));
    assert!(selector.pci_addresses.is_empty() && selector.ddp_profiles.is_empty());
    let [ignored] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    assert!(ignored.ends_with("not known, ignored: ddpProfiles, pciAddresses"), "{ignored}");
    for (types, value) in [(json!([]), "[]"), (json!(["sf", "eth"]), "[\"sf\",\"eth\"]")] {
        let resource = json!({"resourceName": "sf", "deviceType": "auxNetDevice",
            "selectors": {"auxTypes": types}});
        let expected = format!(
            "configuration: resourceList[0].selectors.auxTypes is {value}: must be [\"sf\"]"
        );
        check(json!({"resourceList": [resource]}), &expected);
    }
}

#[test]
fn doubts_are_told() {
    let config = one(json!({"resourceName": "a", "selectors": {
        "pfNames": ["eth0#0-", "eth1#1"], "linkTypes": ["ether", "infiniband"],
        "ddpProfiles": ["x"],
    }}));
    assert!(config.asks().packages);
    let [indices, types] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    assert!(indices.contains("\"eth0#0-\""), "{indices}");
    assert!(types.contains("linkTypes"), "{types}");
}

#[test]
fn what_cannot_be_is_an_error_that_names_field_and_value() {
    let resource = |value: Value| json!({"resourceList": [{"resourceName": "a"}, value]});
    check(json!({"resourceList": {}}), "configuration: resourceList is {}: must be an array");
    check(
        resource(json!({"resourceName": 7})),
        "configuration: resourceList[1].resourceName is 7: must be a string",
    );
    check(
        resource(json!({"resourceName": "a"})),
        "configuration: resourceList[1].resourceName is \"intel.com/a\": must be a name that no \
         resource before it has",
    );
    check(
        resource(json!({"resourceName": "b", "deviceType": "nic"})),
        "configuration: resourceList[1].deviceType is \"nic\": must be netDevice, accelerator or \
         auxNetDevice",
    );
    check(
        resource(json!({"resourceName": "b", "selectors": {"isRdma": true, "vdpaType": "vhost"}})),
        "configuration: resourceList[1].selectors.isRdma is true: must be false where there is a \
         vdpaType",
    );
    check(
        resource(json!({"resourceName": "b", "additionalInfo": {"*": "x"}})),
        "configuration: resourceList[1].additionalInfo is {\"*\":\"x\"}: must be an object of \
         objects of strings",
    );
    let error = chain(&parse(&resource(json!({"resourceName": "b c"}))).unwrap_err());
    assert!(
        error.starts_with(
            "configuration: resourceList[1].resourceName (line 1): \"intel.com/b c\" is"
        ),
        "{error}"
    );
    let error = chain(&Config::parse(b"{\"resourceList\": [\n{},]}", "intel.com").unwrap_err());
    assert!(error.contains("line 2 column 4"), "{error}");
    let text = b"{\"resourceList\": [\n{\"resourceName\": \"a\"},\n{\"resourcename\":\n7}]}";
    let error = chain(&Config::parse(text, "intel.com").unwrap_err());
    assert!(error.ends_with("resourceName is 7: must be a string (line 4)"), "{error}");
}

#[test]
fn it_is_read_through_the_links_of_a_mounted_config_map() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    std::fs::create_dir(dir.path().join("..1")).unwrap();
    std::fs::write(dir.path().join("..1/config.json"), r#"{"resourceList": []}"#).unwrap();
    std::os::unix::fs::symlink("..1", dir.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/config.json", &path).unwrap();
    assert_eq!(Config::read(&path, "intel.com").unwrap(), Config::default());
    let error = Config::read(&dir.path().join("none"), "intel.com").unwrap_err();
    assert!(error.to_string().contains("/none"), "{error}");
}

/// The shapes that its documentation and the SR-IOV network operator have.
#[test]
fn shapes_that_are_in_use_are_read() {
    let written_by_the_operator = r#"{"resourceList":[{"resourceName":"nics","selectors":
        {"pfNames":["ens785f0#0-4"],"IsRdma":false,"NeedVhostNet":false},"SelectorObj":null}]}"#;
    let config = Config::parse(written_by_the_operator.as_bytes(), "openshift.io").unwrap();
    assert_eq!(config.resources[0].resource.as_str(), "openshift.io/nics");
    assert_eq!(config.resources[0].selectors[0].pf_names.len(), 1);
    assert_eq!(config.warnings, ["resourceList[0]: not known, ignored: SelectorObj"]);
}
