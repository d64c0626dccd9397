//! The pod's devices by network: the annotation `kubevirt.io/network-info`, which virt-controller
//! writes from Multus' network-status and the downward API shows as a file
//! (`pkg/network/downwardapi` of KubeVirt).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use crate::mac::{Mac, NoMac};

/// How long to pause between two looks at the file.
const PAUSE: Duration = Duration::from_millis(100);
/// The largest file that is read, in bytes: all annotations of an object have 256 KiB.
const MAX_SIZE: u64 = 256 * 1024;

/// A network's device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where the container that holds it finds it.
    pub path: PathBuf,
    /// Its Ethernet address; KubeVirt before v1.8 does not pass it on.
    pub mac: Option<Mac>,
}

/// Why a network's device is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no file.
    #[error("there is no such file: register the binding with `downwardAPI: device-info`")]
    NoFile,
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Io(#[source] io::Error),
    /// More than an annotation can hold.
    #[error("it is larger than {MAX_SIZE} bytes, more than an annotation can hold")]
    TooLarge,
    /// It is not what KubeVirt writes.
    #[error("it is not the JSON that KubeVirt writes")]
    Json(#[source] serde_json::Error),
    /// KubeVirt has written nothing, or nothing of this network.
    #[error(
        "it does not name network {network}: Multus has not attached it, or KubeVirt has not \
         passed on its network-status"
    )]
    NoNetwork {
        /// The network's name in the VMI.
        network: String,
    },
    /// The network has no device.
    #[error(
        "network {network} has no device-info: its NetworkAttachmentDefinition needs the annotation \
         k8s.v1.cni.cncf.io/resourceName and the capability CNIDeviceInfoFile, and the pod must \
         request that resource (from KubeVirt v1.9 on, a webhook adds the request)"
    )]
    NoDeviceInfo {
        /// The network's name in the VMI.
        network: String,
    },
    /// The device is of another kind.
    #[error(
        "network {network} has a device of kind {found}, not vdpa/vhost: it needs a resource whose \
         pool says `attach: vhost-vdpa`"
    )]
    OtherKind {
        /// The network's name in the VMI.
        network: String,
        /// `type` and, for vDPA, the driver.
        found: String,
    },
    /// No path to the device.
    #[error("the device of network {network} is at {path:?}: must be a path below /dev/")]
    Path {
        /// The network's name in the VMI.
        network: String,
        /// What the device-info says.
        path: String,
    },
    /// The Ethernet address is none.
    #[error("mac of network {network}")]
    Mac {
        /// The network's name in the VMI.
        network: String,
        /// What is wrong with it.
        source: NoMac,
    },
}

impl Error {
    /// Whether it is what one sees before Multus, virt-controller and kubelet have done their part.
    /// KubeVirt mounts the file from the start; without the annotation it is empty.
    fn may_pass(&self) -> bool {
        match self {
            Self::NoFile | Self::NoNetwork { .. } | Self::NoDeviceInfo { .. } => true,
            Self::Io(_)
            | Self::TooLarge
            | Self::Json(_)
            | Self::OtherKind { .. }
            | Self::Path { .. }
            | Self::Mac { .. } => false,
        }
    }
}

/// Waits until `file` names the device of `network`, at most until `deadline`.
///
/// # Errors
/// At once if the file says what cannot be used, at the deadline if it still says too little.
pub async fn wait(file: &Path, network: &str, deadline: Instant) -> Result<Device, Error> {
    loop {
        match read(file).and_then(|text| find(&text, network)) {
            Err(error) if error.may_pass() && Instant::now() < deadline => {
                tracing::debug!(network, %error, "waiting");
                tokio::time::sleep_until(deadline.min(Instant::now() + PAUSE)).await;
            }
            answer => return answer,
        }
    }
}

/// The downward API shows each file through symbolic links, so they are followed.
fn read(file: &Path) -> Result<Vec<u8>, Error> {
    let open = File::open(file).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::NoFile,
        _ => Error::Io(e),
    })?;
    let mut text = Vec::new();
    open.take(MAX_SIZE + 1).read_to_end(&mut text).map_err(Error::Io)?;
    if text.len() as u64 > MAX_SIZE { Err(Error::TooLarge) } else { Ok(text) }
}

/// The device of `network` in the file's `text`.
///
/// # Errors
/// All of [`Error`] but those of reading a file.
pub fn find(text: &[u8], network: &str) -> Result<Device, Error> {
    let owned = || network.to_owned();
    let missing = || Error::NoNetwork { network: owned() };
    if text.trim_ascii().is_empty() {
        return Err(missing());
    }
    let info: raw::Info = serde_json::from_slice(text).map_err(Error::Json)?;
    let entries = info.interfaces.into_iter().flatten();
    let entry = entries.into_iter().find(|e| e.network == network).ok_or_else(missing)?;
    let device = entry.device_info.ok_or_else(|| Error::NoDeviceInfo { network: owned() })?;
    let vdpa = match (device.kind.as_str(), device.vdpa) {
        ("vdpa", Some(vdpa)) if vdpa.driver == "vhost" => vdpa,
        (kind, vdpa) => {
            let found = vdpa.map_or_else(|| kind.to_owned(), |v| format!("{kind}/{}", v.driver));
            return Err(Error::OtherKind { network: owned(), found });
        }
    };
    if !vdpa.path.starts_with("/dev/") || vdpa.path.split('/').any(|part| part == "..") {
        return Err(Error::Path { network: owned(), path: vdpa.path });
    }
    let mac = entry.mac.filter(|text| !text.is_empty());
    let mac = mac.map(|text| text.parse()).transpose();
    let mac = mac.map_err(|source| Error::Mac { network: owned(), source })?;
    Ok(Device { path: vdpa.path.into(), mac })
}

/// The JSON: device-info as in the device-info specification 1.1.0, without what is not used.
mod raw {
    use super::Deserialize;

    #[derive(Deserialize)]
    pub(super) struct Info {
        pub(super) interfaces: Option<Vec<Entry>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Entry {
        pub(super) network: String,
        pub(super) device_info: Option<DeviceInfo>,
        pub(super) mac: Option<String>,
    }

    #[derive(Deserialize)]
    pub(super) struct DeviceInfo {
        #[serde(rename = "type", default)]
        pub(super) kind: String,
        pub(super) vdpa: Option<Vdpa>,
    }

    #[derive(Deserialize)]
    pub(super) struct Vdpa {
        #[serde(default)]
        pub(super) driver: String,
        #[serde(default)]
        pub(super) path: String,
    }
}

#[cfg(test)]
mod tests;
