//! What a node has, for people and programs.

use anyhow::Result;
use ringway_kernel::inventory::{Inventory, Netdev, Parent, VdpaDevice, VirtualFunction};
use ringway_kernel::link::{VfLink, VfSetting, VfTxRate};
use serde::Serialize;

use crate::args::Output;
use crate::cards;
use crate::holders::Holders;
use crate::plan::card;

/// A line of the table.
type Row = [String; 5];

/// A value as JSON or YAML.
pub(crate) fn as_data(value: &impl Serialize, output: Output) -> Result<String> {
    Ok(match output {
        Output::Yaml => serde_saphyr::to_string(value)?,
        Output::Json | Output::Table => serde_json::to_string_pretty(value)? + "\n",
    })
}

/// A line for each parent, and below it one for each of its functions.
pub(crate) fn inventory_table(inventory: &Inventory, holders: &Holders) -> String {
    let mut rows = vec![["DEVICE", "DRIVER", "VDPA", "REACHED BY", "NOTE"].map(String::from)];
    for parent in &inventory.parents {
        rows.push(card_row(parent));
        rows.extend(parent.functions.iter().map(|function| function_row(function, holders)));
    }
    for simulator in &inventory.simulators {
        let name = simulator.management_device.handle.to_string();
        rows.push([name, dash(), dash(), dash(), format!("{} devices", simulator.vdpa.len())]);
        for (index, device) in simulator.vdpa.iter().enumerate() {
            let (vdpa, reached) = vdpa_words(device);
            let id = format!("  {index} {}", device.name);
            rows.push([id, dash(), vdpa, reached, in_use(&device.name, holders)]);
        }
    }
    for device in &inventory.other_vdpa {
        let (vdpa, reached) = vdpa_words(device);
        let note = "a vDPA device of none of these".to_owned();
        rows.push([device.name.clone(), dash(), vdpa, reached, note]);
    }
    let mut text = match rows.len() {
        1 => "no card with SR-IOV, and no vDPA device\n".to_owned(),
        _ => align(&rows),
    };
    for note in &inventory.notes {
        text += &format!("note: {note}\n");
    }
    text
}

/// Why a card must not be touched, or is of no use, is what a person looks for.
fn card_row(parent: &Parent) -> Row {
    let driver = parent.driver.as_deref();
    let mut count = format!("{} of {} functions", parent.numvfs, parent.totalvfs);
    if let Some(mode) = parent.eswitch.mode() {
        count += &format!(", eswitch {mode}");
    }
    let note = match (card::off_limits(parent), cards::attach(parent)) {
        (Some(why), _) => format!("{count}; off limits: {why}"),
        (None, (ways, Some(why))) if ways.is_empty() => format!("{count}; of no use: {why}"),
        _ if cards::is_untested(driver) => format!("{count}; its driver is untested"),
        _ => count,
    };
    [
        parent.address.to_string(),
        driver.map_or_else(dash, str::to_owned),
        dash(),
        names(&parent.netdevs),
        note,
    ]
}

fn function_row(function: &VirtualFunction, holders: &Holders) -> Row {
    let id = function.address.to_string();
    let (vdpa, reached) = match function.vdpa.first() {
        Some(device) => vdpa_words(device),
        None => (dash(), reached(function)),
    };
    let used = Some(in_use(&id, holders)).filter(|used| !used.is_empty());
    let note = used.into_iter().chain(settings(function)).collect::<Vec<_>>().join("; ");
    let driver = function.driver.clone().unwrap_or_else(dash);
    [format!("  {} {id}", function.index), driver, vdpa, reached, note]
}

/// What the PF's driver does for a function that it does not do by itself.
fn settings(function: &VirtualFunction) -> Option<String> {
    let now = function.settings?;
    let odd = [
        now.vlan.map(|vlan| VfSetting::Vlan(Some(vlan))),
        (now.rate != VfTxRate::default()).then_some(VfSetting::Rate(now.rate)),
        (now.spoof_check == Some(false)).then_some(VfSetting::SpoofCheck(false)),
        (now.trust == Some(true)).then_some(VfSetting::Trust(true)),
        (now.link != VfLink::Auto).then_some(VfSetting::Link(now.link)),
    ];
    let words: Vec<_> = odd.iter().flatten().map(ToString::to_string).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// By what a function without a vDPA device is reached.
fn reached(function: &VirtualFunction) -> String {
    match &function.vfio {
        Some(vfio) => vfio.group.path.display().to_string(),
        None => names(&function.netdevs),
    }
}

fn in_use(id: &str, holders: &Holders) -> String {
    holders.get(id).map_or_else(String::new, |holder| format!("in use: {holder}"))
}

fn vdpa_words(device: &VdpaDevice) -> (String, String) {
    let reached = match &device.char_device {
        Some(char_device) => char_device.path.display().to_string(),
        None => names(&device.netdevs),
    };
    (device.driver.clone().unwrap_or_else(|| "unbound".to_owned()), reached)
}

fn names(netdevs: &[Netdev]) -> String {
    match netdevs {
        [] => dash(),
        netdevs => netdevs.iter().map(|n| n.name.clone()).collect::<Vec<_>>().join(","),
    }
}

fn dash() -> String {
    "-".to_owned()
}

/// Columns as wide as their widest cell.
fn align<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use ringway_kernel::inventory::Traffic;
    use ringway_kernel::vdpa_bus::Driver;

    use super::*;
    use crate::cards::FunctionDriver;
    use crate::fake::{Fake, pf};
    use crate::node::Node as _;
    use crate::step::{Function, Step};

    /// A card with two functions, one of them served by vhost_vdpa, and two cards of a driver that is
    /// not known, one of which the node itself uses.
    fn inventory() -> Inventory {
        let mut fake = Fake::new();
        let function = || Function::Vf { pf: pf(), index: 0 };
        for step in [
            Step::LoadModule("vp_vdpa"),
            Step::LoadModule("vdpa_sim_net"),
            Step::SetFunctionCount { pf: pf(), count: 2 },
            Step::BindFunction {
                function: function(),
                driver: FunctionDriver { name: "vp-vdpa", pinned: true },
            },
            Step::CreateVdpa { function: function(), mac: None, settings: Default::default() },
            Step::BindVdpa { function: function(), driver: Driver::VhostVdpa },
        ] {
            fake.apply(&step).unwrap();
        }
        let mut inventory = fake.observed.inventory;
        let mut other = Fake::new().card().clone();
        other.address = "0000:02:00.0".parse().unwrap();
        other.driver = Some("i40e".into());
        other.netdevs[0].name = "eth0".into();
        inventory.parents.push(other.clone());
        other.address = "0000:03:00.0".parse().unwrap();
        other.netdevs[0].traffic = vec![Traffic::DefaultRoute { table: 254 }];
        inventory.parents.push(other);
        inventory
    }

    #[test]
    fn a_line_for_each_parent_then_its_functions_and_why_one_is_off_limits() {
        let holders = [("0000:01:00.1".to_owned(), "process 7 has it open".to_owned())].into();
        let table = inventory_table(&inventory(), &holders);
        let lines: Vec<&str> = table.lines().collect();
        assert!(
            lines[0].starts_with("DEVICE            DRIVER      VDPA        REACHED BY"),
            "{table}"
        );
        assert!(
            lines[1].starts_with("0000:01:00.0      virtio-pci  -           enp1s0f0"),
            "{table}"
        );
        assert!(lines[1].ends_with("2 of 4 functions"), "{table}");
        assert!(
            lines[2].starts_with("  0 0000:01:00.1  vp-vdpa     vhost_vdpa  /dev/vhost-vdpa-"),
            "{table}"
        );
        assert!(lines[2].ends_with("in use: process 7 has it open"), "{table}");
        assert_eq!(
            lines[3].split_whitespace().collect::<Vec<_>>(),
            ["1", "0000:01:00.2", "virtio-pci", "-", "eth7"]
        );
        let useless = "0 of 4 functions; of no use: what to do with functions of driver i40e is \
                       not known, only of virtio-pci, igb, mlx5_core, ice, bnxt_en";
        assert!(lines[4].ends_with(useless), "{table}");
        let off = "0 of 4 functions; off limits: 0000:03:00.0 (eth0) carries the default route";
        assert!(lines[5].ends_with(off), "{table}");
        assert!(lines[6].starts_with("vdpasim_net "), "{table}");
    }

    #[test]
    fn what_is_set_of_a_function_is_noted() {
        let mut fake = Fake::igb();
        fake.set_count(pf(), 2).unwrap();
        let set = fake.card().functions[1].settings.as_mut().unwrap();
        (set.trust, set.rate.max) = (Some(true), 500);
        let holders = [("0000:01:00.2".to_owned(), "process 7 has it open".to_owned())].into();
        let table = inventory_table(&fake.observed.inventory, &holders);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[2].ends_with("eth7"), "{table}");
        let note = "in use: process 7 has it open; rates 0 to 500 Mbit/s, trust on";
        assert!(lines[3].ends_with(note), "{table}");
    }

    #[test]
    fn the_mode_of_an_eswitch_and_an_untested_driver_are_told() {
        let inventory = Fake::with_eswitch("mlx5_core").observed.inventory;
        let table = inventory_table(&inventory, &Holders::new());
        let note = "0 of 4 functions, eswitch legacy; its driver is untested\n";
        assert!(table.ends_with(note), "{table}");
    }

    #[test]
    fn a_node_without_anything_says_so() {
        let mut inventory = Fake::new().observed.inventory;
        inventory.parents.clear();
        inventory.notes.push("the module vdpa is not loaded".into());
        assert_eq!(
            inventory_table(&inventory, &Holders::new()),
            "no card with SR-IOV, and no vDPA device\nnote: the module vdpa is not loaded\n"
        );
    }

    #[test]
    fn programs_get_everything_either_way() {
        let inventory = inventory();
        let json = as_data(&inventory, Output::Json).unwrap();
        assert_eq!(serde_json::from_str::<Inventory>(&json).unwrap(), inventory);
        let yaml = as_data(&inventory, Output::Yaml).unwrap();
        assert_eq!(serde_saphyr::from_str::<Inventory>(&yaml).unwrap(), inventory);
    }
}
