use super::*;
use crate::error::chain;

/// As KubeVirt's `xml.MarshalIndent` writes it, with what must not be taken for our interface.
const KUBEVIRT: &str = include_str!("kubevirt.xml");

fn interface(name: &str) -> Interface {
    Interface {
        name: name.into(),
        mac: "02:00:00:00:00:01".parse().unwrap(),
        source: format!("/var/run/kubevirt-hooks/hook-sidecar-0/vdpa-{name}"),
        pci_address: None,
        acpi_index: None,
        boot_order: None,
    }
}

fn element(name: &str) -> String {
    interface(name).element(Kept::default())
}

#[track_caller]
fn check(xml: &str, names: &[&str], expected: &str) {
    let interfaces: Vec<_> = names.iter().map(|name| interface(name)).collect();
    let changed = with_interfaces(xml, &interfaces).unwrap();
    assert_eq!(changed, expected);
    assert_eq!(with_interfaces(&changed, &interfaces).unwrap(), expected, "not the second time");
}

#[test]
fn a_new_interface_comes_last_and_nothing_else_changes() {
    let added = element("net1") + "</devices>\n\t<metadata>";
    let expected = KUBEVIRT.replace("</devices>\n\t<metadata>", &added);
    assert_ne!(expected, KUBEVIRT);
    check(KUBEVIRT, &["net1"], &expected);
}

#[test]
fn a_domain_without_ours_stays() {
    check(KUBEVIRT, &[], KUBEVIRT);
    check("<domain/>", &[], "<domain/>");
}

/// What comes back from libvirt through KubeVirt's structs (`allocateHotplugPorts`).
#[test]
fn an_interface_that_is_there_is_written_anew_and_keeps_its_address() {
    let address = "<address type=\"pci\" domain=\"0x0000\" bus=\"0x02\" slot=\"0x00\" \
                   function=\"0x0\"></address>";
    let domain = |ours: &str| {
        format!(
            "<domain><devices>\n  <interface type='ethernet'/>\n  {ours}\n  \
             <interface type='bridge'><alias name='ua-net2'/><address type='ccw'/></interface>\n\
             </devices></domain>"
        )
    };
    let found = format!(
        "<interface type=\"vdpa\">\n{address}<source dev=\"/old\"></source>\
         <model type=\"virtio-non-transitional\"></model><mac address=\"02:00:00:00:00:ff\"></mac>\
         <alias\nname = 'ua-net&#49;'></alias></interface>"
    );
    let kept = Kept { address: Some(address), driver: None };
    check(&domain(&found), &["net1"], &domain(&interface("net1").element(kept)));
}

#[test]
fn what_another_hook_said_of_queues_stays() {
    let driver = "<driver queues='4'><host csum='off'/></driver>";
    let found = format!("<interface>{driver}<alias name='ua-net1'/></interface>");
    let kept = Kept { address: None, driver: Some(driver) };
    let domain = |ours: &str| format!("<domain><devices>{ours}</devices></domain>");
    check(&domain(&found), &["net1"], &domain(&interface("net1").element(kept)));
}

#[test]
fn several_at_once_in_any_order() {
    let domain = |a: &str, b: &str, more: &str| {
        format!("<domain><devices>{a}<disk/>{b}{more}</devices></domain>")
    };
    let found = |name: &str| format!("<interface><alias name='ua-{name}'/></interface>");
    check(
        &domain(&found("a"), &found("b"), ""),
        &["c", "b", "d", "a"],
        &domain(&element("a"), &element("b"), &(element("c") + &element("d"))),
    );
}

#[test]
fn devices_may_be_empty() {
    let expected = format!("<domain><devices a='/>'>{}</devices></domain>", element("net1"));
    check("<domain><devices a='/>' /></domain>", &["net1"], &expected);
    check("<domain><devices a='/>'></devices></domain>", &["net1"], &expected);
}

#[test]
fn what_stands_before_the_domain_stays() {
    let domain = |ours: &str| {
        format!(
            "<?xml version=\"1.0\"?>\n<!DOCTYPE domain>\n<!-- ä -->\n\
             <domain><devices><![CDATA[</devices>]]>{ours}</devices></domain>\n"
        )
    };
    check(&domain(""), &["net1"], &domain(&element("net1")));
}

#[test]
fn what_is_no_domain_is_refused() {
    let refused = |xml: &str, expected: &str| {
        let error = with_interfaces(xml, &[interface("net1")]).unwrap_err();
        assert!(chain(&error).starts_with(expected), "{xml}: {}", chain(&error));
    };
    refused("", "the domain has no <devices>");
    refused("<domain><name/></domain>", "the domain has no <devices>");
    refused("<network/>", "the XML is a <network>, not a <domain>");
    refused("<domain><devices>", "the domain's XML ends within <devices>");
    refused("<domain></devices>", "the domain is not well-formed XML at byte 8: ");
    refused("<domain><devices", "the domain is not well-formed XML at byte 8: ");
    refused(
        "<domain><devices><interface><alias name='&x;'/></interface></devices></domain>",
        "the domain is not well-formed XML at byte 28: ",
    );
    let twice = "<interface><alias name='ua-net1'/></interface>".repeat(2);
    refused(
        &format!("<domain><devices>{twice}</devices></domain>"),
        "the domain has two interfaces with alias ua-net1",
    );
}
