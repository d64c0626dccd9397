//! The device plugin service of one resource.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_node::lock::{self, Lock, Locks};
use ringway_node::{DeviceId, Resource};
use ringway_proto::kubelet::deviceplugin as dp;
use ringway_proto::kubelet::deviceplugin::device_plugin_server::DevicePlugin;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use crate::allocate::{self, Refusal};
use crate::cdi;
use crate::error::chain;
use crate::kept::Kept;
use crate::offer::{Item, Offer};
use crate::plugin::Config;
use crate::prefer;
use crate::publish;
use crate::shared::Shared;
use crate::streams::Streams;
use crate::supply::Delivery;

/// How long an allocation waits for a device that is being changed. Kubelet waits without end, and
/// holds up the start of other pods while it does.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// What kubelet asks of one resource.
#[derive(Debug)]
pub struct Service {
    /// The resource.
    pub resource: Resource,
    /// What it shares with the rest of the process.
    pub shared: Arc<Shared>,
    /// Who watches the list.
    pub streams: Arc<Streams>,
    /// The list of devices as it is now.
    pub list: watch::Receiver<Vec<dp::Device>>,
    /// What is behind the list.
    pub offer: watch::Receiver<Offer>,
    /// The nodes of each device by the CDI spec on disk.
    pub spec: Kept<BTreeMap<DeviceId, Vec<String>>>,
}

/// What kubelet may ask.
pub fn options() -> dp::DevicePluginOptions {
    dp::DevicePluginOptions { pre_start_required: false, get_preferred_allocation_available: true }
}

#[tonic::async_trait]
impl DevicePlugin for Service {
    /// Refused by an instance that hands over (`Plugin::hand_over`).
    async fn get_device_plugin_options(
        &self,
        _: Request<dp::Empty>,
    ) -> Result<Response<dp::DevicePluginOptions>, Status> {
        if self.shared.leaves() {
            return Err(Status::unavailable("this instance leaves, and another one serves"));
        }
        Ok(Response::new(options()))
    }

    type ListAndWatchStream =
        Pin<Box<dyn Stream<Item = Result<dp::ListAndWatchResponse, Status>> + Send>>;

    /// The list now and at each change. Ends with the client, or with the resource's endpoint:
    /// never with an empty list, which would tell kubelet that the devices are gone.
    async fn list_and_watch(
        &self,
        _: Request<dp::Empty>,
    ) -> Result<Response<Self::ListAndWatchStream>, Status> {
        let lists = WatchStream::new(self.list.clone());
        let watching = self.streams.open(&self.shared);
        let answers = lists.map(move |devices| {
            // held until the stream is dropped
            let _ = &watching;
            Ok(dp::ListAndWatchResponse { devices })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    /// By the last look: it is advice, and Allocate looks afresh.
    async fn get_preferred_allocation(
        &self,
        request: Request<dp::PreferredAllocationRequest>,
    ) -> Result<Response<dp::PreferredAllocationResponse>, Status> {
        Ok(Response::new(prefer::answer(&self.offer.borrow(), request.get_ref())))
    }

    async fn allocate(
        &self,
        request: Request<dp::AllocateRequest>,
    ) -> Result<Response<dp::AllocateResponse>, Status> {
        let answer = self.answer(request.get_ref()).await;
        let answer = answer.inspect_err(|refused| {
            self.shared.counts.refused(&self.resource, refused.reason);
        });
        let answer = answer.map_err(|refused| refused.status);
        match &answer {
            Ok(_) => {
                self.shared.counts.allocated(&self.resource);
                tracing::info!(resource = %self.resource, devices = ?ids(request.get_ref()), "allocated")
            }
            Err(status) => tracing::warn!(
                resource = %self.resource,
                devices = ?ids(request.get_ref()),
                error = status.message(),
                "allocation refused"
            ),
        }
        answer.map(Response::new)
    }

    /// Not asked for in the options, so that kubelet does not call it.
    async fn pre_start_container(
        &self,
        _: Request<dp::PreStartContainerRequest>,
    ) -> Result<Response<dp::PreStartContainerResponse>, Status> {
        Err(Status::unimplemented("pre-start calls are not asked for"))
    }
}

fn ids(request: &dp::AllocateRequest) -> Vec<&str> {
    let containers = request.container_requests.iter();
    containers.flat_map(|container| container.devices_ids.iter().map(String::as_str)).collect()
}

impl Service {
    /// All under the devices' locks: who changes a device writes `draining` first and then takes
    /// its lock, so that what is read here holds until the answer is made.
    async fn answer(&self, request: &dp::AllocateRequest) -> Result<dp::AllocateResponse, Refused> {
        let Shared { config, source, .. } = &*self.shared;
        let containers = allocate::requested(&self.resource, request)?;
        let asked: BTreeSet<DeviceId> = containers.iter().flatten().cloned().collect();
        let _locks = self.lock(&asked).await?;
        let not_now = |error: &dyn std::error::Error| {
            Refused::not_now(format!("allocate {}: {}", self.resource, chain(error)))
        };
        let offer = config.look_at(source, &self.resource, &asked).map_err(|e| not_now(&e))?;
        let mut container_responses = Vec::new();
        for ids in &containers {
            container_responses.push(allocate::answer(&self.resource, offer.as_ref(), ids)?);
        }
        if let Some(offer) = offer {
            self.bring_spec_up_to_date(offer).map_err(|e| not_now(&e))?;
        }
        Ok(dp::AllocateResponse { container_responses })
    }

    /// The CDI names in the answer are resolved by the spec on disk: it must say what was just seen.
    fn bring_spec_up_to_date(&self, seen: Offer) -> Result<(), publish::Error> {
        let named = |item: &&Item| seen.delivery == Delivery::Cdi && !item.nodes.is_empty();
        let mut named = seen.items.iter().filter(named).peekable();
        if named.peek().is_none() {
            return Ok(());
        }
        let Config { cdi_dir, hook, .. } = &self.shared.config;
        let about = cdi_dir.join(cdi::file_name(&self.resource)).symlink_metadata().ok();
        let known = self.spec.get(about.as_ref());
        // all else that the spec says of a device is the same for as long as the process lives
        if known.is_some_and(|nodes| named.all(|item| nodes.get(item.id()) == Some(&item.nodes))) {
            return Ok(());
        }
        let all = self.offer.borrow().with(seen);
        publish::spec(cdi_dir, &self.resource, &all, hook.as_deref())?;
        let nodes = all.items.into_iter().map(|item| (item.entry.device.id, item.nodes));
        self.spec.keep(about.as_ref(), Arc::new(nodes.collect()));
        Ok(())
    }

    /// Locks in the order of the ids, so that two allocations cannot wait for each other.
    async fn lock(&self, ids: &BTreeSet<DeviceId>) -> Result<Vec<Lock>, Refused> {
        let locks = Locks::at(&self.shared.config.lock_dir);
        let start = Instant::now();
        let mut held = Vec::new();
        for id in ids {
            held.push(loop {
                let tried = locks.try_lock(id).map_err(|e| Refused::not_now(chain(&e)))?;
                if let Some(lock) = tried {
                    break lock;
                }
                let waited = start.elapsed();
                if waited >= LOCK_WAIT {
                    let status =
                        Status::unavailable(chain(&lock::Error::Busy { id: id.clone(), waited }));
                    return Err(Refused { reason: "busy", status });
                }
                tokio::time::sleep(lock::RETRY_INTERVAL).await;
            });
        }
        Ok(held)
    }
}

/// An allocation that is not made.
struct Refused {
    /// As the metric names it.
    reason: &'static str,
    /// What kubelet is told.
    status: Status,
}

impl Refused {
    fn not_now(text: String) -> Self {
        Self { reason: "unavailable", status: Status::unavailable(text) }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let text = chain(&refusal);
        let status = match refusal {
            Refusal::Grammar { .. } | Refusal::Twice { .. } => Status::invalid_argument(text),
            Refusal::Unknown { .. } => Status::not_found(text),
            Refusal::Unusable { .. } => Status::failed_precondition(text),
        };
        Self { reason: refusal.reason(), status }
    }
}
