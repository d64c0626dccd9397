use super::*;
use serde_json::{Value, json};

const PATH: &str = "/dev/ringway/0000:01:00.1";

fn info(entry: Value) -> String {
    json!({"interfaces": [{"network": "other", "mac": "02:00:00:00:00:02"}, entry]}).to_string()
}

fn vdpa(driver: &str, path: &str) -> Value {
    json!({"type": "vdpa", "version": "1.1.0", "vdpa": {
        "parent-device": "vdpa:0000:01:00.1", "driver": driver, "path": path,
        "pci-address": "0000:01:00.1", "pf-pci-address": "0000:01:00.0",
    }})
}

#[test]
fn a_device_is_found() {
    let device = |mac: Value| {
        let entry =
            json!({"network": "net1", "deviceInfo": vdpa("vhost", PATH), "mac": mac, "mtu": 1500});
        find(info(entry).as_bytes(), "net1").unwrap()
    };
    let mac = "02:00:00:00:00:01";
    assert_eq!(device(mac.into()), Device { path: PATH.into(), mac: Some(mac.parse().unwrap()) });
    assert_eq!(device(Value::Null), Device { path: PATH.into(), mac: None });
    assert_eq!(device("".into()), Device { path: PATH.into(), mac: None });
}

#[test]
fn what_may_still_come_is_waited_for() {
    for text in [
        String::new(),
        "\n".into(),
        "{}".into(),
        r#"{"interfaces":null}"#.into(),
        info(json!({"network": "net2", "deviceInfo": vdpa("vhost", PATH)})),
        info(json!({"network": "net1", "mac": "02:00:00:00:00:01"})),
        info(json!({"network": "net1", "deviceInfo": null})),
    ] {
        let error = find(text.as_bytes(), "net1").unwrap_err();
        assert!(error.may_pass() && error.to_string().contains("net1"), "{text}: {error}");
    }
}

#[test]
fn what_is_wrong_is_told_at_once() {
    let check = |text: &str, expected: &str| {
        let error = find(text.as_bytes(), "net1").unwrap_err();
        assert!(!error.may_pass() && error.to_string().contains(expected), "{text}: {error}");
    };
    let entry = |info_: Value| info(json!({"network": "net1", "deviceInfo": info_}));
    check("[", "not the JSON");
    check(&entry(json!({"type": "pci", "pci": {"pci-address": "0000:01:00.1"}})), "kind pci,");
    check(&entry(vdpa("virtio", PATH)), "kind vdpa/virtio,");
    check(&entry(json!({"type": "vdpa"})), "kind vdpa,");
    for path in ["", "dev/x", "/etc/passwd", "/dev/../etc/passwd"] {
        check(&entry(vdpa("vhost", path)), &format!("{path:?}: must be a path below /dev/"));
    }
    let odd = json!({"network": "net1", "deviceInfo": vdpa("vhost", PATH), "mac": "zz"});
    check(&info(odd), "mac of network net1");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_comes_late_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("network-info");
    let deadline = Instant::now() + Duration::from_secs(30);
    let write = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        std::fs::write(&file, "").unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let entry = json!({"network": "net1", "deviceInfo": vdpa("vhost", PATH)});
        std::fs::write(&file, info(entry)).unwrap();
    };
    let (device, ()) = tokio::join!(wait(&file, "net1", deadline), write);
    assert_eq!(device.unwrap().path, Path::new(PATH));
    assert!(Instant::now() < deadline);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let deadline = start + Duration::from_millis(250);
    let answer = wait(&dir.path().join("network-info"), "net1", deadline).await;
    assert!(matches!(answer, Err(Error::NoFile)), "{answer:?}");
    assert!(Instant::now() >= deadline && start.elapsed() < Duration::from_secs(1));
    let answer = wait(dir.path(), "net1", deadline).await;
    assert!(matches!(answer, Err(Error::Io(_))), "{answer:?}");
}

#[tokio::test]
async fn a_file_without_end_is_refused() {
    let answer = wait(Path::new("/dev/zero"), "net1", Instant::now()).await;
    assert!(matches!(answer, Err(Error::TooLarge)), "{answer:?}");
}
