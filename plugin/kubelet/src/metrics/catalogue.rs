//! Every metric: docs/metrics.md is compared with this.

ringway_metrics::families! {
    BUILD_INFO = "ringway_device_plugin_build_info" Gauge ["version"]
        "Always 1; the version of the device plugin.";
    SOURCE = "ringway_device_plugin_source_good" Gauge []
        "Whether what to offer could be read the last time; if not, what it said before holds.";
    DEVICES = "ringway_device_plugin_devices" Gauge ["resource", "state"]
        "Devices that kubelet is told of, by whether they can be had, and why not.";
    CHANGES = "ringway_device_plugin_device_changes_total" Counter ["resource", "state"]
        "Changes of devices, by what they came to be; the log tells device and reason.";
    ALLOCATIONS = "ringway_device_plugin_allocations_total" Counter ["resource"]
        "Requests of kubelet's for a container that were answered with devices.";
    REFUSALS = "ringway_device_plugin_refusals_total" Counter ["resource", "reason"]
        "Requests that were refused, by reason: kubelet then fails the pod.";
    REGISTRATIONS = "ringway_device_plugin_registrations_total" Counter ["resource", "result"]
        "How often kubelet was told of a resource, and took it or not.";
    STREAMS = "ringway_device_plugin_streams" Gauge ["resource"]
        "Streams by which kubelet watches a resource's devices; without one it takes them for lost.";
    STREAM_AGE = "ringway_device_plugin_stream_age_seconds" Gauge ["resource"]
        "How long the oldest stream of a resource has been open.";
}
