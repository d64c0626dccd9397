use serde_json::json;

use super::*;
use crate::result::{self, Addressing};

const SANDBOX: &str = "/var/run/netns/a";

fn conf(version: Version, previous: &Value) -> NetConf {
    let conf = json!({"cniVersion": version.as_str(), "name": "n", "type": "ringway",
                      "prevResult": previous});
    NetConf::parse(conf.to_string().as_bytes()).unwrap()
}

fn own() -> Success {
    Success {
        interface: result::Interface {
            name: "net1".into(),
            mac: Some("52:54:00:00:00:0a".parse().unwrap()),
            mtu: Some(1500),
            sandbox: SANDBOX.into(),
            socket_path: None,
            pci_id: Some("0000:01:00.1".parse().unwrap()),
        },
        addressing: Addressing {
            ips: vec![result::Ip { address: "10.0.0.2/24".parse().unwrap(), gateway: None }],
            routes: vec![result::Route { dst: "10.9.0.0/16".parse().unwrap(), gw: None }],
            dns: json!({"nameservers": ["10.0.0.1", "10.0.0.3"], "domain": "own"})
                .as_object()
                .unwrap()
                .clone(),
        },
    }
}

/// What a bridge plugin answers in a version.
fn bridge(version: Version) -> Value {
    let mut ip = json!({"address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 1});
    if version < Version::V1_0_0 {
        ip["version"] = "4".into();
    }
    let mut result = json!({
        "cniVersion": version.as_str(),
        "interfaces": [{"name": "cni0", "mac": "02:00:00:00:00:01"},
                       {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": SANDBOX}],
        "ips": [ip],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}],
        "dns": {"nameservers": ["10.0.0.1"], "domain": "first", "search": ["a"]}});
    if version >= Version::V1_1_0 {
        result["interfaces"][1]["mtu"] = 1400.into();
        result["interfaces"][1]["socketPath"] = "/run/s".into();
        result["interfaces"][1]["pciID"] = "0000:09:00.1".into();
        result["routes"][0]["mtu"] = 1300.into();
        result["routes"][0]["table"] = 7.into();
    }
    result
}

#[test]
fn each_version_has_what_came_before_and_ours_behind_it_in_its_own_shape() {
    for version in Version::ALL {
        let before = bridge(version);
        let found = Previous::of(&conf(version, &before)).unwrap().unwrap();
        let mut expected = before.clone();
        let mut ours = own().to_json(version, 2);
        for name in ["interfaces", "ips", "routes"] {
            let list = expected[name].as_array_mut().unwrap();
            list.append(ours[name].as_array_mut().unwrap());
        }
        expected["dns"] = json!({"nameservers": ["10.0.0.1", "10.0.0.3"], "domain": "first",
                                 "search": ["a"]});
        let whole = found.followed_by(&own(), version);
        assert_eq!(whole, expected, "{version}");
        assert_eq!(whole["ips"][1]["interface"], 2);
        // what we print, the next of our kind reads as it is
        let again = Previous::of(&conf(version, &whole)).unwrap().unwrap();
        assert_eq!(again.interfaces.len(), 3);
        assert_eq!(json!(again.ips), whole["ips"]);
    }
}

#[test]
fn what_a_version_does_not_have_is_not_printed_in_it() {
    for version in [Version::V0_3_1, Version::V0_4_0, Version::V1_0_0] {
        let mut before = bridge(Version::V1_1_0);
        before["cniVersion"] = version.as_str().into();
        before["ips"][0]["version"] = "4".into();
        before["interfaces"][0]["colour"] = "blue".into();
        let found = Previous::of(&conf(version, &before)).unwrap().unwrap();
        let mut expected = bridge(version);
        expected["interfaces"]
            .as_array_mut()
            .unwrap()
            .push(own().to_json(version, 2)["interfaces"][0].clone());
        assert_eq!(found.followed_by(&own(), version)["interfaces"], expected["interfaces"]);
        let route = &found.followed_by(&own(), version)["routes"][0];
        assert_eq!(*route, json!({"dst": "0.0.0.0/0", "gw": "10.1.0.1"}));
    }
}

#[test]
fn nothing_before_changes_nothing() {
    for nothing in [Value::Null, json!({}), json!({"interfaces": null, "ips": [], "dns": {}})] {
        let found = Previous::of(&conf(Version::V1_1_0, &nothing)).unwrap().unwrap_or_default();
        let expected = own().to_json(Version::V1_1_0, 0);
        assert_eq!(found.followed_by(&own(), Version::V1_1_0), expected);
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (version, change, code, told) in [
        (Version::V1_1_0, json!("x"), Code::Config, "field prevResult is \"x\": must be an object"),
        (
            Version::V1_0_0,
            json!({"cniVersion": "1.1.0"}),
            Code::Config,
            "field prevResult.cniVersion is \"1.1.0\": must be 1.0.0",
        ),
        (Version::V1_1_0, json!({"ips": {}}), Code::Config, "field prevResult.ips is"),
        (
            Version::V1_1_0,
            json!({"interfaces": [{"mac": "x"}]}),
            Code::Decode,
            "field prevResult.interfaces[0]",
        ),
        (
            Version::V1_1_0,
            json!({"interfaces": [{"name": ""}]}),
            Code::Config,
            "field prevResult.interfaces[0].name is \"\": is required",
        ),
        (
            Version::V1_1_0,
            json!({"ips": [{"address": "10.0.0.1"}]}),
            Code::Decode,
            "field prevResult.ips[0]",
        ),
        (
            Version::V1_1_0,
            json!({"interfaces": [{"name": "a"}], "ips": [{"address": "10.0.0.1/8", "interface": 1}]}),
            Code::Config,
            "field prevResult.ips[0].interface is \"1\": must be the index of one of the 1",
        ),
        (
            Version::V0_4_0,
            json!({"ips": [{"address": "10.0.0.1/8"}]}),
            Code::Config,
            "field prevResult.ips[0].version is \"\": must be \"4\"",
        ),
        (
            Version::V0_3_1,
            json!({"ips": [{"address": "fd00::1/8", "version": "4"}]}),
            Code::Config,
            "field prevResult.ips[0].version is \"4\": must be \"6\"",
        ),
        (Version::V1_1_0, json!({"routes": [{}]}), Code::Decode, "field prevResult.routes[0]"),
        (Version::V1_1_0, json!({"dns": []}), Code::Config, "field prevResult.dns is"),
    ] {
        let error = Previous::of(&conf(version, &change)).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), code, "{change}");
        assert!(error.chain().contains(told), "{change}: {}", error.chain());
    }
}

#[test]
fn our_interface_must_be_none_that_there_is() {
    let found = Previous::of(&conf(Version::V1_1_0, &bridge(Version::V1_1_0))).unwrap().unwrap();
    for sandbox in [SANDBOX, "/run/netns/a"] {
        let error = found.has_no("eth0", sandbox).unwrap_err().to_string();
        assert!(error.contains("prevResult.interfaces[1].name is \"eth0\""), "{error}");
        assert!(error.contains(sandbox), "{error}");
    }
    found.has_no("net1", SANDBOX).unwrap();
    found.has_no("eth0", "/run/netns/b").unwrap();
    // on the host
    found.has_no("cni0", SANDBOX).unwrap();
}

#[test]
fn check_names_what_the_whole_chain_says_otherwise() {
    let whole = |version| {
        let found = Previous::of(&conf(version, &bridge(version))).unwrap().unwrap();
        found.followed_by(&own(), version)
    };
    let latest = whole(Version::V1_1_0);
    let changed = |path: &str, value: Value| {
        let mut whole = latest.clone();
        *whole.pointer_mut(path).unwrap() = value;
        whole
    };
    let told =
        |version, previous: &Value| compare::check(&conf(version, previous), &own()).unwrap();
    let last = |mac: &str, mtu| compare::Told { mac: Some(mac.to_owned()), mtu };
    for version in Version::ALL {
        // nobody asked for an MTU, and nobody changed it
        assert_eq!(told(version, &whole(version)), last("52:54:00:00:00:0a", None));
    }
    for (previous, told) in [
        (
            changed("/interfaces/2/name", "net9".into()),
            "interface net1 in prevResult: found none, expected one in /var/run/netns/a",
        ),
        (
            changed("/interfaces/2/sandbox", "/run/netns/b".into()),
            "sandbox of interface net1 in prevResult: found /run/netns/b",
        ),
        (
            changed("/ips/1/address", "10.0.0.9/24".into()),
            "address 10.0.0.2/24 in prevResult: found none, expected one of interface net1",
        ),
        (
            changed("/ips/1/interface", 0.into()),
            "address 10.0.0.2/24 in prevResult: found one of interface 0, expected 2",
        ),
    ] {
        let error = compare::check(&conf(Version::V1_1_0, &previous), &own()).unwrap_err();
        assert_eq!(error.code(), Code::Mismatch);
        assert!(error.to_string().contains(told), "{error}");
    }
    // by a plugin behind us
    let other = "02:00:00:00:00:0F";
    let with_mac = changed("/interfaces/2/mac", other.into());
    assert_eq!(told(Version::V1_1_0, &with_mac), last(other, None));
    let with_mtu = changed("/interfaces/2/mtu", 1400.into());
    assert_eq!(told(Version::V1_1_0, &with_mtu), last("52:54:00:00:00:0a", Some(1400)));
    let mut asked = conf(Version::V0_4_0, &whole(Version::V0_4_0));
    asked.mtu = Some(1500);
    let told = compare::check(&asked, &own()).unwrap();
    assert_eq!(told, last("52:54:00:00:00:0a", Some(1500)));
    let error = compare::check(&conf(Version::V0_4_0, &Value::Null), &own()).unwrap_err();
    assert_eq!(error.code(), Code::Config);
    assert!(error.to_string().contains("field prevResult is missing"), "{error}");
}
