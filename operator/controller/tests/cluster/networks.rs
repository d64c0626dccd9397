//! Networks to NetworkAttachmentDefinitions.

use std::time::Duration;

use ringway_fake_api_server::ApiServer;
use ringway_operator::controller;
use serde_json::{Value, json};

use crate::objects::{cluster, network, until_ready};

const DEFINITION: &str = "network-attachment-definitions/apps/n";

fn config(server: &ApiServer) -> Option<Value> {
    let definition = server.get(DEFINITION)?;
    serde_json::from_str(definition["spec"]["config"].as_str()?).ok()
}

fn right(config: &Option<Value>) -> bool {
    config.as_ref().is_some_and(|config| config["type"] == "ringway")
}

#[tokio::test(start_paused = true)]
async fn a_network_gets_its_definition() {
    let server = cluster();
    server.put(network());
    tokio::spawn(controller::run(server.client()));
    until_ready(&server, "devicenetworks/apps/n", "AsWanted").await;
    let definition = server.get(DEFINITION).unwrap();
    let network = server.get("devicenetworks/apps/n").unwrap();
    assert_eq!(definition["metadata"]["ownerReferences"][0]["uid"], network["metadata"]["uid"]);
    // a change of the network changes it
    server.edit("devicenetworks/apps/n", |network| network["spec"]["mtu"] = json!(9000));
    server.until(config, |config| config.as_ref().is_some_and(|c| c["mtu"] == 9000)).await;
}

#[tokio::test(start_paused = true)]
async fn an_edited_or_removed_definition_is_put_right() {
    let server = cluster();
    server.put(network());
    tokio::spawn(controller::run(server.client()));
    server.until(config, right).await;
    server.edit(DEFINITION, |definition| definition["spec"]["config"] = json!("{}"));
    server.until(config, right).await;
    server.delete(DEFINITION);
    server.until(config, right).await;
    until_ready(&server, "devicenetworks/apps/n", "AsWanted").await;
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_definition_is_not_touched() {
    let server = cluster();
    server.put(network());
    server.put(json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "n", "namespace": "apps"}, "spec": {"config": "{}"},
    }));
    let foreign = server.get(DEFINITION);
    tokio::spawn(controller::run(server.client()));
    until_ready(&server, "devicenetworks/apps/n", "Conflict").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(server.get(DEFINITION), foreign);
    // once it is gone, ours takes its place
    server.delete(DEFINITION);
    until_ready(&server, "devicenetworks/apps/n", "AsWanted").await;
}

#[tokio::test(start_paused = true)]
async fn multus_may_come_later() {
    let server = cluster();
    server.set_served("network-attachment-definitions", false);
    server.put(network());
    tokio::spawn(controller::run(server.client()));
    until_ready(&server, "devicenetworks/apps/n", "KindMissing").await;
    server.set_served("network-attachment-definitions", true);
    until_ready(&server, "devicenetworks/apps/n", "AsWanted").await;
}
