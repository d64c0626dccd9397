//! The node's disk: its root, the lab's settings and the cluster's programs as one ext4 image,
//! made without mounts. What differs between two runs comes through the share at boot instead.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::parts::golang::Programs;
use crate::parts::{initrd, sole};
use crate::place::Place;
use crate::run;
use crate::store::{Key, Part, Site, Store};

/// Sparse: room for the images that kubelet would otherwise collect, and cannot pull again.
const SIZE: &str = "16G";

/// The disk image `root.img`, `initrd.cpio` to boot it, and `key` to log in.
pub(super) fn disk(
    store: &Store<'_>,
    place: &Place,
    node: &Part,
    kernel: &Part,
    programs: &Programs,
) -> Result<Part> {
    let (script, settings) = (place.asset("disk.sh"), place.asset("node"));
    let init = place.asset("node-init");
    let files = tree(&settings)?;
    let mut key = Key::new(2).with(SIZE).with(&node.key).with(&kernel.key);
    key = key.file(&script)?.file(&init)?;
    for file in &files {
        let below = file.strip_prefix(&settings)?.as_os_str().as_encoded_bytes();
        key = key.with(below).file(file)?;
    }
    for (part, _, _) in installed(programs) {
        key = key.with(&part.key);
    }
    store.part("disk", key, |site| {
        let root = site.scratch.join("root");
        copy(&node.path("root"), &root, site)?;
        for file in &files {
            place_file(file, &root.join(file.strip_prefix(&settings)?))?;
        }
        for (part, names, dir) in installed(programs) {
            for name in names {
                place_file(&part.path("bin").join(name), &root.join(dir).join(name))?;
            }
        }
        extra_modules(kernel, &root)?;
        login_key(site, &root)?;
        let mut touches = run::contained("chroot");
        touches.arg(&root).args(["sh", "-c", &fs::read_to_string(&script)?]);
        run::logged(touches, site.log)?;
        fs::write(site.out.join("initrd.cpio"), initrd::archive(&root, &init)?)?;
        image(site, &root)
    })
}

/// Which programs go onto the node, and where.
fn installed(programs: &Programs) -> [(&Part, &'static [&'static str], &'static str); 7] {
    [
        (&programs.kubernetes, &["kubelet", "kube-proxy"], "opt/bin"),
        (&programs.containerd, &["containerd", "containerd-shim-runc-v2", "ctr"], "opt/bin"),
        (&programs.multus, &["multus"], "opt/cni/bin"),
        (&programs.whereabouts, &["whereabouts"], "opt/cni/bin"),
        (&programs.promlint, &["promlint"], "opt/bin"),
        (
            &programs.cni,
            &[
                "bandwidth",
                "bridge",
                "dhcp",
                "host-device",
                "host-local",
                "loopback",
                "portmap",
                "sbr",
                "static",
                "tuning",
            ],
            "opt/cni/bin",
        ),
        (&programs.cni, &["cnitool"], "opt/bin"),
    ]
}

fn copy(from: &Path, to: &Path, site: &Site<'_>) -> Result<()> {
    let mut command = run::contained("cp");
    command.args(["--archive", "--reflink=auto"]).arg(from).arg(to);
    run::logged(command, site.log)
}

fn place_file(from: &Path, to: &Path) -> Result<()> {
    let parent = to.parent().context("a file in the root has a directory")?;
    fs::create_dir_all(parent)?;
    fs::copy(from, to).with_context(|| format!("write {}", to.display()))?;
    // a checkout's group bits depend on the umask it was made with
    let executable = fs::metadata(from)?.permissions().mode() & 0o100 != 0;
    let mode = if executable { 0o755 } else { 0o644 };
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(mode))?)
}

/// What was built for one kernel is of no use to another: the archive may have moved between the
/// builds of the two roots.
fn extra_modules(kernel: &Part, root: &Path) -> Result<()> {
    let (theirs, ours) = (kernel.path("modules"), root.join("usr/lib/modules"));
    let (theirs, ours) = (sole(&theirs, "")?, sole(&ours, "")?);
    ensure!(
        theirs.file_name() == ours.file_name(),
        "{} was built for another kernel than {}: `cargo lab up --refresh` builds both anew",
        theirs.display(),
        ours.display()
    );
    for file in tree(&theirs)? {
        place_file(&file, &ours.join(file.strip_prefix(&theirs)?))?;
    }
    Ok(())
}

fn login_key(site: &Site<'_>, root: &Path) -> Result<()> {
    let key = site.out.join("key");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"]).arg(&key);
    run::logged(keygen, site.log)?;
    let ssh = root.join("root/.ssh");
    DirBuilder::new().recursive(true).mode(0o700).create(&ssh)?;
    fs::copy(site.out.join("key.pub"), ssh.join("authorized_keys"))?;
    Ok(())
}

fn image(site: &Site<'_>, root: &Path) -> Result<()> {
    let mut command = run::contained("mke2fs");
    command.args(["-q", "-t", "ext4", "-L", "root", "-d"]).arg(root);
    command.arg(site.out.join("root.img")).arg(SIZE);
    run::logged(command, site.log)
}

/// All files below a directory, in a stable order.
fn tree(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() { files.extend(tree(&path)?) } else { files.push(path) }
    }
    files.sort();
    Ok(files)
}
