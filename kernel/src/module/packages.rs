//! Which package usually holds a module that is not there: only what was seen in the packages or
//! is in a distribution's own documents.

/// The modules for vDPA that Debian builds, from 6.12 on; before, it builds none.
const DEBIAN: [&str; 4] = ["vdpa", "vduse", "vhost_vdpa", "virtio_vdpa"];

/// Drivers of cards that Debian's kernels for clouds leave out, and the others have.
const NOT_FOR_CLOUDS: [&str; 1] = ["igbvf"];

/// Where to get a module, by the release of the running kernel, which tells whose kernel it is.
pub(super) fn usual(module: &str, release: &str) -> String {
    if is_debian(release) {
        debian(module)
    } else if release.ends_with("-generic") {
        ubuntu(release)
    } else if release.contains(".el") {
        red_hat(module, release)
    } else {
        format!(
            "look for the package with the rest of this kernel's modules, as Ubuntu's \
             linux-modules-extra and the RHEL family's kernel-modules-extra; {}",
            debian(module)
        )
    }
}

/// `6.1.0-56-amd64`, `6.12.117+deb13-cloud-amd64`.
fn is_debian(release: &str) -> bool {
    release.contains("+deb") || release.ends_with("-amd64") || release.ends_with("-arm64")
}

fn debian(module: &str) -> String {
    let words = match module {
        module if DEBIAN.contains(&module) => "Debian's kernels have it from 6.12 on",
        module if NOT_FOR_CLOUDS.contains(&module) => {
            "Debian's kernels have it but for those for clouds: linux-image-amd64 does"
        }
        _ => "Debian's kernels leave it out, there it must be built from the package linux-source",
    };
    words.to_owned()
}

/// 5.15 and 6.8 have most of them in the extra package, 6.17 and 7.0 all in the plain one.
fn ubuntu(release: &str) -> String {
    format!(
        "Ubuntu has it in the package linux-modules-extra-{release}, from 6.17 on in \
         linux-modules-{release}"
    )
}

/// Red Hat's "The Linux kernel RPM package overview". Modules of the extra package are on a
/// blacklist, which does not bind a load by name.
fn red_hat(module: &str, release: &str) -> String {
    format!(
        "the RHEL family has what kernel-modules-core lacks in kernel-modules-{release} or \
         kernel-modules-extra-{release}; `dnf provides '*/{module}.ko*'` tells which"
    )
}

#[cfg(test)]
mod tests {
    use super::usual;

    #[test]
    fn each_familys_kernels_are_known_by_their_release() {
        let check = |module, release, expected: &str| {
            let text = usual(module, release);
            assert!(text.contains(expected), "{release}: {text}");
        };
        check("vp_vdpa", "6.8.0-31-generic", "linux-modules-extra-6.8.0-31-generic");
        check("vp_vdpa", "6.17.0-5-generic", "from 6.17 on in linux-modules-6.17.0-5-generic");
        for release in ["6.1.0-56-amd64", "6.12.117+deb13-cloud-amd64", "6.12.117+deb13-arm64"] {
            check("vdpa_sim_net", release, "Debian's kernels leave it out");
            check("virtio_vdpa", release, "from 6.12 on");
            check("igbvf", release, "linux-image-amd64");
        }
        let el = "5.14.0-503.11.1.el9_5.x86_64";
        check("vp_vdpa", el, "kernel-modules-extra-5.14.0-503.11.1.el9_5.x86_64");
        check("vp_vdpa", el, "`dnf provides '*/vp_vdpa.ko*'`");
        for expected in ["linux-modules-extra", "kernel-modules-extra", "linux-source"] {
            check("vp_vdpa", "6.8.12-1-pve", expected);
        }
    }
}
