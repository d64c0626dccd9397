//! Who uses a device now, as far as the kernel tells: also processes outside Kubernetes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use ringway_kernel::Root;
use ringway_kernel::chardev::CharDevice;
use ringway_kernel::inventory::{Inventory, VdpaDevice, VirtualFunction};
use ringway_kernel::module;
use ringway_kernel::vdpa_bus::Driver;
use ringway_kernel::vfio;

use crate::attachments;
use crate::cards;
use crate::node::Observed;
use crate::plan::Planned;
use crate::step::Step;

/// Users by device id, in words.
pub type Holders = BTreeMap<String, String>;

/// Users of devices at the moment that a step is about to be done; nobody is looked for if it
/// disturbs none.
///
/// `records` is the directory of the CNI plugin's: who is attached owns what the function is set to,
/// and may have become so since the node was looked at.
pub fn in_the_way(root: &Root, records: &Path, planned: &Planned, observed: &Observed) -> Holders {
    if planned.disturbs.is_empty() {
        return Holders::new();
    }
    let disturbed = |id: &str| planned.disturbs.iter().any(|disturbed| disturbed.as_str() == id);
    let mut holders = of_some(root, &observed.inventory, disturbed);
    if let Step::SetVfSettings { .. } | Step::SetFunctionLink { .. } = planned.step {
        match attachments::read(root, records) {
            Ok(attached) => holders.extend(attached),
            Err(why) => {
                let why = format!("whether it is attached is not known: {why}");
                holders.extend(planned.disturbs.iter().map(|id| (id.to_string(), why.clone())));
            }
        }
    }
    holders
}

/// What is said of an interface that cannot be seen here.
const ELSEWHERE: &str = "its interface is in another network namespace";

/// Interfaces that are in other network namespaces, char devices that processes have open (of vfio
/// the group or the device's own), and functions of which the driver has something that cannot be
/// seen here.
///
/// Sees only the processes of `root`'s `/proc`: in a container that is the host's only with
/// `hostPID`, and other users' files only with `CAP_SYS_PTRACE`.
pub fn of_kernel(root: &Root, inventory: &Inventory) -> Holders {
    of_some(root, inventory, |_| true)
}

/// As [`of_kernel`], of the devices that are asked for.
fn of_some(root: &Root, inventory: &Inventory, asked: impl Fn(&str) -> bool) -> Holders {
    let mut holders = Holders::new();
    let mut chars: Vec<(String, &CharDevice)> = Vec::new();
    for (id, device) in devices(inventory).filter(|(id, _)| asked(id)) {
        if let Some(char_device) = &device.char_device {
            chars.push((id, char_device));
        } else if device.driver.as_deref() == Some(Driver::VirtioVdpa.name())
            && device.netdevs.is_empty()
            && !device.virtio_unbound
        {
            holders.insert(id, ELSEWHERE.to_owned());
        }
    }
    // the kernel tells at once if nobody has any of them, and else not who
    if !chars.is_empty() && module::is_idle(root, Driver::VhostVdpa.name()) {
        chars.clear();
    }
    for function in inventory.parents.iter().flat_map(|parent| &parent.functions) {
        let id = function.address.to_string();
        if !asked(&id) {
            continue;
        }
        let opened = function.vfio.iter().flat_map(vfio::Vfio::own);
        chars.extend(opened.map(|char_device| (id.clone(), char_device)));
        holders.extend(unseen(function).map(|why| (id, why)));
    }
    if !chars.is_empty() {
        for (pid, number) in open_char_devices(root.proc()) {
            for (id, _) in chars.iter().filter(|(_, c)| (c.major, c.minor) == number) {
                holders.insert(id.clone(), format!("process {pid} has it open"));
            }
        }
    }
    holders
}

/// A network driver's interface that is not here is in another network namespace, and what a driver
/// for virtual machines has may be in one.
fn unseen(function: &VirtualFunction) -> Option<String> {
    let VirtualFunction { driver, netdevs, vdpa, .. } = function;
    let driver = driver.as_deref().filter(|driver| !cards::makes_vdpa_devices(driver))?;
    if !netdevs.is_empty() || !vdpa.is_empty() || function.vfio.is_some() {
        return None;
    }
    match cards::netdev(driver) {
        Some(netdev) => netdev.made_one(function).then(|| ELSEWHERE.to_owned()),
        None => Some(format!(
            "it is bound to {driver} and has no interface here: unbind it if nobody uses it"
        )),
    }
}

/// Every vDPA device that can be ours, with its device id.
fn devices(inventory: &Inventory) -> impl Iterator<Item = (String, &VdpaDevice)> {
    let cards = inventory.parents.iter().flat_map(|parent| &parent.functions);
    let on_cards = cards.flat_map(|f| f.vdpa.iter().map(|v| (f.address.to_string(), v)));
    let simulated = inventory.simulators.iter().flat_map(|s| &s.vdpa);
    on_cards.chain(simulated.map(|v| (v.name.clone(), v)))
}

/// Character devices that processes have open: process id, major and minor number.
fn open_char_devices(proc: &Path) -> Vec<(u32, (u32, u32))> {
    let mut found = Vec::new();
    for process in list(proc) {
        let name = process.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(pid) = name.parse() else { continue };
        for fd in list(&process.join("fd")) {
            if !may_be_device(&fd) {
                continue;
            }
            // a process or file that goes away meanwhile holds nothing
            if let Ok(file) = fs::metadata(fd)
                && file.file_type().is_char_device()
            {
                found.push((pid, (major(file.rdev()), minor(file.rdev()))));
            }
        }
    }
    found
}

/// Whether an open file's path can be that of a device node, on the host or in a container.
///
/// Looking at any other file could sleep for ever: on a network file system whose server is gone.
fn may_be_device(fd: &Path) -> bool {
    let Ok(path) = fs::read_link(fd) else { return false };
    let named = |name: &OsStr| name.to_string_lossy().starts_with("vhost-vdpa-");
    path.starts_with("/dev")
        || path.file_name().is_some_and(named)
        || path.parent().is_some_and(|dir| dir.ends_with("ringway"))
}

fn list(dir: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(dir).map(|d| d.flatten().map(|e| e.path()).collect()).unwrap_or_default()
}

fn major(device: u64) -> u32 {
    rustix::fs::major(device)
}

fn minor(device: u64) -> u32 {
    rustix::fs::minor(device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use crate::node::Node as _;
    use crate::plan::Attach;
    use crate::step::Function;

    fn with(driver: Driver) -> Inventory {
        let mut fake = Fake::new();
        let function = || Function::Vf { pf: crate::fake::pf(), index: 0 };
        for step in [
            Step::LoadModule("vp_vdpa"),
            Step::SetFunctionCount { pf: crate::fake::pf(), count: 1 },
            crate::fake::bind(0, Attach::VhostVdpa),
            Step::CreateVdpa { function: function(), mac: None, settings: Default::default() },
            Step::BindVdpa { function: function(), driver },
        ] {
            fake.apply(&step).unwrap();
        }
        fake.observed.inventory
    }

    #[test]
    fn an_interface_out_of_sight_is_held() {
        let mut inventory = with(Driver::VirtioVdpa);
        assert_eq!(of_kernel(&Root::new("/"), &inventory), Holders::new());
        inventory.parents[0].functions[0].vdpa[0].netdevs.clear();
        assert_eq!(of_kernel(&Root::new("/"), &inventory).len(), 1);
    }

    #[test]
    fn a_function_of_another_driver_is_held_unless_its_interface_is_here() {
        let mut inventory = with(Driver::VhostVdpa);
        let function = &mut inventory.parents[0].functions[0];
        function.vdpa.clear();
        assert_eq!(unseen(function), None, "vp-vdpa without a vDPA device");
        for (driver, words) in [
            ("virtio-pci", "its interface is in another network namespace"),
            ("vfio-pci", "it is bound to vfio-pci and has no interface here"),
            ("uio_pci_generic", "it is bound to uio_pci_generic"),
        ] {
            function.driver = Some(driver.into());
            function.virtio_driver = Some("virtio_net".into());
            function.netdevs.clear();
            assert!(unseen(function).unwrap().starts_with(words), "{driver}");
            function.netdevs.push(crate::fake::netdev("eth0", 7));
            assert_eq!(unseen(function), None);
        }
        function.netdevs.clear();
        (function.driver, function.virtio_driver) = (Some("virtio-pci".into()), None);
        assert_eq!(unseen(function), None, "nothing has made an interface");
        function.driver = Some("vfio-pci".into());
        function.vfio = Some(crate::fake::vfio(0));
        assert_eq!(unseen(function), None, "its users are found by what they have open");
        function.driver = None;
        function.vfio = None;
        assert_eq!(of_kernel(&Root::new("/"), &inventory), Holders::new());
    }

    #[test]
    fn who_became_attached_since_the_look_is_in_the_way_of_settings_alone() {
        let tree = ringway_kernel::testing::Tree::new("");
        tree.write("proc/sys/kernel/random/boot_id", "b\n");
        let record = r#"{"containerId": "c1", "ifname": "net1", "bootId": "b", "phase": "attaching",
                         "device": "0000:01:00.1"}"#;
        tree.write("attachments/c1:net1.json", record);
        let (records, fake) = (tree.path("attachments"), Fake::igb());
        let function = || Function::Vf { pf: crate::fake::pf(), index: 0 };
        let of = |step, disturbs: &[&str]| {
            let disturbs = disturbs.iter().map(|id| id.parse().unwrap()).collect();
            let parent = function().parent();
            let planned = Planned { step, parent, function: Some(0), disturbs };
            in_the_way(&tree.root(), &records, &planned, &fake.observed)
        };
        let set = || Step::SetVfSettings { function: function(), link: 4, settings: vec![] };
        let (one, other) = (["0000:01:00.1"], ["0000:01:00.2"]);
        assert_eq!(of(set(), &one)["0000:01:00.1"], "attached to c1 as net1");
        assert_eq!(of(set(), &[]), Holders::new());
        assert_eq!(of(Step::UnbindFunction { function: function() }, &one), Holders::new());
        tree.write("attachments/c2:net1.json", "{");
        let why = &of(set(), &other)["0000:01:00.2"];
        assert!(why.starts_with("whether it is attached is not known: parse"), "{why}");
    }

    #[test]
    fn only_files_that_may_be_devices_are_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        for (target, expected) in [
            ("/dev/vhost-vdpa-3", true),
            ("/dev/ringway/0000:01:00.1 (deleted)", true),
            ("/ringway/0000:01:00.1", true),
            ("/run/kata/vhost-vdpa-0", true),
            ("/mnt/nfs/vm.img", false),
            ("socket:[4711]", false),
        ] {
            let fd = dir.path().join(target.replace('/', "_"));
            std::os::unix::fs::symlink(target, &fd).unwrap();
            assert_eq!(may_be_device(&fd), expected, "{target}");
        }
        assert!(!may_be_device(&dir.path().join("gone")));
    }

    #[test]
    fn a_user_of_vfio_is_found_by_its_group_or_device() {
        let mut inventory = with(Driver::VhostVdpa);
        let function = &mut inventory.parents[0].functions[0];
        function.vdpa.clear();
        function.driver = Some("vfio-pci".into());
        let mut found = crate::fake::vfio(0);
        let null = CharDevice { path: "/dev/null".into(), major: 1, minor: 3 };
        // what every user has open tells nothing
        found.shared = vec![null.clone()];
        let _open = fs::File::open("/dev/null").unwrap();
        let mut holders = |vfio: vfio::Vfio| {
            inventory.parents[0].functions[0].vfio = Some(vfio);
            of_kernel(&Root::new("/"), &inventory).remove("0000:01:00.1")
        };
        assert_eq!(holders(found.clone()), None);
        let by_group = vfio::Vfio { group: null.clone(), ..found.clone() };
        let by_device = vfio::Vfio { cdev: Some(null), ..found };
        for vfio in [by_group, by_device] {
            assert!(holders(vfio).unwrap().ends_with("has it open"));
        }
    }

    #[test]
    fn an_open_file_is_found_by_its_number_unless_the_kernel_says_that_there_is_none() {
        let mut inventory = with(Driver::VhostVdpa);
        let tree = ringway_kernel::testing::Tree::new("");
        let root = tree.root().with_proc("/proc");
        assert_eq!(of_kernel(&root, &inventory), Holders::new());
        // any character device will do, as long as this process has it open
        let _open = fs::File::open("/dev/null").unwrap();
        let device = &mut inventory.parents[0].functions[0].vdpa[0];
        device.char_device = Some(CharDevice { path: "/dev/null".into(), major: 1, minor: 3 });
        for users in [None, Some("1\n")] {
            users.inspect(|users| tree.write("sys/module/vhost_vdpa/refcnt", users));
            let holders = of_kernel(&root, &inventory);
            assert!(holders["0000:01:00.1"].starts_with("process "), "{holders:?}");
            assert_eq!(of_some(&root, &inventory, |id| id == "0000:01:00.2"), Holders::new());
        }
        tree.write("sys/module/vhost_vdpa/refcnt", "0\n");
        assert_eq!(of_kernel(&root, &inventory), Holders::new());
    }
}
