use ringway_kernel::Root;
use ringway_kernel::link::Counters;
use ringway_kernel::stuck::Marker;

use super::super::targets::Vdpa as Target;
use super::*;

fn card() -> Card {
    let functions = vec![(0, "0000:01:00.1".into()), (1, "0000:01:00.2".into())];
    Card { parent: "0000:01:00.0".into(), links: vec![(3, "eth1".into())], functions }
}

fn stats(index: u32, bytes: u64) -> VfStats {
    VfStats { index, received: Counters { bytes, ..Counters::default() }, ..VfStats::default() }
}

#[test]
fn a_driver_that_counts_nothing_has_no_numbers() {
    assert_eq!(of_card(&card(), &[]), []);
    assert_eq!(of_card(&card(), &[stats(0, 0), stats(1, 0)]), []);
    // where one VF has traffic, the others' zeros are zeros
    let found = of_card(&card(), &[stats(0, 7), stats(1, 0), stats(9, 1)]);
    let found: Vec<_> = found.iter().map(|f| (f.device.as_str(), f.stats.received.bytes)).collect();
    assert_eq!(found, [("0000:01:00.1", 7), ("0000:01:00.2", 0)]);
}

#[test]
fn statistics_of_queues_are_summed_and_bounded() {
    let queue = |values: &[(&str, u64)]| {
        Ok(values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
    };
    let queues = [
        queue(&[("rx packets", 1), ("rx bytes", 100)]),
        queue(&[("tx packets", 2)]),
        queue(&[("rx packets", 3), ("rx bytes", 300)]),
    ];
    let sums: Vec<_> = sums(queues.into_iter()).unwrap().into_iter().collect();
    assert_eq!(
        sums,
        [("rx bytes".to_owned(), 400), ("rx packets".to_owned(), 4), ("tx packets".to_owned(), 2)]
    );
    let many: Vec<_> = (0..100).map(|i| (format!("counter {i}"), i)).collect();
    assert_eq!(super::sums([Ok(many)].into_iter()).unwrap().len(), MOST_STATISTICS);
}

#[test]
fn a_driver_that_has_no_statistics_is_asked_once() {
    let mut asked = 0;
    let queues = (0..64).map(|_| {
        asked += 1;
        Ok(Vec::new())
    });
    assert!(sums(queues).unwrap().is_empty());
    assert_eq!(asked, 1);
}

/// While a call is stuck, generic netlink is not touched: neither for the first device nor later.
#[tokio::test]
async fn with_a_stuck_call_vdpa_goes_without() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target { device: "vdpasim_net.0".into(), name: "vdpasim_net.0".into(), queues: 2 };
    let targets = Targets { cards: vec![], vdpa: vec![target] };
    let collector = Collector::new(dir.path().to_owned());
    assert_eq!(collector.stuck_calls(), Some(0));
    let marker = Marker::place(&Root::default(), dir.path(), "0000:01:00.1", "unbind").unwrap();
    assert_eq!(collector.stuck_calls(), Some(1));
    let traffic = collector.collect(targets).await.unwrap();
    assert_eq!((traffic.links, traffic.vdpa), (Some(vec![]), None));
    marker.remove().unwrap();
}

#[tokio::test]
async fn while_an_earlier_question_is_out_no_other_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::new(dir.path().to_owned());
    collector.out.store(true, Ordering::Release);
    assert_eq!(collector.collect(Targets::default()).await, None);
    collector.out.store(false, Ordering::Release);
    // the loopback is an interface as any other
    let links = vec![(1, "lo".to_owned()), (u32::MAX >> 1, "gone".to_owned())];
    let card = Card { parent: "x".into(), links, functions: vec![] };
    let traffic = collector.collect(Targets { cards: vec![card], vdpa: vec![] }).await.unwrap();
    assert_eq!(traffic.links.unwrap().len(), 1);
}

#[test]
fn each_collector_says_whether_it_could_read() {
    let traffic = Traffic {
        links: Some(vec![Link { parent: "p".into(), interface: "eth1".into(), up: true }]),
        functions: Some(vec![Function {
            parent: "p".into(),
            device: "d".into(),
            stats: stats(0, 7),
        }]),
        vdpa: None,
    };
    let mut page = Page::default();
    write(&mut page, Some(traffic));
    let text = page.into_text();
    for line in [
        "ringway_parent_link_up{parent=\"p\",interface=\"eth1\"} 1",
        "ringway_function_receive_bytes_total{parent=\"p\",device=\"d\"} 7",
        "ringway_function_transmit_packets_total{parent=\"p\",device=\"d\"} 0",
        "ringway_agent_collector_success{collector=\"function\"} 1",
        "ringway_agent_collector_success{collector=\"vdpa\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
    }
}
