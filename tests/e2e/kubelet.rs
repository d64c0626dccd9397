//! What kubelet says of device plugins, in its log.

use crate::cluster::on_node;

/// When a plugin's list has come.
pub(crate) const LISTED: &str = "Processed device updates for resource";

/// What kubelet's log says since a moment.
pub(crate) struct Kubelet {
    since: String,
}

impl Kubelet {
    pub(crate) fn from_now() -> Self {
        Self { since: on_node("date +%s.%N").trim().to_owned() }
    }

    /// How often it said something about a resource.
    pub(crate) fn said(&self, what: &str, resource: &str) -> usize {
        self.times(what, resource).len()
    }

    /// How many seconds after the moment it first said something about a resource.
    pub(crate) fn first(&self, what: &str, resource: &str) -> Option<f64> {
        let since: f64 = self.since.parse().unwrap();
        self.times(what, resource).first().map(|time| time - since)
    }

    /// In seconds since 1970.
    fn times(&self, what: &str, resource: &str) -> Vec<f64> {
        let log = on_node(&format!("journalctl -o short-unix -u kubelet --since=@{}", self.since));
        let name = format!("\"ringway.dev/{resource}\"");
        let lines = log.lines().filter(|line| line.contains(what) && line.contains(&name));
        lines.map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect()
    }
}
