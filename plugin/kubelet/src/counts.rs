//! What the process has counted since its start, and how it stands: for metrics and probes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringway_node::Resource;

use crate::offer::{Became, Change, Item, Offers, STATES};
use crate::streams::Streams;

/// What the process has counted since its start, and how it stands.
#[derive(Debug, Default)]
pub struct Counts(Mutex<Numbers>);

/// The numbers.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    /// Allocations that were made, by resource.
    pub allocations: BTreeMap<String, u64>,
    /// Allocations that were not, by resource and reason.
    pub refusals: BTreeMap<(String, &'static str), u64>,
    /// What kubelet was told, by resource and whether it took it.
    pub registrations: BTreeMap<(String, &'static str), u64>,
    /// Changes of devices, by resource and what became of them.
    pub changes: BTreeMap<(String, &'static str), u64>,
    /// Devices now, by resource and state.
    pub devices: BTreeMap<(String, &'static str), u64>,
    /// Who watches each resource's list.
    pub streams: BTreeMap<String, Arc<Streams>>,
    /// Since when a look at everything has been under way.
    pub looking: Option<Instant>,
    /// Whether what to offer could be read the last time.
    pub source_good: bool,
    /// Why it does not serve yet, or not any more; `None` if it does.
    pub not_ready: Option<String>,
}

impl Counts {
    /// A container got devices.
    pub fn allocated(&self, resource: &Resource) {
        *self.numbers().allocations.entry(resource.to_string()).or_default() += 1;
    }

    /// A container got none.
    pub fn refused(&self, resource: &Resource, reason: &'static str) {
        *self.numbers().refusals.entry((resource.to_string(), reason)).or_default() += 1;
    }

    /// Kubelet was told of a resource.
    pub fn registered(&self, resource: &Resource, done: bool) {
        let result = if done { "done" } else { "failed" };
        *self.numbers().registrations.entry((resource.to_string(), result)).or_default() += 1;
    }

    /// Something became of a device.
    pub fn changed(&self, change: &Change<'_>) {
        let state = match change.now {
            Became::Healthy => "healthy",
            Became::Remarkable(_) => "reported",
            Became::Unhealthy(why) => why.state(),
            Became::Gone => "gone",
        };
        *self.numbers().changes.entry((change.resource.to_string(), state)).or_default() += 1;
    }

    /// What is offered now. Every state of each resource, so that none is missing when it comes to
    /// nothing.
    pub fn offered(&self, offers: &Offers) {
        let mut devices = BTreeMap::new();
        for (resource, offer) in offers {
            for state in STATES {
                devices.insert((resource.to_string(), *state), 0);
            }
            for item in &offer.items {
                *devices.entry((resource.to_string(), state(item))).or_default() += 1;
            }
        }
        self.numbers().devices = devices;
    }

    /// Who watches which list now.
    pub fn watched(&self, streams: BTreeMap<String, Arc<Streams>>) {
        self.numbers().streams = streams;
    }

    /// A look at everything begins.
    pub fn begin(&self) {
        self.numbers().looking = Some(Instant::now());
    }

    /// It has ended: whether the source could be read, and why the process is not ready.
    pub fn end(&self, source_good: bool, not_ready: Option<String>) {
        let mut numbers = self.numbers();
        numbers.looking = None;
        (numbers.source_good, numbers.not_ready) = (source_good, not_ready);
    }

    /// All of it.
    pub fn all(&self) -> Numbers {
        self.numbers().clone()
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        // never half written
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn state(item: &Item) -> &'static str {
    match (&item.unusable, &item.remark) {
        (Some(why), _) => why.state(),
        (None, Some(_)) => "reported",
        (None, None) => "healthy",
    }
}

impl Numbers {
    /// Why the process is stuck; `None` if it is not. A look takes milliseconds, and telling kubelet of
    /// a resource a quarter of a minute at most.
    pub fn stuck(&self) -> Option<String> {
        const LONGEST: Duration = Duration::from_secs(120);
        let since = self.looking?.elapsed();
        (since > LONGEST).then(|| format!("a look has been under way for {} s", since.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offer::{Unusable, changes};
    use crate::testing::{VHOST, offers, pools, resource};

    #[test]
    fn devices_are_counted_by_state_and_so_are_their_changes() {
        let counts = Counts::default();
        let before = offers(&pools());
        let mut after = before.clone();
        let offer = after.get_mut(&resource(VHOST)).unwrap();
        offer.items[0].unusable = Some(Unusable::Draining("why".to_owned()));
        counts.offered(&after);
        changes(&Offers::new(), &before).iter().for_each(|change| counts.changed(change));
        changes(&before, &after).iter().for_each(|change| counts.changed(change));
        let numbers = counts.all();
        let devices = |state| numbers.devices[&(VHOST.to_owned(), state)];
        assert_eq!((devices("healthy"), devices("draining"), devices("failed")), (1, 1, 0));
        let changes = |state| numbers.changes[&(VHOST.to_owned(), state)];
        assert_eq!((changes("healthy"), changes("draining")), (2, 1));
    }

    #[test]
    fn a_look_that_does_not_end_is_stuck() {
        let counts = Counts::default();
        counts.begin();
        assert_eq!(counts.all().stuck(), None);
        let long_ago = Instant::now().checked_sub(Duration::from_secs(600)).unwrap();
        counts.numbers().looking = Some(long_ago);
        assert!(counts.all().stuck().unwrap().contains("600 s"));
        counts.end(true, None);
        assert_eq!(counts.all().stuck(), None);
    }
}
