//! The chart, as far as it can be judged without Helm; the lab installs it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ringway_operator::crds;
use serde_json::Value;

use crate::root;

/// Compares a generated file with what it should be; `UPDATE=1` writes it.
fn fresh(path: &str, wanted: &str) {
    let file = root().join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, wanted).unwrap();
    }
    let is = fs::read_to_string(&file).unwrap_or_default();
    assert!(is == wanted, "{path} is stale: UPDATE=1 cargo test -p ringway-it");
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn definitions_are_as_the_types() {
    let mut files = BTreeSet::new();
    for definition in ringway_api::definitions() {
        let name = crds::file_name(&definition);
        fresh(&format!("deploy/crds/{name}"), &crds::yaml(&definition).unwrap());
        let template = crds::chart_template(&definition).unwrap();
        fresh(&format!("charts/ringway/templates/crds/{name}"), &template);
        files.insert(name);
    }
    for dir in ["deploy/crds", "charts/ringway/templates/crds"] {
        assert_eq!(names(&root().join(dir)), files, "{dir}");
    }
}

fn values() -> Value {
    let text = fs::read_to_string(root().join("charts/ringway/values.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn schema() -> Value {
    let text = fs::read_to_string(root().join("charts/ringway/values.schema.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The paths of all leaves: `operator.replicas`. An object that the schema leaves open is a leaf.
fn leaves(value: &Value, schema: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    match (value.as_object(), schema["properties"].as_object()) {
        (Some(fields), Some(known)) => {
            for (name, field) in fields {
                let path = format!("{path}.{name}");
                let known = known.get(name).unwrap_or_else(|| panic!("{path} is in no schema"));
                leaves(field, known, &path, found);
            }
        }
        _ => found.push((path.to_owned(), schema.clone())),
    }
}

#[test]
fn values_and_schema_know_the_same() {
    let mut of_values = Vec::new();
    leaves(&values(), &schema(), "", &mut of_values);
    let mut of_schema = Vec::new();
    paths(&schema(), "", &mut of_schema);
    let of_values: BTreeSet<String> = of_values.into_iter().map(|(path, _)| path).collect();
    let of_schema: BTreeSet<String> = of_schema.into_iter().collect();
    assert_eq!(of_values, of_schema);
}

fn paths(schema: &Value, path: &str, found: &mut Vec<String>) {
    match schema["properties"].as_object() {
        // Helm adds `global` to every chart's values
        Some(known) => {
            for (name, schema) in known.iter().filter(|(name, _)| *name != "global") {
                paths(schema, &format!("{path}.{name}"), found);
            }
        }
        None => found.push(path.to_owned()),
    }
}

#[test]
fn the_schema_refuses_what_it_does_not_know() {
    fn closed(schema: &Value, path: &str) {
        if let Some(known) = schema["properties"].as_object() {
            assert_eq!(schema["additionalProperties"], false, "{path}");
            known.iter().for_each(|(name, schema)| closed(schema, &format!("{path}.{name}")));
        }
    }
    closed(&schema(), "");
}

/// Every value is used: one that does nothing is a promise that is not kept.
#[test]
fn every_value_is_used_by_a_template() {
    let mut texts = String::new();
    read_all(&root().join("charts/ringway/templates"), &mut texts);
    let mut found = Vec::new();
    leaves(&values(), &schema(), "", &mut found);
    for (path, _) in found {
        let last = path.rsplit('.').next().unwrap();
        let whole = texts.contains(&format!(".Values{path}"));
        // inside `with`, and in the helper for where pods run
        let part = texts.contains(&format!(" .{last} ")) || texts.contains(&format!("(.{last})"));
        assert!(whole || part, "{path}");
    }
}

fn read_all(dir: &Path, texts: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => read_all(&path, texts),
            false => texts.push_str(&fs::read_to_string(&path).unwrap()),
        }
    }
}

/// The examples are objects of our kinds as they are now.
#[test]
fn examples_read_as_our_kinds() {
    let read = |name: &str| fs::read_to_string(root().join("deploy/examples").join(name)).unwrap();
    let policy: ringway_api::DevicePolicy = serde_saphyr::from_str(&read("policy.yaml")).unwrap();
    assert_eq!(ringway_operator::partition::check(&policy.spec), Ok(()));
    let functions: ringway_api::DevicePolicy =
        serde_saphyr::from_str(&read("functions.yaml")).unwrap();
    assert_eq!(ringway_operator::partition::check(&functions.spec), Ok(()));
    let common: ringway_api::DevicePolicy =
        serde_saphyr::from_str(&read("common-features.yaml")).unwrap();
    assert_eq!(ringway_operator::partition::check(&common.spec), Ok(()));
    assert!(common.spec.pools[0].vdpa.as_ref().unwrap().asks_for_common());
    let by_hand: serde_json::Value = serde_saphyr::from_str(&read("bare-metal.yaml")).unwrap();
    serde_json::from_value::<ringway_api::NodeDevicesSpec>(by_hand["spec"].clone()).unwrap();
    let network: ringway_api::DeviceNetwork =
        serde_saphyr::from_str(&read("network.yaml")).unwrap();
    let machines: ringway_api::DeviceNetwork =
        serde_saphyr::from_str(&read("vm-network.yaml")).unwrap();
    for resource in [&network.spec.resource, &machines.spec.resource] {
        assert!(
            policy.spec.pools.iter().any(|pool| pool.resource.as_ref() == Some(resource)),
            "{resource}"
        );
    }
    let resource = &network.spec.resource;
    let name = network.metadata.name.unwrap();
    let pods = read("pods.yaml");
    assert_eq!(pods.matches(&format!("ringway.dev/{resource}: 1")).count(), 2);
    assert_eq!(pods.matches(&format!("k8s.v1.cni.cncf.io/networks: {name}")).count(), 2);
}
