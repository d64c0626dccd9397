use super::*;
use crate::testing::Tree;

/// As depmod wrote it for Debian's 6.12 kernel, shortened.
const MODULES_DEP: &str = "\
kernel/drivers/vhost/vringh.ko.xz: kernel/drivers/vhost/vhost_iotlb.ko.xz
kernel/drivers/vhost/vhost_iotlb.ko.xz:
kernel/drivers/vhost/vhost_vdpa.ko.xz: kernel/drivers/vhost/vhost.ko.xz \
kernel/drivers/vhost/vhost_iotlb.ko.xz kernel/drivers/vdpa/vdpa.ko.xz
kernel/drivers/vdpa/vdpa.ko.xz:
extra/vp-vdpa.ko: kernel/drivers/vdpa/vdpa.ko.xz
";

fn tree() -> Tree {
    let tree = Tree::new("");
    tree.write("lib/modules/6.12/modules.dep", MODULES_DEP);
    tree.write("lib/modules/6.12/modules.builtin", "kernel/drivers/virtio/virtio-pci.ko\n");
    tree
}

#[test]
fn what_is_needed_comes_first() {
    let tree = tree();
    let check = |name, expected: &[&str]| {
        let files = missing(&tree.root(), "6.12", name).unwrap();
        let expected: Vec<_> =
            expected.iter().map(|file| tree.path("lib/modules/6.12").join(file)).collect();
        assert_eq!(files, expected, "{name}");
    };
    check(
        "vhost_vdpa",
        &[
            "kernel/drivers/vdpa/vdpa.ko.xz",
            "kernel/drivers/vhost/vhost_iotlb.ko.xz",
            "kernel/drivers/vhost/vhost.ko.xz",
            "kernel/drivers/vhost/vhost_vdpa.ko.xz",
        ],
    );
    // Either spelling, of a file in either spelling.
    check("vp_vdpa", &["kernel/drivers/vdpa/vdpa.ko.xz", "extra/vp-vdpa.ko"]);
    check("vp-vdpa", &["kernel/drivers/vdpa/vdpa.ko.xz", "extra/vp-vdpa.ko"]);
    check("virtio_pci", &[]); // built in
}

#[test]
fn what_is_loaded_is_left_out() {
    let tree = tree();
    tree.write("sys/module/vdpa/initstate", "live\n");
    let files = missing(&tree.root(), "6.12", "vp_vdpa").unwrap();
    assert_eq!(files, [tree.path("lib/modules/6.12/extra/vp-vdpa.ko")]);
    tree.write("sys/module/vp_vdpa/initstate", "live\n");
    assert!(missing(&tree.root(), "6.12", "vp-vdpa").unwrap().is_empty());
    assert!(is_loaded(&tree.root(), "vp-vdpa"));
    assert_eq!(loaded(&tree.root(), ["vduse", "vp-vdpa"]).unwrap(), ["vp-vdpa"]);
}

#[test]
fn a_module_that_comes_or_goes_is_not_loaded() {
    let tree = tree();
    tree.write("sys/module/vdpa/initstate", "going\n");
    assert!(!is_loaded(&tree.root(), "vdpa"));
    assert_eq!(loaded(&tree.root(), ["vdpa"]).unwrap(), [""; 0]);
    tree.write("sys/module/kernel/parameters/x", "1"); // built in: no initstate
    assert!(is_loaded(&tree.root(), "kernel"));
    assert_eq!(loaded(&tree.root(), ["kernel", "vdpa"]).unwrap(), ["kernel"]);
}

#[test]
fn only_a_module_that_tells_so_is_idle() {
    let tree = tree();
    tree.write("sys/module/vhost_vdpa/refcnt", "0\n");
    tree.write("sys/module/vhost/refcnt", "1\n");
    tree.write("sys/module/vdpa/refcnt", "-1\n"); // going
    let idle = |name| is_idle(&tree.root(), name);
    assert_eq!(["vhost-vdpa", "vhost", "vdpa", "virtio"].map(idle), [true, false, false, false]);
}

#[test]
fn a_missing_module_names_its_package() {
    let error = missing(&tree().root(), "6.12", "mlx5-vdpa").unwrap_err().to_string();
    assert!(error.starts_with("load module mlx5-vdpa: kernel 6.12 is installed without it: look"));
    assert!(error.contains("linux-modules-extra"), "{error}");
}

#[test]
fn another_kernels_modules_are_no_help() {
    let error = missing(&tree().root(), "6.13", "vdpa").unwrap_err().to_string();
    assert!(error.contains("/lib/modules/6.13/modules.dep is not there"), "{error}");
}

#[test]
fn a_listed_file_that_is_not_there_is_a_missing_module() {
    let error = load_for(&tree().root(), "6.12", "vp_vdpa").unwrap_err();
    assert!(matches!(&error, Error::Module { name, .. } if name == "vp_vdpa"), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("load module vp_vdpa: it needs vdpa: /"), "{text}");
    assert!(text.contains("vdpa.ko.xz is in modules.dep but not there"), "{text}");
    assert!(text.contains("linux-modules-extra"), "{text}");
}

#[test]
fn refusals_say_what_to_do() {
    let check = |file: &str, error: Errno, expected: &str| {
        let error = refused("vdpa", "6.12", Path::new(file), Refusal::Insert(error));
        let text = error.to_string();
        assert!(text.starts_with("load module vdpa: ") && text.contains(expected), "{text}");
    };
    check("/m/vdpa.ko.zst", Errno::OPNOTSUPP, "cannot decompress /m/vdpa.ko.zst");
    check("/m/vdpa.ko.zst", Errno::INVAL, "`modprobe vdpa`");
    check("/m/vdpa.ko", Errno::INVAL, "load module vdpa: insert /m/vdpa.ko: Invalid argument");
    check("/m/vdpa.ko", Errno::PERM, "SYS_MODULE is missing, or Secure Boot's lockdown");
    check("/m/vdpa.ko.xz", Errno::KEYREJECTED, "no signature");
    check("/m/vdpa.ko.xz", Errno::NOKEY, "no signature");
    check("/m/vdpa.ko", Errno::BADMSG, "no signature");
    check("/m/vdpa.ko", Errno::NOENT, "does not fit the running kernel");
    check("/m/vdpa.ko.xz", Errno::NOEXEC, "/m/vdpa.ko.xz does not fit the running kernel");
    check("/m/vringh.ko", Errno::NOEXEC, "it needs vringh: /m/vringh.ko does not fit");
    let denied = Refusal::Open(ErrorKind::PermissionDenied.into());
    let text = refused("vdpa", "6.12", Path::new("/m/vdpa.ko"), denied).to_string();
    assert_eq!(text, "load module vdpa: open /m/vdpa.ko: permission denied");
}
