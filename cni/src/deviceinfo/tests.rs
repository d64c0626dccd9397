use super::*;

fn world() -> (tempfile::TempDir, World) {
    let dir = tempfile::tempdir().unwrap();
    let world = World::under(dir.path());
    fs::create_dir_all(world.paths.devinfo.join("cni")).unwrap();
    (dir, world)
}

fn info() -> DeviceInfo {
    DeviceInfo::vdpa(Vdpa {
        parent_device: "vdpa0".into(),
        driver: VdpaDriver::Virtio,
        path: None,
        pci_address: None,
        pf_pci_address: None,
        representor_device: None,
    })
}

#[test]
fn only_a_file_of_the_directory_is_named() {
    let (_dir, world) = world();
    let cni = world.paths.devinfo.join("cni");
    let check = |path: String, expected: Option<&str>| {
        let found = name(&world, &path);
        if let Err(error) = &found {
            assert_eq!(error.code(), Code::Config);
            assert!(error.to_string().contains("CNIDeviceInfoFile"), "{error}");
        }
        assert_eq!(found.ok().as_deref(), expected, "{path}");
    };
    let cni = cni.display();
    check(format!("{cni}/default-net-c1_net1"), Some("default-net-c1_net1"));
    for bad in ["", "/etc/passwd", "a", "../a"] {
        check(bad.to_owned(), None);
    }
    for bad in ["../dp/x", "a/b", "..", ".hidden", "a b", "x\n", ""] {
        check(format!("{cni}/{bad}"), None);
    }
}

#[test]
fn what_was_there_is_replaced_and_removed_twice() {
    let (_dir, world) = world();
    let path = world.paths.devinfo.join("cni/f");
    fs::write(&path, "old").unwrap();
    write(&world, "f", &info()).unwrap();
    assert_eq!(DeviceInfo::read(&path).unwrap(), info());
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    remove(&world, "f").unwrap();
    remove(&world, "f").unwrap();
    assert!(!path.exists());
}

#[test]
fn links_are_refused_and_their_targets_left_alone() {
    let (dir, world) = world();
    let target = dir.path().join("precious");
    fs::write(&target, "kept").unwrap();
    let link = world.paths.devinfo.join("cni/f");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let error = write(&world, "f", &info()).unwrap_err();
    assert_eq!(error.code(), Code::Config, "{error}");

    let cni = world.paths.devinfo.join("cni");
    fs::remove_dir_all(&cni).unwrap();
    std::os::unix::fs::symlink(dir.path(), &cni).unwrap();
    assert_eq!(write(&world, "precious", &info()).unwrap_err().code(), Code::Io);
    assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
}
