use std::{fs, sync::mpsc};

use super::*;

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(50);

fn call(dir: &Path, deadline: Duration) -> Call<'_> {
    Call { dir, device: "0000:01:00.1", op: "unbind", reach: Reach::Device, deadline }
}

fn devices(dir: &Path) -> Vec<String> {
    live(dir).unwrap().into_iter().map(|live| live.device).collect()
}

#[test]
fn a_marker_is_there_during_the_call_and_gone_after() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("stuck");
    let seen = {
        let dir = dir.clone();
        run(&Root::default(), call(&dir.clone(), LONG), move || live(&dir)).unwrap()
    };
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].device, "0000:01:00.1");
    assert!(seen[0].text.starts_with("operation unbind, boot "), "{}", seen[0].text);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn a_failed_call_leaves_no_marker() {
    let temp = tempfile::tempdir().unwrap();
    let fail = || Err::<(), _>(Error::parse("x", "y", "z"));
    assert!(run(&Root::default(), call(temp.path(), LONG), fail).is_err());
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn a_panic_is_no_deadline_and_leaves_nothing_in_the_way() {
    let temp = tempfile::tempdir().unwrap();
    let error = run(&Root::default(), call(temp.path(), LONG), || -> Result<()> { panic!("ours") });
    assert!(error.unwrap_err().to_string().contains("found a panic"));
    assert!(devices(temp.path()).is_empty());
}

#[test]
fn a_call_that_does_not_come_back_keeps_its_marker_until_it_does() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let (let_go, sleeping) = mpsc::channel::<()>();
    let (said, back) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    let sleep = move || {
        begin.send(()).unwrap();
        // Comes back with an error when the sender is dropped.
        let _ = sleeping.recv();
        drop(said);
        Ok(())
    };
    let error = run(&Root::default(), call(dir, SHORT), sleep).unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    begun.recv().unwrap();
    assert_eq!(devices(dir), ["0000:01:00.1"]);

    // Others of the device, and generic netlink for any device, stay away.
    let error = run(&Root::default(), call(dir, SHORT), || Ok(())).unwrap_err();
    assert!(matches!(error, Error::Stuck { .. }), "{error}");
    assert!(error.to_string().contains("operation unbind"), "{error}");
    let other = Call { device: "0000:01:00.2", ..call(dir, LONG) };
    run(&Root::default(), other, || Ok(())).unwrap();
    let genl = Call { reach: Reach::GenericNetlink, deadline: SHORT, ..other };
    let error = run(&Root::default(), genl, || Ok(())).unwrap_err();
    assert!(matches!(error, Error::Stuck { .. }), "{error}");

    drop(let_go);
    assert!(back.recv().is_err(), "the thread went on");
    // It waits until the way is free.
    run(&Root::default(), call(dir, LONG), || Ok(())).unwrap();
    assert!(devices(dir).is_empty());
}

#[test]
fn a_marker_without_its_thread_is_removed() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("0000:01:00.1"), "operation of a boot long ago").unwrap();
    assert!(devices(temp.path()).is_empty());
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn a_second_marker_of_a_device_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let root = Root::default();
    let first = Marker::place(&root, temp.path(), "sim0", "delete").unwrap();
    let error = Marker::place(&root, temp.path(), "sim0", "create").unwrap_err();
    assert!(matches!(error, Error::Stuck { .. }), "{error}");
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "and nothing besides");
    first.remove().unwrap();
    Marker::place(&root, temp.path(), "sim0", "create").unwrap().remove().unwrap();
}

#[test]
fn a_symbolic_link_is_not_followed() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("target");
    let dir = temp.path().join("stuck");
    fs::write(&target, "precious").unwrap();
    fs::create_dir(&dir).unwrap();
    std::os::unix::fs::symlink(&target, dir.join("sim0")).unwrap();
    assert!(live(&dir).is_err());
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    for device in ["", ".", "..", ".hidden", "a/b", "../x"] {
        let placed = Marker::place(&Root::default(), temp.path(), device, "x");
        assert!(placed.is_err(), "{device:?}");
    }
    assert!(live(Path::new("/nowhere")).unwrap().is_empty());
}
