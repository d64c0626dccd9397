//! Bytes as the other side sends them: field numbers and types are the contract.

use prost::Message;

use crate::kubelet::{deviceplugin as dp, podresources as pr};
use crate::kubevirt::{info, v1alpha3};

/// `fields` are (number, content), all of wire type 2: strings, bytes and messages.
fn bytes(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, content) in fields {
        out.extend([number << 3 | 2, u8::try_from(content.len()).unwrap()]);
        out.extend_from_slice(content);
    }
    out
}

fn check<M: Message + Default + PartialEq + std::fmt::Debug>(message: M, wire: &[u8]) {
    assert_eq!(message.encode_to_vec(), wire);
    assert_eq!(M::decode(wire).unwrap(), message);
}

#[test]
fn register_request() {
    check(
        dp::RegisterRequest {
            version: "v1beta1".into(),
            endpoint: "e".into(),
            resource_name: "r".into(),
            options: Some(dp::DevicePluginOptions {
                pre_start_required: true,
                get_preferred_allocation_available: true,
            }),
        },
        &bytes(&[(1, b"v1beta1"), (2, b"e"), (3, b"r"), (4, &[8, 1, 16, 1])]),
    );
}

#[test]
fn list_with_topology() {
    let topology = dp::TopologyInfo { nodes: vec![dp::NumaNode { id: 1 }] };
    let device = dp::Device { id: "d".into(), health: "Healthy".into(), topology: Some(topology) };
    let node = bytes(&[(1, &[8, 1])]);
    let wire = bytes(&[(1, &bytes(&[(1, b"d"), (2, b"Healthy"), (3, &node)]))]);
    check(dp::ListAndWatchResponse { devices: vec![device] }, &wire);
}

#[test]
fn allocate_response() {
    let answer = dp::ContainerAllocateResponse {
        envs: [("K".to_owned(), "V".to_owned())].into(),
        mounts: vec![dp::Mount {
            container_path: "c".into(),
            host_path: "h".into(),
            read_only: true,
        }],
        devices: vec![dp::DeviceSpec {
            container_path: "c".into(),
            host_path: "h".into(),
            permissions: "rw".into(),
        }],
        annotations: [("A".to_owned(), "B".to_owned())].into(),
        cdi_devices: vec![dp::CdiDevice { name: "v/c=n".into() }],
    };
    let mount = [&bytes(&[(1, b"c"), (2, b"h")])[..], &[24, 1]].concat();
    let wire = bytes(&[
        (1, &bytes(&[(1, b"K"), (2, b"V")])),
        (2, &mount),
        (3, &bytes(&[(1, b"c"), (2, b"h"), (3, b"rw")])),
        (4, &bytes(&[(1, b"A"), (2, b"B")])),
        (5, &bytes(&[(1, b"v/c=n")])),
    ]);
    check(dp::AllocateResponse { container_responses: vec![answer] }, &bytes(&[(1, &wire)]));
}

#[test]
fn preferred_allocation_request() {
    let request = dp::ContainerPreferredAllocationRequest {
        available_device_i_ds: vec!["a".into(), "b".into()],
        must_include_device_i_ds: vec!["a".into()],
        allocation_size: 2,
    };
    let wire = [&bytes(&[(1, b"a"), (1, b"b"), (2, b"a")])[..], &[24, 2]].concat();
    check(
        dp::PreferredAllocationRequest { container_requests: vec![request] },
        &bytes(&[(1, &wire)]),
    );
}

#[test]
fn pod_resources() {
    let devices = pr::ContainerDevices {
        resource_name: "r".into(),
        device_ids: vec!["d".into()],
        topology: None,
    };
    let held = bytes(&[(1, b"r"), (2, b"d")]);
    check(
        pr::AllocatableResourcesResponse { devices: vec![devices.clone()], ..Default::default() },
        &bytes(&[(1, &held)]),
    );
    let container =
        pr::ContainerResources { name: "c".into(), devices: vec![devices], ..Default::default() };
    let pod =
        pr::PodResources { name: "p".into(), namespace: "n".into(), containers: vec![container] };
    let wire = bytes(&[(1, b"p"), (2, b"n"), (3, &bytes(&[(1, b"c"), (2, &held)]))]);
    check(pr::ListPodResourcesResponse { pod_resources: vec![pod] }, &bytes(&[(1, &wire)]));
}

#[test]
fn newer_fields_of_kubelet_are_skipped() {
    // PodResources.cpu_ids (4, packed) and .memory (5) came with Kubernetes 1.37.
    let wire = bytes(&[(1, b"p"), (2, b"n"), (4, &[1, 2]), (5, b"")]);
    let pod = pr::PodResources::decode(&wire[..]).unwrap();
    assert_eq!((pod.name.as_str(), pod.namespace.as_str()), ("p", "n"));
}

#[test]
fn hook_info_and_domain() {
    let point = info::HookPoint { name: "OnDefineDomain".into(), priority: 1 };
    check(
        info::InfoResult {
            name: "n".into(),
            hook_points: vec![point],
            versions: vec!["v1alpha3".into()],
        },
        &bytes(&[
            (1, b"n"),
            (3, &[&bytes(&[(1, b"OnDefineDomain")])[..], &[16, 1]].concat()),
            (4, b"v1alpha3"),
        ]),
    );
    check(
        v1alpha3::OnDefineDomainParams { domain_xml: b"<d/>".into(), vmi: b"{}".into() },
        &bytes(&[(1, b"<d/>"), (2, b"{}")]),
    );
    check(
        v1alpha3::PreCloudInitIsoResult {
            cloud_init_no_cloud_source: b"a".into(),
            cloud_init_data: b"b".into(),
        },
        &bytes(&[(1, b"a"), (3, b"b")]),
    );
}

/// The paths that the other side calls: package, service and method.
#[test]
fn services_have_the_names_that_are_called() {
    use crate::kubevirt::{info::info_server, v1alpha3::callbacks_server};
    use dp::{device_plugin_server, registration_server};
    use pr::pod_resources_lister_server;
    assert_eq!(device_plugin_server::SERVICE_NAME, "v1beta1.DevicePlugin");
    assert_eq!(registration_server::SERVICE_NAME, "v1beta1.Registration");
    assert_eq!(pod_resources_lister_server::SERVICE_NAME, "v1.PodResourcesLister");
    assert_eq!(info_server::SERVICE_NAME, "kubevirt.hooks.info.Info");
    assert_eq!(callbacks_server::SERVICE_NAME, "kubevirt.hooks.v1alpha3.Callbacks");
}
