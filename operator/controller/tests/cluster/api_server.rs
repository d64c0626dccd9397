//! An API server as far as the operator uses one. Objects live in a map; each change gets a new
//! resource version and goes to whoever watches.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Handle to the server.
#[derive(Clone, Default)]
pub(crate) struct ApiServer(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By collection (`ringway.dev/devicepolicies`), namespace and name.
    objects: BTreeMap<Key, Value>,
    watchers: Vec<(String, UnboundedSender<Vec<u8>>)>,
    /// Version, collection and event of every change, for who watches from an earlier version.
    events: Vec<(u64, String, Vec<u8>)>,
    version: u64,
    /// `PATCH devicepolicies/edge/status`, in order.
    writes: Vec<String>,
    /// Collections that are answered with 404.
    missing: BTreeSet<String>,
    /// Writes that begin so are answered with 500.
    broken: Option<String>,
    /// Nothing is answered at all.
    down: bool,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;
type Key = (String, String, String);

/// What a request is about.
struct Target {
    collection: String,
    namespace: String,
    name: Option<String>,
    part: Option<String>,
}

impl ApiServer {
    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "ringway")
    }

    /// Puts an object there, as if somebody had applied it.
    pub(crate) fn put(&self, object: Value) {
        let mut state = self.0.lock().unwrap();
        let target = target_of(&object);
        state.store(target, object);
    }

    /// Changes an object.
    pub(crate) fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        let mut object = self.get(path).unwrap();
        edit(&mut object);
        self.put(object);
    }

    /// `devicepolicies/edge`, `devicenetworks/apps/n`; nothing if it is not there.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        let state = self.0.lock().unwrap();
        state.objects.iter().find(|(key, _)| written(key) == path).map(|(_, o)| o.clone())
    }

    /// Removes an object.
    pub(crate) fn delete(&self, path: &str) {
        let mut state = self.0.lock().unwrap();
        let key = state.objects.keys().find(|key| written(key) == path).unwrap().clone();
        state.remove(&key).unwrap();
    }

    /// What was written so far, other than the Lease.
    pub(crate) fn writes(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        state.writes.iter().filter(|write| !write.contains(" leases/")).cloned().collect()
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    /// Writes that begin so fail from now on: `PATCH nodedevices`.
    pub(crate) fn set_broken(&self, writes: Option<&str>) {
        self.0.lock().unwrap().broken = writes.map(str::to_owned);
    }

    /// Whether a collection is served.
    pub(crate) fn set_served(&self, collection: &str, served: bool) {
        let mut state = self.0.lock().unwrap();
        match served {
            true => state.missing.remove(collection),
            false => state.missing.insert(collection.to_owned()),
        };
    }

    /// Until it is so; the last look tells why a test ends here.
    #[track_caller]
    pub(crate) fn until<T: std::fmt::Debug>(
        &self,
        look: impl Fn(&Self) -> T,
        so: impl Fn(&T) -> bool,
    ) -> impl Future<Output = T> {
        let place = std::panic::Location::caller();
        async move {
            for _ in 0..6000 {
                let seen = look(self);
                if so(&seen) {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            panic!("{place}: still {:?}", look(self));
        }
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if self.0.lock().unwrap().down {
            std::future::pending::<()>().await;
        }
        let target = target(parts.uri.path());
        let mut state = self.0.lock().unwrap();
        if state.missing.contains(&target.collection) {
            return status(StatusCode::NOT_FOUND, "NotFound", "the kind is not served");
        }
        let query = parts.uri.query().unwrap_or_default();
        if parts.method != Method::GET {
            let write = format!("{} {}", parts.method, target.written());
            let broken = state.broken.as_ref().is_some_and(|broken| write.starts_with(broken));
            state.writes.push(write);
            if broken {
                return status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "broken");
            }
        }
        let content = parts.headers.get("content-type").map(|t| t.to_str().unwrap().to_owned());
        match (parts.method, content.as_deref()) {
            (Method::GET, _) if target.name.is_some() => state.read(&target),
            (Method::GET, _) if query.contains("watch=true") => state.watch(&target, query),
            (Method::GET, _) => state.list(&target),
            (Method::POST, _) => state.create(target, &body),
            (Method::DELETE, _) => state.delete(&target),
            (Method::PUT, _) => state.replace(target, &body),
            (Method::PATCH, Some("application/apply-patch+yaml")) => state.apply(target, &body),
            (Method::PATCH, Some("application/merge-patch+json")) => state.merge(target, &body),
            other => panic!("{other:?}"),
        }
    }
}

impl State {
    fn read(&self, target: &Target) -> Answer {
        match self.objects.get(&target.key()) {
            Some(object) => json_body(object),
            None => status(StatusCode::NOT_FOUND, "NotFound", "not found"),
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Value> {
        let mut object = self.objects.remove(key)?;
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.tell(&key.0, "DELETED", &object);
        Some(object)
    }

    fn delete(&mut self, target: &Target) -> Answer {
        match self.remove(&target.key()) {
            Some(object) => json_body(&object),
            None => status(StatusCode::NOT_FOUND, "NotFound", "not found"),
        }
    }

    fn list(&self, target: &Target) -> Answer {
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(key, _)| key.0 == target.collection)
            .map(|(_, object)| object)
            .collect();
        let version = self.version.to_string();
        json_body(&json!({"kind": "List", "apiVersion": "v1",
            "metadata": {"resourceVersion": version}, "items": items}))
    }

    fn watch(&mut self, target: &Target, query: &str) -> Answer {
        let (sender, receiver) = unbounded_channel();
        let from = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
        let from: u64 = from.unwrap().parse().unwrap();
        for (version, collection, event) in &self.events {
            if *version > from && *collection == target.collection {
                sender.send(event.clone()).unwrap();
            }
        }
        self.watchers.push((target.collection.clone(), sender));
        Response::new(lines(receiver))
    }

    fn create(&mut self, mut target: Target, body: &[u8]) -> Answer {
        let object: Value = serde_json::from_slice(body).unwrap();
        target.name = object["metadata"]["name"].as_str().map(str::to_owned);
        if self.objects.contains_key(&target.key()) {
            return status(StatusCode::CONFLICT, "AlreadyExists", "it exists");
        }
        json_body(&self.store(target, object))
    }

    fn replace(&mut self, target: Target, body: &[u8]) -> Answer {
        let object: Value = serde_json::from_slice(body).unwrap();
        let current = &self.objects[&target.key()];
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        if version(current) != version(&object) {
            return status(StatusCode::CONFLICT, "Conflict", "it has changed");
        }
        json_body(&self.store(target, object))
    }

    /// Server-side apply, where lists of parents are owned element by element.
    fn apply(&mut self, target: Target, body: &[u8]) -> Answer {
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

    fn merge(&mut self, target: Target, body: &[u8]) -> Answer {
        let patch: Value = serde_json::from_slice(body).unwrap();
        let mut object = self.objects[&target.key()].clone();
        for (key, value) in patch["spec"].as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        for (key, value) in patch["metadata"]["annotations"].as_object().into_iter().flatten() {
            object["metadata"]["annotations"][key] = value.clone();
        }
        json_body(&self.store(target, object))
    }

    /// Stores an object if it differs, with a new resource version, and tells of it.
    fn store(&mut self, target: Target, mut object: Value) -> Value {
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

    fn tell(&mut self, collection: &str, kind: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": kind, "object": object})).into_bytes();
        self.events.push((self.version, collection.to_owned(), line.clone()));
        self.watchers.retain(|(of, sender)| of != collection || sender.send(line.clone()).is_ok());
    }
}

impl Target {
    fn key(&self) -> Key {
        (self.collection.clone(), self.namespace.clone(), self.name.clone().unwrap_or_default())
    }

    fn written(&self) -> String {
        let part = self.part.iter().map(|part| format!("/{part}")).collect::<String>();
        written(&self.key()) + &part
    }
}

fn written((collection, namespace, name): &Key) -> String {
    let parts = [collection.as_str(), namespace, name];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// `/apis/GROUP/VERSION[/namespaces/NAMESPACE]/COLLECTION[/NAME[/PART]]`, or `/api/v1/...`.
fn target(path: &str) -> Target {
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

fn target_of(object: &Value) -> Target {
    let collection = match object["kind"].as_str().unwrap() {
        "DevicePolicy" => "devicepolicies",
        "NodeDevices" => "nodedevices",
        "DeviceNetwork" => "devicenetworks",
        "Node" => "nodes",
        "Lease" => "leases",
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

fn json_body(value: &Value) -> Answer {
    Response::new(Full::from(serde_json::to_vec(value).unwrap()).boxed_unsync())
}

fn status(code: StatusCode, reason: &str, message: &str) -> Answer {
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
