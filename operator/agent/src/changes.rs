//! Tells the rounds when something has changed on the node: the kernel says so, nobody polls.

use std::time::Duration;

use ringway_kernel::monitor::Monitor;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

/// One change comes with many: a card with its functions, a function with its interface.
const SETTLE: Duration = Duration::from_millis(100);

/// Listens to the kernel in a thread of its own: that sleeps as long as nothing happens. Without it
/// the node is looked at every now and then all the same.
pub(crate) fn of_kernel() -> mpsc::Receiver<()> {
    // one place is enough: more changes before the next look are the same news
    let (sender, changes) = mpsc::channel(1);
    let started = Monitor::open().map_err(anyhow::Error::from).and_then(|monitor| {
        let listen = move || listen(&monitor, &sender);
        let thread = std::thread::Builder::new().name("changes".to_owned());
        Ok(thread.stack_size(64 * 1024).spawn(listen)?)
    });
    if let Err(error) = started {
        warn!(error = format!("{error:#}"), "changes of devices are noticed at each resync only");
    }
    changes
}

fn listen(monitor: &Monitor, sender: &mpsc::Sender<()>) {
    while !sender.is_closed() {
        match monitor.wait() {
            Ok(change) => {
                debug!(%change, "something has changed");
                // full: it is known already
                let _ = sender.try_send(());
            }
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                return warn!(error, "changes of devices are noticed at each resync only");
            }
        }
    }
}

/// Forgets what has changed until now: whoever looks now sees it.
pub(crate) fn forget(changes: &mut mpsc::Receiver<()>) {
    while changes.try_recv().is_ok() {}
}

/// Waits until something has changed and what belongs to it had time to, but not less than until
/// `earliest`.
pub(crate) async fn happen(changes: &mut mpsc::Receiver<()>, earliest: Instant) {
    if changes.recv().await.is_none() {
        // nobody listens to the kernel
        std::future::pending::<()>().await;
    }
    sleep_until(earliest.max(Instant::now() + SETTLE)).await;
}
