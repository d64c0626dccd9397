//! Features that all nodes have in common.

use ringway_kernel::features::Features;
use ringway_kernel::inventory::VdpaDevice;

use super::*;
use crate::wanted::{Common, Maker};

fn with(common: Common, features: Option<&str>) -> Pool {
    let features = features.map(|names| names.parse().unwrap());
    let settings = Settings { common, features, ..Settings::default() };
    Pool { settings, ..pool("vms", 0..=1, Attach::VhostVdpa) }
}

fn awaited() -> Wanted {
    card(2, vec![with(Common::Awaited, None)])
}

fn features(fake: &mut Fake) -> Vec<Option<Features>> {
    let devices = |vdpa: &[VdpaDevice]| vdpa.first().and_then(|device| device.features);
    fake.card().functions.iter().map(|function| devices(&function.vdpa)).collect()
}

#[test]
fn everything_but_the_devices_is_made_until_they_are_known() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    converge(&awaited(), &mut fake, &mut before);
    let functions = &fake.card().functions;
    assert_eq!(functions.len(), 2);
    assert!(functions.iter().all(|f| f.driver.as_deref() == Some("vp-vdpa") && f.vdpa.is_empty()));
    let plan = plan_of(&awaited(), &fake, &before);
    assert_eq!((&plan.steps[..], &plan.refusals[..], plan.awaits.len()), (&[][..], &[][..], 2));
    let waits = &plan.awaits[1];
    assert_eq!((waits.function, waits.reason), (Some(1), Reason::AwaitingFeatures));
    let words = "0000:01:00.0: waits for the features that all with ringway.dev/vms have in \
                 common: its own are told";
    assert_eq!(waits.message, words);

    let known = card(2, vec![with(Common::Known, Some("MAC,VERSION_1"))]);
    converge(&known, &mut fake, &mut before);
    let exactly = Features::MAC | Features::VERSION_1;
    assert_eq!(features(&mut fake), [Some(exactly), Some(exactly)]);
    assert_eq!(plan_of(&known, &fake, &before), Plan::default());
}

#[test]
fn a_device_that_is_there_stays_until_they_are_known() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    converge(&card(2, vec![with(Common::No, None)]), &mut fake, &mut before);
    let was = features(&mut fake);
    assert_eq!(converge(&awaited(), &mut fake, &mut before), 0);
    assert_eq!(features(&mut fake), was);
}

#[test]
fn what_others_made_is_taken_over_once_it_is_known_to_be_as_wanted() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    converge(&card(2, vec![with(Common::No, Some("MAC"))]), &mut fake, &mut before);
    let theirs = Before { vdpa: Default::default(), ..before };
    let adopting = |mut wanted: Wanted| {
        wanted.parents[0].maker = Maker::RingwayAdopting;
        wanted
    };
    let plan = plan_of(&adopting(awaited()), &fake, &theirs);
    assert_eq!((plan.steps.len(), plan.refusals.len(), plan.awaits.len()), (0, 0, 2));
    let known = |names| adopting(card(2, vec![with(Common::Known, Some(names))]));
    let plan = plan_of(&known("MAC"), &fake, &theirs);
    assert!(plan.steps.iter().all(|p| matches!(p.step, Step::AdoptVdpa { .. })), "{plan:?}");
    assert_eq!(plan.steps.len(), 2);
    let plan = plan_of(&known("MTU"), &fake, &theirs);
    assert_eq!((plan.steps.len(), plan.refusals.len()), (0, 2));
}

#[test]
fn a_function_that_cannot_tell_is_refused_and_one_that_will_is_not() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    converge(&awaited(), &mut fake, &mut before);
    for (able, words) in [
        (None, "the kernel does not say what features its devices can be given"),
        (Some(Features(0)), "its devices can be given no features"),
    ] {
        let management = fake.card().functions[0].management_device.as_mut().unwrap();
        management.features = able;
        let plan = plan_of(&awaited(), &fake, &before);
        assert_eq!((plan.refusals.len(), plan.awaits.len()), (1, 1));
        assert_eq!(plan.refusals[0].reason, Reason::SettingsUnsupported);
        assert!(plan.refusals[0].message.contains(words), "{}", plan.refusals[0].message);
        assert!(plan.refusals[0].message.ends_with("name them in vdpa.features of pool vms"));
    }
    fake.card().functions[0].management_device = None;
    let plan = plan_of(&awaited(), &fake, &before);
    assert_eq!((plan.refusals.len(), plan.awaits.len()), (0, 2));
    assert!(plan.awaits[0].message.ends_with("which would tell its own"));
}

#[test]
fn what_a_simulator_lacks_is_refused() {
    let (mut fake, mut before) = (Fake::new(), Before::default());
    let simulator = |pool| {
        let name = ParentName::Simulator("vdpasim_net".into());
        Wanted { parents: vec![Parent::new(name, 2, vec![pool])], refusals: vec![] }
    };
    converge(&simulator(with(Common::Awaited, None)), &mut fake, &mut before);
    assert_eq!(fake.observed.vdpa().count(), 0);
    let found = &mut fake.observed.inventory.simulators[0];
    found.management_device.features = Some(Features::MAC);
    let known = simulator(with(Common::Known, Some("MAC,MTU")));
    let plan = plan_of(&known, &fake, &before);
    assert_eq!((plan.steps.len(), plan.refusals[0].reason), (0, Reason::SettingsUnsupported));
    let words = "vdpasim_net: pool vms: vdpa.features: it lacks MTU; it has MAC";
    assert_eq!(plan.refusals[0].message, words);
}
