use std::fs;

use super::*;

pub(crate) fn sample() -> Record {
    let netns = Netns::current().unwrap();
    Record {
        version: VERSION,
        phase: Phase::Attached,
        network: "default/net".into(),
        container_id: "c1".into(),
        ifname: "net1".into(),
        pod: Pod::default(),
        boot_id: boot_id(&Root::default()).unwrap(),
        netns: Namespace { path: netns.path().into(), identity: netns.identity().unwrap() },
        device: "0000:01:00.1".parse().unwrap(),
        place: Place::Vdpa("vdpa:0000:01:00.1".into()),
        attachment: Attachment::VirtioVdpa,
        since: Some(1),
        before: None,
        function: None,
        result: None,
        ipam: None,
        device_info: None,
    }
}

#[test]
fn a_record_comes_back_as_written_and_goes() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("attachments");
    let record = sample();
    assert_eq!(Record::read(&dir, &record.target()).unwrap(), None);
    record.write(&dir).unwrap();
    assert!(dir.join("c1:net1.json").exists());
    assert_eq!(Record::read(&dir, &record.target()).unwrap().as_ref(), Some(&record));
    assert_eq!(Record::list(&dir).unwrap(), std::slice::from_ref(&record));
    record.remove(&dir).unwrap();
    record.remove(&dir).unwrap();
    assert!(Record::list(&dir).unwrap().is_empty());
}

/// What earlier ones have written, and what the agent reads (operator/agent/src/attachments.rs).
#[test]
fn the_place_is_one_key_beside_the_others() {
    let written = serde_json::to_value(sample()).unwrap();
    assert_eq!(written["vdpa"], "vdpa:0000:01:00.1");
    for key in ["containerId", "ifname", "bootId", "phase", "device"] {
        assert!(written[key].is_string(), "{key}: {written}");
    }
    let mut older = written.clone();
    older.as_object_mut().unwrap().remove("since");
    let read: Record = serde_json::from_value(older).unwrap();
    assert_eq!(read, Record { since: None, ..sample() });
    let function = Record {
        place: Place::Pci("0000:01:00.1".parse().unwrap()),
        attachment: Attachment::Netdev,
        function: Some(Change {
            function: crate::vf::Function {
                pf: "0000:01:00.0".parse().unwrap(),
                index: 0,
                address: "0000:01:00.1".parse().unwrap(),
            },
            set: vec![ringway_kernel::link::VfSetting::Trust(true)],
            before: vec![ringway_kernel::link::VfSetting::Vlan(None)],
        }),
        ..sample()
    };
    let written = serde_json::to_value(&function).unwrap();
    assert_eq!(written["pci"], "0000:01:00.1");
    assert_eq!(written["function"]["before"], serde_json::json!([{"vlan": null}]));
    assert_eq!(serde_json::from_value::<Record>(written).unwrap(), function);
}

#[test]
fn live_is_attached_in_this_boot_in_a_namespace_that_is_there() {
    let root = Root::default();
    let check = |change: fn(&mut Record), expected: bool| {
        let mut record = sample();
        change(&mut record);
        assert_eq!(record.is_live(&root).unwrap(), expected, "{record:?}");
    };
    check(|_| {}, true);
    check(|record| record.phase = Phase::Attaching, false);
    check(|record| record.phase = Phase::Away, false);
    check(|record| record.boot_id = "another".into(), false);
    check(|record| record.netns.path = "/run/netns/none".into(), false);
    check(|record| record.netns.identity.inode += 1, false);
}

#[test]
fn what_cannot_be_read_is_an_error_for_its_owner_and_skipped_by_others() {
    let dir = tempfile::tempdir().unwrap();
    let record = sample();
    for content in ["", "{}", r#"{"version":2}"#] {
        fs::write(dir.path().join("c1:net1.json"), content).unwrap();
        let error = Record::read(dir.path(), &record.target()).unwrap_err();
        assert!(error.to_string().contains("c1:net1.json"), "{error}");
        assert!(Record::list(dir.path()).unwrap().is_empty());
    }
    let later = Record { version: 2, ..sample() };
    later.write(dir.path()).unwrap();
    let error = Record::read(dir.path(), &record.target()).unwrap_err();
    assert!(error.to_string().ends_with("is of version 2, not 1"), "{error}");
}
