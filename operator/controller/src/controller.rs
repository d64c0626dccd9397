//! Watches the cluster, and writes what it then lacks. Level-triggered: an event says only that
//! something changed; what follows is worked out from the whole.

use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::Api;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Resource, ResourceExt as _};
use ringway_api::node_devices::NodeDevices;
use ringway_api::{DeviceNetwork, DevicePolicy};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::apply::apply_all;
use crate::cluster::{Cluster, Definitions};
use crate::networks;
use crate::writes::writes;

/// Events come in bursts; this much later the burst is over, or goes on into the next round.
const SETTLE: Duration = Duration::from_millis(200);
/// The longest wait until failed writes are tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Watches and writes until it is dropped.
pub async fn run(client: Client) {
    let mut watches = Watches::start(&client);
    watches.synced().await;
    info!("all kinds are listed");
    let mut failures = 0;
    loop {
        let writes = writes(&watches.cluster(), Timestamp::now());
        debug!(writes = writes.len(), "compared");
        failures = match apply_all(&client, writes).await {
            0 => 0,
            _ => failures + 1,
        };
        match failures {
            0 => watches.changed.notified().await,
            _ => {
                let wait = Duration::from_secs(1 << failures.min(6)).min(LONGEST_WAIT);
                // a change may be what mends it, but must not make us hammer the API server
                let _ = tokio::time::timeout(wait, watches.changed.notified()).await;
            }
        }
        tokio::time::sleep(SETTLE).await;
    }
}

/// The kinds that are watched, each with what was last seen of it.
struct Watches {
    policies: Store<DevicePolicy>,
    nodes: Store<PartialObjectMeta<Node>>,
    devices: Store<NodeDevices>,
    networks: Store<DeviceNetwork>,
    definitions: Store<DynamicObject>,
    not_served: Arc<AtomicBool>,
    changed: Arc<Notify>,
    /// Ends the watches when dropped.
    _tasks: JoinSet<()>,
}

impl Watches {
    fn start(client: &Client) -> Self {
        let (changed, not_served) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let mut tasks = JoinSet::new();
        let policies = watch(&mut tasks, Api::all(client.clone()), &changed, |_| ());
        let nodes = watch(&mut tasks, Api::all(client.clone()), &changed, trim_node);
        let devices = watch(&mut tasks, Api::all(client.clone()), &changed, trim_devices);
        let networks = watch(&mut tasks, Api::all(client.clone()), &changed, |_| ());
        // Multus may be installed later, or never
        let kind = networks::definitions();
        let writer = Writer::new(kind.clone());
        let definitions = writer.as_reader();
        let stream = reflected(Api::all_with(client.clone(), &kind), writer, |_| ());
        let missing = Arc::clone(&not_served);
        tasks.spawn(follow(kind.kind, stream, Arc::clone(&changed), move |is| {
            missing.store(is, Ordering::Relaxed);
        }));
        Self { policies, nodes, devices, networks, definitions, not_served, changed, _tasks: tasks }
    }

    /// Until all of ours, and the nodes, have been listed once.
    async fn synced(&mut self) {
        let (policies, nodes) = (self.policies.wait_until_ready(), self.nodes.wait_until_ready());
        let (devices, networks) =
            (self.devices.wait_until_ready(), self.networks.wait_until_ready());
        // fails only if its writer is gone, which lives as long as its task
        let _ = tokio::join!(policies, nodes, devices, networks);
    }

    fn cluster(&self) -> Cluster {
        let labels = |node: &Arc<PartialObjectMeta<Node>>| (node.name_any(), node.labels().clone());
        let named = |devices: Arc<NodeDevices>| (devices.name_any(), devices);
        let definitions = match self.definitions.wait_until_ready().now_or_never() {
            _ if self.not_served.load(Ordering::Relaxed) => Definitions::NotServed,
            Some(Ok(())) => Definitions::of(self.definitions.state()),
            _ => Definitions::Unknown,
        };
        Cluster {
            policies: self.policies.state(),
            nodes: self.nodes.state().iter().map(labels).collect(),
            devices: self.devices.state().into_iter().map(named).collect(),
            networks: self.networks.state(),
            definitions,
        }
    }
}

fn watch<K>(
    tasks: &mut JoinSet<()>,
    api: Api<K>,
    changed: &Arc<Notify>,
    trim: impl FnMut(&mut K) + Send + 'static,
) -> Store<K>
where
    K: Resource + Clone + Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default + Eq + Hash + Clone + Send + Sync,
{
    let writer = Writer::default();
    let store = writer.as_reader();
    let kind = K::kind(&Default::default()).into_owned();
    tasks.spawn(follow(kind, reflected(api, writer, trim), Arc::clone(changed), |_| ()));
    store
}

/// Lists and watches, again after every error; keeps the last state in the writer's store.
fn reflected<K>(
    api: Api<K>,
    writer: Writer<K>,
    mut trim: impl FnMut(&mut K) + Send + 'static,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send
where
    K: Resource + Clone + Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Send + Sync,
{
    watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(move |object: &mut K| {
            object.meta_mut().managed_fields = None;
            trim(object);
        })
        .reflect(writer)
}

/// Tells of each change; `missing` hears whether the API server lacks the kind.
fn follow<K: Resource + Send + 'static>(
    kind: String,
    stream: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
    changed: Arc<Notify>,
    missing: impl Fn(bool) + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static
where
    K::DynamicType: Send,
{
    let mut stream = Box::pin(stream);
    async move {
        let mut served = true;
        while let Some(event) = stream.next().await {
            match event {
                // half a list is no change yet
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => continue,
                Ok(_) => served = true,
                Err(error) if not_found(&error) => {
                    if served {
                        warn!(kind, "the API server does not serve this kind, asked again");
                    }
                    served = false;
                }
                Err(error) => {
                    warn!(kind, error = %error, "watch failed, goes on");
                    continue;
                }
            }
            missing(!served);
            changed.notify_one();
        }
    }
}

fn not_found(error: &watcher::Error) -> bool {
    let source = match error {
        watcher::Error::InitialListFailed(source) | watcher::Error::WatchStartFailed(source) => {
            source
        }
        _ => return false,
    };
    matches!(source, kube::Error::Api(status) if status.code == 404)
}

/// Of a node only its labels matter.
fn trim_node(node: &mut PartialObjectMeta<Node>) {
    node.metadata.annotations = None;
}

/// Device ids are for people: a thousand nodes' worth of them need not be kept.
fn trim_devices(devices: &mut NodeDevices) {
    let Some(status) = &mut devices.status else { return };
    for function in status.parents.iter_mut().flat_map(|parent| &mut parent.functions) {
        function.devices = Vec::new();
        function.driver = None;
        function.vdpa_driver = None;
    }
    for step in &mut status.plan {
        step.disturbs = Vec::new();
    }
}
