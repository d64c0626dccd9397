use super::*;

fn env(pairs: &[(&str, &str)]) -> Result<Invocation> {
    let find = |name: &str| pairs.iter().rev().find(|(key, _)| *key == name);
    Invocation::parse(|name| find(name).map(|(_, value)| value.into()))
}

const ADD: [(&str, &str); 4] = [
    ("CNI_COMMAND", "ADD"),
    ("CNI_CONTAINERID", "c0ffee"),
    ("CNI_IFNAME", "net1"),
    ("CNI_NETNS", "/run/netns/a"),
];

fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut pairs = ADD.to_vec();
    pairs.push((name, value));
    pairs
}

#[test]
fn a_whole_environment_is_read() {
    let mut pairs = with("CNI_PATH", "/opt/cni/bin:/usr/lib/cni");
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=a;K8S_POD_UID=u-1;\
                MAC=52:54:00:00:00:01;X=";
    pairs.push(("CNI_ARGS", args));
    let found = env(&pairs).unwrap();
    assert_eq!(found.verb, Verb::Add);
    let target = found.target.unwrap();
    assert_eq!((target.container_id.as_str(), target.ifname.as_str()), ("c0ffee", "net1"));
    assert_eq!(found.path.len(), 2);
    assert_eq!(found.args.pod.uid.as_deref(), Some("u-1"));
    assert_eq!(found.args.mac.unwrap().to_string(), "52:54:00:00:00:01");
    assert_eq!(found.args.pod.to_string(), r#""ns/a""#);
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let long: &'static str = "x".repeat(191).leak();
    for (name, value) in [
        ("CNI_COMMAND", ""),
        ("CNI_COMMAND", "add"),
        ("CNI_CONTAINERID", ""),
        ("CNI_CONTAINERID", "../a"),
        ("CNI_CONTAINERID", "a/b"),
        ("CNI_CONTAINERID", ".a"),
        ("CNI_CONTAINERID", "_a"),
        ("CNI_CONTAINERID", "a:b"),
        ("CNI_CONTAINERID", "a\n"),
        ("CNI_CONTAINERID", long),
        ("CNI_IFNAME", ""),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "a/b"),
        ("CNI_IFNAME", "a:b"),
        ("CNI_IFNAME", "a b"),
        ("CNI_IFNAME", "a%d"),
        ("CNI_IFNAME", "sixteen-letters-"),
        ("CNI_NETNS", ""),
        ("CNI_NETNS", "run/netns/a"),
        ("CNI_ARGS", "MAC"),
        ("CNI_ARGS", "MAC=zz"),
        ("CNI_ARGS", "K8S_POD_UID=a;K8S_POD_UID=b"),
    ] {
        let error = env(&with(name, value)).unwrap_err();
        assert_eq!(error.code(), Code::Environment, "{name}={value}");
        assert!(error.to_string().contains(name), "{name}={value}: {error}");
    }
}

#[test]
fn the_same_argument_twice_is_one() {
    let found = env(&with("CNI_ARGS", "K8S_POD_UID=a;;K8S_POD_UID=a;K8S_POD_NAME=")).unwrap();
    assert_eq!((found.args.pod.uid.as_deref(), found.args.pod.name), (Some("a"), None));
}

#[test]
fn each_verb_needs_only_its_own() {
    assert!(env(&[("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "a"), ("CNI_IFNAME", "b")]).is_ok());
    for verb in ["GC", "STATUS", "VERSION"] {
        assert_eq!(env(&[("CNI_COMMAND", verb)]).unwrap().target, None);
    }
    assert!(env(&[("CNI_COMMAND", "VERSION"), ("CNI_ARGS", "junk")]).is_ok());
}
