use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use super::*;

/// A directory with an executable script `plugin`.
fn plugin(script: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plugin");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn target() -> Target {
    Target { container_id: "c1".into(), ifname: "net1".into(), netns: Some("/run/netns/a".into()) }
}

fn conf() -> Map<String, Value> {
    let conf = json!({"cniVersion": "1.1.0", "name": "n", "type": "ringway", "prevResult": {},
                      "ipam": {"type": "plugin"}});
    conf.as_object().unwrap().clone()
}

fn with<T>(script: &str, ask: impl FnOnce(&Ipam<'_>) -> T) -> (tempfile::TempDir, T) {
    let dir = plugin(script);
    let (path, conf) = ([dir.path().to_owned()], conf());
    let answer = ask(&Ipam { kind: "plugin", path: &path, conf: &conf, args: "A=b" });
    (dir, answer)
}

#[test]
fn the_plugin_is_told_the_target_and_a_version_it_knows() {
    let script = r#"cd "$CNI_PATH"; cat > conf
        echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_NETNS $CNI_ARGS" > env
        echo '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24"}]}'"#;
    let (dir, answer) = with(script, |ipam| ipam.add(&target()));
    assert_eq!(answer.unwrap().ips[0].address.to_string(), "10.0.0.2/24");
    let env = fs::read_to_string(dir.path().join("env")).unwrap();
    assert_eq!(env, "ADD c1 net1 /run/netns/a A=b\n");
    let told: Value = serde_json::from_slice(&fs::read(dir.path().join("conf")).unwrap()).unwrap();
    assert_eq!(told["cniVersion"], "1.0.0");
    assert_eq!(told["ipam"]["type"], "plugin");
    assert!(told.get("prevResult").is_none());
}

#[test]
fn a_failure_is_told_in_its_words() {
    let (_dir, answer) =
        with(r#"echo '{"code":11,"msg":"full"}'; exit 1"#, |ipam| ipam.add(&target()));
    let error = answer.unwrap_err();
    assert_eq!(error.code(), Code::TryAgain);
    assert!(error.to_string().contains("full"), "{error}");
}

#[test]
fn gc_goes_only_to_those_who_know_it() {
    let versions = |list: &str| {
        format!(
            r#"if [ $CNI_COMMAND = VERSION ]; then echo '{{"supportedVersions":{list}}}'; exit; fi
               cat > "$CNI_PATH/$CNI_COMMAND""#
        )
    };
    let (dir, answer) = with(&versions(r#"["1.0.0"]"#), |ipam| ipam.gc());
    assert!(!answer.unwrap());
    assert!(!dir.path().join("GC").exists());
    let (dir, answer) = with(&versions(r#"["1.0.0","1.1.0"]"#), |ipam| ipam.gc());
    assert!(answer.unwrap());
    let told = fs::read_to_string(dir.path().join("GC")).unwrap();
    assert!(told.contains(r#""cniVersion":"1.1.0""#), "{told}");
}

#[test]
fn one_that_hangs_or_floods_is_ended_with_all_it_started() {
    let dir = plugin("sleep 1000 & echo $! > \"$HOME/pid\"; wait");
    let home = vec![("HOME", dir.path().display().to_string())];
    let program = dir.path().join("plugin");
    let hung = process::run_within(&program, &home, vec![], Duration::from_millis(500));
    assert!(hung.err().unwrap().to_string().contains("no answer within"));
    until_dead(&dir);

    let (_dir, flood) = with("cat /dev/zero", |ipam| ipam.add(&target()));
    assert!(flood.unwrap_err().to_string().contains("more than 1048576 bytes"));
}

/// It has answered; what it has started holds its output, or it does something else for ever.
#[test]
fn one_that_answers_and_does_not_end_is_ended_too() {
    for script in [
        r#"echo '{"ips":[]}'; sleep 1000 & echo $! > "$HOME/pid""#,
        r#"echo '{"ips":[]}'; echo $$ > "$HOME/pid"; exec >&- sleep 1000"#,
    ] {
        let dir = plugin(script);
        let home = vec![("HOME", dir.path().display().to_string())];
        let program = dir.path().join("plugin");
        let hung = process::run_within(&program, &home, vec![], Duration::from_millis(500));
        assert!(hung.err().unwrap().to_string().contains("no answer within"), "{script}");
        until_dead(&dir);
    }
}

#[test]
fn one_that_dies_by_a_signal_is_told_with_it() {
    let (_dir, answer) = with("kill -SEGV $$", |ipam| ipam.add(&target()));
    let error = answer.unwrap_err();
    assert_eq!(error.code(), Code::Ipam);
    assert!(error.to_string().contains("ADD of IPAM plugin plugin failed"), "{error}");
    assert!(error.to_string().contains("signal: 11 (SIGSEGV)"), "{error}");
}

/// The process whose number it has written.
fn until_dead(dir: &tempfile::TempDir) {
    let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
    let start = std::time::Instant::now();
    // The signal is on its way, and nobody may have reaped it yet.
    while !is_dead(pid.trim()) {
        assert!(start.elapsed() < Duration::from_secs(30), "process {pid} lives on");
        std::thread::yield_now();
    }
}

fn is_dead(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[test]
fn a_plugin_that_is_not_there_is_named_with_where_it_was_looked_for() {
    let error = find(&["/a".into(), "/b".into()], "host-local").unwrap_err();
    assert_eq!(error.code(), Code::Config);
    assert_eq!(error.to_string(), "IPAM plugin host-local is not in CNI_PATH=\"/a:/b\"");
}
