//! What the server keeps, and what becomes of it by each verb.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::parameter;
use crate::target::{Key, Target};

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Everything that the server knows.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By collection (`ringway.dev/devicepolicies`), namespace and name.
    pub(crate) objects: BTreeMap<Key, Value>,
    watchers: Vec<Watcher>,
    /// For who watches from an earlier version.
    changes: Vec<Change>,
    pub(crate) version: u64,
    /// `PATCH devicepolicies/edge/status`, in order.
    pub(crate) writes: Vec<String>,
    /// The field manager of the newest write, by what was written.
    pub(crate) managers: BTreeMap<String, String>,
    /// Collections that are answered with 404.
    pub(crate) missing: BTreeSet<String>,
    /// Writes that begin so are answered with 500.
    pub(crate) broken: Option<String>,
    /// Nothing is answered at all.
    pub(crate) down: bool,
}

/// Who watches.
#[derive(Debug)]
struct Watcher {
    collection: String,
    /// The only object that it is about, if it is about one.
    only: Option<String>,
    sender: UnboundedSender<Vec<u8>>,
}

/// What became of an object.
#[derive(Debug)]
struct Change {
    version: u64,
    collection: String,
    name: String,
    /// The event as a watcher gets it.
    line: Vec<u8>,
}

impl Watcher {
    fn wants(&self, change: &Change) -> bool {
        self.collection == change.collection
            && self.only.as_ref().is_none_or(|only| *only == change.name)
    }
}

impl State {
    pub(crate) fn read(&self, target: &Target) -> Answer {
        match self.objects.get(&target.key()) {
            Some(object) => json_body(object),
            None => status(StatusCode::NOT_FOUND, "NotFound", "not found"),
        }
    }

    /// Takes an object away, and tells of it.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Value> {
        let mut object = self.objects.remove(key)?;
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.tell(&key.0, "DELETED", &object);
        Some(object)
    }

    pub(crate) fn delete(&mut self, target: &Target) -> Answer {
        match self.remove(&target.key()) {
            Some(object) => json_body(&object),
            None => status(StatusCode::NOT_FOUND, "NotFound", "not found"),
        }
    }

    pub(crate) fn list(&self, target: &Target, query: &str) -> Answer {
        let only = only_name(query);
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(key, _)| key.0 == target.collection)
            .filter(|(key, _)| only.is_none_or(|name| key.2 == name))
            .map(|(_, object)| object)
            .collect();
        let version = self.version.to_string();
        json_body(&json!({"kind": "List", "apiVersion": "v1",
            "metadata": {"resourceVersion": version}, "items": items}))
    }

    pub(crate) fn watch(&mut self, target: &Target, query: &str) -> Answer {
        let (sender, receiver) = unbounded_channel();
        let from: u64 = parameter(query, "resourceVersion").unwrap().parse().unwrap();
        let (collection, only) = (target.collection.clone(), only_name(query).map(str::to_owned));
        let watcher = Watcher { collection, only, sender };
        for change in self.changes.iter().filter(|c| c.version > from && watcher.wants(c)) {
            watcher.sender.send(change.line.clone()).unwrap();
        }
        self.watchers.push(watcher);
        Response::new(lines(receiver))
    }

    pub(crate) fn create(&mut self, mut target: Target, body: &[u8]) -> Answer {
        let object: Value = serde_json::from_slice(body).unwrap();
        target.name = object["metadata"]["name"].as_str().map(str::to_owned);
        if self.objects.contains_key(&target.key()) {
            return status(StatusCode::CONFLICT, "AlreadyExists", "it exists");
        }
        json_body(&self.store(target, object))
    }

    pub(crate) fn replace(&mut self, target: Target, body: &[u8]) -> Answer {
        let object: Value = serde_json::from_slice(body).unwrap();
        let current = &self.objects[&target.key()];
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        if version(current) != version(&object) {
            return status(StatusCode::CONFLICT, "Conflict", "it has changed");
        }
        json_body(&self.store(target, object))
    }

    /// Server-side apply, where lists of parents are owned element by element.
    pub(crate) fn apply(&mut self, target: Target, body: &[u8]) -> Answer {
        let patch: Value = serde_json::from_slice(body).unwrap();
        let uid = patch["metadata"]["uid"].as_str();
        let Some(current) = self.objects.get(&target.key()) else {
            return match (uid, &target.part) {
                (Some(_), _) => status(StatusCode::CONFLICT, "Conflict", "uid mismatch"),
                (_, Some(_)) => status(StatusCode::NOT_FOUND, "NotFound", "not found"),
                _ => json_body(&self.store(target, patch.clone())),
            };
        };
        if uid.is_some_and(|uid| current["metadata"]["uid"] != uid) {
            return status(StatusCode::CONFLICT, "Conflict", "uid mismatch");
        }
        let mut object = current.clone();
        let part = target.part.clone().unwrap_or_else(|| "spec".to_owned());
        let by_hand: Vec<Value> = object["spec"]["parents"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|parent| parent["policy"] == "by-hand")
            .cloned()
            .collect();
        object[&part] = patch[&part].clone();
        if let (true, Some(parents)) = (part == "spec", object["spec"]["parents"].as_array_mut()) {
            parents.extend(by_hand);
        }
        for key in ["labels", "annotations", "ownerReferences"] {
            if !patch["metadata"][key].is_null() {
                object["metadata"][key] = patch["metadata"][key].clone();
            }
        }
        json_body(&self.store(target, object))
    }

    pub(crate) fn merge_patch(&mut self, target: Target, body: &[u8]) -> Answer {
        let patch: Value = serde_json::from_slice(body).unwrap();
        let mut object = self.objects[&target.key()].clone();
        merge(&mut object, &patch);
        json_body(&self.store(target, object))
    }

    /// Stores an object if it differs, with a new resource version, and tells of it.
    pub(crate) fn store(&mut self, target: Target, mut object: Value) -> Value {
        let key = target.key();
        let old = self.objects.get(&key).cloned();
        if old.as_ref() == Some(&object) {
            return object;
        }
        self.version += 1;
        let generation = |object: &Value| object["metadata"]["generation"].as_i64().unwrap_or(0);
        let same_spec = old.as_ref().is_some_and(|old| old["spec"] == object["spec"]);
        let meta_generation = old.as_ref().map_or(0, generation) + i64::from(!same_spec);
        let meta = &mut object["metadata"];
        meta["generation"] = meta_generation.into();
        meta["resourceVersion"] = self.version.to_string().into();
        if !target.namespace.is_empty() {
            meta["namespace"] = target.namespace.clone().into();
        }
        if meta["uid"].is_null() {
            meta["uid"] = format!("uid-{}", self.version).into();
        }
        self.objects.insert(key, object.clone());
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        self.tell(&target.collection, kind, &object);
        object
    }

    pub(crate) fn tell(&mut self, collection: &str, kind: &str, object: &Value) {
        let change = Change {
            version: self.version,
            collection: collection.to_owned(),
            name: object["metadata"]["name"].as_str().unwrap().to_owned(),
            line: format!("{}\n", json!({"type": kind, "object": object})).into_bytes(),
        };
        self.watchers.retain(|watcher| {
            !watcher.wants(&change) || watcher.sender.send(change.line.clone()).is_ok()
        });
        self.changes.push(change);
    }
}

fn json_body(value: &Value) -> Answer {
    Response::new(Full::from(serde_json::to_vec(value).unwrap()).boxed_unsync())
}

/// A refusal.
pub(crate) fn status(code: StatusCode, reason: &str, message: &str) -> Answer {
    let mut answer = json_body(&json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code.as_u16(), "reason": reason, "message": message}));
    *answer.status_mut() = code;
    answer
}

fn lines(receiver: UnboundedReceiver<Vec<u8>>) -> UnsyncBoxBody<Bytes, Infallible> {
    let frames = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let line = receiver.recv().await?;
        Some((Ok::<_, Infallible>(http_body::Frame::data(line.into())), receiver))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// RFC 7396.
fn merge(object: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    for (key, value) in fields {
        match (value.is_null(), object.as_object_mut()) {
            (true, Some(object)) => drop(object.remove(key)),
            _ => merge(&mut object[key], value),
        }
    }
}

/// The name in `fieldSelector=metadata.name=NAME`.
fn only_name(query: &str) -> Option<&str> {
    parameter(query, "fieldSelector")?.strip_prefix("metadata.name%3D")
}
