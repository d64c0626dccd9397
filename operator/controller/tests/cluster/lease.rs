//! Who works.

use std::time::Duration;

use kube::Api;
use ringway_fake_api_server::ApiServer;
use ringway_operator::lease::{Candidate, Lost, Timing};
use ringway_operator::run::lead;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::objects::cluster;

const LEASE: &str = "leases/ringway/ringway-operator";

fn candidate(server: &ApiServer, identity: &str) -> Candidate {
    let seconds = Duration::from_secs;
    let timing = Timing { duration: seconds(15), renew: seconds(10), retry: seconds(2) };
    let leases = Api::namespaced(server.client(), "ringway");
    Candidate::new(leases, "ringway-operator".into(), identity.into(), timing)
}

fn holder(server: &ApiServer) -> String {
    let lease = server.get(LEASE).unwrap();
    lease["spec"]["holderIdentity"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_the_other_stands_by() {
    let server = ApiServer::default();
    let (mut first, mut second) = (candidate(&server, "first"), candidate(&server, "second"));
    first.acquire().await;
    assert_eq!(holder(&server), "first");
    let held = tokio::spawn(async move { first.hold().await });
    let minutes = Duration::from_secs(600);
    assert!(timeout(minutes, second.acquire()).await.is_err(), "took a lease that is renewed");
    // the first is killed: the second waits until the lease has run out, no longer
    held.abort();
    let since = Instant::now();
    second.acquire().await;
    let waited = since.elapsed().as_secs();
    assert!((11..=18).contains(&waited), "{waited} s");
    assert_eq!(holder(&server), "second");
    assert_eq!(server.get(LEASE).unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_once() {
    let server = ApiServer::default();
    let (mut first, mut second) = (candidate(&server, "first"), candidate(&server, "second"));
    first.acquire().await;
    first.release().await;
    let since = Instant::now();
    second.acquire().await;
    assert_eq!(since.elapsed(), Duration::ZERO);
    // and what is not ours is not released
    first.release().await;
    assert_eq!(holder(&server), "second");
}

#[tokio::test(start_paused = true)]
async fn a_holder_without_answers_stops_before_others_start() {
    let server = ApiServer::default();
    let mut first = candidate(&server, "first");
    first.acquire().await;
    server.set_down(true);
    let since = Instant::now();
    assert_eq!(first.hold().await, Lost::NotRenewed(Duration::from_secs(10)));
    let waited = since.elapsed().as_secs();
    assert!((10..15).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn who_loses_the_lease_stops_writing() {
    let server = cluster();
    let client = server.client();
    let mut first = candidate(&server, "first");
    let leading = tokio::spawn(async move { lead(client, &mut first).await });
    server.until(ApiServer::writes, |writes| writes.len() >= 2).await;
    server.edit(LEASE, |lease| lease["spec"]["holderIdentity"] = json!("second"));
    let error = leading.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "second has taken the lease");
    let before = server.writes();
    server.delete("devicepolicies/edge");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(server.writes(), before);
    assert_eq!(holder(&server), "second");
}
