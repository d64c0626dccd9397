//! Device-info files: what a device is, told to Multus, network plugins and workloads.
//!
//! Format: Kubernetes Network Plumbing Working Group, device-info specification 1.1.0. The device
//! plugin writes one file per device and resource; a CNI binary writes one per attachment; Multus
//! copies it into the pod's `network-status` annotation.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{DeviceId, Resource, atomic};

/// The specification's version that is written.
pub const VERSION: &str = "1.1.0";

/// The largest device-info file that is read, in bytes.
pub const MAX_SIZE: u64 = 64 * 1024;

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum DeviceInfo {
    /// A PCI function used through its netdev or by vfio.
    Pci {
        /// Version of the specification.
        version: String,
        /// The function.
        pci: Pci,
    },
    /// A vDPA device.
    Vdpa {
        /// Version of the specification.
        version: String,
        /// The vDPA device.
        vdpa: Vdpa,
    },
}

/// A PCI function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pci {
    /// Address of the function.
    pub pci_address: String,
    /// Path of `/dev/vhost-net`, where it is handed out with the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vhost_net: Option<String>,
    /// Names of its RDMA devices, with commas between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdma_device: Option<String>,
    /// Address of its PF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pf_pci_address: Option<String>,
    /// Name of its representor netdev.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub representor_device: Option<String>,
}

/// A vDPA device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Vdpa {
    /// Name of the device on the vdpa bus (`/sys/bus/vdpa/devices`).
    pub parent_device: String,
    /// Who serves the device.
    pub driver: VdpaDriver,
    /// Where the workload finds the vhost-vdpa node. The specification requires it, and only a
    /// vhost device has one; like the SR-IOV device plugin, virtio leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Address of the function that the device was made on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci_address: Option<String>,
    /// Address of that function's PF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pf_pci_address: Option<String>,
    /// Name of the function's representor netdev.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub representor_device: Option<String>,
}

/// The specification's words for the two vDPA bus drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VdpaDriver {
    /// `vhost_vdpa`: a character device for a VM or a user-space driver.
    Vhost,
    /// `virtio_vdpa`: a virtio-net netdev of the kernel.
    Virtio,
}

/// Why a device-info file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing the file failed.
    #[error("device-info")]
    File(#[source] atomic::Error),
    /// The content is not device-info of a type we know.
    #[error("device-info {}: not of type pci or vdpa, version 1.1.0", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl DeviceInfo {
    /// Device-info of a PCI function, in the current version.
    pub fn pci(pci: Pci) -> Self {
        Self::Pci { version: VERSION.to_owned(), pci }
    }

    /// Device-info of a vDPA device, in the current version.
    pub fn vdpa(vdpa: Vdpa) -> Self {
        Self::Vdpa { version: VERSION.to_owned(), vdpa }
    }

    /// The content of a device-info file.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = atomic::read(path, MAX_SIZE).map_err(Error::File)?;
        serde_json::from_slice(&bytes)
            .map_err(|source| Error::Format { path: path.to_owned(), source })
    }

    /// The text of a device-info file.
    pub fn to_json(&self) -> Vec<u8> {
        // Structs of strings and an enum of two always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The file in which the device plugin tells about `id` as a device of `resource`, below the
/// device-info directory. Multus looks for exactly this name.
pub fn plugin_file(devinfo: &Path, resource: &Resource, id: &DeviceId) -> PathBuf {
    devinfo.join("dp").join(file_name(&resource.file_stem(), id.as_str()))
}

/// The name of that file, of texts that need be no resource or id of ours: the first with its slash
/// replaced ([`Resource::file_stem`]).
pub fn file_name(resource: &str, id: &str) -> String {
    format!("{resource}-{id}{PLUGIN_FILE_END}")
}

/// How every name that [`plugin_file`] makes ends.
pub const PLUGIN_FILE_END: &str = "-device.json";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(info: &DeviceInfo, json: &str) {
        assert_eq!(String::from_utf8(info.to_json()).unwrap(), json);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, json).unwrap();
        assert_eq!(&DeviceInfo::read(&path).unwrap(), info);
    }

    fn vdpa(driver: VdpaDriver, path: Option<&str>) -> DeviceInfo {
        DeviceInfo::vdpa(Vdpa {
            parent_device: "vdpa:0000:65:00.3".into(),
            driver,
            path: path.map(Into::into),
            pci_address: Some("0000:65:00.3".into()),
            pf_pci_address: None,
            representor_device: None,
        })
    }

    #[test]
    fn files_are_those_of_the_specification() {
        check(
            &vdpa(VdpaDriver::Vhost, Some("/dev/ringway/0000:65:00.3")),
            r#"{"type":"vdpa","version":"1.1.0","vdpa":{"parent-device":"vdpa:0000:65:00.3","driver":"vhost","path":"/dev/ringway/0000:65:00.3","pci-address":"0000:65:00.3"}}"#,
        );
        check(
            &vdpa(VdpaDriver::Virtio, None),
            r#"{"type":"vdpa","version":"1.1.0","vdpa":{"parent-device":"vdpa:0000:65:00.3","driver":"virtio","pci-address":"0000:65:00.3"}}"#,
        );
        check(
            &DeviceInfo::pci(Pci {
                pci_address: "0000:18:02.5".into(),
                vhost_net: None,
                rdma_device: None,
                pf_pci_address: Some("0000:18:00.0".into()),
                representor_device: None,
            }),
            r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:18:02.5","pf-pci-address":"0000:18:00.0"}}"#,
        );
    }

    #[test]
    fn other_types_and_broken_files_are_refused_with_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        for bad in ["", "{}", r#"{"type":"memif","version":"1.1.0"}"#, r#"{"type":"pci"}"#] {
            std::fs::write(&path, bad).unwrap();
            let error = DeviceInfo::read(&path).unwrap_err();
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn the_plugin_file_has_the_name_that_multus_expects() {
        let path = plugin_file(
            Path::new("/d"),
            &"ringway.dev/vm-rings".parse().unwrap(),
            &"0000:05:00.2".parse().unwrap(),
        );
        assert_eq!(path, Path::new("/d/dp/ringway.dev-vm-rings-0000:05:00.2-device.json"));
    }
}
