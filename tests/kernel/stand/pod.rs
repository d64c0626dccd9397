//! A pod, as far as a CNI plugin sees one.

use std::path::{Path, PathBuf};
use std::process::Command;

use ringway_kernel::link::{Link, Links};
use ringway_kernel::netns::Netns;

use super::run;

/// A network namespace with the container id that a runtime would give.
pub struct Pod {
    name: String,
    container: String,
    ours: bool,
}

impl Pod {
    pub fn new(name: &str) -> Self {
        // one that a killed run left
        let _ = Command::new("ip").args(["netns", "del", name]).output();
        run("ip", &["netns", "add", name]);
        Self { name: name.to_owned(), container: Self::container_of(name), ours: true }
    }

    /// The container id of the pod of a name.
    pub fn container_of(name: &str) -> String {
        format!("c-{name}")
    }

    /// The same namespace for another container id.
    pub fn as_another_container(&self) -> Self {
        let container = format!("{}-2", self.container);
        Self { name: self.name.clone(), container, ours: false }
    }

    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    pub fn container(&self) -> &str {
        &self.container
    }

    pub fn target(&self) -> String {
        self.container.clone()
    }

    pub fn links(&self) -> Vec<Link> {
        Netns::open(self.path()).unwrap().run(|| Links::open()?.list()).unwrap()
    }

    pub fn link(&self, name: &str) -> Link {
        let links = self.links();
        links.into_iter().find(|link| link.name == name).expect(name)
    }

    pub fn ip(&self, line: &str) {
        let args: Vec<_> = ["-n", &self.name].into_iter().chain(line.split(' ')).collect();
        run("ip", &args);
    }

    /// Runs a program in it, and gives what that says.
    pub fn exec(&self, line: &str) -> String {
        let args: Vec<_> =
            ["netns", "exec", &self.name].into_iter().chain(line.split(' ')).collect();
        run("ip", &args)
    }

    pub fn ping(&self, address: &str) {
        // the first answers may be late: the far end's netdev was set up this instant
        self.exec(&format!("ping -c 3 -w 60 {address}"));
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if self.ours {
            let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
        }
    }
}
