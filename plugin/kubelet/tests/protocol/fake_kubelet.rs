//! A kubelet as far as device plugins see it (`pkg/kubelet/cm/devicemanager`): it connects back
//! during Register, then watches the list; a second Register of a resource leaves the first stream as
//! it is, but the second endpoint alone is asked; whichever stream ends, it disconnects from the
//! endpoint that registered last, unless one that registered later would not tell its options; it
//! removes all sockets when it starts and does not connect again by itself.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ringway_proto::kubelet::deviceplugin as dp;
use ringway_proto::kubelet::deviceplugin::device_plugin_client::DevicePluginClient;
use ringway_proto::kubelet::deviceplugin::registration_server::{Registration, RegistrationServer};
use ringway_proto::kubelet::podresources as pr;
use ringway_proto::kubelet::podresources::pod_resources_lister_server::{
    PodResourcesLister, PodResourcesListerServer,
};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

use crate::eventually;

/// A running kubelet.
pub(crate) struct Kubelet {
    dir: PathBuf,
    server: JoinHandle<()>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    resources: Mutex<HashMap<String, Known>>,
    /// What pods hold: resources and ids.
    held: Mutex<Vec<(String, String)>>,
}

/// What kubelet knows of a resource.
#[derive(Default)]
struct Known {
    registrations: usize,
    endpoint: String,
    options: dp::DevicePluginOptions,
    lists: Vec<List>,
    /// Streams that have brought at least one list.
    streams: usize,
    ended: usize,
    /// All of its streams; the last one is that of `endpoint`.
    watching: Vec<JoinHandle<()>>,
    /// Which of them it lets go of when one ends.
    client: Option<usize>,
    /// Whether it has let go since the last registration: all devices are unhealthy then.
    disconnected: bool,
    /// How often it has.
    disconnects: usize,
}

/// The (id, healthy) pairs of one message.
pub(crate) type List = Vec<(String, bool)>;

impl Kubelet {
    /// Starts in `dir` as kubelet does: with no plugin's socket left.
    pub(crate) fn start(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "sock") {
                std::fs::remove_file(path).unwrap();
            }
        }
        Self::listen(dir)
    }

    /// Takes the place of another kubelet and leaves the plugins' sockets alone.
    pub(crate) fn replace(dir: &Path) -> Self {
        std::fs::remove_file(dir.join("kubelet.sock")).unwrap();
        Self::listen(dir)
    }

    fn listen(dir: &Path) -> Self {
        let listener = UnixListener::bind(dir.join("kubelet.sock")).unwrap();
        let state = Arc::<State>::default();
        let service = Service { dir: dir.to_owned(), state: state.clone() };
        let serving = Server::builder().serve_with_incoming(
            RegistrationServer::new(service),
            UnixListenerStream::new(listener),
        );
        let holders = listen_for_holders(dir.to_owned(), state.clone());
        let server = tokio::spawn(async {
            let (served, ()) = tokio::join!(serving, holders);
            served.unwrap();
        });
        Self { dir: dir.to_owned(), server, state }
    }

    /// Stops, and leaves its socket behind as a killed one does.
    pub(crate) fn stop(self) {
        self.server.abort();
        for known in self.state.resources.lock().unwrap().values() {
            known.watching.iter().for_each(JoinHandle::abort);
        }
    }

    fn ask<T>(&self, resource: &str, ask: impl FnOnce(&Known) -> T) -> T {
        ask(self.state.resources.lock().unwrap().entry(resource.to_owned()).or_default())
    }

    /// Waits for a list that `is_it`, and gives the number of lists until then.
    pub(crate) async fn list(&self, resource: &str, is_it: impl Fn(&List) -> bool) -> usize {
        let at = || self.ask(resource, |known| known.lists.iter().rposition(&is_it));
        eventually(&format!("list of {resource}"), at).await + 1
    }

    /// Waits until the latest list is of these ids, all healthy.
    pub(crate) async fn healthy(&self, resource: &str, ids: &[&str]) {
        let wanted: List = ids.iter().map(|id| ((*id).to_owned(), true)).collect();
        let is_last =
            || self.ask(resource, |known| (known.lists.last() == Some(&wanted)).then_some(()));
        eventually(&format!("healthy {ids:?} of {resource}"), is_last).await;
    }

    /// All lists so far.
    pub(crate) fn lists(&self, resource: &str) -> Vec<List> {
        self.ask(resource, |known| known.lists.clone())
    }

    /// How often the resource was registered.
    pub(crate) fn registrations(&self, resource: &str) -> usize {
        self.ask(resource, |known| known.registrations)
    }

    /// How many of its streams the plugin has ended.
    pub(crate) fn ended(&self, resource: &str) -> usize {
        self.ask(resource, |known| known.ended)
    }

    /// Waits until one that ended is replaced: `ended` streams have, and one that counts goes on.
    pub(crate) async fn connected_after(&self, resource: &str, ended: usize) {
        let is_so = |known: &Known| (known.ended == ended && !known.disconnected).then_some(());
        eventually(&format!("endpoint of {resource}"), || self.ask(resource, is_so)).await;
    }

    /// How often the resource's devices were taken away.
    pub(crate) fn disconnects(&self, resource: &str) -> usize {
        self.ask(resource, |known| known.disconnects)
    }

    /// The name of the socket that the resource was last registered with.
    pub(crate) fn endpoint(&self, resource: &str) -> String {
        self.ask(resource, |known| known.endpoint.clone())
    }

    /// Waits until the resource's last registration has brought a list.
    pub(crate) async fn watched(&self, resource: &str) {
        let is_so =
            || self.ask(resource, |known| (known.streams == known.registrations).then_some(()));
        eventually(&format!("stream of {resource}"), is_so).await;
    }

    /// Watches the resource's list once more, on a connection of its own.
    pub(crate) async fn watch_beside(
        &self,
        resource: &str,
    ) -> tonic::Streaming<dp::ListAndWatchResponse> {
        let channel = connect(&self.dir.join(self.endpoint(resource))).await.unwrap();
        let mut client = DevicePluginClient::new(channel);
        client.list_and_watch(dp::Empty {}).await.unwrap().into_inner()
    }

    /// Lets go of the resource's stream, as a kubelet in trouble does.
    pub(crate) fn drop_stream(&self, resource: &str) {
        self.ask(resource, Known::stop_watching);
    }

    /// From now on pods hold these devices.
    pub(crate) fn pods_hold(&self, devices: &[(&str, &str)]) {
        let owned = |(resource, id): &(&str, &str)| ((*resource).to_owned(), (*id).to_owned());
        *self.state.held.lock().unwrap() = devices.iter().map(owned).collect();
    }

    /// Allocates for one container.
    pub(crate) async fn allocate(
        &self,
        resource: &str,
        ids: &[&str],
    ) -> Result<dp::ContainerAllocateResponse, Status> {
        let (endpoint, disconnected) =
            self.ask(resource, |known| (known.endpoint.clone(), known.disconnected));
        if disconnected {
            return Err(Status::unavailable("the endpoint is stopped"));
        }
        let container = dp::ContainerAllocateRequest {
            devices_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        };
        let request = dp::AllocateRequest { container_requests: vec![container] };
        let channel = connect(&self.dir.join(endpoint)).await?;
        let answer = DevicePluginClient::new(channel).allocate(request).await?;
        let mut containers = answer.into_inner().container_responses;
        assert_eq!(containers.len(), 1);
        Ok(containers.remove(0))
    }
}

impl Kubelet {
    /// Whether the plugin's options say that it may be asked what it prefers.
    pub(crate) fn may_ask(&self, resource: &str) -> bool {
        self.ask(resource, |known| known.options.get_preferred_allocation_available)
    }

    /// Which `size` of `available` the plugin prefers.
    pub(crate) async fn preferred(
        &self,
        resource: &str,
        available: &[&str],
        size: i32,
    ) -> Vec<String> {
        let endpoint = self.ask(resource, |known| known.endpoint.clone());
        let channel = connect(&self.dir.join(endpoint)).await.unwrap();
        let mut client = DevicePluginClient::new(channel);
        let container = dp::ContainerPreferredAllocationRequest {
            available_device_i_ds: available.iter().map(|id| (*id).to_owned()).collect(),
            must_include_device_i_ds: Vec::new(),
            allocation_size: size,
        };
        let request = dp::PreferredAllocationRequest { container_requests: vec![container] };
        let answer = client.get_preferred_allocation(request).await.unwrap().into_inner();
        let [container] = &answer.container_responses[..] else { panic!("{answer:?}") };
        container.device_i_ds.clone()
    }
}

impl Known {
    fn stop_watching(&self) {
        self.watching.last().inspect(|last| last.abort());
    }
}

struct Service {
    dir: PathBuf,
    state: Arc<State>,
}

#[tonic::async_trait]
impl Registration for Service {
    async fn register(
        &self,
        request: Request<dp::RegisterRequest>,
    ) -> Result<Response<dp::Empty>, Status> {
        let dp::RegisterRequest { version, endpoint, resource_name, .. } = request.into_inner();
        if version != "v1beta1" {
            return Err(Status::invalid_argument(format!("version {version}")));
        }
        let known = |note: &dyn Fn(&mut Known)| {
            note(self.state.resources.lock().unwrap().entry(resource_name.clone()).or_default());
        };
        known(&|known| known.client = Some(known.watching.len()));
        let channel = connect(&self.dir.join(&endpoint)).await?;
        let mut client = DevicePluginClient::new(channel);
        let options = client.get_device_plugin_options(dp::Empty {}).await;
        let options = options.inspect_err(|_| known(&|known| known.client = None))?.into_inner();
        let (state, name) = (self.state.clone(), resource_name.clone());
        let watching = tokio::spawn(async move {
            let note = |note: &dyn Fn(&mut Known)| {
                note(state.resources.lock().unwrap().entry(name.clone()).or_default());
            };
            let mut stream = client.list_and_watch(dp::Empty {}).await.unwrap().into_inner();
            let mut first = true;
            while let Ok(Some(message)) = stream.message().await {
                if std::mem::take(&mut first) {
                    note(&|known| known.streams += 1);
                }
                let list: List = message
                    .devices
                    .into_iter()
                    .map(|device| (device.id, device.health == "Healthy"))
                    .collect();
                note(&|known| known.lists.push(list.clone()));
            }
            note(&|known| {
                known.ended += 1;
                if let Some(client) = known.client.take() {
                    known.disconnected = true;
                    known.disconnects += 1;
                    // one that is still registering watches nothing yet
                    known.watching.get(client).inspect(|last| last.abort());
                }
            });
        });
        let mut resources = self.state.resources.lock().unwrap();
        let known = resources.entry(resource_name).or_default();
        known.disconnected = false;
        known.registrations += 1;
        known.endpoint = endpoint;
        known.options = options;
        known.watching.push(watching);
        Ok(Response::new(dp::Empty {}))
    }
}

async fn connect(socket: &Path) -> Result<Channel, Status> {
    Endpoint::from_shared(format!("unix://{}", socket.display()))
        .unwrap()
        .connect()
        .await
        .map_err(|e| Status::unavailable(e.to_string()))
}

/// Tells who holds what, as kubelet does on a socket of its own.
async fn listen_for_holders(plugins_dir: PathBuf, state: Arc<State>) {
    let dir = plugins_dir.parent().unwrap().join("pod-resources");
    std::fs::create_dir_all(&dir).unwrap();
    let socket = dir.join("kubelet.sock");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(socket).unwrap();
    let serving = Server::builder().serve_with_incoming(
        PodResourcesListerServer::new(Holders(state)),
        UnixListenerStream::new(listener),
    );
    serving.await.unwrap();
}

struct Holders(Arc<State>);

#[tonic::async_trait]
impl PodResourcesLister for Holders {
    async fn list(
        &self,
        _: Request<pr::ListPodResourcesRequest>,
    ) -> Result<Response<pr::ListPodResourcesResponse>, Status> {
        let devices = |(resource, id): &(String, String)| pr::ContainerDevices {
            resource_name: resource.clone(),
            device_ids: vec![id.clone()],
            ..Default::default()
        };
        let devices = self.0.held.lock().unwrap().iter().map(devices).collect();
        let container = pr::ContainerResources { devices, ..Default::default() };
        let pod = pr::PodResources { containers: vec![container], ..Default::default() };
        Ok(Response::new(pr::ListPodResourcesResponse { pod_resources: vec![pod] }))
    }

    async fn get_allocatable_resources(
        &self,
        _: Request<pr::AllocatableResourcesRequest>,
    ) -> Result<Response<pr::AllocatableResourcesResponse>, Status> {
        Err(Status::unimplemented("the plugin does not ask"))
    }
}
