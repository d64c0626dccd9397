//! The definitions as the API server will see them.

use serde_json::Value;

use crate::definitions;

fn schema(kind: &str) -> Value {
    let definition = definitions().into_iter().find(|d| d.spec.names.kind == kind).unwrap();
    serde_json::to_value(&definition.spec.versions[0].schema).unwrap()
}

/// The API server refuses CEL rules whose cost it cannot bound.
#[test]
fn every_list_and_string_of_a_spec_is_bounded() {
    for kind in ["DevicePolicy", "NodeDevices", "DeviceNetwork"] {
        let schema = schema(kind);
        let spec = &schema["openAPIV3Schema"]["properties"]["spec"];
        let mut unbounded = Vec::new();
        walk(spec, "spec", &mut unbounded);
        // a label selector is the API server's own type
        unbounded.retain(|path| !path.starts_with("spec.nodeSelector"));
        assert_eq!(unbounded, Vec::<String>::new(), "{kind}");
    }
}

fn walk(schema: &Value, path: &str, unbounded: &mut Vec<String>) {
    let bound = match schema["type"].as_str() {
        Some("string") => {
            schema["enum"].is_array()
                || schema["maxLength"].is_u64()
                || schema["pattern"].as_str().is_some_and(|p| !p.contains(['*', '+']))
        }
        Some("array") => schema["maxItems"].is_u64(),
        _ => true,
    };
    if !bound {
        unbounded.push(path.to_owned());
    }
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            walk(property, &format!("{path}.{name}"), unbounded);
        }
    }
    if schema["items"].is_object() {
        walk(&schema["items"], &format!("{path}[]"), unbounded);
    }
}

#[test]
fn rules_have_messages_that_name_the_field() {
    let text = serde_json::to_string(&definitions()).unwrap();
    for message in [
        "pools: each needs a name of its own",
        "parents: an entry names either pci or simulator",
        "resource: a pool serves one, but attach host",
        "vdpa: attach netdev and vfio use the function itself",
        "defaults.mtu: only with attach netdev",
        "vlan: qos and protocol are those of a tag",
        "minRate: must not be more than maxRate",
        "uplink: ownership External changes nothing on a node",
        "adopt: ownership External takes nothing over",
        "vdpa.features: with ownership External others make the devices",
        "vdpa.features: common is what all devices of a resource can be given",
    ] {
        assert!(text.contains(message), "{message}");
    }
}

#[test]
fn features_are_names_or_what_is_common() {
    use crate::device_policy::{COMMON, VdpaSettings};
    for kind in ["DevicePolicy", "NodeDevices"] {
        let text = schema(kind).to_string();
        assert!(text.contains(r#""pattern":"^(common|[A-Z0-9_]+(,[A-Z0-9_]+)*)$""#), "{kind}");
    }
    let asks = |features: &str| {
        VdpaSettings { features: Some(features.into()), ..Default::default() }.asks_for_common()
    };
    assert!(asks(COMMON) && !asks("MAC,MTU") && !VdpaSettings::default().asks_for_common());
}

#[test]
fn conditions_merge_by_type() {
    for kind in ["DevicePolicy", "NodeDevices", "DeviceNetwork"] {
        let conditions =
            schema(kind)["openAPIV3Schema"]["properties"]["status"]["properties"]["conditions"]
                .clone();
        assert_eq!(conditions["x-kubernetes-list-map-keys"], serde_json::json!(["type"]), "{kind}");
    }
}

#[test]
fn reasons_read_as_they_are_written() {
    use crate::conditions::Reason;
    let mut names: Vec<&str> = Reason::ALL.map(Reason::as_str).into();
    for (reason, name) in Reason::ALL.into_iter().zip(&names) {
        assert_eq!(Reason::from_name(name), Some(reason));
        assert!(name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphabetic()), "{name}");
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), Reason::ALL.len());
    assert_eq!(Reason::from_name("Nonsense"), None);
}

#[test]
fn attach_kinds_are_written_as_they_are_called() {
    use crate::device_policy::Attach;
    for attach in Attach::ALL {
        assert_eq!(serde_json::to_value(attach).unwrap(), attach.as_str());
    }
}

#[test]
fn formats_are_those_that_the_api_server_knows() {
    let text = serde_json::to_string(&definitions()).unwrap();
    assert!(!text.contains("\"format\":\"uint"), "{text}");
    assert!(text.contains("\"format\":\"int32\""), "{text}");
}

#[test]
fn defaults_are_read_as_they_are_written_and_bounded() {
    let text = serde_json::json!({"mac": "Stable", "vlan": {"id": 100, "qos": 3, "protocol": "802.1ad"},
        "minRate": 0, "maxRate": 500, "spoofCheck": true, "trust": false, "linkState": "enable",
        "mtu": 9000});
    let defaults: crate::device_policy::Defaults = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&defaults).unwrap(), text);
    for kind in ["DevicePolicy", "NodeDevices"] {
        let spec = schema(kind)["openAPIV3Schema"]["properties"]["spec"]["properties"].clone();
        let of = |spec: &Value| spec["pools"]["items"]["properties"]["defaults"].clone();
        let defaults = match kind {
            "DevicePolicy" => of(&spec),
            _ => of(&spec["parents"]["items"]["properties"]),
        };
        let fields = &defaults["properties"];
        assert_eq!(fields["mac"]["enum"], serde_json::json!(["Keep", "Stable"]));
        let tag = &fields["vlan"]["properties"];
        assert_eq!(
            (tag["id"]["maximum"].as_f64(), tag["qos"]["maximum"].as_f64()),
            (Some(4094.0), Some(7.0))
        );
        assert_eq!(tag["protocol"]["enum"], serde_json::json!(["802.1q", "802.1ad"]));
        assert_eq!(fields["vlan"]["required"], serde_json::json!(["id"]));
        assert_eq!(defaults["x-kubernetes-validations"].as_array().unwrap().len(), 1, "{kind}");
    }
}
