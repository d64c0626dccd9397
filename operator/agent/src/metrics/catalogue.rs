//! Every metric: docs/metrics.md is compared with this.

ringway_metrics::families! {
    BUILD_INFO = "ringway_agent_build_info" Gauge ["version"]
        "Always 1; the version of the agent.";
    RECONCILE_DURATION = "ringway_agent_reconcile_duration_seconds" Histogram []
        "How long rounds took: looking at the node, and doing what could be done.";
    RECONCILE_ERRORS = "ringway_agent_reconcile_errors_total" Counter []
        "Rounds that broke off; a step that failed is no such error.";
    STEPS = "ringway_agent_steps_total" Counter ["step", "result"]
        "Steps taken, by kind, and by whether they were done or failed.";
    PLAN_STEPS = "ringway_agent_plan_steps" Gauge []
        "Steps that were left to do after the last round.";
    HELD_STEPS = "ringway_agent_held_steps" Gauge []
        "Steps of those left that wait because somebody holds a device.";
    REFUSALS = "ringway_agent_refusals" Gauge ["reason"]
        "Parents and functions that are left as they are, by the reason in the conditions.";
    STUCK_CALLS = "ringway_stuck_calls" Gauge []
        "Calls into the kernel, of any process of Ringway's, that have not come back.";
    DEVICES = "ringway_devices" Gauge ["resource", "state"]
        "Devices in pools.json, by resource, and by whether they are ready, draining or failed.";
    LINK_UP = "ringway_parent_link_up" Gauge ["parent", "interface"]
        "Whether a card's interface has a carrier.";
    RECEIVE_BYTES = "ringway_function_receive_bytes_total" Counter ["parent", "device"]
        "Bytes that a VF has received, as its card's driver counts them.";
    TRANSMIT_BYTES = "ringway_function_transmit_bytes_total" Counter ["parent", "device"]
        "Bytes that a VF has sent, as its card's driver counts them.";
    RECEIVE_PACKETS = "ringway_function_receive_packets_total" Counter ["parent", "device"]
        "Packets that a VF has received.";
    TRANSMIT_PACKETS = "ringway_function_transmit_packets_total" Counter ["parent", "device"]
        "Packets that a VF has sent.";
    RECEIVE_DROPPED = "ringway_function_receive_dropped_total" Counter ["parent", "device"]
        "Packets for a VF that were dropped.";
    TRANSMIT_DROPPED = "ringway_function_transmit_dropped_total" Counter ["parent", "device"]
        "Packets of a VF that were dropped.";
    VDPA = "ringway_vdpa_vendor_statistics_total" Counter ["device", "statistic"]
        "What a vDPA device's driver counts, by the driver's names, summed over the virtqueues for data.";
    COLLECTED = "ringway_agent_collector_success" Gauge ["collector"]
        "Whether link states, VF statistics and vDPA statistics could be read for this scrape.";
}
