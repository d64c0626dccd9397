use super::*;
use crate::testing::{VHOST, offers, pools, resource};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// As when no pod holds anything.
fn remove_all(orphans: Result<Orphans, Error>) {
    assert_eq!(orphans.unwrap().remove(|_| false).unwrap(), [""; 0]);
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn specs_are_written_for_what_has_nodes_and_removed_with_their_resource() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("made/for/it");
    let offers = offers(&pools());
    specs(&dir, &offers, None, &Ours::Own).unwrap();
    assert_eq!(names(&dir), ["ringway.dev-vm-rings.json"]);

    let others = ["vendor.json", "ringway.dev-note.txt", "ringway.dev-old.json"];
    // what a plugin that was killed while it wrote has left, and somebody else's
    let leftovers = [".ringway.dev-vm-rings.json.12-0", ".vendor.json.12-0"];
    for other in others.into_iter().chain(leftovers) {
        std::fs::write(dir.join(other), "").unwrap();
    }
    specs(&dir, &Offers::new(), None, &Ours::Own).unwrap();
    assert_eq!(names(&dir), [".vendor.json.12-0", "ringway.dev-note.txt", "vendor.json"]);
}

#[test]
fn an_unchanged_file_is_left_alone_and_a_changed_one_mended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ringway.dev-vm-rings.json");
    let offers = offers(&pools());
    let write = || specs(dir.path(), &offers, None, &Ours::Own).unwrap();
    let inode = || path.symlink_metadata().unwrap().ino();
    write();
    let (first, content) = (inode(), std::fs::read(&path).unwrap());
    write();
    assert_eq!(inode(), first);

    std::fs::write(&path, "{}").unwrap();
    write();
    assert_eq!(std::fs::read(&path).unwrap(), content);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn a_symlink_in_place_of_a_spec_is_replaced_and_its_target_kept() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    std::fs::write(&target, "kept").unwrap();
    let path = dir.path().join("ringway.dev-vm-rings.json");
    std::os::unix::fs::symlink(&target, &path).unwrap();
    specs(dir.path(), &offers(&pools()), None, &Ours::Own).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"kept");
    assert!(path.symlink_metadata().unwrap().is_file());
}

#[test]
fn every_device_has_its_info() {
    let dir = tempfile::tempdir().unwrap();
    remove_all(infos(dir.path(), &offers(&pools()), &Ours::Own));
    let dp = dir.path().join("dp");
    assert_eq!(
        names(&dp),
        [
            "ringway.dev-pod-rings-0000:01:00.3-device.json",
            "ringway.dev-vm-rings-0000:01:00.1-device.json",
            "ringway.dev-vm-rings-0000:01:00.2-device.json",
        ]
    );
    let vhost = dp.join("ringway.dev-vm-rings-0000:01:00.1-device.json");
    assert_eq!(
        std::fs::read_to_string(&vhost).unwrap(),
        r#"{"type":"vdpa","version":"1.1.0","vdpa":{"parent-device":"vdpa:0000:01:00.1","driver":"vhost","path":"/dev/ringway/0000:01:00.1","pci-address":"0000:01:00.1","pf-pci-address":"0000:01:00.0"}}"#
    );
    assert_eq!(vhost.metadata().unwrap().permissions().mode() & 0o777, 0o444);
    let virtio = dp.join("ringway.dev-pod-rings-0000:01:00.3-device.json");
    assert_eq!(
        std::fs::read_to_string(virtio).unwrap(),
        r#"{"type":"vdpa","version":"1.1.0","vdpa":{"parent-device":"vdpa:0000:01:00.3","driver":"virtio","pci-address":"0000:01:00.3","pf-pci-address":"0000:01:00.0"}}"#
    );
}

#[test]
fn info_stays_while_a_device_is_in_trouble_and_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut offers = offers(&pools());
    let other = dir.path().join("dp/intel.com-x-0000:05:00.2-device.json");
    remove_all(infos(dir.path(), &offers, &Ours::Own));
    std::fs::write(&other, "").unwrap();

    let offer = offers.get_mut(&resource(VHOST)).unwrap();
    offer.items[0].entry.device.vdpa = None;
    offer.items.truncate(1);
    remove_all(infos(dir.path(), &offers, &Ours::Own));
    assert_eq!(
        names(&dir.path().join("dp")),
        [
            "intel.com-x-0000:05:00.2-device.json",
            "ringway.dev-pod-rings-0000:01:00.3-device.json",
            "ringway.dev-vm-rings-0000:01:00.1-device.json",
        ]
    );
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = specs(&file.join("cdi"), &offers(&pools()), None, &Ours::Own).unwrap_err();
    assert!(error.to_string().contains("file/cdi"), "{error}");
}

#[test]
fn of_other_prefixes_only_the_resources_own_files_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let dp = dir.path().join("dp");
    std::fs::create_dir(&dp).unwrap();
    let others = [
        "intel.com-nics-0000:05:00.3.json",
        "intel.com-nics-dpdk-0000:05:00.2-device.json",
        "intel.com-nics-x-mlx5_core.sf.4-device.json",
        "ringway.dev-nics-0000:05:00.2-device.json",
    ];
    let own =
        ["0000:05:00.2", "mlx5_core.sf.4"].map(|id| format!("intel.com-nics-{id}-device.json"));
    for name in others.into_iter().chain(own.iter().map(String::as_str)) {
        std::fs::write(dp.join(name), "").unwrap();
    }
    let ours = Ours::Others([Resource::of("intel.com", "nics").unwrap()].into());
    remove_all(infos(dir.path(), &Offers::new(), &ours));
    assert_eq!(names(&dp), others);

    let specs_of_others = ["ringway.dev-nics.json", "sriov-dp-net-pci-nics.json"];
    let cdi = dir.path().join("cdi");
    std::fs::create_dir(&cdi).unwrap();
    for name in specs_of_others.into_iter().chain(["ringway-sriovdp-intel.com-old.json"]) {
        std::fs::write(cdi.join(name), "").unwrap();
    }
    specs(&cdi, &Offers::new(), None, &ours).unwrap();
    assert_eq!(names(&cdi), specs_of_others);
}

#[test]
fn an_orphan_stays_while_a_pod_holds_what_it_is_about() {
    let dir = tempfile::tempdir().unwrap();
    remove_all(infos(dir.path(), &offers(&pools()), &Ours::Own));
    let dp = dir.path().join("dp");
    let held = "ringway.dev-vm-rings-0000:01:00.1-device.json";
    let orphans = infos(dir.path(), &Offers::new(), &Ours::Own).unwrap();
    assert!(!orphans.is_empty());
    assert_eq!(names(&dp).len(), 3, "only looked for");
    assert_eq!(orphans.remove(|name| name == held).unwrap(), [held]);
    assert_eq!(names(&dp), [held]);
    remove_all(infos(dir.path(), &Offers::new(), &Ours::Own));
    assert_eq!(names(&dp), [""; 0]);
}
