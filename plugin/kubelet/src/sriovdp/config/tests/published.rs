//! What that project's documentation shows, file by file, as far as it is JSON: the same keys and shapes.

use super::*;

/// The names and numbers of selectors of the resources that are served.
fn check(name: &str, list: Value, expected: &[(&str, usize)]) -> Vec<String> {
    let config = parse(&json!({"resourceList": list})).unwrap();
    let found: Vec<_> = config
        .resources
        .iter()
        .map(|resource| (resource.resource.as_str(), resource.selectors.len()))
        .collect();
    assert_eq!(found, expected, "{name}");
    config.warnings
}

#[test]
fn all_that_are_json_are_read() {
    let one = |name: &str, selectors: Value| json!({"resourceName": name, "selectors": selectors});
    let of = |prefix: &str, mut resource: Value| {
        resource["resourcePrefix"] = json!(prefix);
        resource
    };
    let intel =
        |driver: &str| json!({"vendors": ["8086"], "devices": ["154c"], "drivers": [driver]});
    let rdma = |device: &str| json!({"vendors": ["15b3"], "devices": [device], "drivers": ["mlx5_core"], "isRdma": true});
    let mut with_names = intel("vfio-pci");
    with_names["pfNames"] = json!(["enp0s0f0", "enp2s2f1"]);
    let silent = [""; 0];
    let deployments = json!([
        one("intel_sriov_netdevice", intel("iavf")),
        one("intel_sriov_dpdk", with_names),
        one("mlnx_sriov_rdma", rdma("1018")),
        one("brcm_sriov_bnxt", json!({"vendors": ["14e4"], "devices": ["1750"]})),
    ]);
    let expected = [
        ("intel.com/intel_sriov_netdevice", 1),
        ("intel.com/intel_sriov_dpdk", 1),
        ("intel.com/mlnx_sriov_rdma", 1),
        ("intel.com/brcm_sriov_bnxt", 1),
    ];
    assert_eq!(check("deployments/configMap.yaml", deployments, &expected), silent);

    let all_nics =
        json!([of("dpdk.org", one("nic", json!([rdma("1016"), rdma("1018"), intel("vfio-pci")])))]);
    let name = "docs/dpdk/configMap-all-nics.yaml";
    assert_eq!(check(name, all_nics, &[("dpdk.org/nic", 3)]), silent);
    let dpdk = json!([one("intel_x710vfio", json!([intel("vfio-pci")]))]);
    let name = "docs/dpdk/configMap.yaml";
    assert_eq!(check(name, dpdk, &[("intel.com/intel_x710vfio", 1)]), silent);
    let mlnx = json!([
        of("mellanox.com", one("mlnx_connectx4", rdma("1016"))),
        of("mellanox.com", one("mlnx_connectx5", rdma("1018"))),
    ]);
    let expected = [("mellanox.com/mlnx_connectx4", 1), ("mellanox.com/mlnx_connectx5", 1)];
    assert_eq!(check("docs/dpdk/mlnx-dpdk/configMap.yaml", mlnx, &expected), silent);
    let both = json!([
        of("mellanox.com", one("mlnx_rdma", json!([rdma("1016")]))),
        one("intel_rdma", rdma("1889")),
    ]);
    let expected = [("mellanox.com/mlnx_rdma", 1), ("intel.com/intel_rdma", 1)];
    assert_eq!(check("docs/rdma/configMap.yaml", both, &expected), silent);

    let ddp = json!([
        of("intel.com", one("x700_gtp", json!([{"ddpProfiles": ["GTPv1-C/U IPv4/IPv6 payload"]}]))),
        of("intel.com", one("x700_pppoe", json!([{"ddpProfiles": ["E710 PPPoE and PPPoL2TPv2"]}]))),
    ]);
    let expected = [("intel.com/x700_gtp", 1), ("intel.com/x700_pppoe", 1)];
    assert_eq!(check("docs/ddp/{e800,x700}/configMap.yaml", ddp, &expected), silent);
}

#[test]
fn those_of_subfunctions_are_read() {
    let sf = |name: &str, mut selector: Value| {
        selector["auxTypes"] = json!(["sf"]);
        json!({"resourceName": name, "resourcePrefix": "nvidia.com", "deviceType": "auxNetDevice",
               "selectors": [selector]})
    };
    let bluefield = json!({"vendors": ["15b3"], "devices": ["a2d6"], "pfNames": ["p0#1-5"]});
    let list = json!([sf("bf2_sf", bluefield)]);
    assert_eq!(check("docs/subfunctions/README.md", list, &[("nvidia.com/bf2_sf", 1)]), [""; 0]);
}

/// Its own reader refuses these, too.
#[test]
fn those_that_are_not_json_are_refused_with_the_place() {
    for (name, text, place) in [
        (
            "docs/vdpa/configMap.yaml",
            "{\n \"resourceList\": [{\n  {\"resourceName\": \"a\"",
            "line 3 column 3",
        ),
        (
            "docs/dpdk/configMap-virt.yaml",
            "{\"resourceList\": [{\n \"selectors\": [{\"pciAddresses\": [\"0000:00:09.0\"],\n }]}]}",
            "line 3 column 2",
        ),
    ] {
        let error = Config::parse(text.as_bytes(), "intel.com").unwrap_err();
        let error = crate::error::chain(&error);
        assert!(error.contains(place), "{name}: {error}");
    }
}
