use super::*;
use crate::source::Source;
use crate::testing::{VHOST, offer, resource};
use ringway_kernel::Root;
use std::time::Duration;

fn config(plugins_dir: &Path, instance: &str) -> Arc<Config> {
    Arc::new(Config {
        plugins_dir: plugins_dir.to_owned(),
        source: Source::Pools(plugins_dir.join("pools.json")),
        cdi_dir: plugins_dir.join("cdi"),
        devinfo_dir: plugins_dir.join("devinfo"),
        lock_dir: plugins_dir.join("lock"),
        root: Root::new(plugins_dir),
        hook: None,
        instance: instance.to_owned(),
        health_interval: Duration::from_secs(1),
    })
}

fn start(config: &Arc<Config>) -> Result<Endpoint, Error> {
    Endpoint::start(config, &resource(VHOST), &offer(VHOST))
}

#[tokio::test]
async fn a_path_of_107_bytes_is_bound_and_one_of_108_refused() {
    let dir = tempfile::tempdir().unwrap();
    let fixed = dir.path().join("ringway-vm-rings-.sock").as_os_str().len();
    let fits = config(dir.path(), &"x".repeat(107 - fixed));
    assert_eq!(start(&fits).unwrap().path.as_os_str().len(), 107);
    let error = start(&config(dir.path(), &"x".repeat(108 - fixed))).unwrap_err();
    assert!(error.to_string().contains("has 108 bytes, more than 107"), "{error}");
}

#[tokio::test]
async fn a_stale_socket_is_replaced_but_a_file_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "i");
    let path = dir.path().join("ringway-vm-rings-i.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    drop(start(&config).unwrap());
    assert!(!path.exists(), "removed with its endpoint");
    std::fs::write(&path, "").unwrap();
    assert!(start(&config).is_err());
}

#[tokio::test]
async fn a_socket_in_our_place_is_not_ours_to_remove() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = start(&config(dir.path(), "i")).unwrap();
    assert!(!endpoint.is_lost());
    std::fs::remove_file(&endpoint.path).unwrap();
    assert!(endpoint.is_lost());
    let path = endpoint.path.clone();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(endpoint.is_lost());
    drop(endpoint);
    assert!(path.exists());
}

#[tokio::test]
async fn only_a_live_socket_of_another_instance_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (config(dir.path(), "ours"), config(dir.path(), "theirs"));
    let _own = start(&ours).unwrap();
    assert!(!another_serves(&ours, &resource(VHOST)).await);

    let dead = dir.path().join("ringway-vm-rings-dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    assert!(!another_serves(&ours, &resource(VHOST)).await);
    assert!(!dead.exists());

    let other = start(&theirs).unwrap();
    assert!(another_serves(&ours, &resource(VHOST)).await);
    drop(other);
    assert!(!another_serves(&ours, &resource(VHOST)).await);
}

/// Of `vm` and `vm-rings` the name of one begins the other's.
#[tokio::test]
async fn sockets_of_a_resource_whose_name_begins_alike_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "ours");
    let bind = |name: &str| {
        let path = dir.path().join(name);
        (std::os::unix::net::UnixListener::bind(&path).unwrap(), path)
    };
    let (listener, dead) = bind("ringway-vm-rings-theirs.sock");
    drop(listener);
    let (_live, _) = bind("ringway-vm-rings-live.sock");
    assert!(!another_serves(&config, &resource("ringway.dev/vm")).await);
    assert!(dead.exists(), "it is vm-rings' to remove");
    assert!(another_serves(&config, &resource(VHOST)).await);
    assert!(!dead.exists());
}
