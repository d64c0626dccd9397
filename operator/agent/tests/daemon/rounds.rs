//! The rounds go on, whatever becomes of the API server.

use std::fs;

use tokio::time::Instant;

use crate::world::{RESYNC, World, answer, until_answered};

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_holds_none_up() {
    let world = World::new();
    world.ask();
    world.remember();
    world.server.set_down(true);
    world.start();
    let offered = |_: &_| world.offered();
    world.server.until(offered, |states| states == &["ready", "ready"]).await;
    // something happens to a device
    fs::remove_file(world.tree.path("sys/bus/vdpa/devices/vdpa:0000:01:00.2/driver")).unwrap();
    let since = Instant::now();
    world.server.until(offered, |states| states == &["ready", "failed"]).await;
    assert!(since.elapsed() <= RESYNC, "{:?}", since.elapsed());
    // and once it answers, it hears of it
    world.server.set_down(false);
    world.server.until(answer, |(reason, _)| !reason.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn it_may_go_away_in_between() {
    let world = World::as_wanted().await;
    world.server.set_down(true);
    fs::remove_file(world.tree.path("sys/bus/vdpa/devices/vdpa:0000:01:00.2/driver")).unwrap();
    let offered = |_: &_| world.offered();
    let since = Instant::now();
    world.server.until(offered, |states| states == &["ready", "failed"]).await;
    assert!(since.elapsed() <= RESYNC, "{:?}", since.elapsed());
    world.server.set_down(false);
    until_answered(&world.server, "StepFailed").await;
}
