use super::*;
use serde_json::json;

fn minimal() -> Value {
    json!({"cniVersion": "1.1.0", "name": "default/net", "type": "ringway"})
}

fn parse(change: Value) -> Result<NetConf> {
    let mut conf = minimal();
    for (key, value) in change.as_object().unwrap() {
        conf[key] = value.clone();
    }
    NetConf::parse(conf.to_string().as_bytes())
}

#[test]
fn what_multus_sends_is_read() {
    let conf = parse(json!({
        "deviceID": "0000:01:00.1", "pciBusID": "0000:01:00.1", "mtu": 9000,
        "mac": "52:54:00:00:00:02", "ipam": {"type": "host-local"}, "dns": {},
        "logLevel": "debug", "logFile": "net.log",
        "runtimeConfig": {"mac": "52:54:00:00:00:01", "CNIDeviceInfoFile": "/x", "ips": []},
    }))
    .unwrap();
    assert_eq!(conf.name, "default/net");
    assert_eq!(conf.device_id.as_deref(), Some("0000:01:00.1"));
    assert_eq!((conf.mtu, conf.ipam.as_deref()), (Some(9000), Some("host-local")));
    assert_eq!(conf.log_level, Some(Level::Debug));
    assert_eq!(conf.device_info_file.as_deref(), Some("/x"));
}

#[test]
fn the_runtime_comes_before_the_arguments_and_those_before_the_network() {
    let [a, b, c] = [1, 2, 3].map(|n| Mac([2, 0, 0, 0, 0, n]));
    let both = parse(json!({"mac": c, "runtimeConfig": {"mac": a}})).unwrap();
    assert_eq!(both.wanted_mac(Some(b)), Some(a));
    let own = parse(json!({"mac": c})).unwrap();
    assert_eq!(own.wanted_mac(Some(b)), Some(b));
    assert_eq!(own.wanted_mac(None), Some(c));
    assert_eq!(parse(json!({})).unwrap().wanted_mac(None), None);
}

#[test]
fn what_operators_render_for_nothing_is_nothing() {
    let conf = parse(json!({"ipam": {}, "mtu": 0, "deviceID": "", "runtimeConfig": null}));
    let conf = conf.unwrap();
    assert_eq!((conf.ipam, conf.mtu, conf.device_id), (None, None, None));
}

#[test]
fn wrong_fields_are_named_with_the_code_of_their_kind() {
    for (change, code, told) in [
        (json!({"cniVersion": "2.0.0"}), Code::Version, "2.0.0"),
        (json!({"cniVersion": null}), Code::Version, "cniVersion \"\""),
        (json!({"cniVersion": 1}), Code::Decode, "cniVersion"),
        (json!({"name": null}), Code::Config, "field name is missing"),
        (json!({"name": "a b"}), Code::Config, "\"a b\""),
        (json!({"name": "../a"}), Code::Config, "../a"),
        (json!({"type": null}), Code::Config, "field type is missing"),
        (json!({"mtu": 67}), Code::Config, "68 to 65535"),
        (json!({"mtu": "1500"}), Code::Decode, "field mtu"),
        (json!({"mtu": -1}), Code::Decode, "field mtu"),
        (json!({"mac": "zz"}), Code::Decode, "field mac"),
        (json!({"mac": "01:00:5e:00:00:01"}), Code::Config, "unicast"),
        (json!({"ipam": {"type": "../../bin/sh"}}), Code::Config, "bare file name"),
        (json!({"ipam": {"type": ".."}}), Code::Config, "bare file name"),
        (json!({"ipam": "dhcp"}), Code::Decode, "field ipam"),
        (json!({"deviceID": 7}), Code::Decode, "field deviceID"),
        (json!({"deviceID": "a", "pciBusID": "b"}), Code::Config, "must agree"),
        (json!({"logLevel": "loud"}), Code::Decode, "loud"),
        (json!({"trunk": [{"id": 5}]}), Code::UnsupportedField, "trunk"),
        (json!({"vlan": 4095}), Code::Config, "0 (none) to 4094"),
        (json!({"spoofchk": "maybe"}), Code::Config, "on, off"),
    ] {
        let error = parse(change.clone()).unwrap_err();
        assert_eq!(error.code(), code, "{change}: {error}");
        assert!(error.chain().contains(told), "{change}: {}", error.chain());
    }
    for junk in ["", "[]", "{", "null", "\"x\""] {
        assert_eq!(NetConf::parse(junk.as_bytes()).unwrap_err().code(), Code::Decode, "{junk}");
    }
}
