//! What changes is noticed when it does, once, and the host's network managers are kept off.

use std::fs;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::world::{OBJECT, RESYNC, World, until_answered};

fn unbind(world: &World, index: u32) {
    let driver = format!("sys/bus/vdpa/devices/vdpa:0000:01:00.{index}/driver");
    fs::remove_file(world.tree.path(&driver)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_is_noticed_within_a_second() {
    let world = World::new();
    world.ask();
    let changes = world.start_told();
    until_answered(&world.server, "AsWanted").await;
    let since = Instant::now();
    unbind(&world, 2);
    changes.send(()).await.unwrap();
    world.server.until(|_| world.offered(), |states| states == &["ready", "failed"]).await;
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}

/// The round that a change asks for is one: what changes later and is not told waits for the resync.
#[tokio::test(start_paused = true)]
async fn it_asks_for_one_round() {
    let world = World::new();
    world.ask();
    let changes = world.start_told();
    until_answered(&world.server, "AsWanted").await;
    for _ in 0..3 {
        changes.send(()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let since = Instant::now();
    unbind(&world, 2);
    world.server.until(|_| world.offered(), |states| states == &["ready", "failed"]).await;
    let (least, most) = (RESYNC - Duration::from_secs(5), RESYNC);
    assert!((least..=most).contains(&since.elapsed()), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn network_managers_are_kept_off_while_something_is_wanted() {
    let world = World::new();
    fs::create_dir(world.rules()).unwrap();
    world.ask();
    world.start();
    until_answered(&world.server, "AsWanted").await;
    let path = world.rules().join("10-ringway.rules");
    let rules = fs::read_to_string(&path).unwrap();
    for device in ["0000:01:00.1", "0000:01:00.2"] {
        let rule = format!("SUBSYSTEM==\"net\", KERNELS==\"{device}\", ENV{{NM_UNMANAGED}}=\"1\"");
        assert!(rules.contains(&rule), "{rules}");
    }
    // the host keeps the second
    world.server.edit(OBJECT, |object| {
        let pools = &mut object["spec"]["parents"][0]["pools"];
        pools[0]["range"] = json!("0");
        let own = json!({"name": "own", "range": "1", "attach": "host"});
        pools.as_array_mut().unwrap().push(own);
    });
    world
        .server
        .until(|_| fs::read_to_string(&path).unwrap(), |rules| !rules.contains("0000:01:00.2"))
        .await;
}
