//! Programs from published Go modules at the versions that `go/*/go.sum` pins: no vendored tree,
//! no container registry, and not the host's Go. All but containerd agree on the versions of what
//! they share, so that Go compiles it once.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::parts::roots;
use crate::place::Place;
use crate::run;
use crate::store::{Key, Part, Site, Store};

/// One module's programs.
struct Module {
    name: &'static str,
    packages: &'static [&'static str],
    ldflags: &'static str,
    tags: &'static str,
    /// Files of modules that go along: the module, and the file in it.
    files: &'static [(&'static str, &'static str)],
}

const WHEREABOUTS: &str = "github.com/k8snetworkplumbingwg/whereabouts";

/// What a cluster consists of. Versions are told to the linker where programs report them.
const MODULES: [Module; 7] = [
    Module {
        name: "kubernetes",
        packages: &[
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "k8s.io/kubernetes/cmd/kubelet",
            "k8s.io/kubernetes/cmd/kube-proxy",
            "k8s.io/kubernetes/cmd/kubectl",
        ],
        ldflags: "-X k8s.io/component-base/version.gitVersion=v1.36.3 \
                  -X k8s.io/component-base/version.gitMajor=1 \
                  -X k8s.io/component-base/version.gitMinor=36",
        tags: "",
        files: &[],
    },
    Module {
        name: "containerd",
        packages: &[
            "github.com/containerd/containerd/v2/cmd/containerd",
            "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            "github.com/containerd/containerd/v2/cmd/ctr",
        ],
        ldflags: "",
        tags: "no_btrfs,no_zfs,no_devmapper",
        files: &[],
    },
    Module {
        name: "cni",
        packages: &[
            "github.com/containernetworking/plugins/plugins/main/bridge",
            "github.com/containernetworking/plugins/plugins/main/host-device",
            "github.com/containernetworking/plugins/plugins/main/loopback",
            "github.com/containernetworking/cni/cnitool",
            "github.com/containernetworking/plugins/plugins/ipam/dhcp",
            "github.com/containernetworking/plugins/plugins/ipam/host-local",
            "github.com/containernetworking/plugins/plugins/ipam/static",
            "github.com/containernetworking/plugins/plugins/meta/bandwidth",
            "github.com/containernetworking/plugins/plugins/meta/portmap",
            "github.com/containernetworking/plugins/plugins/meta/sbr",
            "github.com/containernetworking/plugins/plugins/meta/tuning",
        ],
        ldflags: "-X github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=v1.9.1",
        tags: "",
        files: &[],
    },
    Module {
        name: "multus",
        packages: &["gopkg.in/k8snetworkplumbingwg/multus-cni.v4/cmd/multus"],
        ldflags: "",
        tags: "",
        files: &[(
            "github.com/k8snetworkplumbingwg/network-attachment-definition-client",
            "artifacts/networks-crd.yaml",
        )],
    },
    Module {
        name: "whereabouts",
        packages: &["github.com/k8snetworkplumbingwg/whereabouts/cmd"],
        ldflags: "",
        tags: "",
        files: &[
            (WHEREABOUTS, "doc/crds/whereabouts.cni.cncf.io_ippools.yaml"),
            (WHEREABOUTS, "doc/crds/whereabouts.cni.cncf.io_overlappingrangeipreservations.yaml"),
        ],
    },
    Module {
        name: "helm",
        packages: &["helm.sh/helm/v3/cmd/helm"],
        ldflags: "-X helm.sh/helm/v3/internal/version.version=v3.22.0",
        tags: "",
        files: &[],
    },
    Module { name: "promlint", packages: &["."], ldflags: "", tags: "", files: &[] },
];

/// The programs of all modules, one part each.
#[derive(Debug)]
pub(crate) struct Programs {
    /// API server, controller manager, scheduler, kubelet, kube-proxy, kubectl.
    pub(crate) kubernetes: Part,
    /// containerd, its shim, and ctr.
    pub(crate) containerd: Part,
    /// The CNI project's plugins, and its runtime for a shell.
    pub(crate) cni: Part,
    /// The thin Multus.
    pub(crate) multus: Part,
    /// An IPAM plugin for a whole cluster.
    pub(crate) whereabouts: Part,
    /// Helm.
    pub(crate) helm: Part,
    /// What lints a scrape.
    pub(crate) promlint: Part,
}

/// Builds all of them.
pub(super) fn programs(store: &Store<'_>, place: &Place, epoch: &str) -> Result<Programs> {
    let go = roots::golang(store, epoch)?;
    let [kubernetes, containerd, cni, multus, whereabouts, helm, promlint] =
        MODULES.map(|module| build(store, place, &go, &module));
    Ok(Programs {
        kubernetes: kubernetes?,
        containerd: containerd?,
        cni: cni?,
        multus: multus?,
        whereabouts: whereabouts?,
        helm: helm?,
        promlint: promlint?,
    })
}

fn build(store: &Store<'_>, place: &Place, go: &Part, module: &Module) -> Result<Part> {
    let sources = place.checkout.join("tests/lab/go").join(module.name);
    // a program of our own, where no published package is one
    let own = sources.join("main.go");
    let files = ["go.mod", "go.sum"].into_iter().chain(own.exists().then_some("main.go"));
    let mut key = Key::new(2).with(&go.key);
    for file in files.clone() {
        key = key.file(&sources.join(file))?;
    }
    let key = key
        .with(module.packages.join(" "))
        .with(module.ldflags)
        .with(module.tags)
        .with(module.files.iter().map(|(_, file)| *file).collect::<Vec<_>>().join(" "));
    store.part(module.name, key, |site| {
        // Go must not be able to write into the checkout
        for file in files.clone() {
            fs::copy(sources.join(file), site.scratch.join(file))?;
        }
        let mut build = go_command(go, place, site);
        build
            .args(["build", "-trimpath", "-mod=readonly", "-buildvcs=false", "-tags", module.tags])
            .arg(format!("-ldflags=-s -w {}", module.ldflags))
            .arg("-o")
            .arg(match module.packages {
                // its package may be called anything
                [_] => site.out.join("bin").join(module.name),
                _ => site.out.join("bin/"),
            })
            .args(module.packages);
        run::logged(build, site.log)?;
        for (other, file) in module.files {
            let mut list = go_command(go, place, site);
            list.args(["list", "-m", "-f", "{{.Dir}}", *other]);
            let from = PathBuf::from(run::output(list)?).join(file);
            let name = from.file_name().context("a module's file has a name")?;
            fs::copy(&from, site.out.join(name))
                .with_context(|| format!("take {}", from.display()))?;
        }
        Ok(())
    })
}

/// Go with its own caches, apart from the host's; the host's proxy and certificates still hold.
fn go_command(go: &Part, place: &Place, site: &Site<'_>) -> Command {
    let mut command = run::contained(go.path("root/usr/lib/go-1.26/bin/go"));
    command
        .current_dir(site.scratch)
        .env("GOCACHE", place.cache.join("go/build"))
        .env("GOMODCACHE", place.cache.join("go/mod"))
        .env("GOFLAGS", "")
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        .env("CGO_ENABLED", "0")
        .env_remove("GOROOT")
        .env_remove("GOPATH");
    command
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    /// What stays as its project released it: what the node's containers depend on, and what does not
    /// compile with the version that the others have.
    const APART: [(&str, &str); 2] = [("containerd", ""), ("multus", "k8s.io/kubelet")];

    #[test]
    fn modules_agree_on_what_they_share() {
        let mut versions = BTreeMap::<String, BTreeMap<String, &str>>::new();
        for module in MODULES {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("go").join(module.name);
            let text = fs::read_to_string(dir.join("go.mod")).unwrap();
            for (name, version) in requirements(&text) {
                let apart = |(apart, of): &(&str, &str)| {
                    *apart == module.name && (of.is_empty() || *of == name)
                };
                if !APART.iter().any(apart) {
                    versions.entry(name).or_default().insert(version, module.name);
                }
            }
        }
        versions.retain(|_, versions| versions.len() > 1);
        assert!(versions.is_empty(), "{versions:#?}");
    }

    /// Each module that a `go.mod` asks for, at the version it is replaced with if it is.
    fn requirements(text: &str) -> BTreeMap<String, String> {
        let lines = || text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let required = lines().filter_map(|words| match words[..] {
            [name, version, "//", "indirect"] => Some((name.to_owned(), version.to_owned())),
            _ => None,
        });
        let replaced = lines().filter_map(|words| match words[..] {
            [name, "=>", _, version] => Some((name.to_owned(), version.to_owned())),
            _ => None,
        });
        required.chain(replaced).collect()
    }

    #[test]
    fn every_module_is_named_among_the_parts() {
        for module in MODULES {
            assert!(crate::parts::NAMES.contains(&module.name), "{}", module.name);
        }
    }
}
