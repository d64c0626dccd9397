//! Policies to specs.

use std::time::Duration;

use ringway_fake_api_server::ApiServer;
use ringway_operator::apply::apply;
use ringway_operator::controller;
use ringway_operator::writes::Write;
use serde_json::{Value, json};

use crate::objects::{CARD, cluster, until_ready};

fn parents(server: &ApiServer) -> Vec<String> {
    let devices = server.get("nodedevices/a").unwrap();
    let parents = devices["spec"]["parents"].as_array().unwrap().iter();
    parents.map(|parent| parent["name"].as_str().unwrap().to_owned()).collect()
}

/// What the agent says once all is done.
fn agent_answers(server: &ApiServer) {
    server.edit("nodedevices/a", |devices| {
        devices["status"]["observedGeneration"] = devices["metadata"]["generation"].clone();
        devices["status"]["parents"][0]["functions"] =
            json!([{"range": "0-3", "devices": [], "pool": "vms", "ready": true}]);
    });
}

#[tokio::test(start_paused = true)]
async fn a_policy_reaches_the_node_and_comes_back_ready() {
    let server = cluster();
    tokio::spawn(controller::run(server.client()));
    until_ready(&server, "devicepolicies/edge", "AwaitingAgent").await;
    let spec = server.get("nodedevices/a").unwrap()["spec"].clone();
    assert_eq!(spec["parents"][0]["functionCount"], 4);
    assert_eq!(spec["parents"][0]["identity"]["mac"], "52:54:00:00:00:01");
    agent_answers(&server);
    until_ready(&server, "devicepolicies/edge", "AsWanted").await;
    let status = server.get("devicepolicies/edge").unwrap()["status"].clone();
    assert_eq!((&status["nodes"], &status["parents"]), (&json!(1), &json!(1)));
    // one for the spec, two for the policy: nothing else
    assert_eq!(
        server.writes(),
        [
            "PATCH nodedevices/a",
            "PATCH devicepolicies/edge/status",
            "PATCH devicepolicies/edge/status"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn features_in_common_take_one_write_more() {
    let server = cluster();
    server.edit("devicepolicies/edge", |policy| {
        policy["spec"]["pools"][0]["vdpa"] = json!({"features": "common"});
    });
    tokio::spawn(controller::run(server.client()));
    until_ready(&server, "devicepolicies/edge", "AwaitingFeatures").await;
    server.edit("nodedevices/a", |devices| {
        devices["status"]["observedGeneration"] = devices["metadata"]["generation"].clone();
        devices["status"]["featureSets"] = json!([{"features": "VERSION_1,MAC",
            "functions": [{"parent": CARD, "range": "0-3"}]}]);
    });
    let features = |server: &ApiServer| {
        let devices = server.get("nodedevices/a").unwrap();
        devices["spec"]["parents"][0]["pools"][0]["vdpa"]["features"].clone()
    };
    server.until(features, |features| features == "MAC,VERSION_1").await;
    agent_answers(&server);
    until_ready(&server, "devicepolicies/edge", "AsWanted").await;
    let writes = server.writes();
    assert_eq!(
        writes.iter().filter(|write| *write == "PATCH nodedevices/a").count(),
        2,
        "{writes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_right_is_not_written() {
    let server = cluster();
    tokio::spawn(controller::run(server.client()));
    until_ready(&server, "devicepolicies/edge", "AwaitingAgent").await;
    agent_answers(&server);
    until_ready(&server, "devicepolicies/edge", "AsWanted").await;
    let before = server.writes();
    for beat in 0..20 {
        server.edit("nodes/a", |node| node["metadata"]["labels"]["beat"] = json!(beat.to_string()));
        server.edit("nodedevices/a", |devices| devices["status"]["summary"]["steps"] = json!(beat));
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    assert_eq!(server.writes(), before);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_goes_takes_its_parents_along() {
    let server = cluster();
    tokio::spawn(controller::run(server.client()));
    server.until(parents, |parents| parents == &[CARD]).await;
    server.delete("devicepolicies/edge");
    server.until(parents, Vec::is_empty).await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_wrote_into_a_spec_is_put_right() {
    let server = cluster();
    tokio::spawn(controller::run(server.client()));
    server.until(parents, |parents| parents == &[CARD]).await;
    let by_hand = json!({"name": "0000:09:00.0", "policy": "by-hand", "functionCount": 1});
    server.edit("nodedevices/a", |devices| {
        devices["spec"]["parents"].as_array_mut().unwrap().push(by_hand);
    });
    server.until(parents, |parents| parents == &[CARD]).await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_failed_is_tried_again() {
    let server = cluster();
    server.set_broken(Some("PATCH nodedevices"));
    tokio::spawn(controller::run(server.client()));
    let tries = |server: &ApiServer| {
        server.writes().iter().filter(|write| write.starts_with("PATCH nodedevices")).count()
    };
    server.until(tries, |tries| *tries >= 3).await;
    assert!(parents(&server).is_empty());
    server.set_broken(None);
    server.until(parents, |parents| parents == &[CARD]).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_is_not_made_again() {
    let server = cluster();
    server.delete("nodedevices/a");
    let spec = Default::default();
    let write = Write::Spec { node: "a".into(), uid: Some("uid-2".into()), spec };
    let error = apply(&server.client(), &write).await.unwrap_err();
    assert_eq!(error.to_string(), "apply the spec of NodeDevices a");
    assert_eq!(server.get("nodedevices/a"), None::<Value>);
}
