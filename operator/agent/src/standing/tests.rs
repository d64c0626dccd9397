use ringway_api::conditions::Reason;
use ringway_kernel::inventory::VdpaFamily;

use super::*;
use crate::before::Before;
use crate::cards;
use crate::fake::{self, Fake, pf};
use crate::reconcile::{Gate, reconcile};
use crate::step::Step;
use crate::wanted::{Parent, Refusal, Wanted};

/// A node with one function that is as wanted, and the report about it.
fn world() -> (Fake, Wanted, Report) {
    world_of(Fake::new(), Attach::VhostVdpa)
}

fn world_of(mut fake: Fake, attach: Attach) -> (Fake, Wanted, Report) {
    let name = ParentName::Pci(pf());
    let pool = fake::pool("vms", 0..=0, attach);
    let parent = Parent::new(name, 1, vec![pool]);
    let wanted = Wanted { parents: vec![parent], refusals: vec![] };
    let go = |_: &_, _: &_| Gate::Go(vec![]);
    let report =
        reconcile("n", &mut fake, &wanted, &mut Before::default(), |_| Ok(()), go).unwrap();
    (fake, wanted, report)
}

fn check(change: impl Fn(&mut Report, &mut VdpaDevice), expected: Standing) {
    let (_, wanted, mut report) = world();
    let mut device = report.observed.inventory.parents[0].functions[0].vdpa[0].clone();
    change(&mut report, &mut device);
    let (parent, pool) = (&wanted.parents[0].name, &wanted.parents[0].pools[0]);
    let seen = Seen { vdpa: Some(&device), ..Seen::default() };
    assert_eq!(standing(&report, parent, 0, pool, seen), expected);
}

/// The same for a function that is attached itself.
fn check_function(
    fake: Fake,
    attach: Attach,
    change: impl Fn(&mut VirtualFunction),
    expected: Standing,
) {
    let (fake, wanted, report) = world_of(fake, attach);
    let mut function = fake.observed.inventory.parents[0].functions[0].clone();
    change(&mut function);
    let (parent, pool) = (&wanted.parents[0].name, &wanted.parents[0].pools[0]);
    let card = cards::card(fake.observed.inventory.parents[0].driver.as_deref());
    let seen = Seen { card, function: Some(&function), vdpa: None };
    assert_eq!(standing(&report, parent, 0, pool, seen), expected, "{attach:?}");
}

#[test]
fn a_function_that_is_attached_itself_needs_its_driver_and_what_that_makes() {
    use Standing::AsWanted;
    let failed = |why: &str| Standing::Failed(why.into());
    check_function(Fake::igb(), Attach::Netdev, |_| (), AsWanted);
    check_function(Fake::igb(), Attach::Vfio, |_| (), AsWanted);
    // it is in a pod
    check_function(Fake::igb(), Attach::Netdev, |f| f.netdevs.clear(), AsWanted);
    check_function(Fake::new(), Attach::Netdev, |f| f.netdevs.clear(), AsWanted);
    let no_interface = |f: &mut VirtualFunction| {
        f.netdevs.clear();
        f.virtio_driver = None;
    };
    let words = "virtio_net has made no interface of it";
    check_function(Fake::new(), Attach::Netdev, no_interface, failed(words));
    let unbound = |f: &mut VirtualFunction| f.driver = None;
    check_function(Fake::igb(), Attach::Netdev, unbound, failed("it is not bound to igbvf"));
    check_function(Fake::igb(), Attach::Vfio, unbound, failed("it is not bound to vfio-pci"));
    let words = "vfio has no character device for its IOMMU group";
    check_function(Fake::igb(), Attach::Vfio, |f| f.vfio = None, failed(words));
}

fn left(report: &mut Report, function: Option<u32>, module: &'static str, wait: &str) {
    let parent = ParentName::Pci(pf());
    let step = Step::LoadModule(module);
    report.plan.steps.push(Planned { step, parent, function, disturbs: vec![] });
    report.waits.push(wait.into());
}

fn refuse(report: &mut Report, function: Option<u32>) {
    let (parent, message) = (crate::fake::PF.into(), "no".into());
    report.plan.refusals.push(Refusal { parent, function, reason: Reason::Foreign, message });
}

/// One that serves goes on; one that cannot yet says what it waits for.
#[test]
fn what_is_waited_for_is_told_where_nothing_else_is() {
    let wait = |report: &mut Report, index| {
        let (parent, message) = (crate::fake::PF.into(), "waits".into());
        let (function, reason) = (Some(index), Reason::AwaitingFeatures);
        report.plan.awaits.push(Refusal { parent, function, reason, message });
    };
    let unbound = |device: &mut VdpaDevice| device.driver = None;
    check(|report, _| wait(report, 0), Standing::Serving("waits".into()));
    check(|report, _| wait(report, 1), Standing::AsWanted);
    let failed = |report: &mut Report, device: &mut VdpaDevice| {
        wait(report, 0);
        unbound(device);
    };
    check(failed, Standing::Failed("waits".into()));
}

#[test]
fn a_function_is_as_wanted_until_something_is_left_of_its_own() {
    use Standing::{AsWanted, Failed, Serving};
    check(|_, _| (), AsWanted);
    check(|report, _| left(report, Some(1), "x", "w"), AsWanted);
    check(|report, _| refuse(report, Some(1)), AsWanted);
    let to_do = |module: &str, wait: &str| format!("to do: load kernel module {module} ({wait})");
    check(|report, _| left(report, None, "x", "w"), Serving(to_do("x", "w")));
    check(|report, _| left(report, Some(0), "x", "w"), Failed(to_do("x", "w")));
    check(|report, _| refuse(report, None), Serving("no".into()));
    check(|report, _| refuse(report, Some(0)), Failed("no".into()));
    let both = |report: &mut Report, _: &mut VdpaDevice| {
        left(report, None, "first", "failed: gone");
        left(report, Some(0), "second", "waits for a step that failed");
    };
    check(both, Failed(to_do("first", "failed: gone")));
}

#[test]
fn a_device_that_lacks_what_a_user_needs_is_failed() {
    let failed = |why: &str| Standing::Failed(why.into());
    check(|_, device| device.driver = None, failed("its vDPA device is not bound"));
    let other = Some("virtio_vdpa".to_owned());
    check(|_, device| device.driver = other.clone(), failed("its vDPA device is not bound"));
    check(|_, device| device.char_device = None, failed("its vDPA device has no character device"));
    let both = |report: &mut Report, device: &mut VdpaDevice| {
        refuse(report, None);
        device.driver = None;
    };
    check(both, failed("no"));
}

/// Bound to virtio_vdpa is not enough: without virtio_net there is no interface in any namespace.
#[test]
fn a_virtio_device_that_no_driver_has_is_failed() {
    let (_, wanted, mut report) = world_of(Fake::new(), Attach::VirtioVdpa);
    let state = |report: &Report| {
        let pools = crate::offer::pools("n", &wanted, report, &Default::default(), None).unwrap();
        let device = &pools.pools[0].devices[0];
        (device.state, device.reason.clone())
    };
    assert_eq!(state(&report), (ringway_node::pools::State::Ready, None));
    let device = &mut report.observed.inventory.parents[0].functions[0].vdpa[0];
    device.virtio_unbound = true;
    let seen = Seen { vdpa: Some(&device.clone()), ..Seen::default() };
    let why = "no driver has the virtio device of its vDPA device".to_owned();
    let (parent, pool) = (&wanted.parents[0].name, &wanted.parents[0].pools[0]);
    assert_eq!(standing(&report, parent, 0, pool, seen), Standing::Failed(why.clone()));
    // pools.json and the status tell the same, since both ask here
    assert_eq!(state(&report), (ringway_node::pools::State::Failed, Some(why.clone())));
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Default::default());
    let status = crate::status::status(None, &wanted, &report, &[], &now);
    let function = &status.parents[0].functions[0];
    assert_eq!((function.ready, function.reason.clone()), (false, Some(why)));
}

/// Whatever is found, what is offered can be read by those who read it.
#[test]
fn pools_of_any_state_can_be_written_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pools.json");
    let changes: [fn(&mut Report, &mut VdpaDevice); 5] = [
        |_, _| (),
        |_, device| device.char_device = None,
        |_, device| device.management_device = None,
        |_, device| device.driver = None,
        |report, _| left(report, Some(0), "x", ""),
    ];
    for (change, ready) in changes.into_iter().zip([true, false, true, false, false]) {
        let (_, wanted, mut report) = world();
        let mut device = report.observed.inventory.parents[0].functions[0].vdpa.remove(0);
        change(&mut report, &mut device);
        report.observed.inventory.parents[0].functions[0].vdpa.push(device);
        let pools = crate::offer::pools("n", &wanted, &report, &Default::default(), None).unwrap();
        pools.write(&path).unwrap();
        let read = ringway_node::pools::Pools::read(&path).unwrap();
        let state = read.pools[0].devices[0].state;
        assert_eq!(state == ringway_node::pools::State::Ready, ready, "{read:?}");
        let mgmtdev = read.pools[0].devices[0].vdpa.as_ref().map(|vdpa| vdpa.mgmtdev.as_str());
        assert_eq!(mgmtdev, Some("pci/0000:01:00.1"));
    }
    let (_, wanted, mut report) = world();
    report.observed.inventory.vdpa_family = VdpaFamily::Unknown("no answer".into());
    assert_eq!(crate::offer::pools("n", &wanted, &report, &Default::default(), None), None);
}

/// Of each kind, with an interface here and one in a pod.
#[test]
fn pools_tell_what_functions_are() {
    use ringway_node::pools::Attach as Offered;
    let pools = |wanted: &Wanted, report: &Report, last: Option<&_>| {
        crate::offer::pools("n", wanted, report, &Default::default(), last).unwrap()
    };
    for (attach, expected) in [
        (Attach::Netdev, Some(Offered::Netdev)),
        (Attach::Vfio, Some(Offered::Vfio)),
        (Attach::VhostVdpa, Some(Offered::VhostVdpa)),
        (Attach::VirtioVdpa, Some(Offered::VirtioVdpa)),
        (Attach::Host, None),
    ] {
        let (_, wanted, mut report) = world_of(Fake::new(), attach);
        let found = pools(&wanted, &report, None);
        assert_eq!(found.pools.first().map(|pool| pool.attach), expected);
        let Some(pool) = found.pools.first() else { continue };
        let device = pool.devices[0].clone();
        assert_eq!(device.state, ringway_node::pools::State::Ready);
        assert_eq!(device.vdpa.is_some(), attach.by_vdpa());
        assert_eq!(device.pci_address.unwrap().to_string(), "0000:01:00.1");
        assert_eq!(device.mtu.is_some(), attach == Attach::Netdev);
        report.observed.inventory.parents[0].functions[0].netdevs.clear();
        assert_eq!(pools(&wanted, &report, Some(&found)), found, "in a pod it is what it was");
    }
}

/// A pod may have what the host shall keep: it is listed until its interface is back.
#[test]
fn what_the_host_shall_keep_is_listed_until_it_has_it() {
    let (_, mut wanted, mut report) = world_of(Fake::new(), Attach::VirtioVdpa);
    let pools = |wanted: &Wanted, report: &Report, last: Option<&_>| {
        crate::offer::pools("n", wanted, report, &Default::default(), last).unwrap()
    };
    let last = pools(&wanted, &report, None);
    let pool = &mut wanted.parents[0].pools[0];
    (pool.attach, pool.resource) = (Attach::Host, None);
    assert_eq!(pools(&wanted, &report, Some(&last)).pools, []);
    report.observed.inventory.parents[0].functions[0].vdpa[0].netdevs.clear();
    let kept = pools(&wanted, &report, Some(&last));
    assert_eq!(kept.pools[0].devices[0].state, ringway_node::pools::State::Draining);
}

/// Of a function that no pool has any more, whether it is listed depends on its user.
#[test]
fn a_function_that_nobody_wants_stays_listed_while_it_may_have_a_user() {
    for attach in [Attach::Netdev, Attach::Vfio] {
        let (_, mut wanted, mut report) = world_of(Fake::igb(), attach);
        let pools = |wanted: &Wanted, report: &Report, last: Option<&_>| {
            crate::offer::pools("n", wanted, report, &Default::default(), last).unwrap()
        };
        let last = pools(&wanted, &report, None);
        let parent = wanted.parents.remove(0);
        assert_eq!(pools(&wanted, &report, Some(&last)).pools, [], "free, and nothing is left");
        let refusal = Refusal {
            parent: parent.name.to_string(),
            function: None,
            reason: Reason::Invalid,
            message: "x".into(),
        };
        wanted.refusals.push(refusal);
        assert_eq!(pools(&wanted, &report, Some(&last)), last, "a refused parent is left alone");
        wanted.refusals.clear();
        left(&mut report, Some(0), "x", "held");
        let kept = pools(&wanted, &report, Some(&last));
        assert_eq!(kept.pools[0].devices.len(), 1, "a step is left for it");
        report.plan.steps.clear();
        report.observed.inventory.parents[0].functions[0].netdevs.clear();
        let elsewhere = pools(&wanted, &report, Some(&last)).pools.len();
        assert_eq!(elsewhere, usize::from(attach == Attach::Netdev));
    }
}

/// What no pool has any more is listed until it is gone, for the pod that may hold it.
#[test]
fn a_device_that_nobody_wants_stays_listed_while_it_is_there() {
    use ringway_node::pools::State;
    let (_, mut wanted, mut report) = world();
    let pools = |wanted: &Wanted, report: &Report, last: Option<&_>| {
        crate::offer::pools("n", wanted, report, &Default::default(), last).unwrap()
    };
    let last = pools(&wanted, &report, None);
    assert_eq!(pools(&wanted, &report, Some(&last)), last, "listed once");

    let parent = wanted.parents.remove(0);
    let kept = pools(&wanted, &report, Some(&last));
    let device = &kept.pools[0].devices[0];
    assert_eq!(device.state, State::Draining);
    assert_eq!(device.vdpa, last.pools[0].devices[0].vdpa);
    assert_eq!(pools(&wanted, &report, Some(&kept)), kept);

    let (name, message) = (parent.name.to_string(), "overlap".into());
    let (function, reason) = (None, Reason::OverlappingRanges);
    wanted.refusals.push(Refusal { parent: name, function, reason, message });
    assert_eq!(pools(&wanted, &report, Some(&last)), last, "a refused parent is left alone");
    wanted.refusals.clear();

    // a simulator serves the resource in another way now
    let mut other = parent.clone();
    other.name = ParentName::Simulator("vdpasim_net".into());
    other.pools[0].attach = Attach::VirtioVdpa;
    wanted.parents.push(other);
    let dir = tempfile::tempdir().unwrap();
    pools(&wanted, &report, Some(&last)).write(&dir.path().join("p")).unwrap();
    wanted.parents.clear();

    report.observed.inventory.parents[0].functions[0].vdpa.clear();
    assert_eq!(pools(&wanted, &report, Some(&last)).pools, []);
}

#[test]
fn what_a_carrier_means_is_passed_on() {
    use ringway_api::device_policy::Carrier as Wish;
    use ringway_node::pools::Carrier;
    let (_, mut wanted, report) = world();
    for (wish, expected) in [
        (None, Carrier::Ignore),
        (Some(Wish::Ignore), Carrier::Ignore),
        (Some(Wish::Report), Carrier::Report),
        (Some(Wish::Require), Carrier::Require),
    ] {
        wanted.parents[0].pools[0].carrier = wish;
        let pools = crate::offer::pools("n", &wanted, &report, &Default::default(), None).unwrap();
        assert_eq!(pools.pools[0].carrier, expected);
    }
}

#[test]
fn which_devices_a_container_gets_is_passed_on() {
    use ringway_api::device_policy::Allocation as Wish;
    use ringway_node::pools::Allocation;
    let (_, mut wanted, report) = world();
    for (wish, expected) in [
        (None, Allocation::Spread),
        (Some(Wish::Spread), Allocation::Spread),
        (Some(Wish::Pack), Allocation::Pack),
    ] {
        wanted.parents[0].pools[0].allocation = wish;
        let pools = crate::offer::pools("n", &wanted, &report, &Default::default(), None).unwrap();
        assert_eq!(pools.pools[0].allocation, expected);
    }
}

/// Its user's containers may still have to start: they need it under the name that they asked for.
#[test]
fn a_device_in_use_is_listed_as_what_it_is_until_it_serves_another_resource() {
    let (_, wanted, _) = world();
    let (mut fake, mut record) = (Fake::new(), Before::default());
    let go = |_: &_, _: &_| Gate::Go(vec![]);
    let report = reconcile("n", &mut fake, &wanted, &mut record, |_| Ok(()), go).unwrap();
    let offer = |wanted: &Wanted, report: &Report, last| {
        crate::offer::pools("n", wanted, report, &Default::default(), last).unwrap()
    };
    let listed = |pools: &ringway_node::pools::Pools| {
        let devices = pools.pools.iter().flat_map(|pool| {
            pool.devices.iter().map(|device| (pool.resource.name().to_owned(), device.clone()))
        });
        let mut devices: Vec<_> = devices.collect();
        assert_eq!(devices.len(), 1, "{devices:?}");
        devices.remove(0)
    };
    let before = offer(&wanted, &report, None);
    let (_, was) = listed(&before);

    let mut other = wanted.clone();
    other.parents[0].pools = vec![fake::pool("pods", 0..=0, Attach::VirtioVdpa)];
    let held = |_: &_, _: &_| Gate::Held("pod a/b holds it".into());
    let report = reconcile("n", &mut fake, &other, &mut record, |_| Ok(()), held).unwrap();
    let meanwhile = offer(&other, &report, Some(&before));
    let (resource, device) = listed(&meanwhile);
    assert_eq!((resource.as_str(), device.state), ("vms", ringway_node::pools::State::Draining));
    assert_eq!(device.reason.as_deref(), Some("another pool wants it"));
    assert_eq!((&device.vdpa, &device.mac), (&was.vdpa, &was.mac));

    let report = reconcile("n", &mut fake, &other, &mut record, |_| Ok(()), go).unwrap();
    let (resource, device) = listed(&offer(&other, &report, Some(&meanwhile)));
    assert_eq!((resource.as_str(), device.state), ("pods", ringway_node::pools::State::Ready));
}
