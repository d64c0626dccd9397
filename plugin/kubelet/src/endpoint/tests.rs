use super::*;
use crate::source::Source;
use crate::testing::{VHOST, offer, resource};
use ringway_kernel::Root;

fn shared(plugins_dir: &Path, instance: &str) -> Arc<Shared> {
    Arc::new(Shared::new(Config {
        plugins_dir: plugins_dir.to_owned(),
        source: Source::Pools(plugins_dir.join("pools.json")),
        delivery: None,
        cdi_dir: plugins_dir.join("cdi"),
        devinfo_dir: plugins_dir.join("devinfo"),
        pod_resources: plugins_dir.join("pod-resources.sock"),
        lock_dir: plugins_dir.join("lock"),
        root: Root::new(plugins_dir),
        hook: None,
        instance: instance.to_owned(),
        until_replaced: false,
        metrics_address: None,
        status_socket: None,
        health_interval: None,
    }))
}

fn start(shared: &Arc<Shared>) -> Result<Endpoint, Error> {
    Endpoint::start(shared, &resource(VHOST), &offer(VHOST))
}

#[tokio::test]
async fn a_path_of_107_bytes_is_bound_and_one_of_108_refused() {
    let dir = tempfile::tempdir().unwrap();
    let fixed = dir.path().join("ringway-vm-rings-.sock").as_os_str().len();
    let fits = shared(dir.path(), &"x".repeat(107 - fixed));
    assert_eq!(start(&fits).unwrap().path.as_os_str().len(), 107);
    let error = start(&shared(dir.path(), &"x".repeat(108 - fixed))).unwrap_err();
    assert!(error.to_string().contains("has 108 bytes, more than 107"), "{error}");
}

#[tokio::test]
async fn a_stale_socket_is_replaced_but_a_file_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path(), "i");
    let path = dir.path().join("ringway-vm-rings-i.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    drop(start(&shared).unwrap());
    assert!(!path.exists(), "removed with its endpoint");
    std::fs::write(&path, "").unwrap();
    assert!(start(&shared).is_err());
}

#[tokio::test]
async fn a_socket_in_our_place_is_not_ours_to_remove() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = start(&shared(dir.path(), "i")).unwrap();
    assert!(!endpoint.is_lost());
    std::fs::remove_file(&endpoint.path).unwrap();
    assert!(endpoint.is_lost());
    let path = endpoint.path.clone();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(endpoint.is_lost());
    drop(endpoint);
    assert!(path.exists());
}

fn names(found: Vec<((i64, i64), String)>) -> Vec<String> {
    found.into_iter().map(|(_, instance)| instance).collect()
}

#[tokio::test]
async fn only_a_live_socket_of_another_instance_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (shared(dir.path(), "ours"), shared(dir.path(), "theirs"));
    let _own = start(&ours).unwrap();
    let resource = resource(VHOST);
    assert_eq!(names(others(&ours.config, &resource).await), [""; 0]);

    let dead = dir.path().join("ringway-vm-rings-dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    assert_eq!(names(others(&ours.config, &resource).await), [""; 0]);
    assert!(!dead.exists());

    let other = start(&theirs).unwrap();
    assert_eq!(names(others(&ours.config, &resource).await), ["theirs"]);
    drop(other);
    assert_eq!(names(others(&ours.config, &resource).await), [""; 0]);
}

/// Each of two would else leave it to the other one to tell kubelet.
#[tokio::test]
async fn of_two_instances_one_is_the_others_successor() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (shared(dir.path(), "z"), shared(dir.path(), "a"));
    let resource = resource(VHOST);
    let (mut older, mut newer) = (start(&first).unwrap(), start(&second).unwrap());
    let one = older.look_beside(&first.config, &resource).await.successor;
    let other = newer.look_beside(&second.config, &resource).await.successor;
    assert!(one != other, "exactly one");
    drop(newer);
    assert!(!older.look_beside(&first.config, &resource).await.successor);
}

/// Of `vm` and `vm-rings` the name of one begins the other's.
#[tokio::test]
async fn sockets_of_a_resource_whose_name_begins_alike_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let config = &shared(dir.path(), "ours").config;
    let bind = |name: &str| {
        let path = dir.path().join(name);
        (std::os::unix::net::UnixListener::bind(&path).unwrap(), path)
    };
    let (listener, dead) = bind("ringway-vm-rings-theirs.sock");
    drop(listener);
    let (_live, _) = bind("ringway-vm-rings-live.sock");
    assert_eq!(names(others(config, &crate::testing::resource("ringway.dev/vm")).await), [""; 0]);
    assert!(dead.exists(), "it is vm-rings' to remove");
    assert_eq!(names(others(config, &resource(VHOST)).await), ["live"]);
    assert!(!dead.exists());
}
