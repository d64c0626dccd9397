//! What plugins take for kubelet: it connects back to whoever registers, and keeps the last list of
//! each resource.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use ringway_proto::kubelet::deviceplugin as dp;
use ringway_proto::kubelet::deviceplugin::device_plugin_client::DevicePluginClient;
use ringway_proto::kubelet::deviceplugin::registration_server::{Registration, RegistrationServer};
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

/// Far more than any start takes under emulation.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether each device is healthy.
pub(super) type List = BTreeMap<String, bool>;

/// It ends with the runtime.
pub(super) struct Kubelet {
    dir: PathBuf,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    resources: Mutex<Resources>,
    news: Notify,
}

#[derive(Default)]
struct Resources {
    /// By resource, without its prefix.
    lists: BTreeMap<String, List>,
    endpoints: BTreeMap<String, String>,
}

/// One resource's plugin.
pub(super) struct Client(DevicePluginClient<Channel>);

impl Kubelet {
    /// With its directory `kubelet` below `home`.
    pub(super) fn start(home: &Path) -> Result<Self> {
        let dir = home.join("kubelet/device-plugins");
        fs::create_dir_all(&dir)?;
        let listener = UnixListener::bind(dir.join("kubelet.sock"))?;
        let state = Arc::<State>::default();
        let service = Service { dir: dir.clone(), state: state.clone() };
        tokio::spawn(async move {
            let registration = RegistrationServer::new(service);
            let incoming = UnixListenerStream::new(listener);
            if let Err(error) = Server::builder().serve_with_incoming(registration, incoming).await
            {
                eprintln!("kubelet: {error}");
            }
        });
        Ok(Self { dir, state })
    }

    /// Waits until the lists are so.
    pub(super) async fn until(
        &mut self,
        so: impl Fn(&BTreeMap<String, List>) -> bool,
    ) -> Result<()> {
        let waiting = async {
            loop {
                let news = self.state.news.notified();
                if so(&self.state.resources().lists) {
                    return;
                }
                news.await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.context("the lists do not come")
    }

    /// For allocations.
    pub(super) async fn client(&self, resource: &str) -> Result<Client> {
        let endpoint = self.state.resources().endpoints.get(resource).cloned();
        let endpoint = endpoint.context("it was not registered")?;
        Ok(Client(DevicePluginClient::new(connect(&self.dir.join(endpoint)).await?)))
    }
}

impl Client {
    pub(super) async fn options(&mut self) -> Result<dp::DevicePluginOptions, Status> {
        Ok(self.0.get_device_plugin_options(dp::Empty {}).await?.into_inner())
    }

    /// The first list of a stream of its own.
    pub(super) async fn list(&mut self) -> Result<Vec<dp::Device>, Status> {
        let mut stream = self.0.list_and_watch(dp::Empty {}).await?.into_inner();
        Ok(stream.message().await?.map(|message| message.devices).unwrap_or_default())
    }

    /// One device for one container.
    pub(super) async fn allocate(
        &mut self,
        id: &str,
    ) -> Result<dp::ContainerAllocateResponse, Status> {
        let devices_ids = vec![id.to_owned()];
        let container_requests = vec![dp::ContainerAllocateRequest { devices_ids }];
        let answer = self.0.allocate(dp::AllocateRequest { container_requests }).await?;
        let first = answer.into_inner().container_responses.into_iter().next();
        first.ok_or_else(|| Status::internal("it has no answer for the container"))
    }
}

impl State {
    fn resources(&self) -> std::sync::MutexGuard<'_, Resources> {
        self.resources.lock().unwrap_or_else(PoisonError::into_inner)
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
        let dp::RegisterRequest { endpoint, resource_name, .. } = request.into_inner();
        let name = resource_name.rsplit('/').next().unwrap_or_default().to_owned();
        let channel = connect(&self.dir.join(&endpoint)).await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut client = DevicePluginClient::new(channel);
        client.get_device_plugin_options(dp::Empty {}).await?;
        self.state.resources().endpoints.insert(name.clone(), endpoint);
        let state = self.state.clone();
        tokio::spawn(async move {
            let Ok(stream) = client.list_and_watch(dp::Empty {}).await else { return };
            let mut stream = stream.into_inner();
            while let Ok(Some(message)) = stream.message().await {
                let devices = message.devices.into_iter();
                let list = devices.map(|device| (device.id, device.health == "Healthy"));
                state.resources().lists.insert(name.clone(), list.collect());
                state.news.notify_one();
            }
        });
        Ok(Response::new(dp::Empty {}))
    }
}

async fn connect(socket: &Path) -> Result<Channel> {
    Ok(Endpoint::from_shared(format!("unix://{}", socket.display()))?.connect().await?)
}
