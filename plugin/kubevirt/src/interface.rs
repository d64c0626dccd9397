//! The `<interface>` element that libvirt is given
//! (libvirt `docs/formatdomain.rst`, "vDPA devices").

use quick_xml::escape::escape;

use crate::mac::Mac;
use crate::vmi::PciAddress;

/// An interface of a domain that is backed by a vhost-vdpa device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name in the VMI.
    pub name: String,
    /// The device's Ethernet address: QEMU writes it into the device, or fails to.
    pub mac: Mac,
    /// The char device, as virt-launcher's container sees it.
    pub source: String,
    /// Where on the guest's PCI bus, if libvirt has not decided yet.
    pub pci_address: Option<PciAddress>,
    /// The number in the guest's name `enoN`.
    pub acpi_index: Option<u32>,
    /// 1 is tried first.
    pub boot_order: Option<u32>,
}

/// What an element of the same alias says that is to stay, as it was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept<'a> {
    /// `<address>`: libvirt has assigned it, and a guest's device must not move.
    pub address: Option<&'a str>,
    /// `<driver>`: another hook has set queues or offloads.
    pub driver: Option<&'a str>,
}

impl Interface {
    /// The alias by which KubeVirt and we find it again. libvirt keeps only aliases that begin so.
    pub fn alias(&self) -> String {
        format!("ua-{}", self.name)
    }

    /// The element, without white space: the same input gives the same bytes.
    ///
    /// The model is `virtio`, because libvirt refuses any other for vDPA
    /// (`src/qemu/qemu_validate.c`), also KubeVirt's default `virtio-non-transitional`.
    pub fn element(&self, kept: Kept<'_>) -> String {
        let mut xml = format!(
            "<interface type=\"vdpa\"><mac address=\"{}\"/><source dev=\"{}\"/>\
             <model type=\"virtio\"/>",
            self.mac,
            escape(&self.source),
        );
        xml.push_str(kept.driver.unwrap_or_default());
        xml.push_str(&format!("<alias name=\"{}\"/>", escape(self.alias())));
        if let Some(order) = self.boot_order {
            xml.push_str(&format!("<boot order=\"{order}\"/>"));
        }
        if let Some(index) = self.acpi_index {
            xml.push_str(&format!("<acpi index=\"{index}\"/>"));
        }
        match (kept.address, self.pci_address) {
            (Some(address), _) => xml.push_str(address),
            (None, Some(address)) => xml.push_str(&pci(address)),
            (None, None) => {}
        }
        xml.push_str("</interface>");
        xml
    }
}

fn pci(address: PciAddress) -> String {
    let PciAddress { domain, bus, slot, function } = address;
    format!(
        "<address type=\"pci\" domain=\"{domain:#06x}\" bus=\"{bus:#04x}\" slot=\"{slot:#04x}\" \
         function=\"{function:#x}\"/>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface() -> Interface {
        Interface {
            name: "net1".into(),
            mac: "02:00:00:00:00:01".parse().unwrap(),
            source: "/var/run/kubevirt-hooks/hook-sidecar-0/vdpa-net1".into(),
            pci_address: None,
            acpi_index: None,
            boot_order: None,
        }
    }

    #[test]
    fn least() {
        assert_eq!(
            interface().element(Kept::default()),
            "<interface type=\"vdpa\"><mac address=\"02:00:00:00:00:01\"/>\
             <source dev=\"/var/run/kubevirt-hooks/hook-sidecar-0/vdpa-net1\"/>\
             <model type=\"virtio\"/><alias name=\"ua-net1\"/></interface>"
        );
    }

    #[test]
    fn all_that_a_vmi_says() {
        let address = PciAddress { domain: 0, bus: 0x81, slot: 1, function: 2 };
        let full = Interface {
            pci_address: Some(address),
            acpi_index: Some(101),
            boot_order: Some(1),
            ..interface()
        };
        let expected = "<alias name=\"ua-net1\"/><boot order=\"1\"/><acpi index=\"101\"/>\
             <address type=\"pci\" domain=\"0x0000\" bus=\"0x81\" slot=\"0x01\" function=\"0x2\"/>\
             </interface>";
        assert!(full.element(Kept::default()).ends_with(expected));
    }

    #[test]
    fn what_is_there_goes_before_what_is_wished() {
        let address = PciAddress { domain: 0, bus: 0x81, slot: 1, function: 2 };
        let kept = Kept { address: Some("<address kept='1'/>"), driver: Some("<driver/>") };
        let xml = Interface { pci_address: Some(address), ..interface() }.element(kept);
        assert!(xml.contains("<model type=\"virtio\"/><driver/><alias"), "{xml}");
        assert!(xml.ends_with("<alias name=\"ua-net1\"/><address kept='1'/></interface>"), "{xml}");
    }

    #[test]
    fn values_are_escaped() {
        let odd = Interface { source: "/dev/\"<&".into(), ..interface() };
        assert!(odd.element(Kept::default()).contains("dev=\"/dev/&quot;&lt;&amp;\""));
    }
}
