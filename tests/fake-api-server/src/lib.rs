//! An API server as far as the operator and the agent use one, as a value: the real client, and a
//! service under it. Objects live in a map; each change gets a new resource version and goes to
//! whoever watches. What only a real API server can show (admission, field managers' quarrels,
//! rights) is shown in the lab.
//!
//! For tests with tokio's time paused: it moves on whenever everybody waits, so that minutes pass
//! at once.

#![allow(clippy::unwrap_used, reason = "what fails here ends the test")]

mod state;
mod target;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::Value;

use state::{Answer, State, status};
use target::{target, target_of, written};

/// Handle to the server.
#[derive(Debug, Clone, Default)]
pub struct ApiServer(Arc<Mutex<State>>);

impl ApiServer {
    /// A client of it.
    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "ringway")
    }

    /// Puts an object there, as if somebody had applied it.
    pub fn put(&self, object: Value) {
        let mut state = self.state();
        let target = target_of(&object);
        state.store(target, object);
    }

    /// Changes an object.
    pub fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        let mut object = self.get(path).unwrap();
        edit(&mut object);
        self.put(object);
    }

    /// `devicepolicies/edge`, `devicenetworks/apps/n`; nothing if it is not there.
    pub fn get(&self, path: &str) -> Option<Value> {
        let state = self.state();
        state.objects.iter().find(|(key, _)| written(key) == path).map(|(_, o)| o.clone())
    }

    /// All objects of a collection, in order of namespace and name.
    pub fn list(&self, collection: &str) -> Vec<Value> {
        let state = self.state();
        let objects = state.objects.iter().filter(|(key, _)| key.0 == collection);
        objects.map(|(_, object)| object.clone()).collect()
    }

    /// Removes an object.
    pub fn delete(&self, path: &str) {
        let mut state = self.state();
        let key = state.objects.keys().find(|key| written(key) == path).unwrap().clone();
        state.remove(&key).unwrap();
    }

    /// What was written so far, other than the Lease.
    pub fn writes(&self) -> Vec<String> {
        let state = self.state();
        state.writes.iter().filter(|write| !write.contains(" leases/")).cloned().collect()
    }

    /// The field manager of the newest write of an object or of a part of it:
    /// `nodedevices/a/status`.
    pub fn manager(&self, path: &str) -> Option<String> {
        self.state().managers.get(path).cloned()
    }

    /// Whether every request waits for ever.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// Writes that begin so fail from now on: `PATCH nodedevices`.
    pub fn set_broken(&self, writes: Option<&str>) {
        self.state().broken = writes.map(str::to_owned);
    }

    /// Whether a collection is served.
    pub fn set_served(&self, collection: &str, served: bool) {
        let mut state = self.state();
        match served {
            true => state.missing.remove(collection),
            false => state.missing.insert(collection.to_owned()),
        };
    }

    /// Until it is so; the last look tells why a test ends here.
    #[track_caller]
    pub fn until<T: std::fmt::Debug>(
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
        if self.state().down {
            std::future::pending::<()>().await;
        }
        let target = target(parts.uri.path());
        let query = parts.uri.query().unwrap_or_default();
        let mut state = self.state();
        if state.missing.contains(&target.collection) {
            return status(StatusCode::NOT_FOUND, "NotFound", "the kind is not served");
        }
        if parts.method != Method::GET {
            let write = format!("{} {}", parts.method, target.written());
            let broken = state.broken.as_ref().is_some_and(|broken| write.starts_with(broken));
            state.writes.push(write);
            let manager = parameter(query, "fieldManager").map(str::to_owned);
            state.managers.extend(manager.map(|manager| (target.written(), manager)));
            if broken {
                return status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "broken");
            }
        }
        let content = parts.headers.get("content-type").map(|t| t.to_str().unwrap().to_owned());
        match (parts.method, content.as_deref()) {
            (Method::GET, _) if target.name.is_some() => state.read(&target),
            (Method::GET, _) if query.contains("watch=true") => state.watch(&target, query),
            (Method::GET, _) => state.list(&target, query),
            (Method::POST, _) => state.create(target, &body),
            (Method::DELETE, _) => state.delete(&target),
            (Method::PUT, _) => state.replace(target, &body),
            (Method::PATCH, Some("application/apply-patch+yaml")) => state.apply(target, &body),
            (Method::PATCH, Some("application/merge-patch+json")) => {
                state.merge_patch(target, &body)
            }
            other => panic!("{other:?}"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// The value of a parameter of a query.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}
