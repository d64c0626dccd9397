//! Notices changes in the two directories that matter, by inotify.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::sync::mpsc;

/// Watches kubelet's plugin directory for sockets and the directory of `pools.json` for that file.
///
/// A thread of its own reads the events, since tokio cannot wait for a foreign descriptor without
/// unsafe code.
#[derive(Debug)]
pub struct Watcher {
    fd: Arc<OwnedFd>,
    dirs: [PathBuf; 2],
    changed: mpsc::Receiver<()>,
}

impl Watcher {
    /// A watcher that watches nothing until [`Watcher::ensure`].
    ///
    /// # Errors
    /// The kernel gives no inotify instance (`fs.inotify.max_user_instances`) or no thread.
    pub fn new(plugins_dir: &Path, pools: &Path) -> std::io::Result<Self> {
        let fd = Arc::new(inotify::init(CreateFlags::CLOEXEC)?);
        let dir = pools.parent().unwrap_or(Path::new("/")).to_owned();
        let pools = pools.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        // One place is enough: more changes before the reader comes are the same news.
        let (sender, changed) = mpsc::channel(1);
        let events = fd.clone();
        std::thread::Builder::new()
            .name("inotify".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || read(&events, pools.as_deref(), &sender))?;
        Ok(Self { fd, dirs: [plugins_dir.to_owned(), dir], changed })
    }

    /// Watches the directories as they are now: adding a watch again changes nothing, and a
    /// directory that was made anew needs a new one.
    ///
    /// # Errors
    /// The first directory that cannot be watched, mostly because it is not there yet.
    pub fn ensure(&self) -> Result<(), (PathBuf, std::io::Error)> {
        let events = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ONLYDIR;
        let mut result = Ok(());
        for dir in &self.dirs {
            if let Err(e) = inotify::add_watch(&self.fd, dir, events) {
                result = result.and(Err((dir.clone(), e.into())));
            }
        }
        result
    }

    /// Waits for a change of a socket or of `pools.json`; false if there will be no more.
    pub async fn changed(&mut self) -> bool {
        self.changed.recv().await.is_some()
    }
}

/// Passes on what matters until nobody listens any more.
fn read(fd: &OwnedFd, pools: Option<&str>, changed: &mpsc::Sender<()>) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(fd, &mut buffer);
    while !changed.is_closed() {
        match reader.next() {
            Ok(event) => {
                let name = event.file_name().and_then(|name| name.to_str().ok());
                // Events lost or a directory gone: better to look than to miss.
                let blind = ReadFlags::QUEUE_OVERFLOW | ReadFlags::IGNORED;
                if event.events().intersects(blind) || matters(name, pools) {
                    // Full: the news is on its way already.
                    let _ = changed.try_send(());
                }
            }
            Err(Errno::INTR) => {}
            Err(e) => {
                tracing::warn!(error = %e, "read inotify events");
                return;
            }
        }
    }
}

/// Kubelet rewrites its checkpoint in the same directory at each allocation: that does not.
fn matters(name: Option<&str>, pools: Option<&str>) -> bool {
    // kubelet changes a mounted ConfigMap by renaming `..data`, which the names in it are links through
    // (pkg/volume/util/atomic_writer.go)
    name.is_some_and(|name| name.ends_with(".sock") || name == "..data" || Some(name) == pools)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn noticed(watcher: &mut Watcher, wait: Duration) -> bool {
        tokio::time::timeout(wait, watcher.changed()).await == Ok(true)
    }

    #[tokio::test]
    async fn sockets_and_the_pools_file_are_noticed_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let (plugins, pools) = (root.path().join("plugins"), root.path().join("state/pools.json"));
        let mut watcher = Watcher::new(&plugins, &pools).unwrap();
        let (missing, _) = watcher.ensure().unwrap_err();
        assert_eq!(missing, plugins);

        std::fs::create_dir_all(&plugins).unwrap();
        std::fs::create_dir_all(pools.parent().unwrap()).unwrap();
        watcher.ensure().unwrap();
        std::fs::write(plugins.join("kubelet_internal_checkpoint"), "").unwrap();
        std::fs::write(root.path().join("state/node.json"), "").unwrap();
        assert!(!noticed(&mut watcher, Duration::from_millis(50)).await);

        std::fs::write(plugins.join("kubelet.sock"), "").unwrap();
        assert!(noticed(&mut watcher, Duration::from_secs(30)).await);
        std::fs::remove_file(plugins.join("kubelet.sock")).unwrap();
        assert!(noticed(&mut watcher, Duration::from_secs(30)).await);
        ringway_node::atomic::write(&pools, b"{}", 0o644).unwrap();
        assert!(noticed(&mut watcher, Duration::from_secs(30)).await);
        std::os::unix::fs::symlink("..1", root.path().join("state/..data")).unwrap();
        assert!(noticed(&mut watcher, Duration::from_secs(30)).await);
    }

    #[tokio::test]
    async fn a_directory_made_anew_is_watched_again() {
        let root = tempfile::tempdir().unwrap();
        let (plugins, pools) = (root.path().join("plugins"), root.path().join("pools.json"));
        std::fs::create_dir(&plugins).unwrap();
        let mut watcher = Watcher::new(&plugins, &pools).unwrap();
        watcher.ensure().unwrap();
        std::fs::remove_dir(&plugins).unwrap();
        assert!(noticed(&mut watcher, Duration::from_secs(30)).await);
        std::fs::create_dir(&plugins).unwrap();
        watcher.ensure().unwrap();
        std::fs::write(plugins.join("kubelet.sock"), "").unwrap();
        assert!(noticed(&mut watcher, Duration::from_secs(30)).await);
    }
}
