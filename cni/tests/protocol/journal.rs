//! What is told the node's journal, where the network names no log file.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;

use crate::check_error;
use crate::node::{Call, Node, VFIO, VHOST};

/// A journal that keeps what it is told.
struct Journal(UnixDatagram);

impl Journal {
    fn of(node: &Node) -> Self {
        fs::create_dir_all(node.path("run/systemd/journal")).unwrap();
        let socket = UnixDatagram::bind(node.path("run/systemd/journal/socket")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    /// All messages by now, each as its fields.
    fn messages(&self) -> Vec<BTreeMap<String, String>> {
        let mut buffer = vec![0; 1 << 20];
        let mut next = || self.0.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec());
        let mut messages = Vec::new();
        while let Some(datagram) = next() {
            let text = String::from_utf8(datagram).unwrap();
            let pairs =
                text.lines().map(|line| line.split_once('=').expect("no value has a line end"));
            messages.push(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
        }
        messages
    }
}

fn add(device: &str) -> Call {
    Call::new("ADD").conf("deviceID", device)
}

#[test]
fn a_verb_tells_the_journal_unless_the_network_names_a_file() {
    let node = Node::new();
    let journal = Journal::of(&node);
    add(VHOST).run(&node).unwrap();
    let [message] = journal.messages().try_into().unwrap();
    for (name, value) in [
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "ringway"),
        ("RINGWAY_DEVICE", VHOST),
        ("RINGWAY_CONTAINER_ID", "c1"),
        ("RINGWAY_IFNAME", "net1"),
        ("RINGWAY_ATTACHMENT", "vhost-vdpa"),
    ] {
        assert_eq!(message.get(name).map(String::as_str), Some(value), "{name}: {message:?}");
    }
    assert!(message["MESSAGE"].starts_with("attached "), "{message:?}");

    check_error(&add("vhost2").run(&node).unwrap_err(), 11, "attached already");
    let [message] = journal.messages().try_into().unwrap();
    assert_eq!((message["PRIORITY"].as_str(), message["RINGWAY_CODE"].as_str()), ("3", "11"));
    assert!(message["RINGWAY_ERROR"].contains("attached already"), "{message:?}");

    Call::new("DEL").conf("logFile", "net.log").run(&node).unwrap();
    assert_eq!(journal.messages(), []);
    assert!(node.path("var/log/ringway/net.log").exists());
    // as much as the network asks for
    check_error(&add("none").conf("logLevel", "error").run(&node).unwrap_err(), 7, "in no pool");
    assert_eq!(journal.messages().len(), 1);
    add(VHOST).conf("logLevel", "error").run(&node).unwrap();
    assert_eq!(journal.messages(), []);
}

#[test]
fn a_journal_that_does_not_read_holds_nobody_up() {
    let node = Node::new();
    let _never_read = Journal::of(&node);
    // more than a socket keeps (`net.unix.max_dgram_qlen`)
    for _ in 0..40 {
        add(VHOST).run(&node).unwrap();
        Call::new("DEL").run(&node).unwrap();
    }
}

#[test]
fn collect_tells_each_attachment_that_it_takes_back_or_leaves() {
    let node = Node::new();
    add(VHOST).run(&node).unwrap();
    node.plugin("fake", r#"{"ips":[{"address":"10.0.0.2/24"}]}"#, 0);
    let ipam = serde_json::json!({"type": "fake"});
    add(VFIO).env("CNI_CONTAINERID", "c2").conf("ipam", ipam).run(&node).unwrap();
    let journal = Journal::of(&node);
    assert_eq!(node.host(&["collect", "--grace", "0"]).unwrap(), "");
    let [total] = journal.messages().try_into().unwrap();
    let counts = |total: &BTreeMap<String, String>| {
        ["UNDONE", "KEPT", "LIVE"]
            .map(|name| total[&format!("RINGWAY_{name}")].parse::<u32>().unwrap())
    };
    assert_eq!(counts(&total), [0, 0, 2], "{total:?}");

    node.reboot();
    node.plugin("fake", r#"{"code":11,"msg":"full"}"#, 1);
    node.write("var/lib/ringway/attachments/c9:net1.json", "{");
    let plugins = format!("--cni-path={}", node.path("bin").display());
    let text = node.host(&["collect", "--grace", "0", &plugins]).unwrap_err();
    assert!(text.contains("c9:net1.json"), "{text}");
    let messages = journal.messages();
    let of = |words: &str| {
        let said = messages.iter().filter(|message| message["MESSAGE"].starts_with(words));
        said.map(|message| {
            (message.get("RINGWAY_DEVICE").cloned().unwrap_or_default(), message.clone())
        })
        .collect::<BTreeMap<_, _>>()
    };
    let back = of("taken back ");
    assert!(back[VHOST]["RINGWAY_HOLDER"].starts_with("c1:net1 of pod"), "{back:?}");
    let left = of("left ");
    assert!(left[""]["RINGWAY_REASON"].contains("c9:net1.json"), "{left:?}");
    assert_eq!(left[""]["PRIORITY"], "4");
    assert!(left[VFIO]["RINGWAY_REASON"].contains("full"), "{left:?}");
    assert_eq!(counts(messages.last().unwrap()), [1, 2, 0], "{messages:?}");
}
