//! The device plugin's binary against a fake kubelet, over real Unix sockets in a temporary
//! directory and a temporary sysfs. Nothing here needs root or a card.

#![allow(clippy::unwrap_used, reason = "what fails in a test ends the test")]

mod fake_kubelet;
mod node;

mod allocation;
mod check;
mod life;
mod offering;
mod preference;
mod sriovdp;
mod status;

use std::time::{Duration, Instant};

/// Asks again and again until there is an answer.
async fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
