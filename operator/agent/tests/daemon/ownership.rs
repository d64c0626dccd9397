//! Functions and vDPA devices that others made: used as they are, or taken over.

use std::fs;

use serde_json::{Value, json};

use crate::world::{OBJECT, World, answer, until_answered};

const THEIRS: &str = "
    0000:01:00.0 virtio-pci pf totalvfs=2
    0000:01:00.1 vf-of=0000:01:00.0 vp-vdpa vdpa=theirs0 virtio=0
    0000:01:00.2 vf-of=0000:01:00.0 vp-vdpa vdpa=theirs1 virtio=1
";

fn ask(world: &World, field: &str, value: Value) {
    world.ask();
    world.server.edit(OBJECT, |object| object["spec"]["parents"][0][field] = value);
}

fn before(world: &World) -> Value {
    serde_json::from_str(&fs::read_to_string(world.state().join("before.json")).unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn external_functions_are_offered_and_nothing_is_changed() {
    let world = World::with(THEIRS);
    // a managed node would have this one off, and functions without a driver bound
    world.tree.write("sys/bus/vdpa/drivers_autoprobe", "1\n");
    fs::create_dir(world.rules()).unwrap();
    fs::remove_file(world.tree.path("sys/bus/vdpa/devices/theirs1/driver")).unwrap();
    ask(&world, "ownership", json!("External"));
    world.start();
    until_answered(&world.server, "ExternallyManaged").await;
    let (_, message) = answer(&world.server);
    let words = "function 1 of 0000:01:00.0: it is not what pool vms asks for";
    assert!(message.starts_with(words), "{message}");
    world.server.until(|_| world.offered(), |states| states == &["ready", "failed"]).await;
    let status = world.server.get(OBJECT).unwrap()["status"].clone();
    assert_eq!((&status["summary"]["ready"], &status["plan"]), (&json!(1), &json!([])));
    assert_eq!(world.tree.read("sys/bus/vdpa/drivers_autoprobe"), "1\n");
    assert_eq!(world.tree.read("sys/bus/vdpa/drivers_probe"), "");
    assert!(!world.rules().join("10-ringway.rules").exists(), "they keep managers off themselves");
    assert_eq!(before(&world)["parents"], json!({}));
}

#[tokio::test(start_paused = true)]
async fn devices_are_taken_over_where_that_is_asked_for_and_not_before() {
    let world = World::with(THEIRS);
    world.ask();
    world.start();
    until_answered(&world.server, "Foreign").await;
    assert_eq!(world.offered(), ["failed", "failed"]);
    world.server.edit(OBJECT, |object| object["spec"]["parents"][0]["adopt"] = json!(true));
    until_answered(&world.server, "AsWanted").await;
    assert_eq!(world.offered(), ["ready", "ready"]);
    let record = before(&world)["parents"]["0000:01:00.0"].clone();
    assert_eq!(record["adopted"], json!(["theirs0", "theirs1"]));
}
