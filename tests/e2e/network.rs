//! `DeviceNetwork` and what Multus reads of it.

use serde_json::{Value, json};

use crate::cluster::{Cluster, SOON, kubectl};
use crate::pods;

const DEFINITION: &str = "network-attachment-definitions.k8s.cni.cncf.io";

#[test]
fn its_definition_is_made_repaired_and_removed_with_it() {
    let cluster = Cluster::at_rest();
    cluster.apply(&pods::network("net", "rings"));
    cluster.condition_of("devicenetwork net", "Ready");
    let made = cluster.get(&format!("{DEFINITION} net"));
    let config: Value = serde_json::from_str(made["spec"]["config"].as_str().unwrap()).unwrap();
    assert_eq!((&config["type"], &config["name"]), (&json!("ringway"), &json!("default.net")));
    let annotations = &made["metadata"]["annotations"];
    assert_eq!(annotations["k8s.v1.cni.cncf.io/resourceName"], "ringway.dev/rings");

    kubectl(&format!(r#"patch {DEFINITION} net --type=merge -p {{"spec":{{"config":"{{}}"}}}}"#));
    cluster.until("the definition is repaired", SOON, || {
        let found = cluster.get(&format!("{DEFINITION} net"));
        (found["spec"]["config"] == made["spec"]["config"]).then_some(())
    });

    kubectl("delete devicenetwork net");
    cluster.until("the definition is gone", SOON, || {
        kubectl(&format!("get {DEFINITION} net --ignore-not-found -o name"))
            .is_empty()
            .then_some(())
    });
}

#[test]
fn a_definition_of_somebody_elses_is_a_conflict_and_stays() {
    let cluster = Cluster::at_rest();
    let foreign = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "taken", "namespace": "default"},
        "spec": {"config": r#"{"cniVersion": "1.0.0", "type": "bridge"}"#},
    });
    cluster.apply(&foreign);
    cluster.apply(&pods::network("taken", "rings"));
    let (reason, message) = cluster.condition_of("devicenetwork taken", "Degraded");
    assert_eq!(reason, "Conflict", "{message}");
    assert!(message.contains("taken") && message.contains("not made by Ringway"), "{message}");
    let found = cluster.get(&format!("{DEFINITION} taken"));
    assert_eq!(found["spec"], foreign["spec"]);
    kubectl(&format!("delete {DEFINITION} taken"));
    // what was in the way is gone
    cluster.condition_of("devicenetwork taken", "Ready");
}
