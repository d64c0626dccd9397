//! What would be advertised, and why other devices are not: for a person who asks, before anything
//! runs.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use crate::offer::{Item, Offers};
use crate::source::{LeftOut, Told};
use crate::sriovdp::{self, Config, Function};
use crate::supply::{Delivery, Supply, Way};

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What kubelet would be told, by resource.
    pub resources: Vec<Resource>,
    /// Network functions, and accelerators where the source can speak of those, that would not be
    /// advertised.
    pub left_out: Vec<LeftOut>,
    /// What is wrong with the source.
    pub warnings: Vec<String>,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resource {
    /// Its whole name.
    pub resource: String,
    /// Its devices.
    pub devices: Vec<Device>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// What kubelet calls it.
    pub id: String,
    /// How it reaches its user.
    pub by: &'static str,
    /// The NUMA node that kubelet would be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
    /// Whether kubelet may hand it out.
    pub healthy: bool,
    /// Why not, or what is to be told of it all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The host's nodes that go into a container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
}

/// What would be advertised of what the source `told`, as it is seen in `offers`.
pub fn report(told: &Told, offers: &Offers) -> Report {
    let resource = |(resource, offer): (&ringway_node::Resource, &crate::offer::Offer)| Resource {
        resource: resource.to_string(),
        devices: offer.items.iter().map(device).collect(),
    };
    Report {
        resources: offers.iter().map(resource).collect(),
        left_out: told.left_out.clone(),
        warnings: told.warnings.clone(),
    }
}

fn device(item: &Item) -> Device {
    Device {
        id: item.id().to_string(),
        by: by(item.entry.way),
        numa_node: item.entry.device.numa_node,
        healthy: item.unusable.is_none(),
        reason: item.unusable.as_ref().or(item.remark.as_ref()).map(ToString::to_string),
        nodes: item.nodes.iter().map(|node| format!("/dev/{node}")).collect(),
    }
}

fn by(way: Way) -> &'static str {
    match way {
        Way::Netdev => "netdev",
        Way::Vfio => "vfio",
        Way::Uio => "uio",
        Way::VirtioVdpa => "virtio-vdpa",
        Way::VhostVdpa => "vhost-vdpa",
    }
}

/// The network functions that none of `supplies`, from `pools.json`, has.
pub fn not_in_pools(supplies: &[Supply], functions: &[Function]) -> Vec<LeftOut> {
    let network: Vec<_> = functions.iter().filter(|f| f.ids.is_network()).cloned().collect();
    let entries = supplies.iter().flat_map(|supply| &supply.entries);
    let listed: BTreeSet<String> =
        entries.filter_map(|entry| Some(entry.device.function()?.to_string())).collect();
    // with no resource at all, what is left says what nobody may have
    let all = sriovdp::select(&Config::default(), &network, Delivery::Cdi).left_out;
    let mut left_out: Vec<_> = all.into_iter().filter(|f| !listed.contains(&f.device)).collect();
    for left_out in &mut left_out {
        for reason in left_out.reasons.iter_mut().filter(|r| *r == sriovdp::NO_RESOURCE) {
            *reason = "it is not in pools.json: no policy wants it".to_owned();
        }
    }
    left_out
}

impl Report {
    /// Whether nothing in it needs a look.
    pub fn is_fine(&self) -> bool {
        let mut devices = self.resources.iter().flat_map(|resource| &resource.devices);
        self.warnings.is_empty() && devices.all(|device| device.healthy)
    }

    /// For a person: a line for each device, then one for each that is left out.
    pub fn table(&self) -> String {
        let mut rows = vec![["RESOURCE", "DEVICE", "BY", "NUMA", "HEALTH"].map(str::to_owned)];
        for Resource { resource, devices } in &self.resources {
            rows.extend(devices.iter().map(|device| {
                let numa = device.numa_node.map_or("-".to_owned(), |node| node.to_string());
                let health = match (&device.reason, device.healthy) {
                    (None, _) => "healthy".to_owned(),
                    (Some(remark), true) => format!("healthy; {remark}"),
                    (Some(reason), false) => reason.clone(),
                };
                [resource.clone(), device.id.clone(), device.by.to_owned(), numa, health]
            }));
        }
        let mut text = match rows.len() {
            1 => "nothing would be advertised\n".to_owned(),
            _ => columns(&rows),
        };
        if !self.left_out.is_empty() {
            let mut rows = vec![["NOT ADVERTISED", "WHY"].map(str::to_owned)];
            for LeftOut { device, reasons } in &self.left_out {
                let names = std::iter::once(device.clone()).chain(std::iter::repeat(String::new()));
                rows.extend(names.zip(reasons).map(|(name, reason)| [name, reason.clone()]));
            }
            let _ = write!(text, "\n{}", columns(&rows));
        }
        for (at, warning) in self.warnings.iter().enumerate() {
            let space = if at == 0 { "\n" } else { "" };
            let _ = writeln!(text, "{space}warning: {warning}");
        }
        text
    }
}

/// Aligned, two spaces between, none at the end of a line.
fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offer::Unusable;
    use crate::source::LeftOut;
    use crate::testing::{VHOST, offers, pools, resource};

    fn told() -> Told {
        let (device, reasons) = ("0000:02:00.0".to_owned(), vec!["one".into(), "two".into()]);
        Told { left_out: vec![LeftOut { device, reasons }], ..Told::default() }
    }

    #[test]
    fn a_table_for_people() {
        let mut offers = offers(&pools());
        let fine = report(&told(), &offers);
        assert!(fine.is_fine());
        let expected = "\
RESOURCE               DEVICE        BY           NUMA  HEALTH
ringway.dev/pod-rings  0000:01:00.3  virtio-vdpa  1     healthy
ringway.dev/vm-rings   0000:01:00.1  vhost-vdpa   1     healthy
ringway.dev/vm-rings   0000:01:00.2  vhost-vdpa   0     healthy

NOT ADVERTISED  WHY
0000:02:00.0    one
                two
";
        assert_eq!(fine.table(), expected);

        let item = &mut offers.get_mut(&resource(VHOST)).unwrap().items[0];
        item.unusable = Some(Unusable::Draining("mtu changes".to_owned()));
        item.entry.device.numa_node = None;
        let parent = "0000:01:00.0".parse().unwrap();
        let remark = Some(Unusable::Carrier { parent, seen: true });
        offers.get_mut(&resource(VHOST)).unwrap().items[1].remark = remark;
        let sick = report(&Told::default(), &offers);
        assert!(!sick.is_fine());
        let line =
            "ringway.dev/vm-rings   0000:01:00.1  vhost-vdpa   -     draining: mtu changes\n";
        assert!(sick.table().contains(line), "{}", sick.table());
        let line = "0000:01:00.2  vhost-vdpa   0     healthy; parent 0000:01:00.0 has no carrier\n";
        assert!(sick.table().contains(line), "{}", sick.table());
    }

    #[test]
    fn nothing_to_advertise_and_warnings_are_said() {
        let warnings = vec!["a".to_owned(), "b".to_owned()];
        let report = report(&Told { warnings, ..Told::default() }, &Offers::new());
        assert_eq!(report.table(), "nothing would be advertised\n\nwarning: a\nwarning: b\n");
        assert!(!report.is_fine());
    }

    #[test]
    fn json_for_programs() {
        let json = serde_json::to_value(report(&told(), &offers(&pools()))).unwrap();
        assert_eq!(json["resources"][1]["resource"], "ringway.dev/vm-rings");
        assert_eq!(
            json["resources"][1]["devices"][0],
            serde_json::json!({"id": "0000:01:00.1", "by": "vhost-vdpa", "numaNode": 1,
                               "healthy": true, "nodes": ["/dev/vhost-vdpa-10"]})
        );
        assert_eq!(json["leftOut"][0]["reasons"][1], "two");
    }
}
