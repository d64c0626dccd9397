//! The streams by which kubelet watches one resource's list: how many are open, and since when.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::due::Watched;
use crate::shared::Shared;

/// The streams of one resource.
#[derive(Debug, Default)]
pub struct Streams(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Since when each one that is open is.
    open: Vec<(u64, Instant)>,
    /// How many there have ever been.
    opened: u64,
    /// How long the last one that ended was open.
    last_lived: Option<Duration>,
}

/// An open stream. Its end is a reason to tell kubelet again.
#[derive(Debug)]
pub struct Watching {
    streams: Arc<Streams>,
    shared: Arc<Shared>,
    number: u64,
}

impl Streams {
    /// Counts a stream in, until what is given is dropped.
    pub fn open(self: &Arc<Self>, shared: &Arc<Shared>) -> Watching {
        let mut state = self.state();
        state.opened += 1;
        let number = state.opened;
        state.open.push((number, Instant::now()));
        drop(state);
        // whoever waits for it, such as a probe, is told of it
        shared.watchers.notify_one();
        Watching { streams: self.clone(), shared: shared.clone(), number }
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.state().open.len()
    }

    /// What they are now.
    pub fn watched(&self) -> Watched {
        let State { open, opened, last_lived } = &*self.state();
        let ended = opened - open.len() as u64;
        Watched { opened: *opened, ended, last_lived: *last_lived }
    }

    /// How long the oldest one has been open.
    pub fn age(&self) -> Option<Duration> {
        self.state().open.iter().map(|(_, since)| since.elapsed()).max()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // never half written
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut state = self.streams.state();
        if let Some(at) = state.open.iter().position(|(number, _)| *number == self.number) {
            let (_, since) = state.open.remove(at);
            state.last_lived = Some(since.elapsed());
        }
        drop(state);
        self.shared.watchers.notify_one();
    }
}
