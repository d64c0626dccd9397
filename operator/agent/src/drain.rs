//! The way to disturb a free device without a race with kubelet: say that it is draining, wait
//! until kubelet no longer hands it out, look twice that nobody holds it, lock it, and act.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ringway_node::DeviceId;
use ringway_node::lock::Locks;

use crate::holders::Holders;
use crate::kubelet::View;
use crate::plan::Planned;
use crate::reconcile::Gate;

/// Between two looks at who holds a draining device: kubelet may be about to hand it to a pod that
/// it has admitted already.
pub const GRACE: Duration = Duration::from_secs(2);

/// Which devices are draining, and since when.
#[derive(Debug, Default)]
pub struct Draining {
    since: BTreeMap<DeviceId, Instant>,
}

/// What is known when a step is about to be done.
#[derive(Debug)]
pub struct Look<'a> {
    /// Devices that somebody can have been given: those in the last `pools.json`.
    pub offered: &'a BTreeSet<DeviceId>,
    /// Kubelet's view, or why there is none.
    pub kubelet: Result<&'a View, &'a str>,
    /// Users that the kernel shows.
    pub holders: &'a Holders,
    /// The devices' locks.
    pub locks: &'a Locks,
    /// The time of the look.
    pub now: Instant,
}

impl Draining {
    /// The devices that are draining.
    pub fn devices(&self) -> BTreeSet<DeviceId> {
        self.since.keys().cloned().collect()
    }

    /// Whether a step may be done now. A device that it disturbs starts draining here.
    pub fn gate(&mut self, planned: &Planned, look: &Look<'_>) -> Gate {
        let mut locks = Vec::new();
        for id in &planned.disturbs {
            if let Some(why) = self.waits_for(id, look) {
                return Gate::Wait(why);
            }
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
        if let Some(holder) = look.holders.get(id.as_str()) {
            self.since.remove(id);
            return Some(format!("{id} is in use: {holder}"));
        }
        if !look.offered.contains(id) {
            return None;
        }
        let kubelet = match look.kubelet {
            Ok(view) => view,
            Err(why) => return Some(format!("kubelet does not say who holds {id}: {why}")),
        };
        if let Some(pod) = kubelet.held.get(id.as_str()) {
            self.since.remove(id);
            return Some(format!("{id} is in use: {pod}"));
        }
        let since = *self.since.entry(id.clone()).or_insert(look.now);
        if kubelet.allocatable.contains(id.as_str()) {
            return Some(format!("{id} is draining: kubelet may still hand it out"));
        }
        (look.now.duration_since(since) < GRACE).then(|| format!("{id} is draining"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Step;
    use crate::wanted::ParentName;

    const ID: &str = "0000:01:00.1";

    struct World {
        offered: BTreeSet<DeviceId>,
        view: Option<View>,
        holders: Holders,
        locks: Locks,
        _dir: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self {
                offered: [ID.parse().unwrap()].into(),
                view: Some(View::default()),
                holders: Holders::new(),
                locks: Locks::at(&dir.path().join("lock")),
                _dir: dir,
            }
        }

        fn gate(&self, draining: &mut Draining, now: Instant) -> Result<usize, String> {
            let planned = Planned {
                step: Step::UnbindVdpa { name: format!("vdpa:{ID}") },
                parent: ParentName::of("0000:01:00.0"),
                function: Some(0),
                disturbs: vec![ID.parse().unwrap()],
            };
            let kubelet = self.view.as_ref().ok_or("no socket");
            let (offered, holders, locks) = (&self.offered, &self.holders, &self.locks);
            match draining.gate(&planned, &Look { offered, kubelet, holders, locks, now }) {
                Gate::Go(locks) => Ok(locks.len()),
                Gate::Wait(why) => Err(why),
            }
        }
    }

    #[test]
    fn a_device_nobody_can_have_is_free_at_once() {
        let (mut world, mut draining) = (World::new(), Draining::default());
        world.offered.clear();
        world.view = None;
        assert_eq!(world.gate(&mut draining, Instant::now()), Ok(1));
    }

    #[test]
    fn a_free_device_drains_for_a_grace_and_is_locked() {
        let (world, mut draining) = (World::new(), Draining::default());
        let start = Instant::now();
        assert_eq!(world.gate(&mut draining, start), Err(format!("{ID} is draining")));
        assert_eq!(draining.devices().len(), 1);
        assert_eq!(world.gate(&mut draining, start + GRACE), Ok(1));
    }

    #[test]
    fn it_waits_while_kubelet_may_hand_it_out_or_does_not_say() {
        let (mut world, mut draining) = (World::new(), Draining::default());
        let start = Instant::now();
        world.view.as_mut().unwrap().allocatable.insert(ID.into());
        for now in [start, start + GRACE * 2] {
            assert!(world.gate(&mut draining, now).unwrap_err().contains("may still hand it out"));
        }
        world.view = None;
        let why = world.gate(&mut draining, start + GRACE * 2).unwrap_err();
        assert!(why.contains("kubelet does not say"), "{why}");
    }

    #[test]
    fn a_holder_stops_it_and_the_drain_begins_anew() {
        let (mut world, mut draining) = (World::new(), Draining::default());
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

    #[test]
    fn somebody_elses_lock_is_respected() {
        let (mut world, mut draining) = (World::new(), Draining::default());
        world.offered.clear();
        let _lock = world.locks.try_lock(&ID.parse().unwrap()).unwrap().unwrap();
        let why = world.gate(&mut draining, Instant::now()).unwrap_err();
        assert!(why.contains("locked by another process"), "{why}");
    }
}
