//! What a request, or an object, is about.

use serde_json::Value;

/// Collection (`devicepolicies`), namespace and name.
pub(crate) type Key = (String, String, String);

/// What a request is about.
pub(crate) struct Target {
    pub(crate) collection: String,
    pub(crate) namespace: String,
    pub(crate) name: Option<String>,
    pub(crate) part: Option<String>,
}

impl Target {
    pub(crate) fn key(&self) -> Key {
        (self.collection.clone(), self.namespace.clone(), self.name.clone().unwrap_or_default())
    }

    pub(crate) fn written(&self) -> String {
        let part = self.part.iter().map(|part| format!("/{part}")).collect::<String>();
        written(&self.key()) + &part
    }
}

pub(crate) fn written((collection, namespace, name): &Key) -> String {
    let parts = [collection.as_str(), namespace, name];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// `/apis/GROUP/VERSION[/namespaces/NAMESPACE]/COLLECTION[/NAME[/PART]]`, or `/api/v1/...`.
pub(crate) fn target(path: &str) -> Target {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let rest = if parts[0] == "api" { &parts[2..] } else { &parts[3..] };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] => (*namespace, rest),
        rest => ("", rest),
    };
    let part = |i: usize| rest.get(i).map(|part| (*part).to_owned());
    Target {
        collection: rest[0].to_owned(),
        namespace: namespace.to_owned(),
        name: part(1),
        part: part(2),
    }
}

pub(crate) fn target_of(object: &Value) -> Target {
    let collection = match object["kind"].as_str().unwrap() {
        "DevicePolicy" => "devicepolicies",
        "NodeDevices" => "nodedevices",
        "DeviceNetwork" => "devicenetworks",
        "Node" => "nodes",
        "Lease" => "leases",
        "Event" => "events",
        "Pod" => "pods",
        "NetworkAttachmentDefinition" => "network-attachment-definitions",
        other => panic!("{other}"),
    };
    let text = |key: &str| object["metadata"][key].as_str().map(str::to_owned);
    Target {
        collection: collection.to_owned(),
        namespace: text("namespace").unwrap_or_default(),
        name: text("name"),
        part: None,
    }
}
