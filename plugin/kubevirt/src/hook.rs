//! The hook: what virt-launcher asks, and the answers (`pkg/hooks` of KubeVirt).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringway_proto::kubevirt::info::info_server::Info;
use ringway_proto::kubevirt::info::{HookPoint, InfoParams, InfoResult};
use ringway_proto::kubevirt::v1alpha3;
use ringway_proto::kubevirt::v1alpha3::callbacks_server::Callbacks;
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::error::{Error, Problem};
use crate::interface::Interface;
use crate::{domain, link, network_info, vmi};

/// The moments at which virt-launcher shall call.
const HOOK_POINTS: [&str; 2] = ["OnDefineDomain", "Shutdown"];

/// What the hook works with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The binding whose interfaces are served.
    pub binding: String,
    /// This container's name.
    pub container_name: String,
    /// Where the socket and the links go.
    pub hooks_dir: PathBuf,
    /// The file that names the pod's devices.
    pub network_info: PathBuf,
    /// How long to wait until it does.
    pub device_info_timeout: Duration,
}

/// Both services. What it is told is in the call, so that every call stands alone: virt-launcher
/// calls up to three times for one start, and again on the target of a migration, where it throws
/// the answer away and needs only the links.
#[derive(Debug, Clone)]
pub struct Hook {
    config: Arc<Config>,
    ended: Arc<Notify>,
}

impl Hook {
    /// A hook that notifies `ended` when the VM has ended.
    pub fn new(config: Arc<Config>, ended: Arc<Notify>) -> Self {
        Self { config, ended }
    }

    /// The domain with our interfaces, and the links that they name.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn define(&self, domain: &str, vmi: &[u8]) -> Result<String, Error> {
        let vm = vmi::read(vmi, &self.config.binding)?;
        let deadline = Instant::now() + self.config.device_info_timeout;
        let mut interfaces = Vec::new();
        for wanted in &vm.interfaces {
            let interface = self.interface(wanted, deadline).await;
            interfaces.push(interface.map_err(|problem| Error::Interface {
                vm: vm.name.clone(),
                interface: wanted.name.clone(),
                source: Box::new(problem),
            })?);
        }
        let changed = domain::with_interfaces(domain, &interfaces)
            .map_err(|source| Error::Domain { vm: vm.name.clone(), source })?;
        for interface in &interfaces {
            tracing::info!(
                vm = vm.name,
                interface = interface.name,
                mac = %interface.mac,
                source = interface.source,
                "interface defined"
            );
        }
        Ok(changed)
    }

    async fn interface(
        &self,
        wanted: &vmi::Interface,
        deadline: Instant,
    ) -> Result<Interface, Problem> {
        let file = || self.config.network_info.display().to_string();
        let device = network_info::wait(&self.config.network_info, &wanted.name, deadline)
            .await
            .map_err(|source| Problem::Device { file: file(), source })?;
        let mac = match (wanted.mac, device.mac) {
            (Some(wanted), Some(device)) if wanted != device => {
                return Err(Problem::OtherMac { wanted, device });
            }
            (wanted, device) => wanted.or(device).ok_or_else(|| Problem::NoMac { file: file() })?,
        };
        link::make(&self.config.hooks_dir, &wanted.name, &device.path)?;
        Ok(Interface {
            name: wanted.name.clone(),
            mac,
            source: link::in_compute(&self.config.container_name, &wanted.name),
            pci_address: wanted.pci_address,
            acpi_index: wanted.acpi_index,
            boot_order: wanted.boot_order,
        })
    }
}

#[tonic::async_trait]
impl Info for Hook {
    async fn info(&self, _: Request<InfoParams>) -> Result<Response<InfoResult>, Status> {
        Ok(Response::new(InfoResult {
            name: self.config.binding.clone(),
            hook_points: HOOK_POINTS
                .map(|name| HookPoint { name: name.to_owned(), priority: 0 })
                .into(),
            versions: vec![v1alpha3::VERSION.to_owned()],
        }))
    }
}

#[tonic::async_trait]
impl Callbacks for Hook {
    async fn on_define_domain(
        &self,
        request: Request<v1alpha3::OnDefineDomainParams>,
    ) -> Result<Response<v1alpha3::OnDefineDomainResult>, Status> {
        let v1alpha3::OnDefineDomainParams { domain_xml, vmi } = request.into_inner();
        let domain = String::from_utf8(domain_xml)
            .map_err(|e| Status::invalid_argument(format!("the domain's XML: {e}")))?;
        let changed = self.define(&domain, &vmi).await.map_err(Status::from);
        let changed = changed.inspect_err(|status| {
            tracing::error!(error = status.message(), "domain refused");
        })?;
        Ok(Response::new(v1alpha3::OnDefineDomainResult { domain_xml: changed.into_bytes() }))
    }

    /// Not among the hook points, so that virt-launcher does not call it.
    async fn pre_cloud_init_iso(
        &self,
        _: Request<v1alpha3::PreCloudInitIsoParams>,
    ) -> Result<Response<v1alpha3::PreCloudInitIsoResult>, Status> {
        Err(Status::unimplemented("cloud-init is left alone"))
    }

    async fn shutdown(
        &self,
        _: Request<v1alpha3::ShutdownParams>,
    ) -> Result<Response<v1alpha3::ShutdownResult>, Status> {
        tracing::info!("the VM has ended");
        self.ended.notify_one();
        Ok(Response::new(v1alpha3::ShutdownResult {}))
    }
}
