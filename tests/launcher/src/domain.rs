//! The domain before the hooks have seen it. It has no interface: KubeVirt leaves those of a
//! binding with a sidecar to the sidecar. Its firmware is qboot, which does what a kernel given
//! directly needs and no more: of a machine emulated in an emulated machine SeaBIOS takes ten
//! seconds longer.

use std::path::Path;

/// What `WithNetworkIfacesResources` of KubeVirt adds in its first round, so that libvirt makes
/// room for interfaces that are plugged later. A hook must let them be.
pub const PLACEHOLDERS: &str = "<interface type=\"ethernet\">\
    <target dev=\"placeholder-0\" managed=\"no\"></target>\
    <model type=\"virtio-non-transitional\"></model></interface>\
    <interface type=\"ethernet\"><target dev=\"placeholder-1\" managed=\"no\"></target>\
    <model type=\"virtio-non-transitional\"></model></interface>";

const TEMPLATE: &str = include_str!("../domain.xml");
const END: &str = "</devices>";

/// What a domain is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The guest's kernel.
    pub kernel: &'a Path,
    /// Its initial RAM file system.
    pub initramfs: &'a Path,
    /// Where its console goes.
    pub serial: &'a Path,
    /// Its address with the prefix length.
    pub address: &'a str,
    /// What it pings.
    pub ping_targets: &'a [String],
}

/// The domain as libvirt's XML.
pub fn xml(parts: &Parts<'_>) -> String {
    let cmdline = format!(
        "console=ttyS0 panic=-1 quiet ringway.address={} ringway.ping={}",
        parts.address,
        parts.ping_targets.join(",")
    );
    let path = |path: &Path| escape(&path.display().to_string());
    TEMPLATE
        .replace("@kernel@", &path(parts.kernel))
        .replace("@initramfs@", &path(parts.initramfs))
        .replace("@serial@", &path(parts.serial))
        .replace("@cmdline@", &escape(&cmdline))
}

/// The domain with placeholders after its devices.
pub fn with_placeholders(xml: &str) -> String {
    xml.replace(END, &format!("{PLACEHOLDERS}{END}"))
}

/// The domain without them; `None` if they are not there as they were.
pub fn without_placeholders(xml: &str) -> Option<String> {
    xml.contains(PLACEHOLDERS).then(|| xml.replace(PLACEHOLDERS, ""))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('\'', "&apos;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> String {
        xml(&Parts {
            kernel: Path::new("/boot/vmlinuz-6.12"),
            initramfs: Path::new("/vm/initramfs.cpio"),
            serial: Path::new("/run/a'b/serial.log"),
            address: "10.88.0.50/24",
            ping_targets: &["10.88.0.1".into(), "10.88.0.3".into()],
        })
    }

    #[test]
    fn every_place_is_filled() {
        let domain = domain();
        assert!(!domain.contains('@'), "{domain}");
        for part in [
            "<kernel>/boot/vmlinuz-6.12</kernel>",
            "<initrd>/vm/initramfs.cpio</initrd>",
            "quiet ringway.address=10.88.0.50/24 ringway.ping=10.88.0.1,10.88.0.3</cmdline>",
            "<source path='/run/a&apos;b/serial.log'/>",
        ] {
            assert!(domain.contains(part), "{part} in {domain}");
        }
    }

    #[test]
    fn placeholders_come_and_go() {
        let with = with_placeholders(&domain());
        assert_eq!(with.matches("placeholder-").count(), 2);
        assert_eq!(without_placeholders(&with), Some(domain()));
        assert_eq!(without_placeholders(&with.replace("placeholder-0", "x")), None);
    }
}
