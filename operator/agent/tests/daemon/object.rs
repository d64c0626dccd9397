//! The node's object: made, answered in, and made again.

use std::time::Duration;

use ringway_fake_api_server::ApiServer;
use serde_json::json;

use crate::world::{OBJECT, World, answer, said, until_answered};

#[tokio::test(start_paused = true)]
async fn it_is_made_and_belongs_to_its_node() {
    let world = World::new();
    world.start();
    world.server.until(answer, |(reason, _)| !reason.is_empty()).await;
    let object = world.server.get(OBJECT).unwrap();
    let node = world.server.get("nodes/a").unwrap();
    let owner = &object["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("Node"), &node["metadata"]["uid"]));
    assert_eq!(object["status"]["parents"][0]["name"], "0000:01:00.0");
    let manager = world.server.manager("nodedevices/a/status");
    assert_eq!(manager.as_deref(), Some("ringway-agent"));
}

#[tokio::test(start_paused = true)]
async fn what_it_asks_for_is_answered() {
    let world = World::as_wanted().await;
    let status = world.server.get(OBJECT).unwrap()["status"].clone();
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(status["summary"], json!({"parents": 1, "functions": 2, "ready": 2, "steps": 0}));
    assert_eq!(world.offered(), ["ready", "ready"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_deleted_is_made_again_as_it_was() {
    let world = World::as_wanted().await;
    let before = world.server.get(OBJECT).unwrap();
    world.server.delete(OBJECT);
    until_answered(&world.server, "AsWanted").await;
    let after = world.server.get(OBJECT).unwrap();
    assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);
    assert_eq!(before["spec"], after["spec"], "nothing is taken down meanwhile");
    assert_eq!(before["status"], after["status"]);
    assert_eq!(world.offered(), ["ready", "ready"]);
}

#[tokio::test(start_paused = true)]
async fn what_changes_in_short_order_is_said_once() {
    let world = World::as_wanted().await;
    let before = said(&world.server);
    let observed =
        |server: &ApiServer| server.get(OBJECT).unwrap()["status"]["observedGeneration"].clone();
    for policy in ["one", "two", "three"] {
        world.server.edit(OBJECT, |object| object["spec"]["parents"][0]["policy"] = policy.into());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    world.server.until(observed, |generation| *generation == 4).await;
    assert_eq!(said(&world.server), before + 1);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_change_is_not_said_again() {
    let world = World::as_wanted().await;
    let before = world.server.writes();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.server.writes(), before);
}

#[tokio::test(start_paused = true)]
async fn a_status_that_was_not_taken_is_said_again() {
    let world = World::new();
    world.ask();
    world.server.set_broken(Some("PATCH nodedevices"));
    world.start();
    world.server.until(said, |times| *times >= 3).await;
    assert_eq!(answer(&world.server).0, "");
    world.server.set_broken(None);
    until_answered(&world.server, "AsWanted").await;
}
