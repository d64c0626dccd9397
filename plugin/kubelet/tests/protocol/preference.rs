//! Which devices kubelet is told to prefer.

use serde_json::{Value, json};

use crate::eventually;
use crate::node::Node;

const NETS: &str = "ringway.dev/nets";
const ALL: [&str; 3] = ["a1", "a2", "b1"];

/// A pool with two devices of one card and one of another, all of them one function in truth.
fn two_cards(allocation: Option<&str>) -> Value {
    let device = |id: &str, parent: &str| {
        json!({"id": id, "parent": parent, "index": 0, "state": "ready",
               "pciAddress": "0000:01:00.4"})
    };
    let (a, b) = ("0000:01:00.0", "0000:02:00.0");
    let mut pool = json!({"name": "nets", "resource": NETS, "attach": "netdev",
                          "devices": [device("a1", a), device("a2", a), device("b1", b)]});
    if let Some(allocation) = allocation {
        pool["allocation"] = json!(allocation);
    }
    json!([pool])
}

#[tokio::test]
async fn a_pools_allocation_is_what_kubelet_is_told_and_changes_with_it() {
    let mut node = Node::new();
    node.change_pools(|pools| *pools = two_cards(None));
    let kubelet = node.kubelet();
    let plugin = node.plugin("a");
    kubelet.healthy(NETS, &ALL).await;
    assert!(kubelet.may_ask(NETS));
    assert_eq!(kubelet.preferred(NETS, &ALL, 2).await, ["a1", "b1"]);
    assert_eq!(kubelet.preferred(NETS, &["a2", "b1"], 1).await, ["b1"], "a has one in use");

    // another pool tells that the change has been seen
    node.change_pools(|pools| {
        *pools = two_cards(Some("Pack"));
        let mut more = pools[0].clone();
        more["resource"] = json!("ringway.dev/more");
        more["devices"] = json!([]);
        pools.as_array_mut().unwrap().push(more);
    });
    eventually("registration", || (kubelet.registrations("ringway.dev/more") == 1).then_some(()))
        .await;
    assert_eq!(kubelet.preferred(NETS, &ALL, 2).await, ["a1", "a2"], "{}", plugin.log());
    assert_eq!(kubelet.preferred(NETS, &["a2", "b1"], 1).await, ["a2"]);
    assert_eq!((kubelet.lists(NETS).len(), kubelet.registrations(NETS)), (1, 1));
}
