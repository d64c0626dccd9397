//! Our own loader of kernel modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ringway_kernel::module;
use ringway_kernel::vdpa_bus::{self, Driver};

use crate::node::Node;
use crate::stand::{SIMULATED, simulate};

fn unload(name: &str) {
    let status = Command::new("rmmod").arg(name).status().unwrap();
    assert!(status.success(), "rmmod {name}");
}

/// The file of a module, as the running kernel's tree has it.
fn file(name: &str) -> PathBuf {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let dir = Path::new("/lib/modules").join(release.trim());
    let list = fs::read_to_string(dir.join("modules.dep")).unwrap();
    let files = list.lines().filter_map(|line| line.split_once(':')).map(|(file, _)| file);
    let stem = |file: &str| file.rsplit('/').next().unwrap().split('.').next().unwrap().to_owned();
    let mut found = files.filter(|file| stem(file) == name);
    dir.join(found.next().unwrap_or_else(|| panic!("no module {name}")))
}

#[test]
fn a_module_is_loaded_with_what_it_needs() {
    let node = Node::at_rest();
    unload("vdpa_sim_net");
    unload("vdpa_sim");
    assert!(!module::is_loaded(&node.root, "vdpa_sim_net"));
    // the dash is a person's spelling
    module::load(&node.root, "vdpa-sim-net").unwrap();
    assert!(module::is_loaded(&node.root, "vdpa_sim_net"));
    assert!(module::is_loaded(&node.root, "vdpa_sim"));
    module::load(&node.root, "vdpa_sim_net").unwrap();
}

/// That nobody has any vhost-vdpa device open is concluded from it.
#[test]
fn a_module_is_in_use_while_one_of_its_character_devices_is_open() {
    let node = Node::at_rest();
    vdpa_bus::set_drivers_autoprobe(&node.root, false).unwrap();
    simulate(&node, "02:00:00:00:00:01", 1500, Driver::VhostVdpa);
    let idle = || module::is_idle(&node.root, "vhost_vdpa");
    assert!(idle(), "a bound device alone");
    let path = vdpa_bus::char_device(&node.root, SIMULATED).unwrap().unwrap().path;
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    assert!(!idle(), "an open one");
    let copy = file.try_clone().unwrap();
    drop(file);
    assert!(!idle(), "until the last copy is closed");
    drop(copy);
    assert!(idle());
}

#[test]
fn a_compressed_module_is_decompressed_by_the_kernel() {
    let node = Node::at_rest();
    assert!(file("vduse").to_string_lossy().ends_with(".ko.xz"), "{}", file("vduse").display());
    if module::is_loaded(&node.root, "vduse") {
        unload("vduse");
    }
    module::load(&node.root, "vduse").unwrap();
    assert!(module::is_loaded(&node.root, "vduse"));
    unload("vduse");
}

#[test]
fn a_module_that_is_not_there_is_told_with_its_package() {
    let node = Node::at_rest();
    let error = module::load(&node.root, "mlx5_vdpa_of_nobody").unwrap_err().to_string();
    assert!(error.contains("mlx5_vdpa_of_nobody") && error.contains("linux-source"), "{error}");
}
