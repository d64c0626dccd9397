//! The hook on its socket, until the VM or the pod ends.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{Notify, oneshot};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use crate::hook::{Config, Hook};
use crate::services::Services;

/// `sun_path` holds 108 bytes with the final NUL (include/uapi/linux/un.h).
const MAX_SOCKET_PATH: usize = 107;
/// How long calls under way may take once the end has come.
const GRACE: Duration = Duration::from_secs(2);

/// Why the hook cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket's path does not fit into an address.
    #[error(
        "socket path {} has {} bytes, more than {MAX_SOCKET_PATH}: shorten --hooks-dir",
        path.display(), path.as_os_str().len()
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("{op} socket {}", path.display())]
    Socket {
        /// What was tried.
        op: &'static str,
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The server ended by itself.
    #[error("serve the hook")]
    Serve(#[from] tonic::transport::Error),
}

/// Serves until `shutdown`, or until virt-launcher says that the VM has ended. The socket is gone
/// then.
///
/// # Errors
/// The socket cannot be made, or serving fails.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let socket = Socket::bind(config.hooks_dir.join(format!("{}.sock", config.binding)))?;
    tracing::info!(socket = %socket.path.display(), binding = config.binding, "serving");
    let ended = Arc::new(Notify::new());
    let hook = Hook::new(Arc::new(config), ended.clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = Server::builder().serve_with_incoming_shutdown(
        Services::new(hook),
        UnixListenerStream::new(socket.listener),
        async {
            // an error means that the sender is gone, which is the end too
            let _ = stopped.await;
        },
    );
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => served?,
        () = shutdown => {}
        () = ended.notified() => {}
    }
    drop(socket.file);
    drop(stop);
    match tokio::time::timeout(GRACE, serving).await {
        Ok(served) => Ok(served?),
        // who still waits for a device will not get one
        Err(_) => Ok(()),
    }
}

struct Socket {
    path: PathBuf,
    listener: UnixListener,
    file: File,
}

/// A file that goes with this value.
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(socket = %self.0.display(), %error, "socket not removed");
        }
    }
}

impl Socket {
    fn bind(path: PathBuf) -> Result<Self, Error> {
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(Error::PathTooLong { path });
        }
        let error = |op| {
            let path = path.clone();
            move |source| Error::Socket { op, path, source }
        };
        remove_socket(&path).map_err(error("remove old"))?;
        let listener = UnixListener::bind(&path).map_err(error("bind"))?;
        Ok(Self { listener, file: File(path.clone()), path })
    }
}

/// A container that was restarted finds the socket of the one before it.
fn remove_socket(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(about) if about.file_type().is_socket() => std::fs::remove_file(path),
        // anything else is not ours, and binding says so
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}
