//! One resource's server on one socket, for as long as the resource is offered and the socket
//! stays in place.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ringway_node::Resource;
use ringway_proto::kubelet::deviceplugin as dp;
use ringway_proto::kubelet::deviceplugin::device_plugin_server::DevicePluginServer;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use crate::due::Registered;
use crate::kept::Kept;
use crate::offer::Offer;
use crate::plugin::Config;
use crate::service::Service;
use crate::shared::Shared;
use crate::streams::Streams;

/// `sun_path` holds 108 bytes with the final NUL (include/uapi/linux/un.h).
const MAX_SOCKET_PATH: usize = 107;

/// Why a resource cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket's path does not fit into an address.
    #[error(
        "serve {resource}: socket path {} has {} bytes, more than {MAX_SOCKET_PATH}: \
         shorten --instance or the resource's name",
        path.display(), path.as_os_str().len()
    )]
    PathTooLong {
        /// The resource.
        resource: Resource,
        /// The path.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("serve {resource}: {op} socket {}", path.display())]
    Socket {
        /// The resource.
        resource: Resource,
        /// What was tried.
        op: &'static str,
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// What tells one file from another that later has its name. File systems give the inode of a
/// removed file to the next one, so the time belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

/// Which file `path` is now; `None` if there is none or it cannot be asked.
pub fn identity(path: &Path) -> Option<Identity> {
    let about = path.symlink_metadata().ok()?;
    let changed = (about.ctime(), about.ctime_nsec());
    Some(Identity { device: about.dev(), inode: about.ino(), changed })
}

/// A running server. Dropping it ends its streams, without a last list, and removes its socket.
#[derive(Debug)]
pub struct Endpoint {
    path: PathBuf,
    identity: Option<Identity>,
    list: watch::Sender<Vec<dp::Device>>,
    offer: watch::Sender<Offer>,
    /// Who watches its list.
    pub streams: Arc<Streams>,
    /// Other instances that serve the resource, as they were last seen.
    beside: BTreeSet<String>,
    /// When one of them was first missed since kubelet was last told.
    ended_beside: Option<Instant>,
    /// The last time that kubelet was told of it.
    registered: Option<Registered>,
    task: Option<JoinHandle<()>>,
    _stop: oneshot::Sender<()>,
}

/// The file name of a resource's socket.
pub fn socket_name(resource: &Resource, instance: &str) -> String {
    format!("{}{instance}.sock", socket_prefix(resource))
}

/// The instance whose socket of `resource` has this name. A resource's name may begin with that of
/// another one and a hyphen, which no instance's has.
fn instance_of<'a>(name: &'a str, resource: &Resource) -> Option<&'a str> {
    let instance = name.strip_prefix(&socket_prefix(resource))?.strip_suffix(".sock")?;
    (!instance.is_empty() && !instance.contains('-')).then_some(instance)
}

fn socket_prefix(resource: &Resource) -> String {
    match resource.prefix() {
        Resource::PREFIX => format!("ringway-{}-", resource.name()),
        prefix => format!("ringway-{prefix}_{}-", resource.name()),
    }
}

/// What other instances there are.
#[derive(Debug, Clone, Copy)]
pub struct Beside {
    /// Whether there is one.
    pub any: bool,
    /// Whether one came after this one: kubelet has been told of it, or is about to be.
    pub successor: bool,
    /// When one ended of which kubelet may have known alone since it was last told.
    pub ended: Option<Instant>,
}

impl Endpoint {
    /// Starts to serve `resource` with what `offer` has.
    ///
    /// # Errors
    /// [`Error::PathTooLong`] and [`Error::Socket`].
    pub fn start(shared: &Arc<Shared>, resource: &Resource, offer: &Offer) -> Result<Self, Error> {
        let config = &shared.config;
        let path = config.plugins_dir.join(socket_name(resource, &config.instance));
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(Error::PathTooLong { resource: resource.clone(), path });
        }
        let error = |op| {
            let (resource, path) = (resource.clone(), path.clone());
            move |source| Error::Socket { resource, op, path, source }
        };
        remove_socket(&path).map_err(error("remove old"))?;
        let listener = UnixListener::bind(&path).map_err(error("bind"))?;
        let identity = identity(&path);
        let (list, lists) = watch::channel(offer.list());
        let (offer, offers) = watch::channel(offer.clone());
        let streams = Arc::<Streams>::default();
        let service = Service {
            resource: resource.clone(),
            shared: shared.clone(),
            streams: streams.clone(),
            list: lists,
            offer: offers,
            spec: Kept::default(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = Server::builder().serve_with_incoming_shutdown(
            DevicePluginServer::new(service),
            UnixListenerStream::new(listener),
            async {
                let _ = stopped.await;
            },
        );
        let name = resource.clone();
        let task = tokio::spawn(async move {
            if let Err(e) = serving.await {
                tracing::error!(resource = %name, error = crate::error::chain(&e), "server ended");
            }
        });
        Ok(Self {
            path,
            identity,
            list,
            offer,
            streams,
            beside: BTreeSet::new(),
            ended_beside: None,
            registered: None,
            task: Some(task),
            _stop: stop,
        })
    }

    /// Sends the list of `offer` to whoever watches, if it is different.
    pub fn update(&self, offer: &Offer) {
        let list = offer.list();
        self.offer.send_if_modified(|old| {
            let different = old != offer;
            if different {
                *old = offer.clone();
            }
            different
        });
        self.list.send_if_modified(|old| {
            let different = *old != list;
            *old = list;
            different
        });
    }

    /// Whether the socket is no longer the one that was bound: kubelet removes all sockets of
    /// plugins when it starts.
    pub fn is_lost(&self) -> bool {
        self.identity.is_none() || identity(&self.path) != self.identity
    }

    /// The last time that kubelet was told of it.
    pub fn registered(&self) -> Option<&Registered> {
        self.registered.as_ref()
    }

    /// Kubelet was told of it.
    pub fn has_registered(&mut self, registered: Registered) {
        (self.registered, self.ended_beside) = (Some(registered), None);
    }

    /// Ends its streams and takes no more calls. What is given ends with the last call that is
    /// under way.
    pub fn close(mut self) -> Option<JoinHandle<()>> {
        self.task.take()
    }

    /// Looks which other instances serve the resource. Of two that serve, the one whose socket is
    /// newer counts, so that exactly one of them does what kubelet has to be told.
    pub async fn look_beside(&mut self, config: &Config, resource: &Resource) -> Beside {
        let own = self.identity.map(|own| (own.changed, config.instance.clone()));
        let others = others(config, resource).await;
        let successor = others.iter().any(|other| Some(other) > own.as_ref());
        let names: BTreeSet<_> = others.into_iter().map(|(_, name)| name).collect();
        if !self.beside.is_subset(&names) {
            self.ended_beside.get_or_insert_with(Instant::now);
        }
        self.beside = names;
        Beside { any: !self.beside.is_empty(), successor, ended: self.ended_beside }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if !self.is_lost() {
            // Best effort: kubelet removes it at its next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn remove_socket(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(about) if about.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "not a socket")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// Whether another running instance serves `resource`.
pub async fn has_others(config: &Config, resource: &Resource) -> bool {
    !others(config, resource).await.is_empty()
}

/// Removes sockets of `resource` that instances which were killed have left. Kubelet does so only
/// at its own start, and each of our instances has another name.
pub async fn remove_dead(config: &Config, resource: &Resource) {
    others(config, resource).await;
}

/// The other running instances that serve `resource`, as during a rolling update: since when, and
/// their names. Sockets that nobody listens on any more are removed on the way.
async fn others(config: &Config, resource: &Resource) -> Vec<((i64, i64), String)> {
    let Ok(entries) = std::fs::read_dir(&config.plugins_dir) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let instance = name.to_str().and_then(|name| instance_of(name, resource));
        let Some(instance) = instance.filter(|instance| *instance != config.instance) else {
            continue;
        };
        // Does not block: a process that hangs with a full queue of connections is EAGAIN.
        match UnixStream::connect(entry.path()).await {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                let _ = std::fs::remove_file(entry.path());
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Ok(_) | Err(_) => {
                let since = identity(&entry.path()).map(|other| other.changed);
                found.extend(since.map(|since| (since, instance.to_owned())));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
