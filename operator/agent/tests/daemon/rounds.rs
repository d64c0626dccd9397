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
async fn it_is_ready_once_it_has_said_how_the_node_is_and_stays_so() {
    let world = World::new();
    world.ask();
    world.remember();
    world.server.set_down(true);
    world.start();
    world.server.until(|_| world.offered(), |states| states == &["ready", "ready"]).await;
    let (ready, why) = world.probe().await;
    assert!(!ready && why.contains("/readyz: this node's NodeDevices does not tell yet"), "{why}");
    world.server.set_down(false);
    world.server.until(answer, |(reason, _)| !reason.is_empty()).await;
    // the answer to what it has said may be on its way
    let deadline = Instant::now() + RESYNC;
    while !world.probe().await.0 {
        assert!(Instant::now() < deadline, "{}", world.probe().await.1);
        tokio::time::sleep(RESYNC / 100).await;
    }
    world.server.set_down(true);
    assert!(world.probe().await.0);
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
