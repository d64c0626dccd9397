use ringway_kernel::Error;

use super::*;
use crate::before::Before;
use crate::fake::{self, Fake, pf};
use crate::plan::Attach;
use crate::reconcile::{Gate, reconcile};
use crate::wanted::{Parent, ParentName, Wanted};

const DOCUMENT: &str = include_str!("../../../../docs/metrics.md");

/// Two functions for `ringway.dev/vms`.
fn wanted() -> Wanted {
    let name = ParentName::Pci(pf());
    let pool = fake::pool("vms", 0..=1, Attach::VhostVdpa);
    let parent = Parent::new(name, 2, vec![pool]);
    Wanted { parents: vec![parent], refusals: vec![] }
}

fn round(fake: &mut Fake, gate: impl FnMut(&crate::plan::Planned) -> Gate) -> (Report, Pools) {
    let (mut before, mut gate) = (Before::default(), gate);
    let gate = |planned: &_, _: &_| gate(planned);
    let report = reconcile("n", fake, &wanted(), &mut before, |_| Ok(()), gate).unwrap();
    let pools = crate::offer::pools("n", &wanted(), &report, &Default::default(), None).unwrap();
    (report, pools)
}

fn written(metrics: &Metrics) -> String {
    page(metrics, Some(0), None)
}

#[track_caller]
fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
}

#[test]
fn a_round_is_counted_with_its_steps_and_what_the_node_then_offers() {
    let (mut fake, metrics) = (Fake::new(), Metrics::default());
    let (report, pools) = round(&mut fake, |_| Gate::Go(vec![]));
    metrics.count(Duration::from_millis(20), &report, Some(&pools));
    metrics.count_broken(Duration::from_secs(2));
    let text = written(&metrics);
    has(&text, "ringway_agent_reconcile_duration_seconds_count 2");
    has(&text, "ringway_agent_reconcile_errors_total 1");
    has(&text, "ringway_agent_steps_total{step=\"bind_vdpa\",result=\"done\"} 2");
    has(&text, "ringway_agent_plan_steps 0");
    has(&text, "ringway_devices{resource=\"ringway.dev/vms\",state=\"ready\"} 2");
    has(&text, "ringway_devices{resource=\"ringway.dev/vms\",state=\"failed\"} 0");
    has(&text, "ringway_stuck_calls 0");
    has(&text, "ringway_agent_collector_success{collector=\"vdpa\"} 0");
}

#[test]
fn failed_and_held_steps_are_told_apart() {
    let (mut fake, metrics) = (Fake::new(), Metrics::default());
    fake.absent.push("vp_vdpa");
    let (report, pools) = round(&mut fake, |_| Gate::Go(vec![]));
    assert!(matches!(report.failures[0].1, Error::Module { .. }));
    metrics.count(Duration::ZERO, &report, Some(&pools));
    has(&written(&metrics), "ringway_agent_steps_total{step=\"load_module\",result=\"failed\"} 1");
    let held = |_: &_| Gate::Held("0000:01:00.1 is in use: pod a/b holds it".into());
    let (report, _) = round(&mut Fake::new(), held);
    metrics.count(Duration::ZERO, &report, None);
    let text = written(&metrics);
    has(&text, &format!("ringway_agent_plan_steps {}", report.plan.steps.len()));
    // the first; the others wait for it
    has(&text, "ringway_agent_held_steps 1");
    // what the node offers is as it was
    has(&text, "ringway_devices{resource=\"ringway.dev/vms\",state=\"ready\"} 0");
}

#[test]
fn refusals_go_when_they_are_gone() {
    let (mut fake, metrics) = (Fake::new(), Metrics::default());
    fake.card().driver = Some("igb".into());
    let (report, _) = round(&mut fake, |_| Gate::Go(vec![]));
    metrics.count(Duration::ZERO, &report, None);
    has(&written(&metrics), "ringway_agent_refusals{reason=\"AttachUnsupported\"} 1");
    fake.card().driver = Some("virtio-pci".into());
    let (report, _) = round(&mut fake, |_| Gate::Go(vec![]));
    metrics.count(Duration::ZERO, &report, None);
    assert!(!written(&metrics).contains("ringway_agent_refusals"));
}

#[test]
fn what_is_asked_of_the_kernel_is_what_the_round_has_found() {
    let mut fake = Fake::new();
    let (report, _) = round(&mut fake, |_| Gate::Go(vec![]));
    let mut inventory = report.observed.inventory;
    for function in &mut inventory.parents[0].functions {
        function.vdpa[0].max_queue_pairs = Some(1);
    }
    let targets = Targets::of(&inventory);
    assert_eq!(targets.cards[0].links, [(3, "enp1s0f0".to_owned())]);
    assert_eq!(targets.cards[0].functions[1], (1, "0000:01:00.2".to_owned()));
    let vdpa: Vec<_> = targets.vdpa.iter().map(|v| (v.device.as_str(), v.queues)).collect();
    assert_eq!(vdpa, [("0000:01:00.1", 2), ("0000:01:00.2", 2)]);
    // a device that no driver has counts nothing
    inventory.parents[0].functions[0].vdpa[0].driver = None;
    assert_eq!(Targets::of(&inventory).vdpa.len(), 1);
    // nor do we ask an InfiniBand card, or one with too many
    inventory.parents[0].ids.class = 0x02_0700;
    assert_eq!(Targets::of(&inventory).cards[0].functions, []);
    inventory.parents[0].ids.class = 0x02_0000;
    let one = inventory.parents[0].functions[0].clone();
    inventory.parents[0].functions = vec![one; ringway_kernel::link::MOST_VFS + 1];
    assert_eq!(Targets::of(&inventory).cards[0].functions, []);
}

#[test]
fn each_metric_is_documented_as_it_is() {
    let ours = |line: &&str| {
        line.starts_with("| `ringway_") && !line.starts_with("| `ringway_device_plugin_")
    };
    let documented: Vec<&str> = DOCUMENT.lines().filter(ours).collect();
    let rows: Vec<String> = catalogue::ALL.iter().map(|family| family.row()).collect();
    assert_eq!(documented, rows);
}

#[test]
fn names_follow_the_conventions() {
    for family in catalogue::ALL {
        assert_eq!(family.problems(), [""; 0]);
    }
}
