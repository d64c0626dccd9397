//! The stand-in's side of the hooks protocol against the product's hook, over a real socket.

#![allow(clippy::unwrap_used, reason = "what fails in a test ends the test")]

use std::path::Path;
use std::time::Duration;

use ringway_kubevirt::hook::Config;
use ringway_kubevirt::server;
use ringway_launcher::domain;
use ringway_launcher::hooks::Hooks;

const VMI: &str = r#"{"metadata":{"name":"vm","namespace":"default"},"spec":{
    "domain":{"devices":{"interfaces":[{"name":"rings","binding":{"name":"ringway"}}]}},
    "networks":[{"name":"rings","multus":{"networkName":"default/vm-rings"}}]}}"#;
const NETWORK_INFO: &str = r#"{"interfaces":[{"network":"rings","mac":"52:54:01:00:00:01",
    "deviceInfo":{"type":"vdpa","version":"1.1.0",
                  "vdpa":{"driver":"vhost","path":"/dev/ringway/0000:01:00.1"}}}]}"#;

fn config(dir: &Path) -> Config {
    Config {
        binding: "ringway".into(),
        container_name: "hook-sidecar-0".into(),
        hooks_dir: dir.join("hook-sidecar-0"),
        network_info: dir.join("network-info"),
        device_info_timeout: Duration::from_secs(5),
    }
}

#[tokio::test]
async fn a_domain_goes_round_until_the_vm_ends() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    std::fs::create_dir(&config.hooks_dir).unwrap();
    std::fs::write(&config.network_info, NETWORK_INFO).unwrap();
    // dialled in vain, as anything that is no directory
    std::fs::write(config.hooks_dir.join("no-socket"), "").unwrap();
    let socket = config.hooks_dir.join("ringway.sock");
    let serving = tokio::spawn(server::run(config, std::future::pending()));

    let hooks = Hooks::collect(dir.path(), 1, Duration::from_secs(30)).await.unwrap();
    assert_eq!(
        hooks.describe(),
        [format!("ringway at {}: OnDefineDomain, Shutdown", socket.display())]
    );
    let bare = "<domain><devices></devices></domain>";
    let first = hooks.define(&domain::with_placeholders(bare), VMI).await.unwrap();
    let second = domain::without_placeholders(&first).unwrap();
    assert!(second.contains("vdpa-rings"), "{second}");
    assert_eq!(hooks.define(&second, VMI).await.unwrap(), second);
    let error = hooks.define("<network/>", VMI).await.unwrap_err();
    assert!(format!("{error:#}").contains("not a <domain>"), "{error:#}");

    hooks.shutdown().await.unwrap();
    serving.await.unwrap().unwrap();
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_hook_that_does_not_come_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("hook-sidecar-0")).unwrap();
    let error = Hooks::collect(dir.path(), 1, Duration::from_millis(10)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("0 of 1 hooks answered below {}", dir.path().display()));
}
