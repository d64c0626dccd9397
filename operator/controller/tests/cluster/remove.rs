//! What comes before the chart goes.

use std::time::Duration;

use ringway_fake_api_server::ApiServer;
use ringway_operator::{controller, remove};
use serde_json::{Value, json};

use crate::objects::{CARD, cluster};

const WAIT: Duration = Duration::from_secs(240);

fn pod(phase: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "apps", "name": "user"},
        "spec": {"nodeName": "a", "containers": [
            {"name": "c", "resources": {"limits": {"ringway.dev/vms": "1"}}},
        ]},
        "status": {"phase": phase},
    })
}

/// What node `a`'s agent does: it puts back what is not wanted any more, and leaves when told to.
async fn agent(server: ApiServer, holds: Option<&'static str>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Some(node) = server.get("nodedevices/a") else { return };
        let idle = node["spec"]["parents"].as_array().is_some_and(Vec::is_empty);
        let leave = !node["metadata"]["annotations"]["ringway.dev/leave"].is_null();
        let steps = holds.filter(|_| idle).map(|waits| {
            json!([{"step": "set the number of functions to 0", "parent": CARD, "waits": waits}])
        });
        server.edit("nodedevices/a", |node| {
            node["status"]["observedGeneration"] = node["metadata"]["generation"].clone();
            node["status"]["plan"] = steps.unwrap_or(json!([]));
            if leave {
                assert!(idle, "told to leave while it is carved");
                node["status"]["conditions"] = json!([{
                    "type": "Removed", "status": "True", "reason": "AsWanted", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }]);
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn policies_go_and_nodes_are_left_once_they_are_at_rest() {
    let server = cluster();
    server.put(pod("Succeeded"));
    tokio::spawn(controller::run(server.client()));
    tokio::spawn(agent(server.clone(), None));
    let carved = |server: &ApiServer| server.get("nodedevices/a").unwrap()["spec"].clone();
    server.until(carved, |spec| spec["parents"][0]["name"] == CARD).await;
    remove::remove(&server.client(), WAIT).await.unwrap();
    assert_eq!(server.get("devicepolicies/edge"), None);
    assert_eq!(server.get("nodedevices/a"), None);
    // and again, as after an interruption
    remove::remove(&server.client(), WAIT).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_a_pod_has_a_device_nothing_is_changed() {
    let server = cluster();
    server.put(pod("Running"));
    let error = remove::remove(&server.client(), WAIT).await.unwrap_err().to_string();
    assert!(error.contains("pod apps/user on node a has ringway.dev/vms"), "{error}");
    assert_eq!(server.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_put_back_is_named_and_not_told_to_leave() {
    let server = cluster();
    tokio::spawn(controller::run(server.client()));
    tokio::spawn(agent(server.clone(), Some("0000:01:00.1 is in use: process 7 has it open")));
    let error = remove::remove(&server.client(), WAIT).await.unwrap_err().to_string();
    let words = "node a: 0000:01:00.0: set the number of functions to 0: 0000:01:00.1 is in use";
    assert!(error.contains(words), "{error}");
    let node = server.get("nodedevices/a").unwrap();
    assert!(node["metadata"]["annotations"].is_null(), "{node}");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_answer_is_named() {
    let server = cluster();
    server.edit("nodedevices/a", |node| node["metadata"]["generation"] = json!(7));
    server.edit("nodedevices/a", |node| node["spec"]["parents"] = json!([]));
    server.edit("nodedevices/a", |node| node["status"]["observedGeneration"] = json!(0));
    let error = remove::remove(&server.client(), WAIT).await.unwrap_err().to_string();
    assert!(error.contains("node a: its agent has not answered"), "{error}");
}
