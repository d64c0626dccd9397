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
        times(&log, what, &named(resource))
    }
}

/// How many seconds after kubelet listened to device plugins it first had a resource's list, since the
/// machine's start.
pub(crate) fn first_list(resource: &str) -> f64 {
    let log = on_node("journalctl -b -o short-unix -u kubelet");
    let listens = times(&log, "Starting device plugin registration server", "");
    times(&log, LISTED, &named(resource))[0] - listens[0]
}

fn named(resource: &str) -> String {
    format!("\"ringway.dev/{resource}\"")
}

/// When a log of kubelet's has lines with both, in seconds since 1970.
fn times(log: &str, what: &str, name: &str) -> Vec<f64> {
    let lines = log.lines().filter(|line| line.contains(what) && line.contains(name));
    lines.map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect()
}
