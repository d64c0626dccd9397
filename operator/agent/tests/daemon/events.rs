//! Events: once, of the node's object.

use std::fs;
use std::time::Duration;

use ringway_fake_api_server::ApiServer;
use serde_json::{Value, json};

use crate::world::{OBJECT, World, until_answered};

fn events(server: &ApiServer) -> Vec<Value> {
    server.list("events")
}

/// Takes a device from its driver. The tree binds nothing: putting it right fails.
fn unbind(world: &World) {
    fs::remove_file(world.tree.path("sys/bus/vdpa/devices/vdpa:0000:01:00.2/driver")).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failed_step_is_told_once_of_the_nodes_object() {
    let world = World::as_wanted().await;
    assert_eq!(events(&world.server), [] as [Value; 0]);
    unbind(&world);
    let event = world.server.until(events, |events| !events.is_empty()).await.remove(0);
    assert_eq!((&event["reason"], &event["type"]), (&json!("StepFailed"), &json!("Warning")));
    let note = event["note"].as_str().unwrap();
    let step = "0000:01:00.0: bind the vDPA device of function 1 of 0000:01:00.0 to virtio_vdpa: ";
    assert!(note.starts_with(step), "{note}");
    assert_eq!(event["metadata"]["namespace"], "default");
    let object = world.server.get(OBJECT).unwrap();
    assert_eq!(event["regarding"]["uid"], object["metadata"]["uid"]);
    assert_eq!(event["reportingController"], "ringway-agent");
    // it fails again and again
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(events(&world.server).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_others_put_right_is_no_repair() {
    let world = World::as_wanted().await;
    unbind(&world);
    until_answered(&world.server, "StepFailed").await;
    let device = "sys/bus/vdpa/devices/vdpa:0000:01:00.2/driver";
    world.tree.link(device, "sys/bus/vdpa/drivers/virtio_vdpa");
    until_answered(&world.server, "AsWanted").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(events(&world.server).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_taken_is_given_up_and_the_rest_goes_on() {
    let world = World::new();
    world.ask();
    world.server.set_broken(Some("POST events"));
    world.start();
    until_answered(&world.server, "AsWanted").await;
    unbind(&world);
    until_answered(&world.server, "StepFailed").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let tries = world.server.writes().iter().filter(|w| w.starts_with("POST events")).count();
    assert_eq!((tries, events(&world.server).len()), (3, 0));
}
