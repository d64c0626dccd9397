//! Metrics in Prometheus's text format, and what probes are told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;

use ringway_metrics::Page;
use ringway_metrics::http::{self, Answer};

use crate::counts::Numbers;
use crate::shared::Shared;

mod catalogue;

/// Pages at a TCP address.
const OPEN: &[&str] = &["/metrics", "/healthz"];

/// Pages on the Unix socket.
const INSIDE: &[&str] = &["/livez", "/readyz", "/metrics"];

/// Answers scrapes at an address and probes on a Unix socket, as far as there are such, for ever.
pub async fn serve(
    shared: &Shared,
    address: Option<SocketAddr>,
    socket: Option<&Path>,
) -> Infallible {
    let answer = |path| async move { answer(path, &shared.counts.all()) };
    let scrapes = async {
        match address {
            Some(address) => http::serve(address, OPEN, answer).await,
            None => std::future::pending().await,
        }
    };
    let probes = async {
        match socket {
            Some(path) => http::serve_unix(path, INSIDE, answer).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        never = scrapes => never,
        never = probes => never,
    }
}

fn answer(path: &str, numbers: &Numbers) -> Answer {
    match path {
        "/metrics" => Answer::metrics(page(numbers)),
        "/readyz" => Answer::probe(numbers.stuck().or(numbers.not_ready.clone())),
        _ => Answer::probe(numbers.stuck()),
    }
}

fn page(numbers: &Numbers) -> String {
    let mut page = Page::default();
    page.family(&catalogue::BUILD_INFO, [([env!("CARGO_PKG_VERSION")], 1)]);
    page.number(&catalogue::SOURCE, u8::from(numbers.source_good));
    let two = |counted: &std::collections::BTreeMap<(String, &'static str), u64>| {
        let rows = counted.iter().map(|((one, other), n)| ([one.clone(), (*other).to_owned()], *n));
        rows.collect::<Vec<_>>()
    };
    page.family(&catalogue::DEVICES, two(&numbers.devices));
    page.family(&catalogue::CHANGES, two(&numbers.changes));
    let allocations = numbers.allocations.iter().map(|(resource, n)| ([resource], n));
    page.family(&catalogue::ALLOCATIONS, allocations);
    page.family(&catalogue::REFUSALS, two(&numbers.refusals));
    page.family(&catalogue::REGISTRATIONS, two(&numbers.registrations));
    let streams = numbers.streams.iter();
    page.family(&catalogue::STREAMS, streams.clone().map(|(resource, s)| ([resource], s.count())));
    let ages = streams.filter_map(|(resource, s)| Some(([resource], s.age()?.as_secs_f64())));
    page.family(&catalogue::STREAM_AGE, ages);
    page.into_text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Counts;
    use crate::testing::{VHOST, offers, pools, resource};

    const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

    #[test]
    fn each_metric_is_documented_as_it_is_and_named_by_the_conventions() {
        let ours = |line: &&str| line.starts_with("| `ringway_device_plugin_");
        let documented: Vec<&str> = DOCUMENT.lines().filter(ours).collect();
        let rows: Vec<String> = catalogue::ALL.iter().map(|family| family.row()).collect();
        assert_eq!(documented, rows);
        for family in catalogue::ALL {
            assert_eq!(family.problems(), [""; 0]);
        }
    }

    #[test]
    fn what_was_counted_is_written() {
        let counts = Counts::default();
        let vms = resource(VHOST);
        counts.offered(&offers(&pools()));
        counts.allocated(&vms);
        counts.refused(&vms, "busy");
        counts.registered(&vms, true);
        counts.end(true, None);
        let text = page(&counts.all());
        for line in [
            "ringway_device_plugin_source_good 1",
            "ringway_device_plugin_devices{resource=\"ringway.dev/vm-rings\",state=\"healthy\"} 2",
            "ringway_device_plugin_devices{resource=\"ringway.dev/vm-rings\",state=\"draining\"} 0",
            "ringway_device_plugin_allocations_total{resource=\"ringway.dev/vm-rings\"} 1",
            "ringway_device_plugin_refusals_total{resource=\"ringway.dev/vm-rings\",reason=\"busy\"} 1",
            "ringway_device_plugin_registrations_total{resource=\"ringway.dev/vm-rings\",result=\"done\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
        assert!(!text.contains("stream_age"), "nobody watches");
    }

    #[test]
    fn probes_tell_why() {
        let counts = Counts::default();
        counts.end(false, Some("kubelet does not know x yet".to_owned()));
        let numbers = counts.all();
        let not_ready = Answer::probe(Some("kubelet does not know x yet".to_owned()));
        assert_eq!(answer("/readyz", &numbers), not_ready);
        assert_eq!(answer("/livez", &numbers), Answer::probe(None));
    }
}
