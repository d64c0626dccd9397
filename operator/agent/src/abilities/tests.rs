use ringway_api::device_policy::Attach;
use ringway_api::node_devices::NodeDevicesStatus;

use super::*;
use crate::before::Before;
use crate::fake::{Fake, pf};
use crate::reconcile::{Gate, reconcile};
use crate::wanted::{Defaults, Pool, Settings};

fn pool(name: &str, range: RangeInclusive<u32>, common: Common) -> Pool {
    Pool {
        name: name.into(),
        resource: Some(format!("ringway.dev/{name}").parse().unwrap()),
        range,
        attach: Attach::VhostVdpa,
        settings: Settings { common, ..Settings::default() },
        defaults: Defaults::default(),
        limits: Default::default(),
        carrier: None,
        allocation: Default::default(),
    }
}

/// A card whose first function serves another pool, and a simulator.
fn wanted() -> Wanted {
    let pools = vec![pool("own", 0..=0, Common::No), pool("vms", 1..=3, Common::Awaited)];
    let card = Parent::new(ParentName::Pci(pf()), 4, pools);
    let simulator = ParentName::Simulator("vdpasim_net".into());
    let simulator = Parent::new(simulator, 2, vec![pool("vms", 0..=1, Common::Awaited)]);
    Wanted { parents: vec![card, simulator], refusals: vec![] }
}

fn made() -> Inventory {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    let go = |_: &_, _: &_| Gate::Go(vec![]);
    reconcile("n", &mut fake, &wanted(), &mut before, |_| Ok(()), go).unwrap();
    let mut inventory = fake.observed.inventory;
    for function in &mut inventory.parents[0].functions {
        function.management_device.as_mut().unwrap().features = "MAC,MTU".parse().ok();
    }
    inventory.simulators[0].management_device.features = "MAC,MTU".parse().ok();
    inventory
}

fn told(inventory: &Inventory) -> Vec<(String, Vec<String>)> {
    let range = |told: FunctionRange| format!("{} {}", told.parent, told.range);
    let set = |set: FeatureSet| (set.features, set.functions.into_iter().map(range).collect());
    feature_sets(&wanted(), inventory).into_iter().map(set).collect()
}

#[test]
fn each_set_is_told_once_for_the_pools_that_ask() {
    let mut inventory = made();
    let all = vec!["0000:01:00.0 1-3".to_owned(), "vdpasim_net 0-1".to_owned()];
    assert_eq!(told(&inventory), [("MTU,MAC".to_owned(), all)]);

    let functions = &mut inventory.parents[0].functions;
    functions[2].management_device.as_mut().unwrap().features = "MAC,bit 4".parse().ok();
    functions[3].management_device = None;
    let first = vec!["0000:01:00.0 1".to_owned(), "vdpasim_net 0-1".to_owned()];
    let second = ("MAC".to_owned(), vec!["0000:01:00.0 2".to_owned()]);
    assert_eq!(told(&inventory), [("MTU,MAC".to_owned(), first), second]);
}

#[test]
fn what_does_not_exist_tells_nothing() {
    assert_eq!(told(&Fake::new().observed.inventory), []);
    let nobody = feature_sets(&Wanted::default(), &made());
    assert_eq!(nobody, []);
}

/// However many functions have however many features.
#[test]
fn sixty_four_functions_of_two_kinds_are_told_in_four_kilobytes() {
    let mut inventory = made();
    let template = inventory.parents[0].functions[1].clone();
    inventory.parents[0].functions = (0..64)
        .map(|index| {
            let mut function = template.clone();
            function.index = index;
            let lacks = u64::from(index % 2);
            let management = function.management_device.as_mut().unwrap();
            management.features = Some(Features(u64::MAX - lacks));
            function
        })
        .collect();
    let card = Parent::new(ParentName::Pci(pf()), 64, vec![pool("vms", 0..=63, Common::Known)]);
    let wanted = Wanted { parents: vec![card], refusals: vec![] };
    let feature_sets = feature_sets(&wanted, &inventory);
    assert_eq!((feature_sets.len(), feature_sets[0].functions.len()), (2, 32));
    let status = NodeDevicesStatus { feature_sets, ..NodeDevicesStatus::default() };
    let size = serde_json::to_string(&status).unwrap().len();
    assert!(size < 4096, "{size}");
}
