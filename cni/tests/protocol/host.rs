//! `ringway list` and `ringway why`, as a person calls them.

use serde_json::{Value, json};

use crate::node::{Call, Node, UID, VFIO, VHOST};

#[test]
fn list_shows_who_has_what_and_whether_the_namespace_lives() {
    let node = Node::new();
    assert_eq!(node.host(&["list"]).unwrap(), "no attachments\n");
    Call::new("ADD").conf("deviceID", VFIO).run(&node).unwrap();
    let text = node.host(&["list"]).unwrap();
    let row = text.lines().nth(1).unwrap();
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!(
        cells[..6],
        [VFIO, "vfio", "default/p", "net1", "default/net", "attached"],
        "{text}"
    );
    assert_eq!(cells[7], "alive", "the namespace is this process's, too: {text}");
    let json: Value = serde_json::from_str(&node.host(&["list", "-o", "json"]).unwrap()).unwrap();
    assert_eq!(json[0]["device"], VFIO);
    assert_eq!(json[0]["pod"], json!({"namespace": "default", "name": "p", "uid": UID}));
    assert_eq!(json[0]["netns"]["state"], "alive");
    node.reboot();
    assert!(node.host(&["list"]).unwrap().contains("of an earlier boot"));
}

#[test]
fn list_tells_of_a_record_that_cannot_be_read_after_those_that_can() {
    let node = Node::new();
    Call::new("ADD").conf("deviceID", VFIO).run(&node).unwrap();
    node.write("var/lib/ringway/attachments/c9:net1.json", "{");
    let text = node.host(&["list"]).unwrap_err();
    assert!(text.contains(VFIO) && text.contains("c9:net1.json"), "{text}");
}

#[test]
fn why_tells_what_is_known_of_a_device() {
    let node = Node::new();
    let check = |device: &str, told: &[&str]| {
        let text = node.host(&["why", device]).unwrap();
        for words in told {
            assert!(text.contains(words), "{words:?} in\n{text}");
        }
    };
    let kubelet = format!("gave it to the pod with UID {UID}");
    check(
        VFIO,
        &[
            "pool       functions of ringway.dev/functions, attaches as vfio, ready",
            "now        function 0000:01:00.4 is bound to vfio-pci",
            "function   a VF of PF 0000:01:00.0",
            "attached   to no pod",
            &kubelet,
        ],
    );
    Call::new("ADD").conf("deviceID", VFIO).run(&node).unwrap();
    check(VFIO, &["attached   to pod default/p as net1 (vfio, attached), for ", ": alive"]);
    check(VHOST, &["vDPA device vvhost is bound to vhost_vdpa", "attached   to no pod"]);
    check("draining", &["draining: about to be rebuilt"]);
    check("0000:01:00.2", &["interface  none on the host"]);
    // in no pool, but the kernel has it
    check("0000:01:00.7", &["is bound to uio_pci_generic"]);
    for (device, told) in [("0000:99:00.1", "no pool, no attachment"), ("../x", "not a device id")]
    {
        let text = node.host(&["why", device]).unwrap_err();
        assert!(text.contains(told), "{text}");
    }
    // a look is no allocation
    assert!(!node.path("run/ringway/lock/0000:01:00.2").exists());
}
