//! The way to disturb a free device without a race with kubelet: say that it is draining, wait
//! until kubelet no longer hands it out, look twice that nobody holds it, lock it, and act.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ringway_node::DeviceId;
use ringway_node::lock::Locks;
use ringway_node::pools::{Pools, State};

use crate::holders::Holders;
use crate::kubelet::View;
use crate::plan::Planned;
use crate::reconcile::Gate;

/// Between two looks at who holds a draining device: kubelet may be about to hand it to a pod that
/// it has admitted already.
pub const GRACE: Duration = Duration::from_secs(2);

/// Which devices are draining: `None` until `pools.json` says so, then when kubelet was first seen
/// not to have them.
#[derive(Debug, Default)]
pub struct Draining {
    since: BTreeMap<DeviceId, Option<Instant>>,
}

/// What is known when a step is about to be done.
#[derive(Debug)]
pub struct Look<'a> {
    /// What `pools.json` said of each device when kubelet was asked, or why it cannot be known.
    pub offered: Result<&'a BTreeMap<DeviceId, State>, &'a str>,
    /// Kubelet's view, or why there is none.
    pub kubelet: Result<&'a View, &'a str>,
    /// Users that the kernel shows.
    pub holders: &'a Holders,
    /// The devices' locks.
    pub locks: &'a Locks,
    /// When kubelet was asked: steps that take long do not make one look two.
    pub asked: Instant,
}

impl Draining {
    /// The devices that are draining.
    pub fn devices(&self) -> BTreeSet<DeviceId> {
        self.since.keys().cloned().collect()
    }

    /// Whether a step may be done now. The devices that it disturbs start draining here, all at
    /// once; none does while one of them is held, so that none is kept from pods in vain.
    pub fn gate(&mut self, planned: &Planned, look: &Look<'_>) -> Gate {
        if let Some(why) = planned.disturbs.iter().find_map(|id| held(id, look)) {
            for id in &planned.disturbs {
                self.since.remove(id);
            }
            return Gate::Held(why);
        }
        let waits = planned.disturbs.iter().filter_map(|id| self.waits_for(id, look));
        if let Some(why) = waits.reduce(|first, _| first) {
            return Gate::Wait(why);
        }
        let mut locks = Vec::new();
        for id in &planned.disturbs {
            match look.locks.try_lock(id) {
                Ok(Some(lock)) => locks.push(lock),
                Ok(None) => return Gate::Wait(format!("{id} is locked by another process")),
                Err(error) => return Gate::Wait(crate::reconcile::chain(&error)),
            }
        }
        Gate::Go(locks)
    }

    /// Forgets devices that no step is about to disturb any more.
    pub fn keep<'a>(&mut self, planned: impl Iterator<Item = &'a Planned>) {
        let disturbed: BTreeSet<_> = planned.flat_map(|planned| &planned.disturbs).collect();
        self.since.retain(|id, _| disturbed.contains(id));
    }

    fn waits_for(&mut self, id: &DeviceId, look: &Look<'_>) -> Option<String> {
        let allocatable = |view: &View| view.allocatable.contains(id.as_str());
        let state = match look.offered {
            Ok(offered) => offered.get(id).copied(),
            // whatever it was, it says that the device drains when it is written next
            Err(_) => Some(State::Ready),
        };
        if state.is_none() && !self.since.contains_key(id) && !look.kubelet.is_ok_and(allocatable) {
            return None;
        }
        let kubelet = match look.kubelet {
            Ok(view) => view,
            Err(why) => return Some(format!("kubelet does not say who holds {id}: {why}")),
        };
        let since = self.since.entry(id.clone()).or_default();
        if allocatable(kubelet) {
            *since = None;
            return Some(format!("{id} is draining: kubelet may still hand it out"));
        }
        // one that is not in the file is refused as well
        let declared = matches!(state, None | Some(State::Draining));
        let first = declared.then(|| *since.get_or_insert(look.asked));
        let drained = first.is_some_and(|first| look.asked.duration_since(first) >= GRACE);
        (!drained).then(|| format!("{id} is draining"))
    }
}

/// Who holds a device. Kubelet is believed whether the device is offered or not: it may not be any
/// more, and still have a pod.
fn held(id: &DeviceId, look: &Look<'_>) -> Option<String> {
    let nobody = Holders::new();
    holder(id, look.kubelet.map_or(&nobody, |view| &view.held), look.holders)
}

/// Who holds a device: the pod where there is one, because that is what a person can end, else what
/// the kernel shows.
pub fn holder(id: &DeviceId, pods: &Holders, kernel: &Holders) -> Option<String> {
    let holder = pods.get(id.as_str()).or_else(|| kernel.get(id.as_str()))?;
    Some(format!("{id} is in use: {holder}"))
}

/// The devices that somebody can have been given, by what the node offered last.
pub fn states(last: Option<&Pools>) -> BTreeMap<DeviceId, State> {
    let devices = last.into_iter().flat_map(|pools| &pools.pools).flat_map(|pool| &pool.devices);
    devices.map(|device| (device.id.clone(), device.state)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Step;
    use crate::wanted::ParentName;

    const ID: &str = "0000:01:00.1";
    const OTHER: &str = "0000:01:00.2";

    struct World {
        offered: Result<BTreeMap<DeviceId, State>, String>,
        view: Option<View>,
        holders: Holders,
        locks: Locks,
        _dir: tempfile::TempDir,
    }

    impl World {
        /// A device of `pools.json`.
        fn new(state: State) -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self {
                offered: Ok([(ID.parse().unwrap(), state)].into()),
                view: Some(View::default()),
                holders: Holders::new(),
                locks: Locks::at(&dir.path().join("lock")),
                _dir: dir,
            }
        }

        /// A device that nobody can have been given.
        fn unknown() -> Self {
            Self { offered: Ok(BTreeMap::new()), view: None, ..Self::new(State::Ready) }
        }

        fn say(&mut self, state: State) {
            self.offered.as_mut().unwrap().insert(ID.parse().unwrap(), state);
        }

        fn gate(&self, draining: &mut Draining, asked: Instant) -> Result<usize, String> {
            self.gate_of(&[ID], draining, asked)
        }

        fn gate_of(
            &self,
            ids: &[&str],
            draining: &mut Draining,
            asked: Instant,
        ) -> Result<usize, String> {
            let planned = Planned {
                step: Step::UnbindVdpa { name: format!("vdpa:{ID}") },
                parent: ParentName::of("0000:01:00.0"),
                function: Some(0),
                disturbs: ids.iter().map(|id| id.parse().unwrap()).collect(),
            };
            let kubelet = self.view.as_ref().ok_or("no socket");
            let offered = self.offered.as_ref().map_err(String::as_str);
            let (holders, locks) = (&self.holders, &self.locks);
            match draining.gate(&planned, &Look { offered, kubelet, holders, locks, asked }) {
                Gate::Go(locks) => Ok(locks.len()),
                Gate::Wait(why) | Gate::Held(why) => Err(why),
            }
        }
    }

    #[test]
    fn a_device_nobody_can_have_is_free_at_once() {
        assert_eq!(World::unknown().gate(&mut Draining::default(), Instant::now()), Ok(1));
    }

    #[test]
    fn a_free_device_is_declared_then_drains_for_a_grace_and_is_locked() {
        let (mut world, mut draining) = (World::new(State::Ready), Draining::default());
        let start = Instant::now();
        let waits = Err(format!("{ID} is draining"));
        // however long it takes until the file says so
        for asked in [start, start + GRACE * 2] {
            assert_eq!(world.gate(&mut draining, asked), waits);
        }
        assert_eq!(draining.devices().len(), 1);
        world.say(State::Draining);
        let first = start + GRACE * 3;
        // one look, however often it is used
        for _ in 0..3 {
            assert_eq!(world.gate(&mut draining, first), waits);
        }
        assert_eq!(world.gate(&mut draining, first + GRACE / 2), waits);
        assert_eq!(world.gate(&mut draining, first + GRACE), Ok(1));
    }

    #[test]
    fn a_restart_looks_twice_again() {
        let (world, mut draining) = (World::new(State::Draining), Draining::default());
        let start = Instant::now();
        world.gate(&mut draining, start).unwrap_err();
        assert_eq!(world.gate(&mut draining, start + GRACE), Ok(1));
    }

    #[test]
    fn it_waits_while_kubelet_may_hand_it_out_or_does_not_say() {
        let (mut world, mut draining) = (World::new(State::Draining), Draining::default());
        let start = Instant::now();
        world.view.as_mut().unwrap().allocatable.insert(ID.into());
        for asked in [start, start + GRACE * 2] {
            let why = world.gate(&mut draining, asked).unwrap_err();
            assert!(why.contains("may still hand it out"), "{why}");
        }
        world.view = None;
        let why = world.gate(&mut draining, start + GRACE * 2).unwrap_err();
        assert!(why.contains("kubelet does not say"), "{why}");
    }

    #[test]
    fn a_holder_stops_it_and_the_drain_begins_anew() {
        let (mut world, mut draining) = (World::new(State::Draining), Draining::default());
        let start = Instant::now();
        world.gate(&mut draining, start).unwrap_err();
        world.view.as_mut().unwrap().held.insert(ID.into(), "pod a/b holds it".into());
        let why = world.gate(&mut draining, start + GRACE).unwrap_err();
        assert!(why.contains("pod a/b"), "{why}");
        assert_eq!(draining.devices().len(), 0);
        world.view = Some(View::default());
        world.gate(&mut draining, start + GRACE).unwrap_err();
        assert_eq!(world.gate(&mut draining, start + GRACE * 2), Ok(1));
    }

    /// The policy is gone and with it the device's pool, but not the pod.
    #[test]
    fn a_pod_that_holds_what_is_offered_no_more_is_respected() {
        let mut world = World::unknown();
        let held = [(ID.to_owned(), "pod a/b holds it".to_owned())].into();
        world.view = Some(View { held, ..View::default() });
        let why = world.gate(&mut Draining::default(), Instant::now()).unwrap_err();
        assert!(why.contains("pod a/b"), "{why}");
        world.view = Some(View { allocatable: [ID.into()].into(), ..View::default() });
        let why = world.gate(&mut Draining::default(), Instant::now()).unwrap_err();
        assert!(why.contains("may still hand it out"), "{why}");
    }

    #[test]
    fn a_file_that_cannot_be_read_may_offer_anything() {
        let (mut world, mut draining) = (World::new(State::Ready), Draining::default());
        world.offered = Err("parse pools file".into());
        let start = Instant::now();
        for asked in [start, start + GRACE * 2] {
            assert_eq!(world.gate(&mut draining, asked), Err(format!("{ID} is draining")));
        }
        assert_eq!(draining.devices().len(), 1, "and is written as such");
    }

    #[test]
    fn all_devices_of_a_step_drain_together_and_none_beside_one_that_is_held() {
        let (mut world, mut draining) = (World::new(State::Ready), Draining::default());
        world.offered.as_mut().unwrap().insert(OTHER.parse().unwrap(), State::Ready);
        world.gate_of(&[ID, OTHER], &mut draining, Instant::now()).unwrap_err();
        assert_eq!(draining.devices().len(), 2);
        world.holders.insert(OTHER.into(), "process 1 has it open".into());
        let why = world.gate_of(&[ID, OTHER], &mut draining, Instant::now()).unwrap_err();
        assert!(why.contains("process 1"), "{why}");
        assert_eq!(draining.devices().len(), 0);
    }

    #[test]
    fn somebody_elses_lock_is_respected() {
        let (world, mut draining) = (World::unknown(), Draining::default());
        let _lock = world.locks.try_lock(&ID.parse().unwrap()).unwrap().unwrap();
        let why = world.gate(&mut draining, Instant::now()).unwrap_err();
        assert!(why.contains("locked by another process"), "{why}");
    }
}
