use ringway_node::pools::{self, Device, State};

use super::*;
use crate::fake::{Fake, pf};
use crate::wanted::{Defaults, Pool, Settings};

fn pool(range: std::ops::RangeInclusive<u32>, attach: Attach) -> Pool {
    Pool {
        name: "p".into(),
        resource: None,
        range,
        attach,
        settings: Settings::default(),
        defaults: Defaults::default(),
        limits: Default::default(),
        allocation: None,
        carrier: None,
    }
}

fn wanted(name: ParentName, pools: Vec<Pool>) -> Wanted {
    let parent = Parent::new(name, 4, pools);
    Wanted { parents: vec![parent], refusals: vec![] }
}

fn card(pools: Vec<Pool>) -> Wanted {
    wanted(ParentName::Pci(pf()), pools)
}

/// The devices that the rules are for.
fn kept_off(rules: Option<String>) -> Vec<String> {
    let rules = rules.unwrap_or_default();
    let name = |line: &str| line.split("KERNELS==\"").nth(1)?.split('"').next().map(str::to_owned);
    rules.lines().filter_map(name).collect()
}

#[test]
fn a_rule_says_it_to_both_managers() {
    let wanted = card(vec![pool(1..=1, Attach::Netdev)]);
    let text = rules(&wanted, &Fake::with_functions(4).observed, None).unwrap();
    let rule = "SUBSYSTEM==\"net\", KERNELS==\"0000:01:00.2\", ENV{NM_UNMANAGED}=\"1\", \
                ENV{ID_NET_MANAGED_BY}=\"ringway\"\n";
    assert_eq!(text, format!("{HEAD}{rule}"));
}

#[test]
fn functions_to_be_have_theirs_already_and_those_of_the_host_none() {
    let wanted = card(vec![
        pool(0..=0, Attach::VhostVdpa),
        pool(1..=2, Attach::Host),
        pool(3..=3, Attach::VirtioVdpa),
    ]);
    for count in [0, 4] {
        let observed = Fake::with_functions(count).observed;
        let expected = ["0000:01:00.1", "0000:01:00.4"];
        assert_eq!(kept_off(rules(&wanted, &observed, None)), expected, "{count} functions");
    }
    let mut fake = Fake::new();
    fake.card().layout = None;
    assert_eq!(rules(&wanted, &fake.observed, None), None, "nothing is guessed");
}

#[test]
fn simulated_devices_go_by_their_own_names() {
    let name = ParentName::Simulator("vdpasim_net".into());
    let wanted = wanted(name, vec![pool(0..=1, Attach::VirtioVdpa)]);
    let names = kept_off(rules(&wanted, &Fake::new().observed, None));
    assert_eq!(names, ["vdpasim_net.0", "vdpasim_net.1"]);
}

/// A pod that ends gives its interface back to the host: that is not the moment to manage it.
#[test]
fn what_was_offered_keeps_its_rule_until_it_is_gone() {
    let device = |id: &str| Device {
        id: id.parse().unwrap(),
        parent: crate::fake::PF.into(),
        index: 0,
        numa_node: None,
        state: State::Draining,
        reason: Some("no policy wants it any more".into()),
        mac: None,
        mtu: None,
        queue_pairs: None,
        features: vec![],
        vdpa: None,
        pci_address: None,
        pf_pci_address: None,
    };
    let last = Pools {
        version: pools::VERSION,
        node: "n".into(),
        generation: 1,
        pools: vec![pools::Pool {
            name: "p".into(),
            resource: "ringway.dev/p".parse().unwrap(),
            attach: pools::Attach::Netdev,
            limits: Default::default(),
            allocation: pools::Allocation::Spread,
            carrier: pools::Carrier::Ignore,
            devices: vec![device("0000:01:00.1"), device("0000:01:00.2")],
        }],
    };
    let observed = Fake::with_functions(4).observed;
    let names = |wanted: &Wanted| kept_off(rules(wanted, &observed, Some(&last)));
    assert_eq!(names(&Wanted::default()), ["0000:01:00.1", "0000:01:00.2"]);
    assert_eq!(names(&card(vec![pool(0..=0, Attach::Host)])), ["0000:01:00.2"]);
    assert_eq!(rules(&Wanted::default(), &observed, None), None);
}

#[test]
fn the_file_comes_changes_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules.d/10-ringway.rules");
    let read = || std::fs::read_to_string(&path).ok();
    assert!(!write(&path, None).unwrap());
    assert!(!path.parent().unwrap().exists(), "nothing is made for nothing");
    for rules in [Some("a\n"), Some("b\n"), None, None] {
        write(&path, rules).unwrap();
        assert_eq!(read().as_deref(), rules);
    }
}

/// udevd reads everything anew when a file or its directory has another time.
#[test]
fn what_is_the_same_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules.d/10-ringway.rules");
    assert!(write(&path, Some("a\n")).unwrap());
    let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
    let before = inode();
    assert!(!write(&path, Some("a\n")).unwrap(), "udevd has read them");
    assert_eq!(inode(), before);
    assert!(write(&path, Some("b\n")).unwrap());
    assert_ne!(inode(), before);
}

#[test]
fn without_udev_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("udev/rules.d/10-ringway.rules"), Some("a\n")).unwrap();
    assert!(!dir.path().join("udev").exists());
}
